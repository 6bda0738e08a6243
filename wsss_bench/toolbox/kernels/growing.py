"""Compiled core of region growing: a flood from the cues, so that only reached cells are ever visited."""

from __future__ import annotations

import numpy as np

from wsss_bench.toolbox.arrays import Bytes, Flags, Floats
from wsss_bench.toolbox.kernels.jit import jit

UNSET = 255
"""No cue, no label, or not (any more) to be visited."""


@jit
def _best_labels(cues, probs, classes, theta_f, theta_b, value, labels):  # type: ignore[no-untyped-def]
    """Write the map that components are taken on into `labels`: cues, overwritten by every confident decision.

    All maps are flat. `value` is room for the probabilities of the decisions.
    """
    value[:] = np.float32(-1)
    labels[:] = UNSET
    # Class by class along memory: all cells of one plane, then all of the next.
    for c in classes:
        plane = probs[c]
        name = np.uint8(c)
        for i in range(len(value)):
            # Strict: the lowest class wins a tie, and NaN, which is never greater, wins
            # nothing. Chosen without a branch, so that it becomes vector instructions.
            better = plane[i] > value[i]
            value[i] = plane[i] if better else value[i]
            labels[i] = name if better else labels[i]
    for i in range(len(value)):
        foreground = labels[i] != 0
        sure = value[i] > theta_f and (foreground or value[i] > theta_b)
        labels[i] = labels[i] if sure else cues[i]


@jit
def _flood(cues, present, labels, conduct, around, stack, out):  # type: ignore[no-untyped-def]
    """Grow every tagged cue into `out`; a visited cell of `labels` is set to `UNSET`, so none is visited twice.

    Maps are flat with a frame of `UNSET` around them, which stops growth without a question for the border; `around`
    holds the 8 steps to a cell's neighbours.
    """
    for start in range(len(cues)):
        c = cues[start]
        if c == UNSET or not present[c]:
            continue
        if conduct:
            # The network disagrees with this cue, or an earlier flood came by.
            if labels[start] != c:
                continue
            labels[start] = UNSET
        stack[0] = start
        top = 1
        while top > 0:
            top -= 1
            cell = stack[top]
            for step in around:
                # Unsigned: a signed index would be asked whether it counts from the end.
                near = np.uint64(cell + step)
                if labels[near] != c:
                    continue
                free = cues[near] == UNSET
                # A foreign cue may let growth through (`conduct`), but keeps its label.
                if free or conduct:
                    labels[near] = UNSET
                    if free:
                        out[near] = c
                    stack[top] = np.int64(near)
                    top += 1


@jit
def _around(row):  # type: ignore[no-untyped-def]
    """Return the 8 steps to a cell's neighbours in a flat map of rows of that length."""
    above = [-row - 1, -row, -row + 1]
    beside = [-1, 1]
    below = [row - 1, row, row + 1]
    return np.array(above + beside + below)


@jit
def grow_batch(
    cues: Bytes,
    probs: Floats,
    present: Flags,
    theta_f: np.float32,
    theta_b: np.float32,
    conduct: bool,
) -> Bytes:
    """Do what `region_growing.grow_batch` does, on checked, contiguous arrays.

    Args:
        cues: ``uint8 [B, h, w]``.
        probs: ``float32 [B, C+1, h, w]``.
        present: ``bool [B, C+1]``, background included.
        theta_f: threshold on foreground.
        theta_b: additional threshold on background.
        conduct: see `region_growing.grow`.

    Returns:
        ``uint8 [B, h, w]``.
    """
    images, height, width = cues.shape
    cells = height * width
    flat_cues = cues.reshape(images, cells)
    flat_probs = probs.reshape(images, probs.shape[1], cells)
    # All room is taken once and serves every image.
    best = np.empty((height, width), np.uint8)
    value = np.empty(cells, np.float32)
    framed_cues = np.full((height + 2, width + 2), UNSET, np.uint8)
    labels = framed_cues.copy()
    grown = framed_cues.copy()
    around = _around(width + 2)
    # A cell enters the stack at most once beside its start, so this never overflows.
    stack = np.empty(cells + 1, np.int64)
    out = np.empty_like(cues)
    for image in range(images):
        _best_labels(
            flat_cues[image],
            flat_probs[image],
            np.flatnonzero(present[image]),
            theta_f,
            theta_b,
            value,
            best.ravel(),
        )
        labels[1:-1, 1:-1] = best
        framed_cues[1:-1, 1:-1] = cues[image]
        grown[1:-1, 1:-1] = cues[image]
        _flood(
            framed_cues.ravel(),
            present[image],
            labels.ravel(),
            conduct,
            around,
            stack,
            grown.ravel(),
        )
        out[image] = grown[1:-1, 1:-1]
    return out
