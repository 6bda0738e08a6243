"""Compiled sweeps over pairs of cells for `affinity` on a CPU: pairs without labels cost nothing, others one visit.

A pair's kind is an index: 0 both background, 1 both of one foreground class, 2 of different classes.
"""

from __future__ import annotations

import numpy as np

from wsss_bench.toolbox.kernels.jit import fast_jit, jit


@jit
def count(labels, windows):  # type: ignore[no-untyped-def]
    """Count the pairs of each kind.

    Args:
        labels: ``uint8 [B, h, w]``, 255 unknown.
        windows: ``int64 [P, 6]``: dy, dx, first row, last row + 1, first column, last column + 1.

    Returns:
        ``float64 [3]``: floats, since all that follows divides by them.
    """
    total = np.zeros(3)
    for b in range(len(labels)):
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one = labels[b, y, x]
                    two = labels[b, y + dy, x + dx]
                    if one != 255 and two != 255:
                        total[2 if one != two else 0 if one == 0 else 1] += 1
    return total


@fast_jit
def boundary_sweep(  # type: ignore[no-untyped-def]
    values,
    labels,
    windows,
    shifts,
    starts,
    weights,
    floor,
):
    """Sum the balanced loss of the affinity ``1 - max on the way``, and its gradient.

    Args:
        values: ``float32 [B, h*w]`` boundary probabilities.
        labels: as for `count`.
        windows: as for `count`.
        shifts: the cells on pair p's way lie ``shifts[starts[p]:starts[p + 1]]`` further, in a flat map.
        starts: ``int64 [P + 1]``.
        weights: ``float64 [3]``, of the kinds.
        floor: added inside logarithms.

    Returns:
        Terms ``float64 [3]`` by kind, and the gradient ``float32 [B, h*w]``.
    """
    terms = np.zeros(3)
    gradient = np.zeros(values.shape, np.float32)
    width = labels.shape[2]
    for b in range(len(labels)):
        source = values[b]
        target = gradient[b]
        # Offsets outside, cells inside: neighbouring cells then read neighbouring memory.
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one = labels[b, y, x]
                    two = labels[b, y + dy, x + dx]
                    if one == 255 or two == 255:
                        continue
                    here = y * width + x
                    where = here
                    worst = source[here]
                    for k in range(starts[p], starts[p + 1]):
                        value = source[here + shifts[k]]
                        # Strict, so that of equal maxima the first takes the gradient,
                        # as in the way without a compiler.
                        if value > worst:
                            where = here + shifts[k]
                            worst = value
                    if one != two:
                        apart = worst + floor
                        terms[2] -= weights[2] * np.log(apart)
                        target[where] -= np.float32(weights[2] / apart)
                    else:
                        kind = 0 if one == 0 else 1
                        near = 1 - worst + floor
                        terms[kind] -= weights[kind] * np.log(near)
                        target[where] += np.float32(weights[kind] / near)
    return terms, gradient


@fast_jit
def feature_sweep(values, labels, windows, weights, floor):  # type: ignore[no-untyped-def]
    """Sum the balanced loss of the affinity ``exp(-mean |difference|)``, and its gradient.

    Args:
        values: ``float32 [B, h, w, C]``.
        labels: as for `count`.
        windows: as for `count`.
        weights: ``float64 [3]``, of the kinds.
        floor: added inside logarithms.

    Returns:
        Terms ``float64 [3]`` by kind, and the gradient ``float32 [B, h, w, C]``.
    """
    terms = np.zeros(3)
    gradient = np.zeros(values.shape, np.float32)
    channels = values.shape[3]
    for b in range(len(labels)):
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one = labels[b, y, x]
                    two = labels[b, y + dy, x + dx]
                    if one == 255 or two == 255:
                        continue
                    first = values[b, y, x]
                    second = values[b, y + dy, x + dx]
                    distance = np.float32(0)
                    for c in range(channels):
                        distance += abs(first[c] - second[c])
                    # In double precision from here: 1 - affinity of similar cells is
                    # small, and the logarithm wants its digits.
                    affinity = np.exp(-np.float64(distance) / channels)
                    if one != two:
                        apart = 1 + floor - affinity
                        terms[2] -= weights[2] * np.log(apart)
                        slope = weights[2] / apart
                    else:
                        kind = 0 if one == 0 else 1
                        near = affinity + floor
                        terms[kind] -= weights[kind] * np.log(near)
                        slope = -weights[kind] / near
                    pull = np.float32(-slope * affinity / channels)
                    up = gradient[b, y, x]
                    down = gradient[b, y + dy, x + dx]
                    for c in range(channels):
                        difference = first[c] - second[c]
                        # A choice of values, not branches, so that it becomes vector
                        # instructions.
                        step = (
                            pull
                            if difference > 0
                            else -pull
                            if difference < 0
                            else np.float32(0)
                        )
                        up[c] += step
                        down[c] -= step
    return terms, gradient
