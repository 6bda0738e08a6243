"""Mean field of a two-kernel dense CRF on permutohedral lattices, compiled, one pass over the pixels per iteration.

Reading messages, normalising and writing the new marginals happen per block of pixels while they are in cache. Labels
are kept in lanes of four, padded, so that one compiled function serves every number of labels and a vertex is one
vector load. Indices of hot loops are unsigned: a signed one would be asked at every access whether it counts from the
end.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.kernels import permutohedral as lattices
from wsss_bench.toolbox.kernels.jit import fast_jit

if TYPE_CHECKING:
    from wsss_bench.toolbox.crf_presets import CrfParams

_LANE = 4
"""Labels are padded to a multiple of this."""

_BLOCK = 64
"""Pixels that are read, normalised and written together."""


class _Points(NamedTuple):
    """What compiled loops need to know of one kernel: its lattice's three arrays, and every point's factor."""

    offsets: NDArray[np.uint32]
    weights: Floats
    neighbours: NDArray[np.uint32]
    factors: Floats


class _Kernel(NamedTuple):
    """One Gaussian kernel of the CRF on one image."""

    lattice: lattices.Lattice
    norm: Floats
    """``[N]``: its symmetric normalisation."""

    def weighted(self, compat: float) -> _Points:
        """Return the lattice, and the factors ``[N]`` with which points are written and read alike.

        Compatibility and the blur's gain belong to a message once: each side gets their root.
        """
        dimensions = self.lattice.offsets.shape[1] - 1
        gain = lattices.blur_gain(dimensions)
        factor = np.float32(np.sqrt(compat * gain))
        return _Points(*self.lattice, self.norm * factor)


def fits(size: tuple[int, int], params: CrfParams) -> bool:
    """Return whether both kernels' lattice coordinates fit into their keys.

    They do not for deviations far below a pixel or a step of colour.
    """
    height, width = size
    place = np.array([width, height], np.float64)
    spatial = lattices.extent(place / params.gauss_sxy)
    colours = np.full(3, 255.0) / params.bilateral_srgb
    features = np.concatenate([place / params.bilateral_sxy, colours])
    bilateral = lattices.extent(features)
    return spatial < lattices.key_range(2) and bilateral < lattices.key_range(5)


def infer(
    image: Bytes,
    unary: Floats,
    params: CrfParams,
    multiplicity: Floats,
) -> Floats:
    """Return marginals ``float32 [K, H, W]``.

    Args:
        image: ``uint8 [H, W, 3]``.
        unary: ``float32 [K, H, W]`` energies.
        params: constants.
        multiplicity: ``float32 [K]``: how many times a label counts in normalisers.

    Raises:
        ValueError: the deviations are too small for the image (see `fits`).
    """
    height, width, _ = image.shape
    size = (height, width)
    if not fits(size, params):
        raise ValueError(
            f"dense_crf: the numba back end cannot hold {params} on "
            f"{width}x{height} pixels; use backend='pydensecrf'."
        )
    labels = len(unary)
    lanes = -(-labels // _LANE) * _LANE
    counts = np.zeros(lanes, np.float32)
    counts[:labels] = multiplicity
    energies = np.ascontiguousarray(unary.reshape(labels, -1))
    smooth = _spatial(size, float(params.gauss_sxy)).weighted(params.gauss_compat)
    appear = _bilateral(image, params).weighted(params.bilateral_compat)
    marginals = _mean_field(energies, counts, *smooth, *appear, params.iterations)
    return marginals.reshape(unary.shape)


# Depends on the size only, and the photographs of a set share few sizes.
@lru_cache(maxsize=8)
def _spatial(size: tuple[int, int], deviation: float) -> _Kernel:
    """Return the smoothness kernel of images of a size."""
    return _kernel(_places(size, deviation))


def _bilateral(image: Bytes, params: CrfParams) -> _Kernel:
    """Return the appearance kernel of an image."""
    height, width, _ = image.shape
    size = (height, width)
    places = _places(size, params.bilateral_sxy)
    colours = image.reshape(-1, 3).T.astype(np.float32)
    colours = colours / np.float32(params.bilateral_srgb)
    return _kernel(np.concatenate([places, colours]))


def _kernel(features: Floats) -> _Kernel:
    lattice = lattices.build(features)
    return _Kernel(lattice, lattices.normaliser(lattice))


def _places(size: tuple[int, int], deviation: float) -> Floats:
    """Return every pixel's column and row, divided by the deviation: ``[2, H*W]``."""
    rows, columns = np.indices(size, np.float32)
    places = np.stack([columns, rows]).reshape(2, -1)
    return places / np.float32(deviation)


