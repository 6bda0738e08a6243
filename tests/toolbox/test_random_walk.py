from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_fakes import hide_kernel

from wsss_bench.toolbox import random_walk
from wsss_bench.toolbox.random_walk import (
    Affinity,
    affinity_from_boundary,
    half_disc,
    path_cells,
    propagate,
    propagate_reference,
    transition_matrix,
)

both = pytest.mark.parametrize("walk", [propagate, propagate_reference])


def dense_walk(
    boundary: np.ndarray, scores: np.ndarray, radius: int, beta: float, squarings: int
) -> np.ndarray:
    """As official code does it: all pairs one by one, a dense matrix, squared."""
    h, w = boundary.shape
    matrix = np.eye(h * w)
    for i in range(h * w):
        for j in range(h * w):
            dy, dx = j // w - i // w, j % w - i % w
            if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius:
                # Distance of each cell of the bounding rectangle to the straight line between both.
                ys = range(dy + 1)
                xs = range(min(0, dx), max(0, dx) + 1)
                path = [
                    (y, x)
                    for y in ys
                    for x in xs
                    if (dx * y - dy * x) ** 2 / (dy * dy + dx * dx) < 1
                ]
                worst = max(boundary[i // w + y, i % w + x] for y, x in path)
                matrix[i, j] = matrix[j, i] = 1 - worst
    powers = matrix**beta
    transition = powers / powers.sum(axis=0, keepdims=True)
    for _ in range(squarings):
        transition = transition @ transition
    return (scores.reshape(len(scores), -1) @ transition).reshape(scores.shape)


@pytest.mark.parametrize(
    ("radius", "count"), [(1, 0), (2, 4), (5, 34), (8, 96), (10, 152)]
)
def test_the_half_disc_has_the_published_number_of_offsets_and_no_opposite_pair(
    radius, count
):
    offsets = {tuple(o) for o in half_disc(radius).tolist()}
    assert len(offsets) == count
    assert not offsets & {(-y, -x) for y, x in offsets}


def test_paths_are_the_cells_nearer_than_one_to_the_line():
    assert path_cells(1, 1) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert path_cells(1, 2) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert path_cells(0, 3) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert path_cells(1, -1) == [(0, -1), (0, 0), (1, -1), (1, 0)]


def test_affinity_is_one_minus_the_strongest_boundary_on_the_way():
    affinity = affinity_from_boundary(np.array([[0, 0.7, 0.2]]), radius=3)
    planes = {
        tuple(o): plane[0].tolist()
        for o, plane in zip(affinity.offsets.tolist(), affinity.planes, strict=True)
    }
    assert planes[0, 2] == pytest.approx([0.3, 0, 0])
    assert planes[0, 1] == pytest.approx([0.3, 0.3, 0])


@both
def test_two_cells_across_a_boundary(walk):
    affinity = affinity_from_boundary(np.array([[0.0, 0.5]], np.float32))
    scores = np.array([[[1.0, 0.0]]], np.float32)
    found = walk(scores, affinity, 10, 256)[0, 0].tolist()
    assert found == pytest.approx([0.803265, 0.196735], abs=2e-6)
    found = walk(scores, affinity, 8, 256)[0, 0].tolist()
    assert found == pytest.approx([0.567667, 0.432333], abs=2e-6)


@both
def test_four_cells_whose_diagonal_passes_the_boundary(walk):
    affinity = affinity_from_boundary(np.array([[0.0, 0.5], [0.0, 0.0]], np.float32))
    scores = np.array([[[1.0, 0.0], [0.0, 0.0]]], np.float32)
    one = walk(scores, affinity, 10, 1)
    found = one.ravel().tolist()
    assert found == pytest.approx([0.499512, 0.000974, 0.333225, 0.000488], abs=1e-6)
    many = walk(scores, affinity, 10, 256)
    found = many.ravel().tolist()
    assert found == pytest.approx([0.265188, 0.143868, 0.265205, 0.265188], abs=2e-6)


@both
def test_the_limit_weighs_cells_by_their_column_sums(walk):
    affinity = affinity_from_boundary(np.array([[0.0, 0.1, 0.3]], np.float32))
    scores = np.array([[[1.0, 0.0, 0.0]]], np.float32)
    a = {(0, 1): 0.9, (1, 2): 0.7, (0, 2): 0.7}
    sums = [1 + a[0, 1] + a[0, 2], 1 + a[0, 1] + a[1, 2], 1 + a[1, 2] + a[0, 2]]
    assert np.allclose(walk(scores, affinity, 1.0, 500), sums[0] / sum(sums), atol=1e-5)


@pytest.mark.parametrize("radius", [3, 5])
def test_sparse_dense_and_stencil_agree(radius):
    rng = np.random.default_rng(radius)
    boundary = rng.random((14, 11)).astype(np.float32) ** 2
    scores = rng.random((2, 14, 11)).astype(np.float32)
    affinity = affinity_from_boundary(boundary, radius)
    dense = dense_walk(boundary.astype(float), scores, radius, 10.0, 8)
    assert np.allclose(propagate_reference(scores, affinity), dense, atol=1e-6)
    assert np.allclose(propagate(scores, affinity), dense, atol=1e-5)


def test_single_precision_does_not_drift_over_256_steps():
    rng = np.random.default_rng(0)
    boundary = np.kron(rng.random((6, 6)) ** 3, np.ones((4, 5))).astype(np.float32)
    scores = rng.random((3, 24, 30)).astype(np.float32)
    affinity = affinity_from_boundary(boundary)
    exact = propagate_reference(scores, affinity)
    assert np.abs(propagate(scores, affinity) - exact).max() <= 5e-5 * exact.max()
    constant = np.full((1, 24, 30), 0.7, np.float32)
    assert np.array_equal(propagate(constant, affinity), constant)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 6),
    st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_any_grid_agrees_with_the_matrix_and_stays_in_range(seed, h, w, radius, steps):
    rng = np.random.default_rng(seed)
    affinity = affinity_from_boundary(rng.random((h, w)), radius)
    scores = rng.random((2, h, w)).astype(np.float32)
    out = propagate(scores, affinity, 4.0, steps)
    assert out.dtype == np.float32
    expected = propagate_reference(scores, affinity, 4.0, steps)
    assert np.allclose(out, expected, atol=1e-5)
    assert out.max() <= scores.max() + 1e-6
    assert out.min() >= scores.min() - 1e-6


def test_columns_of_the_transition_matrix_sum_to_one_and_a_wall_separates():
    boundary = np.zeros((5, 7))
    boundary[:, 3] = 1
    affinity = affinity_from_boundary(boundary)
    matrix = transition_matrix(affinity, 10.0)
    assert np.allclose(matrix.sum(axis=0), 1)
    scores = np.zeros((1, 5, 7), np.float32)
    scores[..., :3] = 1
    assert np.allclose(propagate(scores, affinity), scores, atol=1e-6)


def test_scores_are_left_alone_and_none_is_fine():
    affinity = affinity_from_boundary(np.zeros((3, 4)))
    scores = np.eye(3, 4, dtype=np.float32)[None]
    before = scores.copy()
    assert not np.array_equal(propagate(scores, affinity), scores)
    assert np.array_equal(scores, before)
    assert propagate(scores[:0], affinity).shape == (0, 3, 4)
    assert np.array_equal(propagate(scores, affinity, steps=0), scores)


def test_without_numba_the_sparse_matrix_answers(monkeypatch):
    affinity = affinity_from_boundary(np.array([[0.0, 0.5]], np.float32))
    scores = np.array([[[1.0, 0.0]]], np.float32)
    expected = propagate_reference(scores, affinity).astype(np.float32)
    hide_kernel(monkeypatch, "walk")
    # Only the compiled way needs these sums: had it run, it would stop here.
    monkeypatch.setattr(random_walk, "_column_sums", None)
    out = propagate(scores, affinity)
    assert np.array_equal(out, expected)
    assert out.dtype == np.float32
    assert out[0, 0].tolist() == pytest.approx([0.803265, 0.196735], abs=1e-6)


def test_broken_contracts_are_refused():
    with pytest.raises(ValueError, match="sigmoid"):
        affinity_from_boundary(np.array([[0.0, 1.5]]))
    with pytest.raises(ValueError, match="sigmoid"):
        affinity_from_boundary(np.array([[0.0, np.nan]]))
    affinity = affinity_from_boundary(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="resize"):
        propagate(np.zeros((1, 4, 3), np.float32), affinity)
    with pytest.raises(ValueError, match="resize"):
        propagate_reference(np.zeros((3, 4), np.float32), affinity)


def test_affinities_may_come_from_elsewhere_in_any_number():
    affinity = Affinity(np.array([[0, 1]]), np.array([[[0.5, 0.0]]], np.float32))
    out = propagate(np.array([[[1.0, 0.0]]], np.float32), affinity, 8)
    assert out[0, 0].tolist() == pytest.approx([0.567667, 0.432333], abs=1e-6)


def test_import_needs_neither_torch_nor_numba():
    code = "import sys, wsss_bench.toolbox.random_walk; print('torch' in sys.modules, 'numba' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
