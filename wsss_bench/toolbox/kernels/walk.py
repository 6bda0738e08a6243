"""Compiled random walk on a grid: symmetric affinities as a stencil of planes, no matrix."""

from __future__ import annotations

import numpy as np

from wsss_bench.toolbox.kernels.jit import fused_jit


@fused_jit
def walk(x, planes, scale, shifts, margin, steps):  # type: ignore[no-untyped-def]
    """Take `steps` averages ``x[j] += scale[j] * sum over partners of a * (x[partner] - x[j])``; overwrites `x`.

    Grids are flat with rows padded by zeros, and `margin` cells of padding in front and behind, so that a cell's
    partner k is the cell ``shifts[k]`` further, and back: ``x float32 [K, cells]``, ``planes float32 [P, cells]`` (P
    even, as it is for every half disc), ``scale float32 [cells]``, one over the sum of a cell's affinities.
    Returns ``float32 [K, cells]``.
    """
    cells = x.shape[1]
    flat_planes = planes.ravel()
    fresh = x.copy()
    total = np.zeros(256, np.float32)
    for _ in range(steps):
        # 256 cells at a time: their sums, their neighbours and the planes stay in cache
        # while all classes and all offsets pass over them.
        for start in range(margin, cells - margin, 256):
            # Unsigned indices: signed ones would be asked whether they count from the end.
            count = np.uint64(min(256, cells - margin - start))
            here = np.uint64(start)
            for c in range(x.shape[0]):
                source = x[c]
                target = fresh[c]
                for i in range(np.uint64(0), count):
                    total[i] = 0
                # Two offsets at a time halve the loads and stores of `total`.
                for k in range(0, len(shifts), 2):
                    p_shift = shifts[k]
                    q_shift = shifts[k + 1]
                    p_row = k * cells + start
                    q_row = (k + 1) * cells + start
                    p = np.uint64(p_row)
                    q = np.uint64(q_row)
                    # An affinity is stored at the first of its two cells, so the way back
                    # is found at the partner.
                    p_back = np.uint64(p_row - p_shift)
                    q_back = np.uint64(q_row - q_shift)
                    p_next = np.uint64(start + p_shift)
                    q_next = np.uint64(start + q_shift)
                    p_last = np.uint64(start - p_shift)
                    q_last = np.uint64(start - q_shift)
                    for i in range(np.uint64(0), count):
                        # Differences first: constants stay exactly as they are, and
                        # rounding is relative to the differences only.
                        own = source[here + i]
                        total[i] += (
                            flat_planes[p + i] * (source[p_next + i] - own)
                            + flat_planes[p_back + i] * (source[p_last + i] - own)
                            + flat_planes[q + i] * (source[q_next + i] - own)
                            + flat_planes[q_back + i] * (source[q_last + i] - own)
                        )
                for i in range(np.uint64(0), count):
                    target[here + i] = source[here + i] + scale[here + i] * total[i]
        x, fresh = fresh, x
    return x
