"""Paired bootstrap over images, seeds x images where several seeds ran; Holm's correction; groups of ties.

Numpy only. Resampling draws images with replacement, adds up their integer counts, and computes the protocol's mIoU of
each resample. All systems see the same draws, so differences are paired. Sums are exact in float64, so the result does
not depend on the order of additions, on threads or on the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np

from wsss_bench.errors import DataError
from wsss_bench.evaluate.arrays import Floats, Ints
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.rng import generator

RESAMPLES = 10_000
"""How many resamples a board's intervals rest on."""

# Cells of a chunk of draws, which bound the memory it takes to some forty megabytes. Results do not depend on it.
_CHUNK_CELLS = 2_000_000

Rows = Ints
_Group = frozenset[int]


@dataclass(frozen=True)
class Interval:
    """A point estimate and its percentile interval; fractions, not percent."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Second minus first: point estimate, percentile interval, and the two-sided bootstrap p-value."""

    value: float
    low: float
    high: float
    p: float


class Resamples:
    """`n` bootstrap resamples of `n_images` images, drawn from a seed; the draws are repeated, not stored."""

    def __init__(
        self,
        n_images: int,
        n: int = RESAMPLES,
        seed: object = 0,
    ) -> None:
        if n_images < 1 or n < 1:
            what = "a bootstrap needs at least one image and one resample"
            raise DataError(f"{what}, not {n_images} and {n}.")
        self.n_images = n_images
        self.n = n
        self.seed = seed

    def weights(self) -> Iterator[Floats]:
        """Yield chunks ``float64 [B, N]`` that say how often each image was drawn in each resample.

        Every row adds up to N.
        """
        draws = generator("bootstrap", self.seed)
        chunk = max(1, _CHUNK_CELLS // self.n_images)
        for start in range(0, self.n, chunk):
            size = min(chunk, self.n - start)
            shape = (size, self.n_images)
            drawn = draws.integers(0, self.n_images, size=shape, dtype=np.int32)
            # Each resample counts in a range of its own, so that one call counts them all.
            resample = np.arange(size, dtype=np.int32)[:, None]
            drawn += resample * np.int32(self.n_images)
            flat = drawn.ravel()
            times = np.bincount(flat, minlength=flat.size)
            yield times.reshape(shape).astype(np.float64)

    def class_iou(self, systems: Sequence[Rows]) -> Floats:
        """Return the IoU per class in every resample, ``float64 [S, n, C+1]``, for S systems ``int64 [N, C+1, 3]``.

        Raises:
            DataError: a system has another number of images or classes than the first.
        """
        classes = systems[0].shape[1]
        shape = (self.n_images, classes, 3)
        shapes = [rows.shape for rows in systems]
        if any(found != shape for found in shapes):
            what = f"systems of shapes {shapes} cannot be compared"
            raise DataError(f"{what}; all must be {shape}.")
        # Flat, and in the type of the weights: the sums of a chunk are then one matrix product.
        flat = [_flat(rows) for rows in systems]
        out = np.empty((len(systems), self.n, classes))
        start = 0
        for weights in self.weights():
            stop = start + len(weights)
            for target, rows in zip(out, flat, strict=True):
                summed = weights @ rows
                areas = summed.reshape(-1, classes, 3)
                hit, predicted, true = np.moveaxis(areas, -1, 0)
                target[start:stop] = class_iou(hit, predicted, true)
            start = stop
        return out

    def miou(self, systems: Sequence[Rows]) -> Floats:
        """Return the mIoU of every resample, ``float64 [S, n]``; arguments and errors are those of `class_iou`."""
        return mean_iou(self.class_iou(systems))

    def over_seeds(self, per_seed: Floats, name: object = "") -> Floats:
        """Resample the S seeds of one method as well: return ``[n, ...]`` of ``per_seed [S, n, ...]``.

        In every resample S seeds are drawn with replacement and averaged, each on that resample's images. One seed is
        returned as it is. `name` keeps the draws of two methods apart.
        """
        seeds = len(per_seed)
        if seeds == 1:
            return per_seed[0]
        draws = generator("bootstrap seeds", self.seed, name)
        shape = (self.n, seeds)
        drawn = draws.integers(0, seeds, size=shape)
        resample = np.arange(self.n)[:, None]
        picked = per_seed[drawn, resample]
        # The protocol's mean and not a plain one: a class may be absent from the images of a resample.
        seeds_last = np.moveaxis(picked, 1, -1)
        return mean_iou(seeds_last)


def _flat(rows: Rows) -> Floats:
    flat = rows.reshape(len(rows), -1)
    return np.ascontiguousarray(flat, np.float64)


def interval(
    value: float,
    resampled: Floats,
    level: float = 0.95,
) -> Interval:
    """Return the percentile interval of ``resampled [n]`` around a point estimate; NaN resamples are left out."""
    low, high = _percentiles(resampled, level)
    return Interval(value, low, high)


def compare(
    value: float,
    first: Floats,
    second: Floats,
    level: float = 0.95,
) -> Difference:
    """Return the paired difference ``second - first`` of two systems' resamples ``[n]``, around its point estimate.

    ``p = 2 (1 + min(#(d <= 0), #(d >= 0))) / (n + 1)``, at most 1: never 0, and 1 for two equal systems.
    """
    moved = second - first
    moved = moved[~np.isnan(moved)]
    low, high = _percentiles(moved, level)
    below = int((moved <= 0).sum())
    above = int((moved >= 0).sum())
    # One more than was counted, as if the observed value were a resample: n draws cannot show a p of 0.
    tail = 1 + min(below, above)
    p = 2 * tail / (len(moved) + 1)
    return Difference(value, low, high, min(1.0, p))


def _percentiles(values: Floats, level: float) -> tuple[float, float]:
    there = values[~np.isnan(values)]
    if not there.size:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(there, [tail, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjustment of p-values.

    The k-th smallest of m is multiplied by m - k + 1, kept monotone, capped at 1.
    """
    number = len(p_values)
    order = sorted(range(number), key=p_values.__getitem__)
    adjusted = [0.0] * number
    running = 0.0
    for rank, index in enumerate(order):
        factor = number - rank
        capped = min(1.0, p_values[index] * factor)
        # A larger p must not end up below a smaller one, whose factor was larger.
        running = max(running, capped)
        adjusted[index] = running
    return adjusted


def tie_groups(n: int, different: set[tuple[int, int]]) -> list[str]:
    """Return letters for n ranked systems: two share a letter exactly if they do not differ.

    `different` holds the pairs ``(i, j)``, i < j, that do.

    Piepho's insert-and-absorb (2004): start from one group of all; split every group that holds a differing pair; drop
    groups inside others.
    """
    groups = [frozenset(range(n))]
    for first, second in sorted(different):
        groups = _absorbed(_parted(groups, first, second))
    # No system at all leaves one empty group.
    ranked = sorted(filter(None, groups), key=sorted)
    return [_letters(ranked, system) for system in range(n)]


def _parted(
    groups: Iterable[_Group],
    first: int,
    second: int,
) -> set[_Group]:
    """Return the groups, those that hold both systems split into one without the first and one without the second."""
    parts: set[_Group] = set()
    for group in groups:
        if first in group and second in group:
            parts.add(group - {first})
            parts.add(group - {second})
        else:
            parts.add(group)
    return parts


def _absorbed(groups: set[_Group]) -> list[_Group]:
    """Return the groups that lie in no other, the largest first."""
    kept: list[_Group] = []
    for group in sorted(groups, key=_largest_first):
        # Whatever holds a group is larger and was met before.
        if not any(group < other for other in kept):
            kept.append(group)
    return kept


def _largest_first(group: _Group) -> tuple[int, list[int]]:
    return -len(group), sorted(group)


def _letters(groups: Sequence[_Group], system: int) -> str:
    held = (index for index, group in enumerate(groups) if system in group)
    return "".join(map(_letter, held))


def _letter(index: int) -> str:
    # After z come numbers, in brackets so that two of them can be told apart.
    return ascii_lowercase[index] if index < 26 else f"({index})"
