"""Compiled random walk on a grid: symmetric affinities as a stencil of planes, no matrix."""

from __future__ import annotations

import numpy as np

from wsss_bench.toolbox.kernels.jit import fused_jit


@fused_jit
def walk(x, planes, scale, shifts, margin, steps):  # type: ignore[no-untyped-def]
    """Take `steps` averages ``x[j] += scale[j] * sum over partners of a * (x[partner] - x[j])``; overwrites `x`.

    Grids are flat with rows padded by zeros, and `margin` cells of padding in front and behind, so that a cell's partner k is
    the cell ``shifts[k]`` further, and back: ``x [K, cells]``, ``planes [P, cells]`` (P even, as it is for every half
    disc), ``scale [cells]``. Taking differences first keeps constants exactly and rounds relative to the differences only.
    Returns ``[K, cells]``.
    """
    cells = x.shape[1]
    flat_planes = planes.ravel()
    fresh = x.copy()
    total = np.zeros(256, np.float32)
    for _ in range(steps):
        for start in range(margin, cells - margin, 256):
            count = np.uint64(min(256, cells - margin - start))
            here = np.uint64(start)
            for c in range(x.shape[0]):
                source, target = x[c], fresh[c]
                for i in range(np.uint64(0), count):
                    total[i] = 0
                for k in range(0, len(shifts), 2):
                    p, q = (
                        np.uint64(k * cells + start),
                        np.uint64((k + 1) * cells + start),
                    )
                    p_back, q_back = (
                        np.uint64(k * cells + start - shifts[k]),
                        np.uint64((k + 1) * cells + start - shifts[k + 1]),
                    )
                    p_next, q_next = (
                        np.uint64(start + shifts[k]),
                        np.uint64(start + shifts[k + 1]),
                    )
                    p_last, q_last = (
                        np.uint64(start - shifts[k]),
                        np.uint64(start - shifts[k + 1]),
                    )
                    for i in range(np.uint64(0), count):
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
