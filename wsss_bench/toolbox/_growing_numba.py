"""Compiled core of region growing: a flood from the cues, so that only reached cells are ever visited."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsss_bench.toolbox._jit import jit

UNSET = 255


@jit
def _best_labels(
    cues: NDArray[np.uint8],
    probs: NDArray[np.float32],
    classes: NDArray[np.int64],
    theta_f: np.float32,
    theta_b: np.float32,
    labels: NDArray[np.uint8],
) -> None:
    """Write the map that components are taken on: the cues, overwritten by every confident decision."""
    height, width = cues.shape
    for y in range(height):
        for x in range(width):
            best, value = UNSET, np.float32(-1.0)
            for c in classes:
                if probs[c, y, x] > value:
                    best, value = c, probs[c, y, x]
            sure = value > theta_f and (best != 0 or value > theta_b)
            labels[y, x] = best if sure else cues[y, x]


@jit
def _flood(
    cues: NDArray[np.uint8],
    present: NDArray[np.bool_],
    labels: NDArray[np.uint8],
    conduct: bool,
    stack: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Grow every tagged cue into `out`; a visited cell of `labels` is set to UNSET, so none is visited twice."""
    height, width = cues.shape
    for start in range(height * width):
        c = cues[start // width, start % width]
        if c == UNSET or not present[c]:
            continue
        if conduct:
            if labels[start // width, start % width] != c:
                continue
            labels[start // width, start % width] = UNSET
        stack[0], top = start, 1
        while top > 0:
            top -= 1
            y, x = stack[top] // width, stack[top] % width
            for ny in range(max(y - 1, 0), min(y + 2, height)):
                for nx in range(max(x - 1, 0), min(x + 2, width)):
                    if labels[ny, nx] != c or not (conduct or cues[ny, nx] == UNSET):
                        continue
                    labels[ny, nx] = UNSET
                    if cues[ny, nx] == UNSET:
                        out[ny, nx] = c
                    stack[top] = ny * width + nx
                    top += 1


@jit
def grow_batch(
    cues: NDArray[np.uint8],
    probs: NDArray[np.float32],
    present: NDArray[np.bool_],
    theta_f: np.float32,
    theta_b: np.float32,
    conduct: bool,
) -> NDArray[np.uint8]:
    out = cues.copy()
    labels = np.empty(cues.shape[1:], np.uint8)
    # A cell enters the stack at most once beside its start, so this never overflows.
    stack = np.empty(labels.size + 1, np.int64)
    for image in range(cues.shape[0]):
        classes = np.flatnonzero(present[image])
        _best_labels(cues[image], probs[image], classes, theta_f, theta_b, labels)
        _flood(cues[image], present[image], labels, conduct, stack, out[image])
    return out
