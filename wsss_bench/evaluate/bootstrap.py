"""Paired bootstrap over images, seeds x images where several seeds ran; Holm's correction; groups of ties.

Numpy only. Resampling draws images with replacement, adds up their integer counts, and computes the protocol's mIoU of
each resample. All systems see the same draws, so differences are paired. Sums are exact in float64, so the result does
not depend on the order of additions, on threads or on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import DataError
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.rng import generator

RESAMPLES = 10_000
_CHUNK_CELLS = 2_000_000

Rows = NDArray[np.int64]


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

    def __init__(self, n_images: int, n: int = RESAMPLES, seed: object = 0) -> None:
        if n_images < 1 or n < 1:
            raise DataError(
                f"a bootstrap needs at least one image and one resample, not {n_images} and {n}."
            )
        self.n_images, self.n, self.seed = n_images, n, seed

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Chunks ``float64 [B, N]`` that say how often each image was drawn in each resample; every row adds up to N."""
        draws = generator("bootstrap", self.seed)
        chunk = max(1, _CHUNK_CELLS // self.n_images)
        for start in range(0, self.n, chunk):
            size = min(chunk, self.n - start)
            index = draws.integers(
                0, self.n_images, size=(size, self.n_images), dtype=np.int32
            )
            index += np.arange(size, dtype=np.int32)[:, None] * np.int32(self.n_images)
            yield (
                np.bincount(index.ravel(), minlength=index.size)
                .reshape(index.shape)
                .astype(np.float64)
            )

    def class_iou(self, systems: Sequence[Rows]) -> NDArray[np.float64]:
        """IoU per class in every resample: ``float64 [S, n, C+1]`` for S systems given as ``int64 [N, C+1, 3]``.

        Raises:
            DataError: a system has another number of images or classes than the first.
        """
        shape = (self.n_images, systems[0].shape[1], 3)
        if any(rows.shape != shape for rows in systems):
            raise DataError(
                f"systems of shapes {[rows.shape for rows in systems]} cannot be compared; all must be {shape}."
            )
        flat = [
            np.ascontiguousarray(rows.reshape(self.n_images, -1), np.float64)
            for rows in systems
        ]
        out = np.empty((len(systems), self.n, shape[1]), np.float64)
        start = 0
        for weights in self.weights():
            stop = start + len(weights)
            for target, rows in zip(out, flat, strict=True):
                sums = (weights @ rows).reshape(len(weights), *shape[1:])
                target[start:stop] = class_iou(sums[..., 0], sums[..., 1], sums[..., 2])
            start = stop
        return out

    def miou(self, systems: Sequence[Rows]) -> NDArray[np.float64]:
        """mIoU of every resample, ``float64 [S, n]``; arguments and errors as `class_iou`."""
        return mean_iou(self.class_iou(systems))

    def over_seeds(
        self, per_seed: NDArray[np.float64], name: object = ""
    ) -> NDArray[np.float64]:
        """Hierarchical resampling: ``[S, n, ...]`` of S seeds of one method to ``[n, ...]``.

        In every resample S seeds are drawn with replacement and averaged, each on that resample's images. One seed is
        returned as it is. `name` keeps the draws of two methods apart.
        """
        seeds = len(per_seed)
        if seeds == 1:
            return per_seed[0]
        drawn = generator("bootstrap seeds", self.seed, name).integers(
            0, seeds, size=(self.n, seeds)
        )
        picked = per_seed[drawn, np.arange(self.n)[:, None]]
        return mean_iou(np.moveaxis(picked, 1, -1))


def interval(
    value: float, resampled: NDArray[np.float64], level: float = 0.95
) -> Interval:
    """Percentile interval of ``resampled [n]`` around a point estimate; NaN resamples are left out."""
    low, high = _percentiles(resampled, level)
    return Interval(value, low, high)


def compare(
    value: float,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    level: float = 0.95,
) -> Difference:
    """The paired difference ``second - first`` of two systems' resamples ``[n]``, around its point estimate.

    ``p = 2 (1 + min(#(d <= 0), #(d >= 0))) / (n + 1)``, at most 1: never 0, and 1 for two equal systems.
    """
    moved = second - first
    moved = moved[~np.isnan(moved)]
    low, high = _percentiles(moved, level)
    tail = min(int((moved <= 0).sum()), int((moved >= 0).sum()))
    return Difference(value, low, high, min(1.0, 2 * (1 + tail) / (len(moved) + 1)))


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    there = values[~np.isnan(values)]
    if not there.size:
        return float("nan"), float("nan")
    low, high = np.quantile(there, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the k-th smallest of m is multiplied by m - k + 1, kept monotone, capped at 1."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = running
    return adjusted


def tie_groups(n: int, different: set[tuple[int, int]]) -> list[str]:
    """Letters for n ranked systems: two share a letter exactly if no pair ``(i, j)``, i < j, in `different` parts them.

    Piepho's insert-and-absorb (2004): start from one group of all; split every group that holds a differing pair; drop
    groups inside others.
    """
    groups = [frozenset(range(n))]
    for i, j in sorted(different):
        split = [
            part
            for g in groups
            for part in ((g - {i}, g - {j}) if i in g and j in g else (g,))
        ]
        unique = sorted(set(split), key=lambda g: (-len(g), sorted(g)))
        groups = [g for g in unique if not any(g < other for other in unique)]
    ranked = sorted((g for g in groups if g), key=sorted)
    return [
        "".join(_letter(k) for k, g in enumerate(ranked) if i in g) for i in range(n)
    ]


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"({index})"
