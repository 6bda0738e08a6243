"""Two rows of a board side by side: what differs, by class and by image, and what was set differently."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.grouping import groups
from wsss_bench.boards.rows import RANKING
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
        """Return the mean over seeds of the IoU of each class, ``float64 [C+1]``."""
        return mean_iou(np.stack([found.per_class_iou() for found in self.counts], -1))

    def miou(self) -> float:
        """Return the mean over seeds of the mIoU."""
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
    """Second against first on one kind of score.

    Attributes:
        dataset: the dataset's name.
        what: the kind of score, one of `COUNTS`.
        miou: the difference of the mean scores.
        classes: one entry per class that both have.
        images: those that gained most, then those that lost most.
        settings: what is set differently, as ``name: (first, second)``.
        n_images: how many images were scored.
        resamples: how many bootstrap resamples the intervals come from.
    """

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


_Found = tuple[str, tuple[RunRecord, ...]]
"""A row's label and its runs."""

_Stacks = Sequence[NDArray[np.int64]]
"""The counts of one side's seeds, each ``int64 [N, C+1, 3]`` over the same images."""


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
    what = what or _common(left[1] + right[1])
    if what not in COUNTS:
        raise ArtifactError(
            f"{first!r} and {second!r} have no kind of score in common. Known: {', '.join(COUNTS)}."
        )
    sides = (_side(left, what), _side(right, what))
    ids, stacks = _aligned(sides, f"{first!r} and {second!r}")
    miou, classes = _bootstrap(name, sides, stacks, n)
    return Comparison(
        dataset=name,
        what=what,
        first=sides[0],
        second=sides[1],
        miou=miou,
        classes=classes,
        images=_moved(ids, stacks, top),
        settings=_settings(left[1][0], right[1][0]),
        n_images=len(ids),
        resamples=n,
    )


def _common(runs: Sequence[RunRecord]) -> str | None:
    """Return the first kind of score, in the order of `RANKING`, that all runs have."""
    for what in RANKING:
        if all(what in run.counts for run in runs):
            return what
    return None


def _side(found: _Found, what: str) -> Side:
    label, runs = found
    return Side(label, runs, tuple(_load(run, what) for run in runs))


def _load(run: RunRecord, what: str) -> Counts:
    found = run.load_counts(what)
    if found is None:
        raise ArtifactError(
            f"run {run.run_id!r} has no {what} score; it has {', '.join(run.counts) or 'none'}."
        )
    return found


def _aligned(
    sides: Sequence[Side], both: str
) -> tuple[tuple[str, ...], list[list[NDArray[np.int64]]]]:
    """Return the images in the order of their ids, and each side's counts in that order."""
    ids = tuple(sorted(sides[0].counts[0].ids))
    stacks = []
    for side in sides:
        for found in side.counts:
            if tuple(sorted(found.ids)) != ids:
                raise ArtifactError(
                    f"{both} were scored on different images; only the same images can be compared."
                )
        stacks.append([found.rows(ids) for found in side.counts])
    # Equal ids do not make equal masks: another copy of the data may hold other annotations.
    truth = stacks[0][0][..., 2]
    for rows in (*stacks[0], *stacks[1]):
        if not np.array_equal(rows[..., 2], truth):
            raise ArtifactError(
                f"{both} were scored against different masks. Score both again on one copy of the data."
            )
    return ids, stacks


def _find_both(
    leaderboard_dir: Path, first: str, second: str, dataset: str | None
) -> tuple[str, _Found, _Found]:
    """Return the one dataset on which both names stand for a row, and the two rows."""
    records = load_records(leaderboard_dir, dataset)
    by_set: dict[str, list[RunRecord]] = {}
    for record in records:
        by_set.setdefault(str(record.dataset["name"]), []).append(record)
    matches = []
    known: set[str] = set()
    for name, own in by_set.items():
        left, right = (_find(own, wanted) for wanted in (first, second))
        known |= {w for w, found in ((first, left), (second, right)) if found}
        if left and right:
            matches.append((name, left, right))
    if len(matches) > 1:
        names = ", ".join(match[0] for match in matches)
        raise DataError(
            f"{first!r} and {second!r} ran on {names}. Pass --dataset NAME."
        )
    if matches:
        return matches[0]
    for wanted in (first, second):
        if wanted not in known:
            raise _unknown(wanted, leaderboard_dir, records)
    raise DataError(
        f"{first!r} and {second!r} did not run on the same dataset ({', '.join(by_set)})."
    )


def _unknown(
    wanted: str, leaderboard_dir: Path, records: Sequence[RunRecord]
) -> DataError:
    names = {name for record in records for name in (record.recipe, record.run_id)}
    hint = did_you_mean(wanted, names)
    return DataError(f"no run or recipe {wanted!r} under {leaderboard_dir}.{hint}")


