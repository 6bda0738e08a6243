"""Region growing against its rule in plain words, on any input."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wsss_bench.contract.view import IGNORE
from wsss_bench.toolbox.region_growing import grow, grow_reference

few = settings(max_examples=60, deadline=None, derandomize=True, database=None)
N = 4
"""Classes, background included."""

Cell = tuple[int, ...]


@st.composite
def growths(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[int]]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    kinds = st.sampled_from([0, 1, 2, 3, IGNORE, IGNORE])
    # Every cell is drawn: by default most of an array repeats one value, and hardly
    # anything grows.
    cues = draw(hnp.arrays(np.uint8, shape, elements=kinds, fill=st.nothing()))
    # Tenths, so that ties and thresholds are met; often sure.
    sure = st.sampled_from([0, 1, 3, 4, 5, 9, 10, 10])
    tenths = draw(hnp.arrays(np.int64, (N, *shape), elements=sure, fill=st.nothing()))
    probs = tenths.astype(np.float32) / 10
    return cues, probs, sorted(draw(st.sets(st.integers(1, N - 1))))


def sure_labels(
    cues: np.ndarray,
    probs: np.ndarray,
    present: list[int],
    theta_f: float,
    theta_b: float,
) -> np.ndarray:
    """The cues, overwritten where the network is sure."""
    label = cues.copy()
    allowed = [0, *present]
    for cell in np.ndindex(*cues.shape):
        best = max(allowed, key=lambda c: (probs[(c, *cell)], -c))
        value = probs[(best, *cell)]
        enough = best != 0 or value > np.float32(theta_b)
        if value > np.float32(theta_f) and enough:
            label[cell] = best
    return label


def component(label: np.ndarray, start: Cell) -> list[Cell]:
    """The cells of one class that hang together with a start, corners included."""
    height, width = label.shape
    part = [start]
    # A list that grows while it is read: the queue of a breadth-first search.
    for y, x in part:
        for ny in range(max(0, y - 1), min(height, y + 2)):
            for nx in range(max(0, x - 1), min(width, x + 2)):
                if label[ny, nx] == label[start] and (ny, nx) not in part:
                    part.append((ny, nx))
    return part


def flood(
    cues: np.ndarray,
    probs: np.ndarray,
    present: list[int],
    theta_f: float,
    theta_b: float,
) -> np.ndarray:
    """The released rule, cell by cell: components of sure cells with a cue of their class are accepted."""
    label = sure_labels(cues, probs, present, theta_f, theta_b)
    out = cues.copy()
    for start in np.ndindex(*cues.shape):
        klass = label[start]
        if klass == IGNORE:
            continue
        part = component(label, start)
        if any(cues[cell] == klass for cell in part) and cues[start] == IGNORE:
            out[start] = klass
    return out


@few
@given(
    case=growths(),
    theta_f=st.sampled_from([0.3, 0.5, 0.85]),
    theta_b=st.sampled_from([0.4, 0.9]),
)
def test_region_growing_is_the_released_rule_in_plain_words(
    case: tuple[np.ndarray, np.ndarray, list[int]], theta_f: float, theta_b: float
) -> None:
    cues, probs, present = case
    grown = grow(cues, probs, present, theta_f, theta_b)
    assert np.array_equal(grown, flood(cues, probs, present, theta_f, theta_b))
    assert np.array_equal(grown, grow_reference(cues, probs, present, theta_f, theta_b))
    assert np.array_equal(grown[cues != IGNORE], cues[cues != IGNORE])
    known = {IGNORE, 0, *present, *np.unique(cues).tolist()}
    assert set(np.unique(grown).tolist()) <= known
