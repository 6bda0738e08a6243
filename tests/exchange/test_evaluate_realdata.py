"""On real VOC masks: equality with mmseg, torchmetrics and plain numpy, for whole sets and per class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsss_bench.evaluate import Counts, CountsBuilder, CurveBuilder

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(
        "WSSS_BENCH_TEST_DATA" not in os.environ,
        reason="WSSS_BENCH_TEST_DATA is unset: no real masks",
    ),
]
CLASSES = tuple(f"class{k}" for k in range(21))
Pairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


def shifted(
    truth: NDArray[np.uint8], rng: np.random.Generator, by: int
) -> NDArray[np.uint8]:
    """Return a prediction that is the truth, moved by up to `by` pixels."""
    labels = np.where(truth == 255, 0, truth)
    offset = rng.integers(-by, by, 2)
    return np.roll(labels, offset, (0, 1)).astype(np.uint8)


def confused(
    pred: NDArray[np.uint8], truth: NDArray[np.uint8], classes: int
) -> NDArray[np.int64]:
    """Return the confusion matrix by numpy alone, ``int64 [classes, classes]``."""
    there = truth != 255
    pair = classes * truth[there].astype(np.int64) + pred[there]
    return np.bincount(pair, minlength=classes**2).reshape(classes, classes)


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """All val masks, with a prediction that is shifted, and wrong in class here and there."""
    root = (
        Path(os.environ["WSSS_BENCH_TEST_DATA"]) / "voc-pack" / "VOCdevkit" / "VOC2012"
    )
    ids = (root / "ImageSets" / "Segmentation" / "val.txt").read_text().split()
    rng = np.random.default_rng(0)
    found = []
    for image_id in ids:
        with Image.open(root / "SegmentationClassAug" / f"{image_id}.png") as handle:
            truth = np.asarray(handle, dtype=np.uint8)
        pred = shifted(truth, rng, 12)
        if rng.random() < 0.3:
            pred[pred > 0] = rng.integers(1, 21)
        found.append((pred, truth))
    return found


@pytest.fixture(scope="module")
def counts(pairs: Pairs) -> Counts:
    builder = CountsBuilder(CLASSES)
    for index, (pred, truth) in enumerate(pairs):
        builder.add(str(index), pred, truth)
    return builder.result()


def test_whole_set_equals_numpy(pairs: Pairs, counts: Counts) -> None:
    confusion = np.zeros((21, 21), np.int64)
    for pred, truth in pairs:
        confusion += confused(pred, truth, 21)
    np.testing.assert_array_equal(counts.confusion[:, :-1], confusion)
    hit = np.diagonal(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    np.testing.assert_array_equal(counts.per_class_iou(), hit / union)
    assert 0.2 < counts.miou() < 0.95


def test_whole_set_equals_mmseg_per_class(pairs: Pairs, counts: Counts) -> None:
    import torch
    from mmseg.evaluation.metrics import IoUMetric

    areas = np.zeros((4, 21), np.int64)
    for pred, truth in pairs:
        found = IoUMetric.intersect_and_union(
            torch.from_numpy(pred.astype(np.int64)),
            torch.from_numpy(truth.astype(np.int64)),
            21,
            255,
        )
        areas += np.stack([area.numpy().astype(np.int64) for area in found])
    hit = counts.intersection.sum(0)
    predicted = counts.prediction.sum(0)
    true = counts.truth.sum(0)
    np.testing.assert_array_equal(hit, areas[0])
    np.testing.assert_array_equal(predicted + true - hit, areas[1])
    np.testing.assert_array_equal(predicted, areas[2])
    np.testing.assert_array_equal(true, areas[3])
    np.testing.assert_array_equal(counts.per_class_iou(), areas[0] / areas[1])


def test_whole_set_equals_torchmetrics(pairs: Pairs, counts: Counts) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    import torch

    metric = torchmetrics.classification.MulticlassConfusionMatrix(
        21, ignore_index=255, validate_args=False
    )
    for pred, truth in pairs:
        metric.update(
            torch.from_numpy(pred.astype(np.int64))[None],
            torch.from_numpy(truth.astype(np.int64))[None],
        )
    np.testing.assert_array_equal(counts.confusion[:, :-1], metric.compute().numpy())
    jaccard = torchmetrics.classification.MulticlassJaccardIndex(
        21, average="none", ignore_index=255, validate_args=False
    )
    predictions = np.concatenate([pred.ravel() for pred, _ in pairs])
    truths = np.concatenate([truth.ravel() for _, truth in pairs])
    jaccard.update(
        torch.from_numpy(predictions.astype(np.int64)),
        torch.from_numpy(truths.astype(np.int64)),
    )
    # Not exactly equal: torchmetrics divides in 32 bits.
    np.testing.assert_allclose(
        counts.per_class_iou(), jaccard.compute().numpy(), atol=1e-6
    )


def test_the_saved_set_is_small(counts: Counts, tmp_path: Path) -> None:
    counts.save(tmp_path / "val.npz")
    assert (tmp_path / "val.npz").stat().st_size < 100_000
    np.testing.assert_array_equal(
        Counts.load(tmp_path / "val.npz").confusion, counts.confusion
    )


def test_curve_on_real_masks_equals_full_evaluations(pairs: Pairs) -> None:
    import cv2

    builder, scored = CurveBuilder(CLASSES), []
    for index, (_, truth) in enumerate(pairs[:25]):
        ids = np.asarray([c for c in np.unique(truth) if 0 < c < 255], np.int64)
        planes = [
            cv2.GaussianBlur((truth == c).astype(np.float32), (0, 0), 9) for c in ids
        ]
        scores = np.stack(planes) if planes else np.zeros((0, *truth.shape), np.float32)
        builder.add(str(index), ids, scores, truth)
        scored.append((ids, scores, truth))
    curve = builder.result()
    for threshold in (0.0, 0.07, 0.3, 0.5, 0.99):
        plain = CountsBuilder(CLASSES)
        for index, (ids, scores, truth) in enumerate(scored):
            # The background as a class of its own, whose score is the threshold everywhere; it wins a tie.
            background = np.full((1, *truth.shape), np.float32(threshold))
            padded = np.concatenate([background, scores])
            classes = np.concatenate([[0], ids])
            label = classes[padded.argmax(0)].astype(np.uint8)
            plain.add(str(index), label, truth)
        expected = plain.result().confusion[:, :-1]
        found = curve.confusion[curve.index(threshold)]
        np.testing.assert_array_equal(found, expected)


def test_coco_with_81_classes_equals_numpy() -> None:
    from wsss_bench.data import open_dataset

    dataset = open_dataset(
        "coco2014", Path(os.environ["WSSS_BENCH_TEST_DATA"]) / "coco-pack"
    )
    masks = dataset.masks("val")
    builder = CountsBuilder(dataset.classes)
    confusion = np.zeros((81, 81), np.int64)
    rng = np.random.default_rng(1)
    for image_id in masks.ids[:40]:
        truth = masks[image_id]
        pred = shifted(truth, rng, 20)
        builder.add(image_id, pred, truth)
        confusion += confused(pred, truth, 81)
    counts = builder.result()
    np.testing.assert_array_equal(counts.confusion[:, :-1], confusion)
    hit = np.diagonal(confusion)
    union = confusion.sum(0) + confusion.sum(1) - hit
    # Forty images do not hold all classes.
    there = union > 0
    expected = hit[there] / union[there]
    iou = counts.per_class_iou()
    np.testing.assert_array_equal(iou[there], expected)
    assert np.isnan(iou[~there]).all()
    assert counts.miou() == pytest.approx(expected.mean(), abs=1e-12)


def test_crf_dicts_of_voc_masks_score_as_plain_files_do(
    pairs: Pairs, tmp_path: Path
) -> None:
    from wsss_bench.exchange.folders import score_folder

    class Truth(dict[str, NDArray[np.uint8]]):
        @property
        def ids(self) -> tuple[str, ...]:
            return tuple(self)

    truth = Truth()
    rng = np.random.default_rng(3)
    (tmp_path / "plain").mkdir()
    for number, (pred, mask) in enumerate(pairs[:60]):
        name = str(number)
        truth[name] = mask
        own = {int(k) for k in np.unique(mask) if 0 < k < 255}
        # An object that the label knows and the mask does not show, now and then.
        if rng.random() < 0.1:
            own.add(int(rng.integers(1, 21)))
        ids = np.asarray(sorted(own), np.int64)
        scores = (pred == ids[:, None, None]) * np.float32(0.8)
        np.savez(tmp_path / "plain" / name, class_ids=ids, scores=scores)
        stored = dict(zip(ids.tolist(), scores, strict=True))
        stored[0] = 1 - scores.max(0, initial=0)
        np.save(tmp_path / f"{name}.npy", stored, allow_pickle=True)
    plain = score_folder(tmp_path / "plain", truth, CLASSES, "seeds")
    found = score_folder(tmp_path, truth, CLASSES, "seeds")
    assert "key 0 is the background" in found.read_as
    for name, counts in plain.counts.items():
        np.testing.assert_array_equal(found.counts[name].confusion, counts.confusion)
    assert found.counts["seeds_best"].miou() > 0.2
