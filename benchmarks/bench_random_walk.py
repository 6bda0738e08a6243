"""Random walk of 256 steps, two classes: stencil against dense squaring, dense products and a sparse matrix.

    OMP_NUM_THREADS=1 python benchmarks/bench_random_walk.py [--rounds 3]

Dense squaring is what psa and IRN do: eight squarings of the transition matrix, then one product. At 94x125 cells (a
375x500 image at stride 4) that matrix has 527 MB, so it is left out there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _rounds import Variant, compare

from wsss_bench.toolbox.random_walk import (
    affinity_from_boundary,
    propagate,
    propagate_reference,
    transition_matrix,
)

Walk = Callable[[np.ndarray, np.ndarray], np.ndarray]


def scene(h: int, w: int) -> tuple[np.ndarray, np.ndarray]:
    import cv2

    rng = np.random.default_rng(0)

    def smooth(rows: int, columns: int) -> np.ndarray:
        coarse = rng.random((rows, columns)).astype(np.float32)
        return cv2.resize(coarse, (w, h))

    # Cubed: most of a boundary map is near 0.
    boundary = np.clip(smooth(11, 13) ** 3, 0, 1)
    scores = np.stack([smooth(7, 9) for _ in range(2)])
    return boundary, scores


def matrix_of(boundary: np.ndarray) -> Any:
    """Return the sparse transition matrix."""
    return transition_matrix(affinity_from_boundary(boundary), 10.0)


def squaring(boundary: np.ndarray, scores: np.ndarray) -> np.ndarray:
    matrix = matrix_of(boundary).toarray().astype(np.float32)
    for _ in range(8):
        matrix = matrix @ matrix
    return (scores.reshape(2, -1) @ matrix).reshape(scores.shape)


def dense_products(boundary: np.ndarray, scores: np.ndarray) -> np.ndarray:
    matrix = matrix_of(boundary).toarray().astype(np.float32)
    rows = scores.reshape(2, -1)
    for _ in range(256):
        rows = rows @ matrix
    return rows.reshape(scores.shape)


def sparse_products(boundary: np.ndarray, scores: np.ndarray) -> np.ndarray:
    matrix = matrix_of(boundary).T.tocsr().astype(np.float32)
    columns = np.ascontiguousarray(scores.reshape(2, -1).T)
    for _ in range(256):
        columns = matrix @ columns
    return columns.T.reshape(scores.shape)


def ours(boundary: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return propagate(scores, affinity_from_boundary(boundary))


def decide(scores: np.ndarray) -> np.ndarray:
    """IRN's labels: scores over the global maximum, background at 0.25."""
    background = np.full((1, *scores.shape[1:]), 0.25)
    return np.concatenate([background, scores / scores.max()]).argmax(axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for h, w in ((47, 63), (94, 125)):
        boundary, scores = scene(h, w)
        exact = propagate_reference(scores, affinity_from_boundary(boundary))

        def check(_: object, result: object, exact: np.ndarray = exact) -> str:
            found = np.asarray(result)
            wrong = int((decide(found) != decide(exact)).sum())
            error = np.abs(found - exact).max() / exact.max()
            return (
                f"error {error:.1e} of max, "
                f"{wrong} of {exact[0].size} labels differ (float64)"
            )

        def row(name: str, walk: Walk, once: bool = False) -> Variant:
            return Variant(name, partial(walk, boundary, scores), check, once)  # noqa: B023

        variants = [
            row("scipy CSR, 256 products", sparse_products),
            row("stencil (propagate)", ours),
        ]
        if h == 47:
            dense = [
                row("dense, 8 squarings (official)", squaring),
                row("dense, 256 products", dense_products, once=True),
            ]
            variants = dense + variants
        affinities = partial(affinity_from_boundary, boundary)
        variants.append(Variant("  of which affinities", affinities))
        compare(
            f"random walk, {h}x{w} cells, radius 5, ms per image, affinities included",
            variants,
            rounds,
        )


if __name__ == "__main__":
    main()