def _find(records: Sequence[RunRecord], wanted: str) -> _Found | None:
    """Return the run of that id, else the row of that label or recipe; raises `DataError` where several rows fit."""
    for record in records:
        if record.run_id == wanted:
            return f"{record.recipe} (seed {record.seed})", (record,)
    found = []
    for label, group, _ in groups(records):
        if label == wanted:
            return label, group
        if group[0].recipe == wanted:
            found.append((label, group))
    if len(found) > 1:
        labels = ", ".join(label for label, _ in found)
        raise DataError(
            f"{wanted!r} stands for {len(found)} rows: {labels}. Name one of them."
        )
    return found[0] if found else None


def _bootstrap(
    name: str, sides: Sequence[Side], stacks: Sequence[_Stacks], n: int
) -> tuple[Difference, tuple[ClassChange, ...]]:
    """Return the difference of the mIoU, and of each class that both have; all from the same draws of images."""
    left, right = stacks
    draws = Resamples(len(left[0]), n, seed=name)
    drawn = draws.class_iou([*left, *right])
    seeds = (drawn[: len(left)], drawn[len(left) :])
    parts, means = [], []
    for side, own in zip(sides, seeds, strict=True):
        parts.append(draws.over_seeds(own, side.label))
        means.append(draws.over_seeds(mean_iou(own), side.label))
    miou = compare(sides[1].miou() - sides[0].miou(), means[0], means[1])
    return miou, _class_changes(sides, parts)


def _class_changes(
    sides: Sequence[Side], parts: Sequence[NDArray[np.float64]]
) -> tuple[ClassChange, ...]:
    """Return the change of each class; `parts` holds the resampled IoU of each side, ``float64 [n, C+1]``."""
    left, right = (side.per_class() for side in sides)
    there = np.flatnonzero(~np.isnan(left) & ~np.isnan(right))
    moved = [
        compare(float(right[c] - left[c]), parts[0][:, c], parts[1][:, c])
        for c in there
    ]
    adjusted = holm([difference.p for difference in moved])
    names = sides[0].counts[0].classes
    return tuple(
        ClassChange(names[c], float(left[c]), float(right[c]), difference, p)
        for c, difference, p in zip(there, moved, adjusted, strict=True)
    )


def _moved(
    ids: Sequence[str], stacks: Sequence[_Stacks], top: int
) -> tuple[ImageChange, ...]:
    """Return the images that gained most and lost most, by mean IoU within the image; ties by id."""
    left, right = map(_image_miou, stacks)
    gain = right - left
    # A stable sort, over ids in order: images that gained the same keep that order.
    order = [int(i) for i in np.argsort(-gain, kind="stable") if not np.isnan(gain[i])]
    chosen = [i for i in order[:top] if gain[i] > 0]
    chosen += [i for i in order[-top:] if gain[i] < 0]
    return tuple(ImageChange(ids[i], float(left[i]), float(right[i])) for i in chosen)


def _image_miou(stack: _Stacks) -> NDArray[np.float64]:
    """Return the mean over seeds of the mean IoU within each image, ``float64 [N]``."""
    seeds = [class_iou(rows[..., 0], rows[..., 1], rows[..., 2]) for rows in stack]
    found: NDArray[np.float64] = np.mean([mean_iou(iou) for iou in seeds], 0)
    return found


def _settings(first: RunRecord, second: RunRecord) -> dict[str, tuple[str, str]]:
    """Return what is set differently: picks, fairness columns and parameters, as ``name: (first, second)``."""
    left, right = _flat(first), _flat(second)
    names = sorted({*left, *right})
    both = {name: (left.get(name, "–"), right.get(name, "–")) for name in names}
    return {name: pair for name, pair in both.items() if pair[0] != pair[1]}


def _flat(record: RunRecord) -> dict[str, str]:
    """Return picks, columns, profile and parameters of a run as one table of texts."""
    found = {f"pick {stage}": str(method) for stage, method in record.picks.items()}
    found |= {name: str(value) for name, value in record.columns.items()}
    found["profile"] = record.profile
    for stage, params in record.params.items():
        # Records of other people's files may hold anything there; a table of parameters is what can be compared.
        if not isinstance(params, Mapping):
            continue
        for name, value in params.items():
            text = json.dumps(value, sort_keys=True, default=str)
            found[f"{stage}.{name}"] = text
    return found


def as_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as the documented ``--json`` schema 1; all scores are fractions."""
    images = [{"id": i.id, "first": i.first, "second": i.second} for i in found.images]
    return {
        "schema": 1,
        "dataset": found.dataset,
        "scored": found.what,
        "n_images": found.n_images,
        "resamples": found.resamples,
        "first": _side_json(found.first),
        "second": _side_json(found.second),
        "difference": _difference_json(found.miou),
        "classes": [_class_json(change) for change in found.classes],
        "images": images,
        "settings": {name: list(pair) for name, pair in found.settings.items()},
    }


def _class_json(change: ClassChange) -> dict[str, Any]:
    return {
        "class": change.name,
        "first": change.first,
        "second": change.second,
        **_difference_json(change.difference),
        "p_holm": change.adjusted,
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
