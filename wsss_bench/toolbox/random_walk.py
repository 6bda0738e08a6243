"""Random walk on a grid of affinities, the refinement of AffinityNet (psa, CVPR 2018) and IRNet (CVPR 2019).

Official code builds the dense transition matrix and squares it eight times. Scores of a few classes need only 256 products
with a matrix that has one diagonal per neighbour: a stencil. Same result, thousands of times less work.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Affinity:
    """Symmetric affinities of cells at most `radius` apart; every cell has affinity 1 with itself."""

    offsets: NDArray[np.int64]
    """``[P, 2]``, (rows down, columns right) from a cell to its partner: the half disc below and to the right."""
    planes: NDArray[np.float32]
    """``[P, h, w]`` in [0, 1]: affinity of a cell and its partner, 0 where the partner lies outside."""


def half_disc(radius: int) -> NDArray[np.int64]:
    """Offsets (dy, dx) with ``dy**2 + dx**2 < radius**2`` below or right of the centre: 34 for 5, 96 for 8, 152 for 10."""
    reach = range(-radius + 1, radius)
    pairs = [
        (dy, dx)
        for dy in range(radius)
        for dx in reach
        if (dy > 0 or dx > 0) and dy * dy + dx * dx < radius * radius
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def path_cells(dy: int, dx: int) -> list[tuple[int, int]]:
    """Cells between (0, 0) and (dy, dx), ends included: those of the bounding rectangle less than 1 away from the line (IRN)."""
    length = float(np.hypot(dy, dx))
    columns = range(min(0, dx), max(0, dx) + 1)
    return [
        (y, x) for y in range(dy + 1) for x in columns if abs(dy * x - dx * y) < length
    ]


def affinity_from_boundary(boundary: NDArray[np.floating], radius: int = 5) -> Affinity:
    """Affinity ``1 - max of the boundary map along the path between two cells`` (IRN, section 3.3).

    Args:
        boundary: ``[h, w]`` probabilities in [0, 1].
        radius: pairs closer than this are connected (IRN: 10 in training, 5 at inference).

    Returns:
        `Affinity` of ``float32 [P, h, w]``.
    """
    if (
        boundary.ndim != 2
        or boundary.size == 0
        or not (boundary.min() >= 0 and boundary.max() <= 1)
    ):
        raise ValueError(
            f"affinity_from_boundary: needs a map [h, w] of probabilities, not {boundary.shape}; apply a sigmoid first."
        )
    h, w = boundary.shape
    offsets = half_disc(radius)
    planes = np.zeros((len(offsets), h, w), np.float32)
    padded = np.pad(np.asarray(boundary, np.float32), ((0, radius), (radius, radius)))
    for plane, (dy, dx) in zip(planes, offsets.tolist(), strict=True):
        worst = np.maximum.reduce(
            [
                padded[y : y + h, radius + x : radius + x + w]
                for y, x in path_cells(dy, dx)
            ]
        )
        inside = (slice(0, max(h - dy, 0)), slice(max(-dx, 0), max(w - max(dx, 0), 0)))
        plane[inside] = 1 - worst[inside]
    return Affinity(offsets, planes)


def propagate(
    scores: NDArray[np.float32],
    affinity: Affinity,
    beta: float = 10.0,
    steps: int = 256,
) -> NDArray[np.float32]:
    """Average scores over the neighbourhood `steps` times: ``x <- x T``, ``T = A^beta`` divided by its column sums.

    Each new value is a weighted mean of a cell and its partners: constants stay, maxima never grow, mass is not preserved.

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
    if not len(scores) or steps == 0 or not len(affinity.offsets):
        return scores.copy()
    try:
        from wsss_bench.toolbox.kernels import walk as _walk_numba
    except ImportError:
        return propagate_reference(scores, affinity, beta, steps).astype(np.float32)
    reach = int(np.abs(affinity.offsets).max())
    border = ((0, 0), (reach, reach), (reach, reach))
    sharp = np.pad(affinity.planes**beta, border).astype(np.float32, copy=False)
    scale = np.pad(1 / _column_sums(sharp, affinity.offsets, reach), reach).astype(
        np.float32
    )
    padded = np.pad(np.asarray(scores, np.float32), border)
    width = padded.shape[2]
    shifts = affinity.offsets[:, 0] * width + affinity.offsets[:, 1]
    flat = sharp.reshape(len(sharp), -1)
    if len(shifts) % 2:
        shifts, flat = (
            np.append(shifts, 0),
            np.concatenate([flat, np.zeros_like(flat[:1])]),
        )
    walked = _walk_numba.walk(
        padded.reshape(len(padded), -1),
        flat,
        scale.ravel(),
        shifts,
        reach * (width + 1),
        steps,
    )
    return np.ascontiguousarray(
        walked.reshape(padded.shape)[:, reach:-reach, reach:-reach]
    )


def propagate_reference(
    scores: NDArray[np.floating],
    affinity: Affinity,
    beta: float = 10.0,
    steps: int = 256,
) -> NDArray[np.float64]:
    """`propagate` with a sparse matrix in double precision: the oracle of the tests, and the way without numba."""
    _check(scores, affinity)
    backward = transition_matrix(affinity, beta).T.tocsr()
    columns = scores.reshape(len(scores), -1).T.astype(np.float64)
    for _ in range(steps):
        columns = backward @ columns
    return np.ascontiguousarray(columns.T).reshape(scores.shape)


def transition_matrix(affinity: Affinity, beta: float) -> Any:
    """The walk's matrix T as ``scipy.sparse.csr_array`` of float64 ``[h*w, h*w]``, cells in row-major order; columns sum to 1."""
    from scipy import sparse

    _, h, w = affinity.planes.shape
    cells = np.arange(h * w).reshape(h, w)
    rows, columns, values = [cells.ravel()], [cells.ravel()], [np.ones(h * w)]
    for (dy, dx), plane in zip(
        affinity.offsets.tolist(),
        affinity.planes.astype(np.float64) ** beta,
        strict=True,
    ):
        left, right = max(-dx, 0), max(w - max(dx, 0), 0)
        source, partner = (
            cells[: max(h - dy, 0), left:right].ravel(),
            cells[dy:, left + dx : max(right + dx, 0)].ravel(),
        )
        weight = plane[: max(h - dy, 0), left:right].ravel()
        rows += [source, partner]
        columns += [partner, source]
        values += [weight, weight]
    size = (h * w, h * w)
    powers = sparse.coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=size,
    ).tocsr()
    return (powers @ sparse.diags_array(1 / powers.sum(axis=0))).tocsr()


def _column_sums(
    sharp: NDArray[np.float32], offsets: NDArray[np.int64], reach: int
) -> NDArray[np.float64]:
    """``[h, w]``: 1 for a cell itself plus its affinities to all partners, from padded planes."""
    h, w = sharp.shape[1] - 2 * reach, sharp.shape[2] - 2 * reach
    sums = np.ones((h, w))
    for plane, (dy, dx) in zip(sharp, offsets.tolist(), strict=True):
        sums += plane[reach : reach + h, reach : reach + w]
        sums += plane[reach - dy : reach - dy + h, reach - dx : reach - dx + w]
    return sums


def _check(scores: NDArray[np.floating], affinity: Affinity) -> None:
    if scores.ndim != 3 or scores.shape[1:] != affinity.planes.shape[1:]:
        raise ValueError(
            f"propagate: scores {scores.shape} must be [K, h, w] on the grid of the affinities {affinity.planes.shape[1:]};"
            " resize the scores to it first."
        )