@fast_jit
def _blur(values, scratch, neighbours):  # type: ignore[no-untyped-def]
    """Blur flat ``values [rows * lanes]`` along every direction; return the blurred array and the other one."""
    stride = np.uint64(len(values) // neighbours.shape[1])
    half = np.float32(0.5)
    for j in range(neighbours.shape[0]):
        # Row 0 stands for vertices that do not exist: it is read, and stays 0.
        for m in range(1, neighbours.shape[1]):
            own = np.uint64(m) * stride
            before = np.uint64(neighbours[j, m, 0]) * stride
            after = np.uint64(neighbours[j, m, 1]) * stride
            for k in range(np.uint64(0), stride):
                scratch[own + k] = values[own + k] + half * (
                    values[before + k] + values[after + k]
                )
        values, scratch = scratch, values
    return values, scratch


@fast_jit
def _read(values, offsets, weights, factors, start, count, energy):  # type: ignore[no-untyped-def]
    """Add to ``energy [lanes, 64]`` the messages of a block of points: weighted sums over their vertices."""
    stride = np.uint64(energy.shape[0])
    for b in range(count):
        p = start + b
        f = factors[p]
        for lane in range(0, energy.shape[0], 4):
            # Four sums by name: the compiler keeps them in one register.
            s0 = s1 = s2 = s3 = np.float32(0)
            for r in range(offsets.shape[1]):
                w = weights[p, r]
                row = np.uint64(offsets[p, r]) * stride
                at = row + np.uint64(lane)
                s0 += w * values[at]
                s1 += w * values[at + np.uint64(1)]
                s2 += w * values[at + np.uint64(2)]
                s3 += w * values[at + np.uint64(3)]
            energy[lane, b] += f * s0
            energy[lane + 1, b] += f * s1
            energy[lane + 2, b] += f * s2
            energy[lane + 3, b] += f * s3


@fast_jit
def _write(values, offsets, weights, factors, start, count, q):  # type: ignore[no-untyped-def]
    """Splat the marginals ``q [lanes, 64]`` of a block of points into their vertices."""
    stride = np.uint64(q.shape[0])
    for b in range(count):
        p = start + b
        f = factors[p]
        for lane in range(0, q.shape[0], 4):
            q0 = f * q[lane, b]
            q1 = f * q[lane + 1, b]
            q2 = f * q[lane + 2, b]
            q3 = f * q[lane + 3, b]
            for r in range(offsets.shape[1]):
                w = weights[p, r]
                row = np.uint64(offsets[p, r]) * stride
                at = row + np.uint64(lane)
                values[at] += w * q0
                values[at + np.uint64(1)] += w * q1
                values[at + np.uint64(2)] += w * q2
                values[at + np.uint64(3)] += w * q3


@fast_jit
def _softmax(energy, counts, power, power_bits, top, total):  # type: ignore[no-untyped-def]
    """Softmax over lanes of ``energy [lanes, 64]`` in place; lane k counts ``counts[k]`` times in the sum.

    `power` is a view of `power_bits` as float32; `top` and `total` are room for one number per pixel.
    """
    lanes, block = energy.shape
    for b in range(block):
        top[b] = energy[0, b]
        total[b] = np.float32(0)
    for k in range(1, lanes):
        for b in range(block):
            top[b] = max(top[b], energy[k, b])
    for k in range(lanes):
        # e^x = 2^i * 2^f, because the library's exponential would be called number by
        # number. 2^f is a polynomial, and 2^i an exponent written as bits.
        for b in range(block):
            # log2(e). Below 2^-120 the exponent would leave the bits' range.
            scaled = (energy[k, b] - top[b]) * np.float32(1.4426950408889634)
            z = max(scaled, np.float32(-120))
            whole = np.int32(z - np.float32(0.5))
            # Back to base e by ln(2), where Taylor's coefficients are the factorials'.
            f = (z - np.float32(whole)) * np.float32(0.6931471805599453)
            tail = np.float32(1 / 120) + f * np.float32(1 / 720)
            tail = np.float32(1 / 24) + f * tail
            tail = np.float32(1 / 6) + f * tail
            tail = np.float32(0.5) + f * tail
            tail = np.float32(1) + f * tail
            energy[k, b] = np.float32(1) + f * tail
            power_bits[b] = (whole + np.int32(127)) << np.int32(23)
        for b in range(block):
            energy[k, b] *= power[b]
            total[b] += counts[k] * energy[k, b]
    for b in range(block):
        total[b] = np.float32(1) / total[b]
    for k in range(lanes):
        for b in range(block):
            energy[k, b] *= total[b]


@fast_jit
def _mean_field(  # type: ignore[no-untyped-def]
    unary, counts, off_s, wei_s, nbr_s, fac_s, off_a, wei_a, nbr_a, fac_a, iterations
):
    """Run all iterations of two kernels on ``unary [K, N]``; return the marginals ``[K, N]``.

    The arrays of `_Points` come once for smoothness (s), once for appearance (a). As tuples they would cost: blocks are
    small, and handing tuples on to the functions above counts references to every array each time, 8 % of the run.
    """
    labels, n = unary.shape
    lanes = len(counts)
    smooth_size = nbr_s.shape[1] * lanes
    appear_size = nbr_a.shape[1] * lanes
    # Two arrays each: marginals are written into one while the other is read.
    smooth_old = np.zeros(smooth_size, np.float32)
    smooth_new = np.zeros(smooth_size, np.float32)
    appear_old = np.zeros(appear_size, np.float32)
    appear_new = np.zeros(appear_size, np.float32)
    energy = np.zeros((lanes, _BLOCK), np.float32)
    power_bits = np.empty(_BLOCK, np.int32)
    power = power_bits.view(np.float32)
    top = np.empty(_BLOCK, np.float32)
    total = np.empty(_BLOCK, np.float32)
    out = np.empty((labels, n), np.float32)
    # One round more than iterations: the first only writes marginals, the last only reads
    # messages.
    for iteration in range(iterations + 1):
        if iteration > 0:
            smooth_old, smooth_new = _blur(smooth_old, smooth_new, nbr_s)
            appear_old, appear_new = _blur(appear_old, appear_new, nbr_a)
            smooth_new[:] = np.float32(0)
            appear_new[:] = np.float32(0)
        for start in range(0, n, _BLOCK):
            count = min(_BLOCK, n - start)
            for k in range(lanes):
                # Padding repeats label 0 and counts 0 times: it stays finite and touches
                # no other lane.
                row = k if k < labels else 0
                for b in range(count):
                    energy[k, b] = -unary[row, start + b]
            if iteration > 0:
                _read(smooth_old, off_s, wei_s, fac_s, start, count, energy)
                _read(appear_old, off_a, wei_a, fac_a, start, count, energy)
            _softmax(energy, counts, power, power_bits, top, total)
            if iteration < iterations:
                _write(smooth_new, off_s, wei_s, fac_s, start, count, energy)
                _write(appear_new, off_a, wei_a, fac_a, start, count, energy)
            else:
                for k in range(labels):
                    for b in range(count):
                        out[k, start + b] = energy[k, b]
        smooth_old, smooth_new = smooth_new, smooth_old
        appear_old, appear_new = appear_new, appear_old
    return out
