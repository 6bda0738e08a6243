"""Label maps whose values are no mask ids: what they seem to be instead.

Nothing is corrected: a number is scored as it stands, and whoever gets it is told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from wsss_bench.contract.view import IGNORE
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import class_iou, mean_iou

_MUCH = 2.0
"""How many times better another reading must score to be named."""

_LEAST = 0.1
"""What it must score at least: near zero, chance alone doubles a number."""

_OFFSET = 91
"""What MCTformer's and WeakTr's evaluation subtracts from label maps of COCO."""

_PICTURE = 100
"""So many values are no classes but brightness."""

Reading = Mapping[int, int]
"""Mask id by value; a value that is not in it is no label."""


def cause(
    values: Collection[int], classes: int, category_ids: Reading | None = None
) -> str:
    """Return what values out of range seem to be, as a sentence to end an error with; empty where nothing fits.

    Args:
        values: the values that occur in label maps.
        classes: number of mask ids, background included.
        category_ids: mask id by the source's own class id, where there are such.
    """
    found = set(values) - {0, IGNORE}
    if category_ids and found <= set(category_ids):
        high = max(category_ids)
        what = f"They seem to be the category ids of the annotations, 1 to {high} with gaps"
        return f"{what}: write mask ids, 1 to {classes - 1}."
    if found <= set(range(_OFFSET, _OFFSET + classes)):
        what = f"They seem to be mask ids plus {_OFFSET}, as MCTformer and WeakTr keep COCO's"
        return f"{what}: subtract {_OFFSET} first."
    if max(found, default=0) == classes:
        return "They seem to be one too high: write 0 for the background and 1 for the first class."
    if len(found) > _PICTURE:
        return "They seem to be brightness, not classes: name the folder of label maps."
    return ""


def doubts(
    counts: Counts, what: str, category_ids: Reading | None = None
) -> Iterator[str]:
    """Yield warnings about label maps that were counted: one class only, or values that another reading explains.

    Args:
        counts: the counts.
        what: ``labels`` or ``predictions``, for the message.
        category_ids: as for `cause`.
    """
    predicted = counts.prediction.sum(0)
    there = np.flatnonzero(predicted)
    if len(there) == 1:
        name = counts.classes[there[0]]
        yield f"all {what} hold one class only: {int(there[0])}, {name!r}."
    shift = _shift(counts, category_ids)
    if shift:
        yield shift


def _shift(counts: Counts, category_ids: Reading | None) -> str:
    """Return a warning where another reading of the values scores much better; empty where none does."""
    scored = counts.miou()
    best = 0.0
    words = ""
    for other, reading in _readings(counts.classes, category_ids):
        found = read_as(counts, reading)
        # Several may fit in part: category ids are one too high for a while, then more.
        if found > best:
            best, words = found, other
    if best < _LEAST or best <= _MUCH * scored:
        return ""
    numbers = f"mIoU {100 * scored:.1f} as they stand, {100 * best:.1f} then"
    return f"the values seem to be {words}: {numbers}. They were scored as they stand."


def _readings(
    classes: Sequence[str], category_ids: Reading | None
) -> Iterator[tuple[str, Reading]]:
    last = len(classes) - 1
    # The background is 255 then, or the value after the last class.
    low = {value: value + 1 for value in range(last)}
    yield (
        f"one too low (0 is {classes[min(1, last)]!r}, as if there were no background); write every class one higher",
        {**low, last: 0, IGNORE: 0},
    )
    high = {value: value - 1 for value in range(1, last + 1)}
    yield "one too high (1 is the background); write every class one lower", high
    if category_ids:
        yield (
            "category ids of the annotations; write mask ids, in the order of the categories",
            {0: 0, **category_ids},
        )


def read_as(counts: Counts, reading: Reading) -> float:
    """Return the mIoU that the same label maps would have if their values meant what `reading` says."""
    last = len(counts.classes) - 1
    moved = np.zeros_like(counts.confusion)
    for value in [*range(last + 1), IGNORE]:
        # Pixels without a label stand in the last column.
        column = last + 1 if value == IGNORE else value
        target = reading.get(value, last + 1)
        moved[:, target] += counts.confusion[:, column]
    hit = np.diagonal(moved)
    iou = class_iou(hit, moved[:, :-1].sum(0), moved.sum(1))
    return float(mean_iou(iou))
