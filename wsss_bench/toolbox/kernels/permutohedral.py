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

from wsss_bench.toolbox.arrays import Doubles, Floats
from wsss_bench.toolbox.kernels.jit import fast_jit, jit

_KEY_BITS = 60
"""Bits of a key that coordinates share, the same number each."""

_BLOCK = 64
"""Points that are worked on together, so that their loops become vector instructions."""


class Lattice(NamedTuple):
    """Where N points lie on the lattice. Vertex 0 stands for "not there" and holds zeros."""

    offsets: NDArray[np.uint32]
    """``[N, d+1]``: the vertices of each point's simplex, from 1."""
    weights: Floats
    """``[N, d+1]``: barycentric weights, each row sums to 1."""
    neighbours: NDArray[np.uint32]
    """``[d+1, M+1, 2]``: both neighbours of every vertex along every direction, 0 where there is none; row 0 all 0."""


def key_range(dimensions: int) -> int:
    """Return the largest absolute lattice coordinate that a packed key can hold.

    A margin of one cell is kept on either side, for the neighbours of the outermost vertices.
    """
    bits = _KEY_BITS // dimensions
    return (1 << (bits - 1)) - 2 * (dimensions + 1)


def extent(largest: Doubles) -> float:
    """Return the largest absolute lattice coordinate of any point whose features lie in ``0..largest [d]``."""
    d = len(largest)
    spread = np.abs(largest) * _scales(d)
    # Coordinate 0 is the sum of all scaled features. Coordinate j is the sum of those behind
    # feature j minus j times it, so it lies between these two bounds.
    others = spread * np.arange(1, d + 1)
    return float(max(spread.sum(), others.max()))


