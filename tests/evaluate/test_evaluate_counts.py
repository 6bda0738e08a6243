"""The protocol by hand-computed cases."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate import Counts, CountsBuilder

CLASSES = ("background", "cat", "dog", "boat")


def mask(*rows: list[int]) -> np.ndarray:
    return np.asarray(rows, np.uint8)


def score(*pairs: tuple[np.ndarray, np.ndarray]) -> Counts:
    builder = CountsBuilder(CLASSES)
    for index, (pred, truth) in enumerate(pairs):
        builder.add(f"image{index}", pred, truth)
    return builder.result()


def test_two_images_are_added_up_before_the_ratio() -> None:
    first = (mask([0, 1, 1, 2]), mask([0, 1, 2, 2]))
    second = (mask([0, 0]), mask([0, 1]))
    found = score(first, second)
    # background: hit 2, predicted 3, true 2; cat: hit 1, predicted 2, true 2; dog: hit 1, predicted 1, true 2
    np.testing.assert_array_equal(found.per_class_iou(), [2 / 3, 1 / 3, 1 / 2, np.nan])
    assert found.miou() == pytest.approx((2 / 3 + 1 / 3 + 1 / 2) / 3, abs=1e-15)
    np.testing.assert_array_equal(
        found.confusion,
        [[2, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]],
    )


def test_ignored_truth_is_not_counted_whatever_the_prediction() -> None:
    with_border = score((mask([1, 2, 255, 0]), mask([1, 255, 255, 255])))
    assert with_border.confusion.sum() == 1
    assert with_border.miou() == 1.0
    assert with_border.coverage() == 1.0


def test_255_in_the_prediction_is_a_miss_with_coverage_beside_it() -> None:
    found = score((mask([0, 255, 1, 255]), mask([0, 0, 1, 1])))
    np.testing.assert_array_equal(found.per_class_iou(), [0.5, 0.5, np.nan, np.nan])
    assert found.coverage() == 0.5
    assert found.n_labelled.tolist() == [2]
    assert found.n_pixels.tolist() == [4]
    np.testing.assert_array_equal(found.confusion[:, -1], [1, 1, 0, 0])


def test_present_but_missed_is_zero_and_predicted_but_absent_is_zero_and_absent_everywhere_is_left_out() -> (
    None
):
    found = score((mask([0, 0, 2, 2]), mask([0, 1, 0, 0])))
    np.testing.assert_array_equal(found.per_class_iou(), [1 / 4, 0.0, 0.0, np.nan])
    assert found.miou() == pytest.approx(1 / 12, abs=1e-15)


def test_an_image_that_is_all_ignored_counts_nothing_but_is_listed() -> None:
    found = score((mask([0, 1]), mask([255, 255])), (mask([1]), mask([1])))
    assert found.ids == ("image0", "image1")
    assert found.n_pixels.tolist() == [0, 1]
    assert found.miou() == 1.0
    alone = score((mask([0, 1]), mask([255, 255])))
    assert math.isnan(alone.miou())
    assert math.isnan(alone.coverage())


def test_a_prediction_of_255_alone_scores_zero() -> None:
    found = score((mask([255, 255]), mask([0, 1])))
    np.testing.assert_array_equal(found.per_class_iou(), [0, 0, np.nan, np.nan])
    assert found.coverage() == 0.0


def test_zero_images_have_no_miou() -> None:
    with pytest.raises(DataError, match="no image was scored"):
        CountsBuilder(CLASSES).result()


@pytest.mark.parametrize(
    ("pred", "truth", "error", "message"),
    [
        (
            mask([0, 1, 2]),
            mask([0, 1]),
            ArtifactError,
            r"'bad': the prediction is \[1, 3\], the truth \[1, 2\]",
        ),
        (
            mask([0, 4]),
            mask([0, 1]),
            ArtifactError,
            r"'bad': the prediction holds \[4\]; allowed are 0..3 and 255",
        ),
        (mask([0, 1]), mask([0, 254]), DataError, r"'bad': the truth holds \[254\]"),
        (
            mask([0, 4]),
            mask([0, 255]),
            ArtifactError,
            r"'bad': the prediction holds \[4\]",
        ),
        (
            np.zeros((1, 2), np.int64),
            mask([0, 1]),
            ArtifactError,
            "'bad': the prediction must be uint8",
        ),
        (
            mask([0, 1]),
            np.zeros((1, 2), np.float32),
            DataError,
            "'bad': the truth must be uint8",
        ),
        (
            np.zeros((1, 2, 3), np.uint8),
            mask([0, 1]),
            ArtifactError,
            r"not uint8 \[1, 2, 3\]",
        ),
        (
            np.zeros((0, 2), np.uint8),
            mask([0, 1]),
            ArtifactError,
            r"not uint8 \[0, 2\]",
        ),
    ],
)
def test_what_breaks_the_contract_names_the_image(
    pred: np.ndarray, truth: np.ndarray, error: type, message: str
) -> None:
    builder = CountsBuilder(CLASSES)
    builder.add("good", mask([0]), mask([0]))
    with pytest.raises(error, match=message):
        builder.add("bad", pred, truth)
    assert builder.result().ids == ("good",)


def test_an_image_is_counted_once() -> None:
    builder = CountsBuilder(CLASSES)
    builder.add("twin", mask([0]), mask([0]))
    with pytest.raises(ArtifactError, match="'twin' was scored twice"):
        builder.add("twin", mask([0]), mask([0]))


def test_non_contiguous_masks_count_the_same() -> None:
    pred = mask([0, 1, 2], [1, 1, 3])
    truth = mask([0, 1, 1], [1, 0, 3])
    plain = score((pred, truth)).confusion
    mirrored = score((pred[:, ::-1], truth[:, ::-1])).confusion
    turned = score((pred.T, truth.T)).confusion
    np.testing.assert_array_equal(plain, mirrored)
    np.testing.assert_array_equal(turned, plain)


def test_255_classes_are_possible_and_256_are_not() -> None:
    builder = CountsBuilder([f"c{k}" for k in range(255)])
    builder.add("x", mask([254, 255]), mask([254, 254]))
    assert builder.result().per_class_iou()[254] == 0.5
    with pytest.raises(DataError, match="256 classes"):
        CountsBuilder([f"c{k}" for k in range(256)])


def random_counts(images: int = 40) -> Counts:
    rng = np.random.default_rng(3)
    values = np.asarray([0, 1, 2, 3, 255], np.uint8)
    size = (9, 7)
    pairs = [
        (rng.choice(values, size), rng.choice(values, size)) for _ in range(images)
    ]
    return score(*pairs)


def test_counts_equal_a_plain_loop_over_pixels() -> None:
    rng = np.random.default_rng(4)
    values = np.asarray([0, 1, 2, 3, 255], np.uint8)
    pred, truth = rng.choice(values, (13, 11)), rng.choice(values, (13, 11))
    expected = np.zeros((4, 5), np.int64)
    for p, t in zip(pred.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if t != 255:
            expected[t, 4 if p == 255 else p] += 1
    found = score((pred, truth))
    np.testing.assert_array_equal(found.confusion, expected)
    np.testing.assert_array_equal(found.intersection[0], np.diagonal(expected))
    np.testing.assert_array_equal(found.prediction[0], expected[:, :4].sum(0))
    np.testing.assert_array_equal(found.truth[0], expected.sum(1))


def test_saved_counts_come_back_equal_and_the_bytes_are_stable(tmp_path: Path) -> None:
    counts = random_counts()
    counts.save(tmp_path / "a.npz")
    counts.save(tmp_path / "b.npz")
    again = Counts.load(tmp_path / "a.npz")
    for name in ("intersection", "prediction", "truth", "confusion"):
        np.testing.assert_array_equal(getattr(again, name), getattr(counts, name))
        assert getattr(again, name).dtype == np.int64
    assert (again.ids, again.classes) == (counts.ids, counts.classes)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_pixel_counts_beyond_32_bits_survive(tmp_path: Path) -> None:
    big = np.asarray([[2**40, 5, 0, 0]], np.int64)
    confusion = np.hstack([np.diag(big[0]), np.zeros((4, 1), np.int64)])
    counts = Counts(CLASSES, ("x",), big, big, big, confusion)
    counts.save(tmp_path / "big.npz")
    assert Counts.load(tmp_path / "big.npz").intersection[0, 0] == 2**40


def test_1449_images_of_21_classes_stay_well_under_a_megabyte(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    builder = CountsBuilder([f"c{k}" for k in range(21)])
    for index in range(1449):
        values = np.asarray([0, *rng.integers(1, 21, 3)], np.uint8)
        builder.add(
            f"2007_{index:06d}",
            rng.choice(values, (20, 25)),
            rng.choice(values, (20, 25)),
        )
    builder.result().save(tmp_path / "val.npz")
    assert (tmp_path / "val.npz").stat().st_size < 200_000


def test_damaged_foreign_and_inconsistent_files_are_refused_by_name(
    tmp_path: Path,
) -> None:
    with pytest.raises(ArtifactError, match=r"none\.npz is missing"):
        Counts.load(tmp_path / "none.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 half of a file")
    with pytest.raises(ArtifactError, match=r"cut\.npz cannot be read"):
        Counts.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", protocol=np.asarray(["iou-v0"]))
    with pytest.raises(ArtifactError, match="protocol 'iou-v0'"):
        Counts.load(tmp_path / "other.npz")
    np.savez(tmp_path / "pickle.npz", protocol=np.asarray([object()], dtype=object))
    with pytest.raises(ArtifactError, match=r"pickle\.npz cannot be read"):
        Counts.load(tmp_path / "pickle.npz")


def test_counts_that_disagree_with_their_confusion_matrix_are_refused() -> None:
    counts = random_counts(2)
    with pytest.raises(ArtifactError, match="per-image truth disagree"):
        Counts(
            counts.classes,
            counts.ids,
            counts.intersection,
            counts.prediction,
            counts.truth + 1,
            counts.confusion,
        )


def test_rows_are_picked_by_id_in_the_order_asked_for() -> None:
    counts = random_counts(5)
    rows = counts.rows(["image3", "image0"])
    np.testing.assert_array_equal(rows[0, :, 0], counts.intersection[3])
    np.testing.assert_array_equal(rows[1, :, 2], counts.truth[0])
    with pytest.raises(
        ArtifactError, match=r"1 images were not scored \(first: 'image9'\)"
    ):
        counts.rows(["image0", "image9"])
