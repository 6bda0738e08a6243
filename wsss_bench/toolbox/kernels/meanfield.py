"""Mean field of a two-kernel dense CRF on permutohedral lattices, compiled, one pass over the pixels per iteration.

Reading messages, normalising and writing the new marginals happen per block of pixels while they are in cache. Labels are
kept in lanes of four, padded, so that one compiled function serves every number of labels and a vertex is one vector load.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss_bench.toolbox.kernels import permutohedral as lattices
from wsss_bench.toolbox.kernels.jit import fast_jit

if TYPE_CHECKING:
    from wsss_bench.toolbox.crf_presets import CrfParams

_LANE = 4


class _Kernel(NamedTuple):
    lattice: lattices.Lattice
    norm: NDArray[np.float32]

    def weighted(
        self, compat: float
    ) -> tuple[
        NDArray[np.uint32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.float32]
    ]:
        """The lattice and ``[N]`` factors for writing and reading alike: half of compatibility and gain, as a root, in either."""
        factor = np.float32(
            np.sqrt(compat * lattices.blur_gain(self.lattice.offsets.shape[1] - 1))
        )
        return (*self.lattice, self.norm * factor)


def fits(size: tuple[int, int], params: CrfParams) -> bool:
    """Whether both kernels' lattice coordinates fit into their keys: not for deviations far below a pixel or a colour step."""
    place = np.array([size[1], size[0]], np.float64)
    spatial = lattices.extent(place / params.gauss_sxy) < lattices.key_range(2)
    features = np.concatenate(
        [place / params.bilateral_sxy, np.full(3, 255.0) / params.bilateral_srgb]
    )
    return spatial and lattices.extent(features) < lattices.key_range(5)


