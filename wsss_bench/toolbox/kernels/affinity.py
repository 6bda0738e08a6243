"""Compiled sweeps over pairs of cells for `affinity`, on a CPU: pairs without labels cost nothing, the others one visit."""

from __future__ import annotations

import numpy as np

from wsss_bench.toolbox.kernels.jit import fast_jit, jit


@jit
def count(labels, windows):  # type: ignore[no-untyped-def]
    """Pairs ``float64 [3]`` of background, of one class, of different classes.

    ``labels uint8 [B, h, w]`` (255 unknown), ``windows int64 [P, 6]``: dy, dx, first row, last row + 1, first column, last column + 1.
    """
    total = np.zeros(3)
    for b in range(len(labels)):
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one, two = labels[b, y, x], labels[b, y + dy, x + dx]
                    if one != 255 and two != 255:
                        total[2 if one != two else 0 if one == 0 else 1] += 1
    return total


@fast_jit
def boundary_sweep(values, labels, windows, shifts, starts, weights, floor):  # type: ignore[no-untyped-def]
    """Terms ``float64 [3]`` and gradient ``float32 [B, h*w]`` of the balanced loss of ``1 - max on the way``.

    ``values float32 [B, h*w]``; the cells on pair p's way are ``shifts[starts[p]:starts[p + 1]]`` further, flat; ``weights [3]``
    belong to the kinds of `count`. Of equal maxima the first takes the gradient.
    """
    terms, gradient = np.zeros(3), np.zeros(values.shape, np.float32)
    width = labels.shape[2]
    for b in range(len(labels)):
        source, target = values[b], gradient[b]
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one, two = labels[b, y, x], labels[b, y + dy, x + dx]
                    if one == 255 or two == 255:
                        continue
                    here = y * width + x
                    where, worst = here, source[here]
                    for k in range(starts[p], starts[p + 1]):
                        value = source[here + shifts[k]]
                        if value > worst:
                            where, worst = here + shifts[k], value
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
    """As `boundary_sweep` for ``exp(-mean |difference|)`` of ``values float32 [B, h, w, C]``; the gradient has their shape."""
    terms, gradient = np.zeros(3), np.zeros(values.shape, np.float32)
    channels = values.shape[3]
    for b in range(len(labels)):
        for p in range(len(windows)):
            dy, dx, top, bottom, left, right = windows[p]
            for y in range(top, bottom):
                for x in range(left, right):
                    one, two = labels[b, y, x], labels[b, y + dy, x + dx]
                    if one == 255 or two == 255:
                        continue
                    first, second = values[b, y, x], values[b, y + dy, x + dx]
                    distance = np.float32(0)
                    for c in range(channels):
                        distance += abs(first[c] - second[c])
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
                    up, down = gradient[b, y, x], gradient[b, y + dy, x + dx]
                    for c in range(channels):
                        difference = first[c] - second[c]
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
