"""Two rows of a board side by side: what differs, by class and by image, and what was set differently."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.rows import RANKING, groups
from wsss_bench.errors import ArtifactError, DataError, did_you_mean
from wsss_bench.evaluate.bootstrap import (
    RESAMPLES,
    Difference,
    Resamples,
    compare,
    holm,
)
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.results.records import COUNTS, RunRecord, load_records


@dataclass(frozen=True)
class Side:
    """One of the two: its label, its runs, and the seeds' counts of what is compared."""

    label: str
    records: tuple[RunRecord, ...]
    counts: tuple[Counts, ...]

    def per_class(self) -> NDArray[np.float64]:
        """Mean over seeds of the IoU of each class, ``float64 [C+1]``."""
        return mean_iou(np.stack([found.per_class_iou() for found in self.counts], -1))

    def miou(self) -> float:
        """Mean over seeds of the mIoU."""
        return float(np.mean([found.miou() for found in self.counts]))


@dataclass(frozen=True)
class ClassChange:
    """One class: IoU of both, the difference with its interval, and the p-value adjusted over the classes."""

    name: str
    first: float
    second: float
    difference: Difference
    adjusted: float


@dataclass(frozen=True)
class ImageChange:
    """One image: mean IoU within it, of both."""

    id: str
    first: float
    second: float


@dataclass(frozen=True)
class Comparison:
    """Second against first on one kind of score."""

    dataset: str
    what: str
    first: Side
    second: Side
    miou: Difference
    classes: tuple[ClassChange, ...]
    images: tuple[ImageChange, ...]
    settings: Mapping[str, tuple[str, str]]
    n_images: int
    resamples: int


def compare_runs(
    leaderboard_dir: Path,
    first: str,
    second: str,
    dataset: str | None = None,
    what: str | None = None,
    n: int = RESAMPLES,
    top: int = 10,
) -> Comparison:
    """Compare two runs or recipes that were scored on the same images.

    Args:
        leaderboard_dir: where ``runs/`` is.
        first, second: a run id, a recipe (all its seeds), or a row's label.
        dataset: which dataset, where both ran on several.
        what: one of `COUNTS`; default the first of `RANKING` that both have.
        n: number of resamples.
        top: how many images to name in each direction.

    Raises:
        DataError: a name is unknown or stands for several rows.
        ArtifactError: the two share no kind of score, or were scored on other images or masks.
    """
    name, left, right = _find_both(leaderboard_dir, first, second, dataset)
    what = what or next(
        (k for k in RANKING if all(k in r.counts for r in (*left[1], *right[1]))), None
    )
    if what not in COUNTS:
        raise ArtifactError(
            f"{first!r} and {second!r} have no kind of score in common. Known: {', '.join(COUNTS)}."
        )
    sides = [
        Side(label, runs, tuple(_load(run, what) for run in runs))
        for label, runs in (left, right)
    ]
    ids = tuple(sorted(sides[0].counts[0].ids))
    for side in sides:
        for found in side.counts:
            if tuple(sorted(found.ids)) != ids:
                raise ArtifactError(
                    f"{first!r} and {second!r} were scored on different images; only the same images can be compared."
                )
    stacks = [[found.rows(ids) for found in side.counts] for side in sides]
    if any(
        not np.array_equal(rows[..., 2], stacks[0][0][..., 2])
        for stack in stacks
        for rows in stack
    ):
        raise ArtifactError(
            f"{first!r} and {second!r} were scored against different masks. Score both again on one copy of the data."
        )
    miou, classes = _bootstrap(name, sides, stacks, len(ids), n)
    images = _moved(ids, stacks, top)
    return Comparison(
        name,
        what,
        sides[0],
        sides[1],
        miou,
        classes,
        images,
        _settings(left[1][0], right[1][0]),
        len(ids),
        n,
    )


def _load(run: RunRecord, what: str) -> Counts:
    found = run.load_counts(what)
    if found is None:
        raise ArtifactError(
            f"run {run.run_id!r} has no {what} score; it has {', '.join(run.counts) or 'none'}."
        )
    return found


_Found = tuple[str, tuple[RunRecord, ...]]


def _find_both(
    leaderboard_dir: Path, first: str, second: str, dataset: str | None
) -> tuple[str, _Found, _Found]:
    records = load_records(leaderboard_dir, dataset)
    by_set: dict[str, list[RunRecord]] = {}
    for record in records:
        by_set.setdefault(str(record.dataset["name"]), []).append(record)
    matches = []
    for name, own in by_set.items():
        left, right = (_find(own, wanted) for wanted in (first, second))
        if left and right:
            matches.append((name, left, right))
    if not matches:
        known = {r.recipe for r in records} | {r.run_id for r in records}
        lost = next(
            (
                w
                for w in (first, second)
                if not any(_find(own, w) for own in by_set.values())
            ),
            None,
        )
        if lost is None:
            raise DataError(
                f"{first!r} and {second!r} did not run on the same dataset ({', '.join(by_set)})."
            )
        raise DataError(
            f"no run or recipe {lost!r} under {leaderboard_dir}.{did_you_mean(lost, known)}"
        )
    if len(matches) > 1:
        raise DataError(
            f"{first!r} and {second!r} ran on {', '.join(m[0] for m in matches)}. Pass --dataset NAME."
        )
    return matches[0]