def build(features: Floats) -> Lattice:
    """Return the lattice of ``float32 [d, N]`` features, given in units of the filter's standard deviation.

    `key_range` says how large coordinates may get; this function does not check it.
    """
    d, n = features.shape
    # As in pydensecrf, which works on four points at a time: N is filled up to a multiple
    # of four with points at the origin. They carry no weight, but their vertices exist and
    # let blur through.
    whole = -(-n // 4) * 4
    filled = np.zeros((d, whole), np.float32)
    filled[:, :n] = features
    # The tuple's length is part of its type, so that loops over d get unrolled.
    axes = (0,) * d
    offsets, weights, keys = _simplices(filled, _scales(d), axes)
    neighbours = _neighbours(keys, d)
    return Lattice(offsets[:n], weights[:n], neighbours)


def normaliser(lattice: Lattice) -> Floats:
    """Return ``1 / sqrt(filter(1))`` per point ``[N]``: the factor on both sides of a normalised kernel."""
    d = lattice.offsets.shape[1] - 1
    ones = _filter_ones(*lattice) * np.float32(blur_gain(d))
    # pydensecrf's floor, for points that blur does not reach.
    return 1 / np.sqrt(ones + np.float32(1e-20))


def blur_gain(dimensions: int) -> float:
    """Return the factor that makes splat, blur and slice keep constants, up to the borders."""
    return 1 / (1 + 2.0**-dimensions)


def _scales(d: int) -> Floats:
    """Return factors ``float32 [d]`` from feature units to lattice units: the blur then has unit deviation."""
    # Rounded step by step as pydensecrf does: points that lie exactly on a cell's border
    # must fall on the same side.
    reach = math.sqrt(2 / 3) * (d + 1)
    reach = float(np.float32(reach))
    factors = []
    for i in range(d):
        length = math.sqrt((i + 1) * (i + 2))
        factors.append(1 / length * reach)
    return np.array(factors, np.float32)


@jit
def _mix(key: np.uint64) -> np.uint64:
    """Spread the bits of a key; the low bits of the result index tables."""
    # Neighbouring vertices differ in few bits, often high ones. Multiplying by 2^64 over
    # the golden ratio carries low bits up, the shifts bring high ones down.
    folded = key ^ (key >> np.uint64(31))
    mixed = folded * np.uint64(0x9E3779B97F4A7C15)
    return mixed ^ (mixed >> np.uint64(29))


@jit
def _slot(
    table: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    key: np.uint64,
    mixed: np.uint64,
) -> np.uint64:
    """Return where `key` is, or belongs, in an open table of indices into `keys` plus 1; 0 marks free slots."""
    # The size is a power of two, so that a mask wraps around.
    mask = np.uint64(len(table) - 1)
    slot = mixed & mask
    while table[slot] != np.uint32(0) and keys[table[slot] - np.uint32(1)] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@jit
def _table(keys: NDArray[np.uint64], count: int) -> NDArray[np.uint32]:
    """Return a table of the first `count` keys, at most half full once `keys` is full."""
    size = 2048
    while size < 2 * len(keys):
        size *= 2
    table = np.zeros(size, np.uint32)
    for m in range(count):
        key = keys[m]
        slot = _slot(table, keys, key, _mix(key))
        table[slot] = np.uint32(m + 1)
    return table


@jit
def _look_up(wanted, length, keys, count, table, recent, out):  # type: ignore[no-untyped-def]
    """Write the vertices of ``wanted[:length]`` into `out`, append new ones to `keys`; return their number now."""
    # `recent` is a small direct-mapped cache: neighbouring points share vertices, and the
    # table is spread over megabytes.
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
            recent[near, 0] = key
            recent[near, 1] = np.uint64(table[slot])
        out[i] = np.uint32(recent[near, 1])
    return count


@jit
def _elevate(features, scales, start, count, axes, y, rem, rank):  # type: ignore[no-untyped-def]
    """Find the lattice coordinates of a block of points, which sum to 0, and round them.

    Writes the nearest multiples of d + 1 into `rem`, what is left into `y`, and the sum of the multiples, in units of
    d + 1, into ``rank[d+1]``. Where that is not 0 the multiples are no vertex; `_order` mends it.
    """
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


@jit
def _order(count, axes, y, rem, rank):  # type: ignore[no-untyped-def]
    """Rank what is left by size, largest first, and move `rem` to the nearest remainder-0 vertex.

    Afterwards `y` holds the offsets from it in units of d + 1.
    """
    d = len(axes)
    inverse = np.float32(1.0 / (d + 1))
    # Every pair is compared, the block innermost: for few dimensions cheaper than sorting,
    # and without a branch. Of equals the first comes first, as in pydensecrf.
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
            around = wrap * np.int32(d + 1)
            rank[i, b] = place + around
            rem[i, b] += np.float32(around)
            y[i, b] = (y[i, b] - np.float32(around)) * inverse


@jit
def _units(d):  # type: ignore[no-untyped-def]
    """Return key increments, and the key of the origin.

    The increments of one step along each of the d + 1 coordinates (0 for the last, which follows from the others), and
    of one step along all of them.
    """
    bits = np.uint64(_KEY_BITS // d)
    units = np.zeros(d + 1, np.uint64)
    together = np.uint64(0)
    for i in range(d):
        shift = bits * np.uint64(d - 1 - i)
        units[i] = np.uint64(1) << shift
        together += units[i]
    # The origin lies in the middle of each field, so that no field of a negative
    # coordinate borrows from the next.
    origin = together << (bits - np.uint64(1))
    return units, together, origin


@jit
def _corners(  # type: ignore[no-untyped-def]
    y,
    rem,
    rank,
    start,
    count,
    axes,
    steps,
    weights,
    wanted,
):
    """Write barycentric weights and vertex keys of a block.

    Vertex r + 1 is vertex r moved by 1 along all coordinates, and by -(d + 1) along the one of rank d - r.
    """
    d = len(axes)
    units, together, origin = steps
    at_rank = np.zeros(d + 1, np.uint64)
    in_order = np.zeros(d + 1, np.float32)
    for b in range(count):
        key = origin
        for i in range(d + 1):
            # By way of int64: negative numbers wrap, and the sum is right modulo 2^64.
            key += units[i] * np.uint64(np.int64(rem[i, b]))
            place = np.uint64(rank[i, b])
            at_rank[place] = units[i] * np.uint64(d + 1)
            in_order[place] = y[i, b]
        point = start + b
        weights[point, 0] = in_order[d] + (np.float32(1) - in_order[0])
        first = b * (d + 1)
        wanted[first] = key
        for r in range(1, d + 1):
            weights[point, r] = in_order[d - r] - in_order[d + 1 - r]
            key += together - at_rank[d + 1 - r]
            wanted[first + r] = key


@jit
def _simplices(features, scales, axes):  # type: ignore[no-untyped-def]
    """Return offsets and weights of all points, and the keys of all vertices; see `build` for `axes`."""
    d = len(axes)
    n = features.shape[1]
    steps = _units(d)
    corners = d + 1
    offsets = np.empty(n * corners, np.uint32)
    weights = np.empty((n, corners), np.float32)
    y = np.empty((corners, _BLOCK), np.float32)
    rem = np.empty((corners, _BLOCK), np.float32)
    rank = np.empty((corners + 1, _BLOCK), np.int32)
    wanted = np.empty(_BLOCK * corners, np.uint64)
    keys = np.empty(4096, np.uint64)
    count = 0
    # No key is 0: its fields would all be the most negative coordinate, outside the
    # allowed range. So a fresh cache of zeros knows no vertex.
    recent = np.zeros((8192, 2), np.uint64)
    table = _table(keys, 0)
    for start in range(0, n, _BLOCK):
        block = min(_BLOCK, n - start)
        length = block * corners
        # All of a block's vertices may be new.
        if count + length > len(keys):
            room = np.empty(len(keys) + count, np.uint64)
            keys = np.concatenate((keys[:count], room))
            table = _table(keys, count)
        _elevate(features, scales, start, block, axes, y, rem, rank)
        _order(block, axes, y, rem, rank)
        _corners(y, rem, rank, start, block, axes, steps, weights, wanted)
        out = offsets[start * corners :]
        count = _look_up(wanted, length, keys, count, table, recent, out)
    return offsets.reshape((n, corners)), weights, keys[:count].copy()


@jit
def _neighbours(keys: NDArray[np.uint64], d: int) -> NDArray[np.uint32]:
    """Return both neighbours along each of the d + 1 directions; see `Lattice`."""
    table = _table(keys, len(keys))
    vertices = len(keys) + 1
    out = np.zeros((d + 1, vertices, 2), np.uint32)
    units, together, _ = _units(d)
    for j in range(d + 1):
        step = together - units[j] * np.uint64(d + 1)
        for m in range(len(keys)):
            key = keys[m] + step
            found = table[_slot(table, keys, key, _mix(key))]
            # One lookup serves both ends of an edge.
            if found != np.uint32(0):
                out[j, m + 1, 0] = found
                out[j, found, 1] = np.uint32(m + 1)
    return out


@fast_jit
def _filter_ones(offsets, weights, neighbours):  # type: ignore[no-untyped-def]
    """Return splat, blur and slice of the constant 1: ``[N]``."""
    n, corners = offsets.shape
    values = np.zeros(neighbours.shape[1], np.float32)
    blurred = np.zeros(neighbours.shape[1], np.float32)
    for p in range(n):
        for r in range(corners):
            values[offsets[p, r]] += weights[p, r]
    for j in range(corners):
        for m in range(1, len(values)):
            before = values[neighbours[j, m, 0]]
            after = values[neighbours[j, m, 1]]
            blurred[m] = values[m] + np.float32(0.5) * (before + after)
        values, blurred = blurred, values
    out = np.zeros(n, np.float32)
    for p in range(n):
        for r in range(corners):
            out[p] += weights[p, r] * values[offsets[p, r]]
    return out
