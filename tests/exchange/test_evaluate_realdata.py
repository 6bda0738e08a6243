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
        pred = np.roll(
            np.where(truth == 255, 0, truth), rng.integers(-12, 12, 2), (0, 1)
        ).astype(np.uint8)
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
        there = truth != 255
        confusion += np.bincount(
            21 * truth[there].astype(np.int64) + pred[there], minlength=441
        ).reshape(21, 21)
    np.testing.assert_array_equal(counts.confusion[:, :-1], confusion)
    hit = np.diagonal(confusion)
    np.testing.assert_array_equal(
        counts.per_class_iou(), hit / (confusion.sum(0) + confusion.sum(1) - hit)
    )
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
    np.testing.assert_array_equal(counts.intersection.sum(0), areas[0])
    np.testing.assert_array_equal(
        counts.prediction.sum(0) + counts.truth.sum(0) - counts.intersection.sum(0),
        areas[1],
    )
    np.testing.assert_array_equal(counts.prediction.sum(0), areas[2])
    np.testing.assert_array_equal(counts.truth.sum(0), areas[3])
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
    jaccard.update(
        *(
            torch.from_numpy(
                np.concatenate([p[i].ravel() for p in pairs]).astype(np.int64)
            )
            for i in (0, 1)
        )
    )
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
            padded = np.pad(
                scores, ((1, 0), (0, 0), (0, 0)), constant_values=np.float32(threshold)
            )
            plain.add(
                str(index),
                np.concatenate([[0], ids])[padded.argmax(0)].astype(np.uint8),
                truth,
            )
        np.testing.assert_array_equal(
            curve.confusion[curve.index(threshold)], plain.result().confusion[:, :-1]
        )


def test_coco_with_81_classes_equals_numpy() -> None:
    from wsss_bench.data import open_dataset

    dataset = open_dataset(
        "coco2014", Path(os.environ["WSSS_BENCH_TEST_DATA"]) / "coco-pack"
    )
    masks = dataset.masks("val")
    builder, confusion, rng = (
        CountsBuilder(dataset.classes),
        np.zeros((81, 81), np.int64),
        np.random.default_rng(1),
    )
    for image_id in masks.ids[:40]:
        truth = masks[image_id]
        pred = np.roll(
            np.where(truth == 255, 0, truth), rng.integers(-20, 20, 2), (0, 1)
        ).astype(np.uint8)
        builder.add(image_id, pred, truth)
        there = truth != 255
        confusion += np.bincount(
            81 * truth[there].astype(np.int64) + pred[there], minlength=81**2
        ).reshape(81, 81)
    counts = builder.result()
    np.testing.assert_array_equal(counts.confusion[:, :-1], confusion)
    hit, union = (
        np.diagonal(confusion),
        confusion.sum(0) + confusion.sum(1) - np.diagonal(confusion),
    )
    np.testing.assert_array_equal(
        counts.per_class_iou()[union > 0], hit[union > 0] / union[union > 0]
    )
    assert np.isnan(counts.per_class_iou()[union == 0]).all()
    assert counts.miou() == pytest.approx(
        (hit[union > 0] / union[union > 0]).mean(), abs=1e-12
    )
