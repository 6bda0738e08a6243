"""Threshold curves equal one full evaluation per threshold, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate import Counts, CountsBuilder, CurveBuilder, ThresholdCurve

CLASSES = tuple(f"c{k}" for k in range(8))


Scored = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Class ids, scores and truth of one image."""


def image(seed: int, exact: bool = False) -> Scored:
    rng = np.random.default_rng(seed)
    number = int(rng.integers(1, 4))
    drawn = rng.choice(np.arange(1, 8), size=number, replace=False)
    ids = np.sort(drawn).astype(np.int64)
    scores = rng.random((len(ids), 12, 10)).astype(np.float32)
    if exact:
        scores = (np.round(scores * 100) / 100).astype(np.float32)
    values = np.asarray([0, 0, *ids, 5, 255], np.uint8)
    return ids, scores, rng.choice(values, (12, 10))


def without_classes(truth: np.ndarray) -> Scored:
    ids = np.zeros(0, np.int64)
    return ids, np.zeros((0, *truth.shape), np.float32), truth


def label_at(ids: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the thresholded seed, ``uint8 [H, W]``."""
    if not len(ids):
        return np.zeros(scores.shape[1:], np.uint8)
    label = ids[scores.argmax(0)]
    claimed = scores.max(0) > np.float32(threshold)
    return np.where(claimed, label, 0).astype(np.uint8)


def evaluate_at(images: list[Scored], threshold: float) -> Counts:
    builder = CountsBuilder(CLASSES)
    for index, (ids, scores, truth) in enumerate(images):
        builder.add(str(index), label_at(ids, scores, threshold), truth)
    return builder.result()


def build(images: list[Scored]) -> ThresholdCurve:
    builder = CurveBuilder(CLASSES)
    for index, (ids, scores, truth) in enumerate(images):
        builder.add(str(index), ids, scores, truth)
    return builder.result()


@pytest.mark.parametrize(
    "exact", [False, True], ids=["any scores", "scores on thresholds"]
)
def test_every_threshold_equals_one_evaluation_bit_for_bit(exact: bool) -> None:
    images = [image(k, exact) for k in range(12)]
    _, _, truth = images[0]
    images.append(without_classes(truth))
    curve = build(images)
    for index, threshold in enumerate(curve.thresholds):
        plain = evaluate_at(images, threshold)
        np.testing.assert_array_equal(curve.confusion[index], plain.confusion[:, :-1])
        np.testing.assert_array_equal(curve.at(threshold), plain.per_class_iou())
        counts = curve.counts(threshold)
        for name in ("intersection", "prediction", "truth", "confusion"):
            np.testing.assert_array_equal(getattr(counts, name), getattr(plain, name))


def test_worked_example_of_two_maps_at_threshold_015() -> None:
    scores = np.asarray([[[1, 0.4], [0.1, 0.2]], [[0, 0.5], [0.12, 0]]], np.float32)
    builder = CurveBuilder(CLASSES)
    builder.add("x", np.asarray([3, 7]), scores, np.asarray([[3, 7], [0, 3]], np.uint8))
    assert np.isclose(
        builder.result().at(0.15),
        [1, np.nan, np.nan, 1, np.nan, np.nan, np.nan, 1],
        equal_nan=True,
    ).all()


def test_a_score_on_the_threshold_is_background_and_the_smaller_id_wins_a_tie() -> None:
    builder = CurveBuilder(CLASSES)
    builder.add(
        "x",
        np.asarray([2, 5]),
        np.full((2, 1, 1), 0.3, np.float32),
        np.asarray([[2]], np.uint8),
    )
    curve = builder.result()
    assert curve.at(0.3)[2] == 0.0
    assert curve.at(0.29)[2] == 1.0
    assert np.isnan(curve.at(0.29)[5])


def test_best_is_the_highest_point_and_the_lowest_of_equals() -> None:
    builder = CurveBuilder(CLASSES)
    builder.add(
        "x",
        np.asarray([1]),
        np.asarray([[[0.805, 0.2]]], np.float32),
        np.asarray([[1, 0]], np.uint8),
    )
    curve = builder.result()
    assert curve.best() == (0.2, 1.0)
    assert curve.miou()[curve.index(0.8)] == 1.0
    assert curve.miou()[curve.index(0.81)] < 1.0


def test_over_and_under_activation_and_miou_add_up_to_one() -> None:
    curve = build([image(k) for k in range(5)])
    np.testing.assert_allclose(
        curve.miou() + curve.false_positive_rate() + curve.false_negative_rate(),
        1,
        atol=1e-12,
    )
    # threshold 1: nothing is foreground, so only the background is over-activated and every class is missed
    assert curve.false_negative_rate()[-1] > curve.false_negative_rate()[0]


def test_hand_computed_rates() -> None:
    builder = CurveBuilder(CLASSES)
    builder.add(
        "x",
        np.asarray([1]),
        np.asarray([[[0.9, 0.9, 0.1, 0.1]]], np.float32),
        np.asarray([[1, 0, 0, 1]], np.uint8),
    )
    curve = builder.result()
    at = curve.index(0.5)
    # class 0 and class 1: hit 1, predicted 2, true 2, union 3 each
    assert curve.false_positive_rate()[at] == pytest.approx(1 / 3)
    assert curve.false_negative_rate()[at] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("ids", "scores", "message"),
    [
        ([1], np.full((1, 2, 2), np.nan, np.float32), "finite"),
        (
            [1, 2],
            np.stack([np.zeros((2, 2)), np.full((2, 2), np.nan)]).astype(np.float32),
            "finite",
        ),
        ([1], np.full((1, 2, 2), np.inf, np.float32), "finite"),
        ([1], np.full((1, 2, 2), 7, np.float32), r"lie in \[0, 1\]"),
        ([1], np.full((1, 2, 2), -0.1, np.float32), r"lie in \[0, 1\]"),
        ([1], np.zeros((1, 4, 4), np.float32), "photograph's size"),
        ([0], np.zeros((1, 2, 2), np.float32), "increase strictly within 1..7"),
        ([8], np.zeros((1, 2, 2), np.float32), "increase strictly within 1..7"),
        ([2, 1], np.zeros((2, 2, 2), np.float32), "increase strictly"),
        ([1], np.zeros((1, 2, 2), np.int64), "floating point"),
    ],
)
def test_bad_seeds_are_refused_with_the_image(
    ids: list[int], scores: np.ndarray, message: str
) -> None:
    builder = CurveBuilder(CLASSES)
    truth = np.zeros((2, 2), np.uint8)
    with pytest.raises(ArtifactError, match=message) as caught:
        builder.add("2007_000032", np.asarray(ids, np.int64), scores, truth)
    assert "'2007_000032'" in str(caught.value)


def test_a_bad_truth_zero_images_and_bad_thresholds_are_refused() -> None:
    builder = CurveBuilder(CLASSES)
    scores = np.zeros((1, 1, 2), np.float32)
    truth = np.asarray([[0, 9]], np.uint8)
    with pytest.raises(DataError, match=r"the truth holds \[9\]"):
        builder.add("x", np.asarray([1]), scores, truth)
    with pytest.raises(DataError, match="no image was scored"):
        builder.result()
    with pytest.raises(DataError, match="increases strictly"):
        CurveBuilder(CLASSES, [0.1, 0.1])


def test_other_thresholds_are_possible() -> None:
    images = [image(k) for k in range(4)]
    builder = CurveBuilder(CLASSES, [0.123, 0.5, 0.51])
    for index, (ids, scores, truth) in enumerate(images):
        builder.add(str(index), ids, scores, truth)
    np.testing.assert_array_equal(
        builder.result().at(0.123), evaluate_at(images, 0.123).per_class_iou()
    )


def test_a_saved_curve_comes_back_equal_with_stable_bytes_but_without_images(
    tmp_path: Path,
) -> None:
    curve = build([image(k) for k in range(6)])
    curve.save(tmp_path / "a.npz")
    curve.save(tmp_path / "b.npz")
    again = ThresholdCurve.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.confusion, curve.confusion)
    np.testing.assert_array_equal(again.thresholds, curve.thresholds)
    assert again.best() == curve.best()
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with pytest.raises(ArtifactError, match="keeps no per-image counts"):
        again.counts(0.3)
    with pytest.raises(
        ArtifactError, match=r"threshold 0\.305 was not swept; the nearest is 0\.3"
    ):
        curve.counts(0.305)


def test_only_counts_of_differences_are_stored_so_coco_fits(tmp_path: Path) -> None:
    builder = CurveBuilder([f"c{k}" for k in range(81)])
    rng = np.random.default_rng(0)
    for index in range(60):
        drawn = rng.choice(np.arange(1, 81), 3, replace=False)
        ids = np.sort(drawn).astype(np.int64)
        scores = rng.random((3, 30, 30)).astype(np.float32)
        truth = rng.choice(ids, (30, 30)).astype(np.uint8)
        builder.add(str(index), ids, scores, truth)
    curve = builder.result()
    curve.save(tmp_path / "coco.npz")
    assert curve.confusion.nbytes > 5_000_000
    assert (tmp_path / "coco.npz").stat().st_size < 200_000