def infer(
    image: NDArray[np.uint8],
    unary: NDArray[np.float32],
    params: CrfParams,
    multiplicity: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Marginals ``float32 [K, H, W]`` of ``[K, H, W]`` energies; label k counts ``multiplicity[k]`` times in normalisers.

    Raises:
        ValueError: the deviations are too small for the image (see `fits`).
    """
    size = (image.shape[0], image.shape[1])
    if not fits(size, params):
        raise ValueError(
            f"dense_crf: the numba back end cannot hold {params} on {size[1]}x{size[0]} pixels; use backend='pydensecrf'."
        )
    labels = len(unary)
    counts = np.zeros(-(-labels // _LANE) * _LANE, np.float32)
    counts[:labels] = multiplicity
    energies = np.ascontiguousarray(unary.reshape(labels, -1))
    smooth = _spatial(size, float(params.gauss_sxy)).weighted(params.gauss_compat)
    appearance = _bilateral(image, params).weighted(params.bilateral_compat)
    return _mean_field(
        energies, counts, *smooth, *appearance, params.iterations
    ).reshape(unary.shape)


@lru_cache(maxsize=8)
def _spatial(size: tuple[int, int], deviation: float) -> _Kernel:
    """The smoothness kernel depends on the size only; images of a set share few sizes."""
    lattice = lattices.build(_places(size, deviation))
    return _Kernel(lattice, lattices.normaliser(lattice))


def _bilateral(image: NDArray[np.uint8], params: CrfParams) -> _Kernel:
    colours = image.reshape(-1, 3).T.astype(np.float32) / np.float32(
        params.bilateral_srgb
    )
    lattice = lattices.build(
        np.concatenate(
            [_places((image.shape[0], image.shape[1]), params.bilateral_sxy), colours]
        )
    )
    return _Kernel(lattice, lattices.normaliser(lattice))


def _places(size: tuple[int, int], deviation: float) -> NDArray[np.float32]:
    rows, columns = np.indices(size, np.float32)
    return np.stack([columns.ravel(), rows.ravel()]) / np.float32(deviation)


@fast_jit
def _blur(values, scratch, neighbours):  # type: ignore[no-untyped-def]
    """Blur flat ``values [rows * lanes]`` along every direction; returns the blurred array and the other one."""
    stride, half = np.uint64(len(values) // neighbours.shape[1]), np.float32(0.5)
    for j in range(neighbours.shape[0]):
        for m in range(1, neighbours.shape[1]):
            own = np.uint64(m) * stride
            before, after = (
                np.uint64(neighbours[j, m, 0]) * stride,
                np.uint64(neighbours[j, m, 1]) * stride,
            )
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
            s0 = s1 = s2 = s3 = np.float32(0)
            for r in range(offsets.shape[1]):
                w = weights[p, r]
                at = np.uint64(offsets[p, r]) * stride + np.uint64(lane)
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
            q0, q1, q2, q3 = (
                f * q[lane, b],
                f * q[lane + 1, b],
                f * q[lane + 2, b],
                f * q[lane + 3, b],
            )
            for r in range(offsets.shape[1]):
                w = weights[p, r]
                at = np.uint64(offsets[p, r]) * stride + np.uint64(lane)
                values[at] += w * q0
                values[at + np.uint64(1)] += w * q1
                values[at + np.uint64(2)] += w * q2
                values[at + np.uint64(3)] += w * q3


@fast_jit
def _softmax(energy, counts, power, power_bits, top, total):  # type: ignore[no-untyped-def]
    """Softmax over lanes of ``energy [lanes, 64]`` in place, by a polynomial for 2^f and the exponent bits for 2^i."""
    lanes, block = energy.shape
    for b in range(block):
        top[b] = energy[0, b]
        total[b] = np.float32(0)
    for k in range(1, lanes):
        for b in range(block):
            top[b] = max(top[b], energy[k, b])
    for k in range(lanes):
        for b in range(block):
            z = max(
                (energy[k, b] - top[b]) * np.float32(1.4426950408889634),
                np.float32(-120),
            )
            whole = np.int32(z - np.float32(0.5))
            f = (z - np.float32(whole)) * np.float32(0.6931471805599453)
            tail = np.float32(1 / 6) + f * (
                np.float32(1 / 24) + f * (np.float32(1 / 120) + f * np.float32(1 / 720))
            )
            energy[k, b] = np.float32(1) + f * (
                np.float32(1) + f * (np.float32(0.5) + f * tail)
            )
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
def _mean_field(
    unary, counts, off_s, wei_s, nbr_s, fac_s, off_a, wei_a, nbr_a, fac_a, iterations
):  # type: ignore[no-untyped-def]
    """All iterations on ``unary [K, N]``; per kernel (s: smoothness, a: appearance) its lattice and factors -> ``[K, N]``."""
    labels, n = unary.shape
    lanes = len(counts)
    val_s, new_s = (
        np.zeros(nbr_s.shape[1] * lanes, np.float32),
        np.zeros(nbr_s.shape[1] * lanes, np.float32),
    )
    val_a, new_a = (
        np.zeros(nbr_a.shape[1] * lanes, np.float32),
        np.zeros(nbr_a.shape[1] * lanes, np.float32),
    )
    energy = np.zeros((lanes, 64), np.float32)
    power_bits, top, total = (
        np.empty(64, np.int32),
        np.empty(64, np.float32),
        np.empty(64, np.float32),
    )
    power = power_bits.view(np.float32)
    out = np.empty((labels, n), np.float32)
    for iteration in range(iterations + 1):
        if iteration > 0:
            val_s, new_s = _blur(val_s, new_s, nbr_s)
            val_a, new_a = _blur(val_a, new_a, nbr_a)
            new_s[:] = np.float32(0)
            new_a[:] = np.float32(0)
        for start in range(0, n, 64):
            count = min(64, n - start)
            for k in range(lanes):
                # Padding repeats label 0 and counts 0 times: it stays finite and touches no other lane.
                row = k if k < labels else 0
                for b in range(count):
                    energy[k, b] = -unary[row, start + b]
            if iteration > 0:
                _read(val_s, off_s, wei_s, fac_s, start, count, energy)
                _read(val_a, off_a, wei_a, fac_a, start, count, energy)
            _softmax(energy, counts, power, power_bits, top, total)
            if iteration < iterations:
                _write(new_s, off_s, wei_s, fac_s, start, count, energy)
                _write(new_a, off_a, wei_a, fac_a, start, count, energy)
            else:
                for k in range(labels):
                    for b in range(count):
                        out[k, start + b] = energy[k, b]
        val_s, new_s = new_s, val_s
        val_a, new_a = new_a, val_a
    return out
