"""A score of one class only, or of no label at all, does not pass without a word."""

from __future__ import annotations

import numpy as np
import pytest

from wsss_bench.evaluate import Counts, CountsBuilder
from wsss_bench.runs.remarks import remarks

CLASSES = ("background", "cat", "dog")
TRUTH = np.array([[0, 1], [2, 255]], np.uint8)


def counted(*values: int, truth: np.ndarray = TRUTH) -> Counts:
    builder = CountsBuilder(CLASSES)
    builder.add("a", np.array(values, np.uint8).reshape(2, 2), truth)
    return builder.result()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 0, 0, 0), ["labels: one class only, 'background' in every image"]),
        # Where the truth is ignored nothing is scored.
        ((1, 1, 1, 2), ["labels: one class only, 'cat' in every image"]),
        ((255, 255, 255, 0), ["labels: no scored pixel has a label, all are 255"]),
        ((0, 1, 255, 0), []),
        ((0, 1, 2, 0), []),
    ],
)
def test_one_class_and_none(values: tuple[int, ...], expected: list[str]) -> None:
    assert remarks("labels", counted(*values)) == expected


def test_a_truth_of_one_class_asks_for_no_more() -> None:
    assert remarks("val", counted(0, 0, 0, 0, truth=np.zeros((2, 2), np.uint8))) == []
