from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_fakes import hide_kernel

from wsss_bench.toolbox import region_growing
from wsss_bench.toolbox.region_growing import grow, grow_batch, grow_reference

P_A = [
    [0.99, 0.90, 0.10, 0.10],
    [0.10, 0.90, 0.20, 0.20],
    [0.10, 0.10, 0.86, 0.20],
    [0.86, 0.20, 0.05, 0.00],
]
P_B = [
    [0.00, 0.05, 0.30, 0.30],
    [0.30, 0.05, 0.60, 0.60],
    [0.30, 0.80, 0.10, 0.10],
    [0.10, 0.10, 0.00, 0.00],
]


def card_case() -> tuple[np.ndarray, np.ndarray]:
    probs = np.stack([1 - np.array(P_A) - np.array(P_B), P_A, P_B]).astype(np.float32)
    cues = np.full((4, 4), 255, np.uint8)
    cues[0, 0], cues[3, 3] = 1, 0
    return cues, probs


def cells(labels: np.ndarray, c: int) -> set[tuple[int, int]]:
    return {(int(y), int(x)) for y, x in np.argwhere(labels == c)}


both = pytest.mark.parametrize("rule", [grow, grow_reference])


@both
def test_diagonal_links_count_and_unconnected_confidence_does_not(rule):
    cues, probs = card_case()
    out = rule(cues, probs, [1], 0.85, 0.99)
    assert cells(out, 1) == {(0, 0), (0, 1), (1, 1), (2, 2)}
    assert cells(out, 0) == {(3, 3)}
    assert cells(out, 2) == set()


@both
def test_lower_background_threshold_lets_background_grow(rule):
    cues, probs = card_case()
    out = rule(cues, probs, [1], 0.85, 0.90)
    assert cells(out, 1) == {(0, 0), (0, 1), (1, 1), (2, 2)}
    assert cells(out, 0) == {(3, 2), (3, 3)}


@both
@pytest.mark.parametrize(
    ("conduct", "reached"),
    [(True, {(0, 0), (0, 1), (2, 2)}), (False, {(0, 0), (0, 1)})],
)
def test_a_foreign_cue_conducts_only_under_the_released_rule(rule, conduct, reached):
    cues, probs = card_case()
    cues[1, 1] = 0
    out = rule(cues, probs, [1], 0.85, 0.99, conduct=conduct)
    assert cells(out, 1) == reached
    assert cells(out, 0) == {(1, 1), (3, 3)}


@both
def test_background_must_pass_both_thresholds(rule):
    cues = np.full((1, 3), 255, np.uint8)
    cues[0, 0] = 0
    probs = np.array([[[0.95, 0.80, 0.95]], [[0.05, 0.20, 0.05]]], np.float32)
    assert rule(cues, probs, [1], 0.85, 0.5).tolist() == [[0, 255, 255]]
    assert rule(cues, probs, [1], 0.5, 0.5).tolist() == [[0, 0, 0]]


@both
def test_thresholds_are_strict_in_float32(rule):
    cues = np.array([[1, 255]], np.uint8)
    probs = np.array([[[0.1, 0.15]], [[0.9, 0.85]]], np.float32)
    assert rule(cues, probs, [1], 0.85, 0.99).tolist() == [[1, 255]]
    assert rule(cues, probs, [1], 0.849, 0.99).tolist() == [[1, 1]]


@both
def test_an_overruled_cue_does_not_seed_growth_under_the_released_rule(rule):
    cues = np.array([[1, 255]], np.uint8)
    probs = np.array([[[0.0, 0.0]], [[0.05, 0.95]], [[0.95, 0.05]]], np.float32)
    assert rule(cues, probs, [1, 2]).tolist() == [[1, 255]]
    assert rule(cues, probs, [1, 2], conduct=False).tolist() == [[1, 1]]


@both
def test_nan_never_wins(rule):
    cues = np.array([[1, 255, 255]], np.uint8)
    probs = np.array([[[0.1, np.nan, np.nan]], [[0.9, 0.9, np.nan]]], np.float32)
    assert rule(cues, probs, [1]).tolist() == [[1, 1, 255]]


@st.composite
def growing_cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    h, w, c = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = np.array([0.05, 0.2, 0.5, 0.6, 0.7, 0.9], np.float32)
    probs = (
        rng.choice(levels, (c + 1, h, w))
        if draw(st.booleans())
        else rng.dirichlet([0.15] * (c + 1), (h, w)).transpose(2, 0, 1)
    )
    cues = np.where(
        rng.random((h, w)) < draw(st.sampled_from([0.05, 0.3, 0.8])),
        rng.integers(0, c + 1, (h, w)),
        255,
    )
    present = [int(k) for k in np.flatnonzero(rng.random(c) < 0.7) + 1]
    return cues.astype(np.uint8), probs.astype(np.float32), present


@given(
    growing_cases(),
    st.sampled_from([0.3, 0.6, 0.85]),
    st.sampled_from([0.3, 0.7, 0.99]),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_flood_equals_components_and_keeps_the_invariants(
    case, theta_f, theta_b, conduct
):
    cues, probs, present = case
    out = grow(cues, probs, present, theta_f, theta_b, conduct=conduct)
    expected = grow_reference(cues, probs, present, theta_f, theta_b, conduct=conduct)
    assert np.array_equal(out, expected)
    assert np.array_equal(out[cues != 255], cues[cues != 255])
    assert set(np.unique(out[cues == 255])) <= {0, 255, *present}
    expected = grow(out, probs, present, theta_f, theta_b, conduct=conduct)
    assert np.array_equal(out, expected), "a second pass changed something"


def test_a_batch_is_its_images_one_by_one():
    rng = np.random.default_rng(3)
    probs = (
        rng.dirichlet([0.1] * 4, (5, 12, 13)).transpose(0, 3, 1, 2).astype(np.float32)
    )
    cues = np.where(
        rng.random((5, 12, 13)) < 0.1, rng.integers(0, 4, (5, 12, 13)), 255
    ).astype(np.uint8)
    present = [[1], [2, 3], [], [1, 2, 3], [3]]
    batch = grow_batch(cues, probs, present)
    assert (batch != cues).any()
    for i, classes in enumerate(present):
        assert np.array_equal(batch[i], grow_reference(cues[i], probs[i], classes))


def test_without_numba_the_component_version_answers(monkeypatch):
    cues, probs = card_case()
    expected = grow(cues, probs, [1])
    hide_kernel(monkeypatch, "growing")
    by_components = region_growing._by_components
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return by_components(*arguments)

    monkeypatch.setattr(region_growing, "_by_components", counted)
    assert np.array_equal(grow(cues, probs, [1]), expected)
    assert len(calls) == 1
    assert grow_batch(
        cues[:0].reshape(0, 4, 4), probs[:0].reshape(0, 3, 4, 4), []
    ).shape == (0, 4, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, p: (c.astype(np.int64), p, [1]), "uint8"),
        (lambda c, p: (c, p.astype(np.float64), [1]), "float32"),
        (lambda c, p: (c[:3], p, [1]), "grid"),
        (lambda c, p: (c, p, [3]), "1..2"),
        (lambda c, p: (np.where(c == 1, 7, c).astype(np.uint8), p, [1]), "cue value 7"),
    ],
)
def test_broken_contracts_are_refused_with_the_reason(change, message):
    with pytest.raises(ValueError, match=message):
        grow(*change(*card_case()))


def test_import_needs_neither_torch_nor_numba():
    code = """
import sys
import wsss_bench.toolbox.cues, wsss_bench.toolbox.region_growing
print("torch" in sys.modules, "numba" in sys.modules)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["False", "False"]
