"""Other people's results as run records of origin ``imported``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from wsss_bench.errors import DataError
from wsss_bench.exchange.folders import Masks, Scored
from wsss_bench.results.records import RUNS, RunRecord, load_record, save_record

# Columns of a board that a folder of masks says nothing about.
_UNKNOWN = dict.fromkeys(
    (
        "supervision",
        "extra_data",
        "backbone",
        "segmentor",
        "pretraining",
        "crf",
        "multi_scale",
    ),
    "not stated",
)


class _Splits(Protocol):
    @property
    def train(self) -> str: ...
    @property
    def seeds(self) -> str: ...
    @property
    def val(self) -> str: ...


class _Dataset(Protocol):
    name: str
    classes: tuple[str, ...]

    @property
    def kind(self) -> str: ...
    @property
    def splits(self) -> _Splits: ...
    def masks(self, split: str) -> Masks: ...
    def truth(self, role: str) -> str: ...


def add_imported(
    leaderboard_dir: Path, name: str, dataset: _Dataset, split: str, scored: Scored
) -> Path:
    """Keep what a folder scored as the imported row `name`; another kind of the same name joins the first.

    The boards are not built again: that is for the caller to do, by `boards.build`.

    Args:
        leaderboard_dir: the folder that the boards lie in; the caller holds its lock.
        name: how the board names the row.
        dataset: what was scored on.
        split: the split that was scored.
        scored: the counts.

    Returns:
        The record's file.

    Raises:
        DataError: the name has nothing to make a folder of, or the split is not the one that boards show for this kind.
    """
    run_id = _run_id(name)
    _check_split(dataset, split, scored.kind)
    folder = leaderboard_dir / RUNS / dataset.name / run_id
    written = folder / "record.json"
    before = load_record(written) if written.exists() else None
    # The record is saved last: it must not name a file that is not there yet.
    files, curve = _save_counts(folder, scored)
    thresholds = dict(before.thresholds) if before else {}
    if "fixed" in scored.thresholds:
        thresholds["fixed"] = scored.thresholds["fixed"]
    record = RunRecord(
        run_id=run_id,
        recipe=name,
        picks={"localize": None, "refine": None, "segment": None},
        dataset={**_facts(dataset), "truth": _truths(dataset, scored.kind, before)},
        seed=0,
        profile="-",
        columns=before.columns if before else {**_UNKNOWN, "rounds": ""},
        thresholds=thresholds,
        counts={**before.counts, **files} if before else files,
        curve=curve or (before.curve if before else None),
        origin="imported",
        notes=_notes(scored, before),
    )
    return save_record(leaderboard_dir, record)


def _run_id(name: str) -> str:
    """Return the name of the record's folder; the name itself may hold spaces and slashes."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not safe:
        raise DataError(f"the name {name!r} must hold a letter or a digit.")
    return f"imported-{safe}"


def _role(kind: str) -> str:
    """Return the role of the split that boards show a kind on."""
    return "val" if kind == "prediction" else "seeds"


def _truths(dataset: _Dataset, kind: str, before: RunRecord | None) -> dict[str, str]:
    """Return under which conventions the row was scored, by role; those of other kinds stay."""
    known = before.dataset.get("truth", {}) if before else {}
    role = _role(kind)
    return {**known, role: dataset.truth(role)}


def _notes(scored: Scored, before: RunRecord | None) -> tuple[str, ...]:
    """Return how the files were read and what is doubtful about them; what was said of other kinds stays."""
    start = f"{scored.kind}: "
    said = [f"read as {scored.read_as}"] if scored.read_as else []
    mine = [f"{start}{words}" for words in (*said, *scored.warnings)]
    others = before.notes if before else ()
    kept = [note for note in others if not note.startswith(start)]
    return (*kept, *mine)


def _check_split(dataset: _Dataset, split: str, kind: str) -> None:
    role = _role(kind)
    shown = getattr(dataset.splits, role)
    if split != shown:
        what = f"boards of {dataset.name} show {kind} on {shown!r}, not on {split!r}."
        fix = f"Score that split, or choose another one with --{role}-split."
        raise DataError(f"{what} {fix}")


def _save_counts(folder: Path, scored: Scored) -> tuple[dict[str, str], str | None]:
    """Write counts and curve into the record's folder; return the files' names as a record holds them."""
    files = {what: f"{what}.npz" for what in scored.counts}
    for what, file in files.items():
        scored.counts[what].save(folder / file)
    if scored.curve is None:
        return files, None
    scored.curve.save(folder / "curve.npz")
    return files, "curve.npz"


def _facts(dataset: _Dataset) -> dict[str, Any]:
    """Return what a record keeps of the dataset."""
    splits = dataset.splits
    sizes: dict[str, int] = {}
    # The roles may fall on one split, whose masks are then listed once.
    for split in dict.fromkeys((splits.seeds, splits.val)):
        ids: Sequence[str] = dataset.masks(split).ids
        sizes[split] = len(ids)
    masks = dataset.masks(splits.val)
    roles = {
        "train": splits.train,
        "seeds": splits.seeds,
        "val": splits.val,
    }
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "splits": roles,
        "sizes": sizes,
        "classes": list(dataset.classes),
        "fingerprint": str(getattr(masks, "fingerprint", "-")),
    }