def _find(records: Sequence[RunRecord], wanted: str) -> _Found | None:
    for record in records:
        if record.run_id == wanted:
            return f"{record.recipe} (seed {record.seed})", (record,)
    found = [
        (label, group)
        for label, group, _ in groups(records)
        if wanted in (label, group[0].recipe)
    ]
    if len(found) > 1 and all(label != wanted for label, _ in found):
        raise DataError(
            f"{wanted!r} stands for {len(found)} rows: {', '.join(label for label, _ in found)}. Name one of them."
        )
    return next((f for f in found if f[0] == wanted), found[0] if found else None)


def _bootstrap(
    name: str,
    sides: Sequence[Side],
    stacks: Sequence[Sequence[NDArray[np.int64]]],
    images: int,
    n: int,
) -> tuple[Difference, tuple[ClassChange, ...]]:
    draws = Resamples(images, n, seed=name)
    drawn = draws.class_iou([rows for stack in stacks for rows in stack])
    split = len(stacks[0])
    parts = [
        draws.over_seeds(part, side.label)
        for part, side in zip((drawn[:split], drawn[split:]), sides, strict=True)
    ]
    means = [
        draws.over_seeds(mean_iou(p), s.label)
        for p, s in zip((drawn[:split], drawn[split:]), sides, strict=True)
    ]
    miou = compare(sides[1].miou() - sides[0].miou(), means[0], means[1])
    left, right = sides[0].per_class(), sides[1].per_class()
    there = np.flatnonzero(~np.isnan(left) & ~np.isnan(right))
    moved = [
        compare(float(right[c] - left[c]), parts[0][:, c], parts[1][:, c])
        for c in there
    ]
    adjusted = holm([m.p for m in moved])
    names = sides[0].counts[0].classes
    rows = zip(there, moved, adjusted, strict=True)
    return miou, tuple(
        ClassChange(names[c], float(left[c]), float(right[c]), m, p) for c, m, p in rows
    )


def _moved(
    ids: Sequence[str], stacks: Sequence[Sequence[NDArray[np.int64]]], top: int
) -> tuple[ImageChange, ...]:
    """The images that gained most and lost most, by mean IoU within the image; ties by id."""
    left, right = (
        np.mean(
            [mean_iou(class_iou(r[..., 0], r[..., 1], r[..., 2])) for r in stack], 0
        )
        for stack in stacks
    )
    gain = right - left
    order = [int(i) for i in np.argsort(-gain, kind="stable") if not np.isnan(gain[i])]
    chosen = [i for i in order[:top] if gain[i] > 0] + [
        i for i in order[-top:] if gain[i] < 0
    ]
    return tuple(ImageChange(ids[i], float(left[i]), float(right[i])) for i in chosen)


def _settings(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    """What is set differently: picks, fairness columns and parameters, as ``name: (first, second)``."""
    left, right = _flat(first), _flat(second)
    return {
        k: (left.get(k, "–"), right.get(k, "–"))
        for k in sorted({*left, *right})
        if left.get(k) != right.get(k)
    }


def _flat(record: RunRecord) -> dict[str, str]:
    found = {f"pick {stage}": str(method) for stage, method in record.picks.items()}
    found |= {name: str(value) for name, value in record.columns.items()} | {
        "profile": record.profile
    }
    for stage, params in record.params.items():
        if isinstance(params, Mapping):
            found |= {
                f"{stage}.{name}": json.dumps(value, sort_keys=True, default=str)
                for name, value in params.items()
            }
    return found


def as_json(found: Comparison) -> dict[str, Any]:
    """The comparison as the documented ``--json`` schema 1; all scores are fractions."""
    return {
        "schema": 1,
        "dataset": found.dataset,
        "scored": found.what,
        "n_images": found.n_images,
        "resamples": found.resamples,
        "first": _side_json(found.first),
        "second": _side_json(found.second),
        "difference": _difference_json(found.miou),
        "classes": [
            {
                "class": c.name,
                "first": c.first,
                "second": c.second,
                **_difference_json(c.difference),
                "p_holm": c.adjusted,
            }
            for c in found.classes
        ],
        "images": [
            {"id": i.id, "first": i.first, "second": i.second} for i in found.images
        ],
        "settings": {name: list(pair) for name, pair in found.settings.items()},
    }


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "label": side.label,
        "miou": side.miou(),
        "seeds": [r.seed for r in side.records],
        "runs": [r.run_id for r in side.records],
    }


def _difference_json(found: Difference) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high, "p": found.p}
