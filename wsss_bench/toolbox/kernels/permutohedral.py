"""Permutohedral lattice (Adams, Baek & Davis, Eurographics 2010): the sparse grid on which Gaussian filtering is cheap.

A point in d dimensions lies in one simplex of d + 1 lattice vertices and is written into them with barycentric weights
(splat); blurring along the d + 1 lattice directions and reading back (slice) approximates a Gaussian of unit deviation.
Only touched vertices exist. A vertex is known by its first d integer coordinates, packed into one 64-bit key.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsss_bench.toolbox.kernels.jit import fast_jit, jit

_KEY_BITS = 60


class Lattice(NamedTuple):
    """Where N points lie on the lattice. Vertex 0 stands for "not there" and holds zeros."""

    offsets: NDArray[np.uint32]
    """``[N, d+1]``: the vertices of each point's simplex, from 1."""
    weights: NDArray[np.float32]
    """``[N, d+1]``: barycentric weights, each row sums to 1."""
    neighbours: NDArray[np.uint32]
    """``[d+1, M+1, 2]``: both neighbours of every vertex along every direction, 0 where there is none; row 0 is all 0."""


def key_range(dimensions: int) -> int:
    """Largest absolute lattice coordinate that a packed key can hold, a margin of one cell on either side kept."""
    return (1 << (_KEY_BITS // dimensions - 1)) - 2 * (dimensions + 1)


def extent(largest: NDArray[np.float64]) -> float:
    """Largest absolute lattice coordinate of any point whose features lie in ``0..largest [d]``."""
    d = len(largest)
    spread = np.abs(largest) * _scales(d)
    return float(max(spread.sum(), (spread * np.arange(1, d + 1)).max()))


def build(features: NDArray[np.float32]) -> Lattice:
    """Lattice for ``float32 [d, N]`` features in units of the filter's standard deviation; see `key_range` for the range.

    As in pydensecrf, which works on four points at a time, N is filled up to a multiple of four with points at the origin.
    They carry no weight, but their vertices exist and let blur through.
    """
    d, n = features.shape
    filled = np.zeros((d, -(-n // 4) * 4), np.float32)
    filled[:, :n] = features
    offsets, weights, keys = _simplices(filled, _scales(d), (0,) * d)
    return Lattice(offsets[:n], weights[:n], _neighbours(keys, d))


def normaliser(lattice: Lattice) -> NDArray[np.float32]:
    """``1 / sqrt(filter(1))`` per point ``[N]``: the factor on both sides of a symmetrically normalised kernel."""
    d = lattice.offsets.shape[1] - 1
    return 1 / np.sqrt(
        _filter_ones(*lattice) * np.float32(blur_gain(d)) + np.float32(1e-20)
    )


def blur_gain(dimensions: int) -> float:
    """Factor that makes splat, blur and slice keep constants, up to the borders."""
    return 1 / (1 + 2.0**-dimensions)


def _scales(d: int) -> NDArray[np.float32]:
    """Per axis, from feature units to lattice units: the blur then has unit deviation.

    Rounded step by step as pydensecrf does: points that lie exactly on a cell's border must fall on the same side.
    """
    reach = float(np.float32(math.sqrt(2 / 3) * (d + 1)))
    return np.array(
        [1 / math.sqrt((i + 1) * (i + 2)) * reach for i in range(d)], np.float32
    )


@jit
def _mix(key: np.uint64) -> np.uint64:
    """Spread the bits of a key; the low bits of the result index tables."""
    mixed = (key ^ (key >> np.uint64(31))) * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(29))


@jit
def _slot(
    table: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    key: np.uint64,
    mixed: np.uint64,
) -> np.uint64:
    """Where `key` is, or belongs, in an open-addressing table of indices into `keys` plus 1; 0 marks an empty slot."""
    mask = np.uint64(len(table) - 1)
    slot = mixed & mask
    while table[slot] != np.uint32(0) and keys[table[slot] - np.uint32(1)] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@jit
def _table(keys: NDArray[np.uint64], count: int) -> NDArray[np.uint32]:
    """A table of the first `count` keys, at most half full when as many keys as `keys` can hold have been added."""
    size = 2048
    while size < 2 * len(keys):
        size *= 2
    table = np.zeros(size, np.uint32)
    for m in range(count):
        table[_slot(table, keys, keys[m], _mix(keys[m]))] = np.uint32(m + 1)
    return table


@jit
def _look_up(wanted, length, keys, count, table, recent, out):  # type: ignore[no-untyped-def]
    """Vertices of ``wanted[:length]`` into `out`, new ones appended to `keys`; returns how many vertices there are now.

    `recent` is a small direct-mapped cache: neighbouring points share vertices, and the table is spread over megabytes.
    """
    mask = np.uint64(len(recent) - 1)
    for i in range(length):
        key = wanted[i]
        mixed = _mix(key)
        near = mixed & mask
        if recent[near, 0] != key:
            slot = _slot(table, keys, key, mixed)
            if table[slot] == np.uint32(0):
                keys[count] = key
                count += 1
                table[slot] = np.uint32(count)
            recent[near, 0], recent[near, 1] = key, np.uint64(table[slot])
        out[i] = np.uint32(recent[near, 1])
    return count


@jit
def _elevate(features, scales, start, count, axes, y, rem, rank):  # type: ignore[no-untyped-def]
    """For a block of points: nearest remainder-0 vertex, offset from it, and the order of the offsets."""
    d = len(axes)
    inverse = np.float32(1.0 / (d + 1))
    for b in range(count):
        y[0, b] = np.float32(0)
    for j in range(d, 0, -1):
        for b in range(count):
            step = features[j - 1, start + b] * scales[j - 1]
            y[j, b] = y[0, b] - np.float32(j) * step
            y[0, b] += step
    for b in range(count):
        rank[d + 1, b] = 0
    for i in range(d + 1):
        for b in range(count):
            cell = np.rint(y[i, b] * inverse)
            rem[i, b] = cell * np.float32(d + 1)
            rank[d + 1, b] += np.int32(cell)
            y[i, b] -= rem[i, b]
            rank[i, b] = 0
    for i in range(d):
        for j in range(i + 1, d + 1):
            for b in range(count):
                lower = y[i, b] < y[j, b]
                rank[i, b] += np.int32(lower)
                rank[j, b] += np.int32(not lower)
    for i in range(d + 1):
        for b in range(count):
            place = rank[i, b] + rank[d + 1, b]
            wrap = np.int32(place < 0) - np.int32(place > d)
            rank[i, b] = place + wrap * np.int32(d + 1)
            rem[i, b] += np.float32(wrap * np.int32(d + 1))
            y[i, b] = (y[i, b] - np.float32(wrap * np.int32(d + 1))) * inverse


@jit
def _units(d):  # type: ignore[no-untyped-def]
    """Key increments: of one step per coordinate (0 for the last, which follows from the others) and of one in all of them."""
    bits = np.uint64(60 // d)
    units, together = np.zeros(d + 1, np.uint64), np.uint64(0)
    for i in range(d):
        units[i] = np.uint64(1) << (bits * np.uint64(d - 1 - i))
        together += units[i]
    return units, together, together << (bits - np.uint64(1))


@jit
def _corners(y, rem, rank, start, count, axes, steps, weights, wanted):  # type: ignore[no-untyped-def]
    """Barycentric weights and vertex keys of a block; vertex r + 1 is vertex r, one step along the coordinate of rank d - r."""
    d = len(axes)
    units, together, origin = steps
    at_rank, in_order = np.zeros(d + 1, np.uint64), np.zeros(d + 1, np.float32)
    for b in range(count):
        key = origin
        for i in range(d + 1):
            key += units[i] * np.uint64(np.int64(rem[i, b]))
            place = np.uint64(rank[i, b])
            at_rank[place] = units[i] * np.uint64(d + 1)
            in_order[place] = y[i, b]
        weights[start + b, 0] = in_order[d] + (np.float32(1) - in_order[0])
        wanted[b * (d + 1)] = key
        for r in range(1, d + 1):
            weights[start + b, r] = in_order[d - r] - in_order[d + 1 - r]
            key += together - at_rank[d + 1 - r]
            wanted[b * (d + 1) + r] = key


@jit
def _simplices(features, scales, axes):  # type: ignore[no-untyped-def]
    """Offsets, weights and vertex keys of all points; `axes` is a tuple of length d, so that loops over it are unrolled."""
    d = len(axes)
    n = features.shape[1]
    steps = _units(d)
    offsets, weights = (
        np.empty(n * (d + 1), np.uint32),
        np.empty((n, d + 1), np.float32),
    )
    y, rem = np.empty((d + 1, 64), np.float32), np.empty((d + 1, 64), np.float32)
    rank, wanted = np.empty((d + 2, 64), np.int32), np.empty(64 * (d + 1), np.uint64)
    # No key is 0: its fields would all be the most negative coordinate, outside the allowed range.
    keys, count, recent = np.empty(4096, np.uint64), 0, np.zeros((8192, 2), np.uint64)
    table = _table(keys, 0)
    for start in range(0, n, 64):
        block = min(64, n - start)
        if count + block * (d + 1) > len(keys):
            keys = np.concatenate(
                (keys[:count], np.empty(len(keys) + count, np.uint64))
            )
            table = _table(keys, count)
        _elevate(features, scales, start, block, axes, y, rem, rank)
        _corners(y, rem, rank, start, block, axes, steps, weights, wanted)
        count = _look_up(
            wanted,
            block * (d + 1),
            keys,
            count,
            table,
            recent,
            offsets[start * (d + 1) :],
        )
    return offsets.reshape((n, d + 1)), weights, keys[:count].copy()


@jit
def _neighbours(keys: NDArray[np.uint64], d: int) -> NDArray[np.uint32]:
    """Both neighbours along each of the d + 1 directions; one lookup serves both ends of an edge."""
    table = _table(keys, len(keys))
    out = np.zeros((d + 1, len(keys) + 1, 2), np.uint32)
    units, together, _ = _units(d)
    for j in range(d + 1):
        step = together - units[j] * np.uint64(d + 1)
        for m in range(len(keys)):
            key = keys[m] + step
            found = table[_slot(table, keys, key, _mix(key))]
            if found != np.uint32(0):
                out[j, m + 1, 0] = found
                out[j, found, 1] = np.uint32(m + 1)
    return out


@fast_jit
def _filter_ones(offsets, weights, neighbours):  # type: ignore[no-untyped-def]
    """Splat, blur and slice of the constant 1: ``[N]``."""
    n, corners = offsets.shape
    values, blurred = (
        np.zeros(neighbours.shape[1], np.float32),
        np.zeros(neighbours.shape[1], np.float32),
    )
    for p in range(n):
        for r in range(corners):
            values[offsets[p, r]] += weights[p, r]
    for j in range(corners):
        for m in range(1, len(values)):
            blurred[m] = values[m] + np.float32(0.5) * (
                values[neighbours[j, m, 0]] + values[neighbours[j, m, 1]]
            )
        values, blurred = blurred, values
    out = np.zeros(n, np.float32)
    for p in range(n):
        for r in range(corners):
            out[p] += weights[p, r] * values[offsets[p, r]]
    return out
