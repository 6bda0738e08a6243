"""Two rows of a board side by side: what differs, by class and by image, and what was set differently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.comparable import common_images, common_kind
from wsss_bench.boards.finding import Found, find_both
from wsss_bench.boards.settings import Settings, different
from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate.bootstrap import (
    RESAMPLES,
    Difference,
    Resamples,
    compare,
    holm,
)
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.results.records import COUNTS, RunRecord


@dataclass(frozen=True)
class Side:
    """One of the two: its label, its runs, and the seeds' counts of what is compared."""

    label: str
    records: tuple[RunRecord, ...]
    counts: tuple[Counts, ...]

    def per_class(self) -> NDArray[np.float64]:
        """Return the mean over seeds of the IoU of each class, ``float64 [C+1]``."""
        seeds = [found.per_class_iou() for found in self.counts]
        return mean_iou(np.stack(seeds, -1))

    def miou(self) -> float:
        """Return the mean over seeds of the mIoU."""
        seeds = [found.miou() for found in self.counts]
        return float(np.mean(seeds))


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
    settings: Settings
    n_images: int
    resamples: int


_Floats = NDArray[np.float64]

_Stack = Sequence[NDArray[np.int64]]
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
    name, left, right = find_both(leaderboard_dir, first, second, dataset)
    both = f"{first!r} and {second!r}"
    runs = left[1] + right[1]
    what = what or common_kind(runs)
    if what not in COUNTS:
        raise ArtifactError(
            f"{both} have no kind of score in common. Known: {', '.join(COUNTS)}."
        )
    sides = (_side(left, what), _side(right, what))
    ids = common_images(sides[0].counts + sides[1].counts, runs, both, what)
    stacks = [_stack(side, ids) for side in sides]
    miou, classes = _bootstrap(name, sides, stacks, n)
    return Comparison(
        dataset=name,
        what=what,
        first=sides[0],
        second=sides[1],
        miou=miou,
        classes=classes,
        images=_moved(ids, stacks, top),
        settings=different(left[1][0], right[1][0]),
        n_images=len(ids),
        resamples=n,
    )


def _side(found: Found, what: str) -> Side:
    label, runs = found
    counts = [_load(run, what) for run in runs]
    return Side(label, runs, tuple(counts))


def _load(run: RunRecord, what: str) -> Counts:
    found = run.load_counts(what)
    if found is None:
        raise ArtifactError(
            f"run {run.run_id!r} has no {what} score; it has {', '.join(run.counts) or 'none'}."
        )
    return found


def _stack(side: Side, ids: Sequence[str]) -> _Stack:
    return [found.rows(ids) for found in side.counts]


def _bootstrap(
    name: str,
    sides: Sequence[Side],
    stacks: Sequence[_Stack],
    n: int,
) -> tuple[Difference, tuple[ClassChange, ...]]:
    """Return the difference of the mIoU, and of each class that both have; all from the same draws of images."""
    left, right = stacks
    draws = Resamples(len(left[0]), n, seed=name)
    drawn = draws.class_iou([*left, *right])
    seeds = np.split(drawn, [len(left)])
    parts, means = [], []
    for side, own in zip(sides, seeds, strict=True):
        parts.append(draws.over_seeds(own, side.label))
        means.append(draws.over_seeds(mean_iou(own), side.label))
    first, second = sides
    gain = second.miou() - first.miou()
    miou = compare(gain, means[0], means[1])
    return miou, _class_changes(first, second, *parts)


def _class_changes(
    first: Side,
    second: Side,
    first_drawn: _Floats,
    second_drawn: _Floats,
) -> tuple[ClassChange, ...]:
    """Return the change of each class that both have; drawn is the resampled IoU, ``float64 [n, C+1]``."""
    before, after = first.per_class(), second.per_class()
    found = []
    for k, name in enumerate(first.counts[0].classes):
        one, other = float(before[k]), float(after[k])
        # A class that one of the two lacks has no difference to speak of.
        if np.isnan(other - one):
            continue
        moved = compare(other - one, first_drawn[:, k], second_drawn[:, k])
        found.append(ClassChange(name, one, other, moved, moved.p))
    adjusted = holm([change.difference.p for change in found])
    both = zip(found, adjusted, strict=True)
    return tuple(replace(change, adjusted=p) for change, p in both)


def _moved(
    ids: Sequence[str], stacks: Sequence[_Stack], top: int
) -> tuple[ImageChange, ...]:
    """Return the images that gained most and lost most, by mean IoU within the image; ties by id."""
    left, right = map(_image_miou, stacks)
    gain = right - left
    # A stable sort, over ids in order: images that gained the same keep that order.
    order = np.argsort(-gain, kind="stable")
    # An image without any class has no mean.
    known = [i for i in order if not np.isnan(gain[i])]
    chosen = [i for i in known[:top] if gain[i] > 0]
    chosen += [i for i in known[-top:] if gain[i] < 0]
    found = []
    for i in chosen:
        change = ImageChange(ids[i], float(left[i]), float(right[i]))
        found.append(change)
    return tuple(found)


def _image_miou(stack: _Stack) -> _Floats:
    """Return the mean over seeds of the mean IoU within each image, ``float64 [N]``."""
    seeds = []
    for rows in stack:
        hit, predicted, true = np.moveaxis(rows, -1, 0)
        seeds.append(mean_iou(class_iou(hit, predicted, true)))
    mean: _Floats = np.mean(seeds, 0)
    return mean


def as_json(found: Comparison) -> dict[str, Any]:
    """Return the comparison as the documented ``--json`` schema 1; all scores are fractions."""
    classes = [_class_json(change) for change in found.classes]
    return {
        "schema": 1,
        "dataset": found.dataset,
        "scored": found.what,
        "n_images": found.n_images,
        "resamples": found.resamples,
        "first": _side_json(found.first),
        "second": _side_json(found.second),
        "difference": _difference_json(found.miou),
        "classes": classes,
        "images": [asdict(change) for change in found.images],
        "settings": dict(found.settings),
    }


def _class_json(change: ClassChange) -> dict[str, Any]:
    return {
        "class": change.name,
        "first": change.first,
        "second": change.second,
        **_difference_json(change.difference),
        "p_holm": change.adjusted,
    }


def _difference_json(found: Difference) -> dict[str, float]:
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "p": found.p,
    }


def _side_json(side: Side) -> dict[str, Any]:
    seeds = [record.seed for record in side.records]
    runs = [record.run_id for record in side.records]
    return {
        "label": side.label,
        "miou": side.miou(),
        "seeds": seeds,
        "runs": runs,
    }
