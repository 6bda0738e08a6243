"""Per-image pixel counts: the one thing that is kept of a prediction, and the source of every number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate.arrays import AnyArray, Floats, Ints, Mask
from wsss_bench.evaluate.checks import check_masks, check_once, foreign_values
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.evaluate.stored import (
    MISFIT,
    SCORE_AGAIN,
    load_arrays,
    names,
    narrow,
    store_arrays,
)


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixel counts of one set of label maps against the truth. Pixels whose truth is 255 are in none of them.

    Attributes:
        classes: class names by mask id, ``classes[0]`` is the background.
        ids: image ids, in the order of the rows.
        intersection: ``int64 [N, C+1]`` pixels of class c in both.
        prediction: ``int64 [N, C+1]`` pixels predicted as c.
        truth: ``int64 [N, C+1]`` pixels whose truth is c. A prediction of 255 is in `truth` alone: a miss.
        confusion: ``int64 [C+1, C+2]`` summed over images; rows truth, columns prediction, last column predicted 255.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    intersection: Ints
    prediction: Ints
    truth: Ints
    confusion: Ints

    def __post_init__(self) -> None:
        self._check_shapes()
        # The same pixels, counted twice: a file in which they disagree was damaged or put together by hand.
        hit = np.diagonal(self.confusion)
        predicted = self.confusion[:, :-1].sum(0)
        true = self.confusion.sum(1)
        self._check_sums("intersection", hit)
        self._check_sums("prediction", predicted)
        self._check_sums("truth", true)

    def _check_shapes(self) -> None:
        number = len(self.classes)
        wanted = (len(self.ids), number)
        for name in ("intersection", "prediction", "truth"):
            shape = getattr(self, name).shape
            if shape != wanted:
                what = f"counts: {name} has shape {shape}, {wanted} was expected."
                raise ArtifactError(f"{what} {SCORE_AGAIN}")
        wanted = (number, number + 1)
        if self.confusion.shape != wanted:
            found = f"has shape {self.confusion.shape}, expected {wanted}."
            raise ArtifactError(f"counts: confusion {found} {SCORE_AGAIN}")

    def _check_sums(self, name: str, expected: Ints) -> None:
        found = getattr(self, name).sum(0)
        if not np.array_equal(found, expected):
            what = f"the confusion matrix and the per-image {name} disagree."
            raise ArtifactError(f"counts: {what} {SCORE_AGAIN}")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_pixels(self) -> Ints:
        """Scored pixels per image, ``int64 [N]`` (truth is not 255)."""
        return self.truth.sum(1)

    @property
    def n_labelled(self) -> Ints:
        """Scored pixels per image that carry a predicted label, ``int64 [N]`` (prediction is not 255)."""
        return self.prediction.sum(1)

    def per_class_iou(self) -> Floats:
        """Return the IoU of every class over the whole set, ``float64 [C+1]``.

        NaN for a class in neither truth nor prediction.
        """
        # Summed before the ratio: images count by their pixels, and a class need not be in each of them.
        hit = self.intersection.sum(0)
        predicted = self.prediction.sum(0)
        true = self.truth.sum(0)
        return class_iou(hit, predicted, true)

    def miou(self) -> float:
        """Return the mean of the classes that occur, in [0, 1]; NaN where no pixel was scored at all."""
        return float(mean_iou(self.per_class_iou()))

    def coverage(self) -> float:
        """Return the share of the scored pixels that carry a label, in [0, 1]; NaN where no pixel was scored."""
        pixels = int(self.confusion.sum())
        if pixels == 0:
            return float("nan")
        unlabelled = int(self.confusion[:, -1].sum())
        return float(pixels - unlabelled) / pixels

    def image_miou(self) -> Floats:
        """Return the mean IoU within each image, ``float64 [N]``: for looking at images, never a board's number."""
        iou = class_iou(self.intersection, self.prediction, self.truth)
        return mean_iou(iou)

    def rows(self, ids: Sequence[str]) -> Ints:
        """Return ``int64 [len(ids), C+1, 3]``: intersection, prediction and truth of some images, in the given order.

        Raises:
            ArtifactError: an id that was not scored.
        """
        where = {image_id: row for row, image_id in enumerate(self.ids)}
        missing = [image_id for image_id in ids if image_id not in where]
        if missing:
            what = f"{len(missing)} images were not scored (first: {missing[0]!r})."
            raise ArtifactError(f"counts: {what} {SCORE_AGAIN}")
        chosen = [where[image_id] for image_id in ids]
        return self._stacked()[chosen]

    def _stacked(self) -> Ints:
        areas = [self.intersection, self.prediction, self.truth]
        return np.stack(areas, 2)

    def save(self, path: Path) -> None:
        """Write a compact ``.npz``: the cells that are not zero, in small integers; same counts, same bytes."""
        stacked = self._stacked()
        # An image holds few of the classes, so most cells are zero.
        image, klass = np.nonzero(stacked.any(2))
        number = len(self.ids)
        per_image = np.bincount(image, minlength=number)
        arrays: dict[str, AnyArray] = {
            "classes": np.asarray(self.classes, dtype=str),
            "ids": np.asarray(self.ids, dtype=str),
            "per_image": per_image.astype(np.uint16),
            "klass": klass.astype(np.uint8),
            "counts": narrow(stacked[image, klass].T),
            "confusion": narrow(self.confusion),
        }
        store_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> Counts:
        """Read what `save` wrote.

        Raises:
            ArtifactError: the file is missing, damaged or of another protocol; the message names it.
        """
        stored = load_arrays(path, "counts")
        try:
            return _unpacked(stored)
        except (*MISFIT, ArtifactError) as error:
            message = f"{path} holds no valid counts ({error}). {SCORE_AGAIN}"
            raise ArtifactError(message) from error


