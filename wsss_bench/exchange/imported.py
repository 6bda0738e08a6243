"""Other people's results as run records of origin ``imported``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from wsss_bench.errors import DataError
from wsss_bench.exchange.folders import Masks, Scored
from wsss_bench.results.records import RUNS, RunRecord, load_record, save_record

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


def add_imported(
    leaderboard_dir: Path, name: str, dataset: _Dataset, split: str, scored: Scored
) -> Path:
    """Keep what a folder scored as an imported row `name`; a second kind of the same name joins the first. Returns the record.

    Raises:
        DataError: the name has nothing to make a folder of, or the split is not the one that boards show for this kind.
    """
    from wsss_bench.boards import build

    run_id = "imported-" + re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if run_id == "imported-":
        raise DataError(f"the name {name!r} must hold a letter or a digit.")
    role = "val" if scored.kind == "prediction" else "seeds"
    if split != getattr(dataset.splits, role):
        raise DataError(
            f"boards of {dataset.name} show {scored.kind} on {getattr(dataset.splits, role)!r}, not on {split!r}. "
            f"Score that split, or choose another one with --{role}-split."
        )
    folder = leaderboard_dir / RUNS / dataset.name / run_id
    before = (
        load_record(folder / "record.json")
        if (folder / "record.json").exists()
        else None
    )
    files = dict(before.counts) if before else {}
    for what, counts in scored.counts.items():
        counts.save(folder / f"{what}.npz")
        files[what] = f"{what}.npz"
    curve = before.curve if before else None
    if scored.curve is not None:
        scored.curve.save(folder / "curve.npz")
        curve = "curve.npz"
    thresholds = dict(before.thresholds) if before else {}
    if "fixed" in scored.thresholds:
        thresholds["fixed"] = scored.thresholds["fixed"]
    record = RunRecord(
        run_id=run_id,
        recipe=name,
        picks={"localize": None, "refine": None, "segment": None},
        dataset=_facts(dataset),
        seed=0,
        profile="-",
        columns=before.columns if before else {**_UNKNOWN, "rounds": ""},
        thresholds=thresholds,
        counts=files,
        curve=curve,
        origin="imported",
    )
    path = save_record(leaderboard_dir, record)
    build(leaderboard_dir)
    return path


def _facts(dataset: _Dataset) -> dict[str, Any]:
    roles = {
        "train": dataset.splits.train,
        "seeds": dataset.splits.seeds,
        "val": dataset.splits.val,
    }
    sizes: dict[str, int] = {}
    for split in dict.fromkeys((roles["seeds"], roles["val"])):
        ids: Sequence[str] = dataset.masks(split).ids
        sizes[split] = len(ids)
    fingerprint = str(getattr(dataset.masks(roles["val"]), "fingerprint", "-"))
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "splits": roles,
        "sizes": sizes,
        "classes": list(dataset.classes),
        "fingerprint": fingerprint,
    }
