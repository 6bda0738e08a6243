"""Random walk on a grid of affinities, the refinement of AffinityNet (psa, CVPR 2018) and IRNet (CVPR 2019).

Official code builds the dense transition matrix and squares it eight times. Scores of a few classes need only 256
products with a matrix that has one diagonal per neighbour: a stencil. Same result, thousands of times less work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.toolbox.arrays import Doubles, Floats, Integers


@dataclass(frozen=True)
class Affinity:
    """Symmetric affinities of cells at most `radius` apart; every cell has affinity 1 with itself."""

    offsets: Integers
    """``[P, 2]``, (rows down, columns right) from a cell to its partner: the half disc below and to the right."""
    planes: Floats
    """``[P, h, w]`` in [0, 1]: affinity of a cell and its partner, 0 where the partner lies outside."""


def half_disc(radius: int) -> Integers:
    """Return the offsets (dy, dx) below or right of the centre with ``dy**2 + dx**2 < radius**2``: ``int64 [P, 2]``.

    There are 34 for a radius of 5, 96 for 8, 152 for 10. The disc's other half are the same pairs, from the other end.
    """
    pairs = []
    for dy in range(radius):
        for dx in range(-radius + 1, radius):
            below_or_right = dy > 0 or dx > 0
            if below_or_right and dy * dy + dx * dx < radius * radius:
                pairs.append((dy, dx))
    return np.array(pairs, np.int64).reshape(-1, 2)


def path_cells(dy: int, dx: int) -> list[tuple[int, int]]:
    """Return the cells between (0, 0) and (dy, dx), ends included, row by row.

    Those of the bounding rectangle less than 1 away from the line, as in IRN's release.
    """
    length = float(np.hypot(dy, dx))
    columns = range(min(0, dx), max(0, dx) + 1)
    cells = []
    for y in range(dy + 1):
        for x in columns:
            # Twice the triangle's area, which is its height above the line times `length`.
            area = abs(dy * x - dx * y)
            if area < length:
                cells.append((y, x))
    return cells


def affinity_from_boundary(boundary: NDArray[np.floating], radius: int = 5) -> Affinity:
    """Return affinities ``1 - max of the boundary map along the path between two cells`` (IRN, section 3.3).

    Args:
        boundary: ``[h, w]`` probabilities in [0, 1].
        radius: pairs closer than this are connected (IRN: 10 in training, 5 at inference).

    Returns:
        `Affinity` of ``float32 [P, h, w]``.

    Raises:
        ValueError: not a map of probabilities.
    """
    is_map = boundary.ndim == 2 and boundary.size > 0
    # NaN satisfies neither comparison, so it is refused as well.
    if not is_map or not (boundary.min() >= 0 and boundary.max() <= 1):
        raise ValueError(
            "affinity_from_boundary: needs a map [h, w] of probabilities, "
            f"not {boundary.shape}; apply a sigmoid first."
        )
    h, w = boundary.shape
    offsets = half_disc(radius)
    planes = np.zeros((len(offsets), h, w), np.float32)
    # Room for every shift; what is read there belongs to partners outside and is dropped.
    room = ((0, radius), (radius, radius))
    padded = np.pad(np.asarray(boundary, np.float32), room)
    for plane, (dy, dx) in zip(planes, offsets.tolist(), strict=True):
        way = [
            padded[y : y + h, radius + x : radius + x + w]
            for y, x in path_cells(dy, dx)
        ]
        worst = np.maximum.reduce(way)
        inside = _with_partner(h, w, dy, dx)
        plane[inside] = 1 - worst[inside]
    return Affinity(offsets, planes)


def _with_partner(h: int, w: int, dy: int, dx: int) -> tuple[slice, slice]:
    """Return the cells of a grid whose partner at (dy, dx), dy >= 0, lies inside it."""
    bottom = max(h - dy, 0)
    left = max(-dx, 0)
    right = max(w - max(dx, 0), 0)
    return slice(0, bottom), slice(left, right)


def propagate(
    scores: Floats,
    affinity: Affinity,
    beta: float = 10.0,
    steps: int = 256,
) -> Floats:
    """Average scores over the neighbourhood `steps` times: ``x <- x T``, ``T = A^beta`` divided by its column sums.

    Each new value is a weighted mean of a cell and its partners: constants stay, maxima never grow, and the sum of
    all cells may change.

    Args:
        scores: ``float32 [K, h, w]``.
        affinity: on the same grid.
        beta: exponent that sharpens affinities (psa 8, IRN 10).
        steps: number of steps; official code squares the matrix 8 times, hence 256.

    Returns:
        ``float32 [K, h, w]``; within 5e-5 of the maximum of the result in double precision.

    Raises:
        ValueError: scores and affinities lie on different grids.
    """
    _check(scores, affinity)
    nothing_to_do = not len(scores) or steps == 0
    if nothing_to_do or not len(affinity.offsets):
        return scores.copy()
    try:
        from wsss_bench.toolbox.kernels.walk import walk
    except ImportError:
        return propagate_reference(scores, affinity, beta, steps).astype(np.float32)
    reach = int(np.abs(affinity.offsets).max())
    sides = (reach, reach)
    border = ((0, 0), sides, sides)
    sharp = np.pad(affinity.planes**beta, border)
    sharp = sharp.astype(np.float32, copy=False)
    # One over sums in double precision, rounded once. Scale 0 keeps the padding at 0.
    sums = _column_sums(sharp, affinity.offsets, reach)
    scale = np.pad(1 / sums, reach)
    padded = np.pad(np.asarray(scores, np.float32), border)
    width = padded.shape[2]
    down, right = affinity.offsets.T
    shifts = down * width + right
    flat = sharp.reshape(len(sharp), -1)
    if len(shifts) % 2:
        # The kernel takes offsets in pairs; one without affinities changes nothing.
        shifts = np.append(shifts, 0)
        nothing = np.zeros_like(flat[:1])
        flat = np.concatenate([flat, nothing])
    walked = walk(
        padded.reshape(len(padded), -1),
        flat,
        scale.astype(np.float32).ravel(),
        shifts,
        reach * (width + 1),
        steps,
    )
    walked = walked.reshape(padded.shape)
    inner = walked[:, reach:-reach, reach:-reach]
    return np.ascontiguousarray(inner)


def propagate_reference(
    scores: NDArray[np.floating],
    affinity: Affinity,
    beta: float = 10.0,
    steps: int = 256,
) -> Doubles:
    """Return `propagate` by a sparse matrix in double precision: the oracle of the tests, and the way without numba."""
    _check(scores, affinity)
    backward = transition_matrix(affinity, beta).T.tocsr()
    flat = scores.reshape(len(scores), -1)
    columns = flat.T.astype(np.float64)
    for _ in range(steps):
        columns = backward @ columns
    return np.ascontiguousarray(columns.T).reshape(scores.shape)


def transition_matrix(affinity: Affinity, beta: float) -> Any:
    """Return the walk's matrix T, whose columns sum to 1.

    Returns:
        ``scipy.sparse.csr_array`` of float64 ``[h*w, h*w]``, cells in row-major order.
    """
    from scipy import sparse

    _, h, w = affinity.planes.shape
    cells = np.arange(h * w).reshape(h, w)
    # Every cell is its own partner, with affinity 1.
    rows = [cells.ravel()]
    columns = [cells.ravel()]
    values = [np.ones(h * w)]
    sharp = affinity.planes.astype(np.float64) ** beta
    offsets = affinity.offsets.tolist()
    for plane, (dy, dx) in zip(sharp, offsets, strict=True):
        inside = _with_partner(h, w, dy, dx)
        source = cells[inside].ravel()
        # Row-major, so that a partner is a constant number of cells away.
        partner = source + (dy * w + dx)
        weight = plane[inside].ravel()
        rows += [source, partner]
        columns += [partner, source]
        values += [weight, weight]
    places = (np.concatenate(rows), np.concatenate(columns))
    powers = sparse.coo_array(
        (np.concatenate(values), places),
        shape=(h * w, h * w),
    ).tocsr()
    shares = sparse.diags_array(1 / powers.sum(axis=0))
    return (powers @ shares).tocsr()


def _column_sums(
    sharp: Floats,
    offsets: Integers,
    reach: int,
) -> Doubles:
    """Return 1 for a cell itself plus its affinities to all partners, ``float64 [h, w]``, from padded planes."""
    h = sharp.shape[1] - 2 * reach
    w = sharp.shape[2] - 2 * reach
    sums = np.ones((h, w))
    for plane, (dy, dx) in zip(sharp, offsets.tolist(), strict=True):
        sums += plane[reach : reach + h, reach : reach + w]
        # Pairs are stored at their first cell: those in which this cell is the second.
        top = reach - dy
        left = reach - dx
        sums += plane[top : top + h, left : left + w]
    return sums


def _check(scores: NDArray[np.floating], affinity: Affinity) -> None:
    grid = affinity.planes.shape[1:]
    if scores.ndim != 3 or scores.shape[1:] != grid:
        raise ValueError(
            f"propagate: scores {scores.shape} must be [K, h, w] on the grid of "
            f"the affinities {grid}; "
            "resize the scores to it first."
        )