def _unpacked(stored: Mapping[str, AnyArray]) -> Counts:
    """Return the counts in a file's arrays; raises one of `MISFIT` or `ArtifactError` for arrays that do not fit."""
    classes = names(stored["classes"])
    ids = names(stored["ids"])
    for name in ("per_image", "klass", "counts", "confusion"):
        dtype = stored[name].dtype
        # A negative index would be counted from the end, and no error.
        if not np.issubdtype(dtype, np.unsignedinteger):
            raise ValueError(f"{name} is {dtype}, no unsigned integer")
    shape = (len(ids), len(classes), 3)
    dense = np.zeros(shape, np.int64)
    rows = np.arange(len(ids))
    image = np.repeat(rows, stored["per_image"])
    klass = stored["klass"]
    dense[image, klass] = stored["counts"].T
    return Counts(
        classes,
        ids,
        intersection=dense[:, :, 0],
        prediction=dense[:, :, 1],
        truth=dense[:, :, 2],
        confusion=stored["confusion"].astype(np.int64),
    )


class CountsBuilder:
    """Adds up one image after the other; keeps a few hundred bytes per image, never the pixels."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        number = len(self.classes)
        if not 1 <= number <= IGNORE:
            what = f"{number} classes cannot be told apart in 8-bit masks"
            raise DataError(f"{what}; 1 to {IGNORE} are possible.")
        self._slots = slots(number)
        self._size = number + 2
        self._rows: dict[str, tuple[Mask, Ints]] = {}
        self._confusion = np.zeros((number, number + 1), np.int64)

    def add(
        self,
        image_id: str,
        pred: Mask,
        truth: Mask,
    ) -> None:
        """Count one image.

        Args:
            image_id: its id; each image is counted once.
            pred: ``uint8 [H, W]`` mask ids, 255 = no label.
            truth: ``uint8 [H, W]`` mask ids, 255 = not scored.

        Raises:
            ArtifactError: the prediction has another dtype or size, holds a value that is no class, or comes twice.
            DataError: the truth has another dtype or holds a value that is no class.
        """
        from wsss_bench.evaluate.kernels import joint_histogram

        check_once(image_id, self._rows)
        check_masks(image_id, pred, truth)
        flat_truth = np.ascontiguousarray(truth).ravel()
        flat_pred = np.ascontiguousarray(pred).ravel()
        table = joint_histogram(flat_truth, flat_pred, self._slots, self._size)
        # The last slot of `slots` is for values that are no class: looked at before anything is added up.
        foreign_truth, foreign_pred = table[-1], table[:, -1]
        if foreign_truth.any() or foreign_pred.any():
            self._refuse(image_id, pred, truth)
        # Without the row of a truth of 255: those pixels are not scored.
        number = len(self.classes)
        scored = table[:number, :-1]
        self._confusion += scored
        hit = np.diagonal(scored)
        predicted = scored[:, :-1].sum(0)
        true = scored.sum(1)
        areas = np.stack([hit, predicted, true])
        # Few classes are in an image; the others take no memory.
        present = np.flatnonzero(areas.any(0)).astype(np.uint8)
        self._rows[image_id] = (present, areas[:, present])

    def result(self) -> Counts:
        """Return the counts of all images added; raises `DataError` if there are none."""
        if not self._rows:
            what = "no image was scored, so there is no mIoU."
            raise DataError(f"{what} Check the split and the folder of predictions.")
        shape = (3, len(self._rows), len(self.classes))
        dense = np.zeros(shape, np.int64)
        for index, row in enumerate(self._rows.values()):
            present, areas = row
            dense[:, index, present] = areas
        hit, predicted, true = dense
        return Counts(
            self.classes,
            tuple(self._rows),
            intersection=hit,
            prediction=predicted,
            truth=true,
            # A copy, for the builder may go on.
            confusion=self._confusion.copy(),
        )

    def _refuse(
        self,
        image_id: str,
        pred: Mask,
        truth: Mask,
    ) -> None:
        number = len(self.classes)
        fix = "Write class indices (palette or greyscale PNG), not colours."
        problem = foreign_values(image_id, "truth", truth, number)
        if problem:
            raise DataError(f"{problem} {fix}")
        problem = foreign_values(image_id, "prediction", pred, number)
        raise ArtifactError(f"{problem} {fix}")


def slots(n_classes: int) -> Ints:
    """Return ``int64 [256]``: a class maps to itself, 255 to ``n_classes``, anything else to ``n_classes + 1``."""
    table = np.full(256, n_classes + 1, np.int64)
    table[:n_classes] = np.arange(n_classes)
    table[IGNORE] = n_classes
    return table
