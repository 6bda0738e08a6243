"""The two hot loops, compiled.

Only `evaluate.counts` and `evaluate.curves` import this module, and only when the first image arrives: numba is slow to
import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from wsss_bench.evaluate.arrays import Ints, Mask, Scores

_F = TypeVar("_F", bound=Callable[..., Any])
_njit: Any = njit


def _compiled(function: _F) -> _F:
    """Return `function`, compiled on its first call; cached on disk where a cache folder is writable."""
    try:
        compiled: _F = _njit(cache=True, nogil=True)(function)
    except RuntimeError:
        compiled = _njit(nogil=True)(function)
    return compiled


@_compiled
def joint_histogram(
    truth: Mask,
    prediction: Mask,
    slots: Ints,
    size: int,
) -> Ints:
    """Count pairs of values: return ``int64 [size, size]``, rows truth, columns prediction.

    `slots` maps a byte to its row. Label maps are made of runs, so runs are counted, and the table is touched where the
    pair of values changes. There must be at least one pixel.
    """
    table = np.zeros(size * size, np.int64)
    row, column = truth[0], prediction[0]
    run = 0
    for pixel in range(truth.size):
        if truth[pixel] == row and prediction[pixel] == column:
            run += 1
        else:
            table[slots[row] * size + slots[column]] += run
            row, column = truth[pixel], prediction[pixel]
            run = 1
    # The last run ends with the image and not with another pair.
    table[slots[row] * size + slots[column]] += run
    return table.reshape(size, size)


@_compiled
def score_histogram(
    scores: Scores,
    truth: Mask,
    rows: Ints,
    n_rows: int,
    thresholds: Scores,
) -> Ints:
    """Count pixels by (truth row, best class, bin): return ``int64 [n_rows, K, T + 1]``.

    `scores` is ``[K, P]``, `truth` ``[P]``, `rows` maps a byte of truth to its row. The bin of a pixel is the number of
    thresholds strictly below its best score, so the pixel is foreground at threshold ``i`` exactly if ``i < bin``.
    """
    classes, pixels = scores.shape
    last = thresholds.size
    width = thresholds[last - 1] - thresholds[0]
    step = width / max(last - 1, 1)
    # Thresholds are mostly evenly spaced, so a division guesses the bin and two short loops put it right.
    scale = 1.0 / step if step > 0 else 0.0
    out = np.zeros((n_rows, classes, last + 1), np.int64)
    for pixel in range(pixels):
        best = scores[0, pixel]
        winner = 0
        for k in range(1, classes):
            # Strictly greater: of equal scores the smaller id wins.
            if scores[k, pixel] > best:
                best, winner = scores[k, pixel], k
        guess = int((best - thresholds[0]) * scale)
        place = min(max(guess, 0), last)
        while place < last and thresholds[place] < best:
            place += 1
        while place > 0 and thresholds[place - 1] >= best:
            place -= 1
        out[rows[truth[pixel]], winner, place] += 1
    return out
