"""The two hot loops, compiled. Only `counts` and `curves` import this module, and only when the first image arrives."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def joint_histogram(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], slots: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Count pairs of values: ``int64 [size, size]``, rows truth, columns prediction; `slots` maps a byte to its row.

    Two histograms are filled in turn, because one store right behind another to the same cell waits for it.
    """
    even = np.zeros(size * size, np.int64)
    odd = np.zeros(size * size, np.int64)
    pixels = truth.size
    for index in range(0, pixels - 1, 2):
        even[slots[truth[index]] * size + slots[prediction[index]]] += 1
        odd[slots[truth[index + 1]] * size + slots[prediction[index + 1]]] += 1
    if pixels % 2:
        even[slots[truth[pixels - 1]] * size + slots[prediction[pixels - 1]]] += 1
    return (even + odd).reshape(size, size)


@njit(cache=True, nogil=True)
def score_histogram(
    scores: NDArray[np.float32], truth: NDArray[np.uint8], rows: NDArray[np.int64], n_rows: int, thresholds: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Count pixels by (truth row, best class, bin): ``int64 [n_rows, K, T + 1]``.

    `scores` is ``[K, P]``, `truth` ``[P]``, `rows` maps a byte of truth to its row. The bin of a pixel is the number of
    thresholds strictly below its best score, so the pixel is foreground at threshold ``i`` exactly if ``i < bin``.
    """
    classes, pixels = scores.shape
    last = thresholds.size
    step = (thresholds[last - 1] - thresholds[0]) / max(last - 1, 1)
    scale = 1.0 / step if step > 0 else 0.0
    out = np.zeros((n_rows, classes, last + 1), np.int64)
    for pixel in range(pixels):
        best, winner = scores[0, pixel], 0
        for k in range(1, classes):
            if scores[k, pixel] > best:
                best, winner = scores[k, pixel], k
        place = min(max(int((best - thresholds[0]) * scale), 0), last)
        while place < last and thresholds[place] < best:
            place += 1
        while place > 0 and thresholds[place - 1] >= best:
            place -= 1
        out[rows[truth[pixel]], winner, place] += 1
    return out
