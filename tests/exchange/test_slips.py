"""Label maps whose values are no mask ids are told what they seem to be, and sound ones are left alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from wsss_bench.evaluate import Counts, CountsBuilder
from wsss_bench.exchange.slips import cause, doubts, read_as

CLASSES = ("background", *"abcdefgh")
CATEGORIES = {1: 1, 2: 2, 4: 3, 5: 4, 9: 5}


def counted(change: Callable[[np.ndarray], np.ndarray]) -> Counts:
    """Count masks of all classes against a change of them."""
    rng = np.random.default_rng(1)
    builder = CountsBuilder(CLASSES)
    for number in range(10):
        truth = rng.integers(0, len(CLASSES), (9, 9)).astype(np.uint8)
        # As in photographs, most is background.
        truth[rng.random((9, 9)) < 0.6] = 0
        builder.add(str(number), change(truth).astype(np.uint8), truth)
    return builder.result()


def test_identity_scores_what_the_counts_score() -> None:
    counts = counted(lambda truth: np.where(truth > 5, 255, truth))
    identity = {value: value for value in range(len(CLASSES))}
    assert read_as(counts, identity) == pytest.approx(counts.miou())
    assert 0 < counts.miou() < 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda truth: truth - 1, "one too low"),
        # The background as one class more, after the last.
        (lambda truth: np.where(truth == 0, 8, truth - 1), "one too low"),
        (lambda truth: np.where(truth < 8, truth + 1, 255), "one too high"),
    ],
)
def test_shifts_are_named(
    change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    counts = counted(change)
    (said,) = doubts(counts, "predictions")
    assert words in said
    assert f"mIoU {100 * counts.miou():.1f} as they stand" in said


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 1.0])
def test_noise_is_no_shift(share: float) -> None:
    rng = np.random.default_rng(2)

    def noisy(truth: np.ndarray) -> np.ndarray:
        noise = rng.integers(0, len(CLASSES), truth.shape)
        return np.where(rng.random(truth.shape) < share, noise, truth)

    assert list(doubts(counted(noisy), "predictions", CATEGORIES)) == []


def test_one_class_is_said() -> None:
    assert list(doubts(counted(np.zeros_like), "labels")) == [
        "all labels hold one class only: 0, 'background'."
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({0, 2, 4, 9}, "category ids of the annotations, 1 to 9 with gaps"),
        ({91, 93, 255}, "plus 91"),
        ({1, 5, 9}, "category ids"),
        ({1, 3, 8, 6}, ""),
        (set(range(0, 255, 2)), "brightness"),
        ({77}, ""),
    ],
)
def test_causes_of_values_out_of_range(values: set[int], words: str) -> None:
    said = cause(values, 6, CATEGORIES)
    assert words in said
    assert bool(said) == bool(words)


def test_one_too_high_is_told_by_the_last_value() -> None:
    assert "one too high" in cause({0, 3, 6}, 6)
