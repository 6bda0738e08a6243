"""Seeds at every background threshold, in one pass over the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.evaluate.counts import Counts, check_once, load_arrays, names, slots
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.io.files import save_arrays, write_atomic

DEFAULT_THRESHOLDS: NDArray[np.float64] = np.arange(101) / 100
"""0.00, 0.01, … 1.00."""


@dataclass(frozen=True)
class _ImageHistogram:
    """What one image adds: enough to count it at any threshold, a few kilobytes at most."""

    class_ids: NDArray[np.int64]
    truth: NDArray[np.int64]
    hits: NDArray[np.uint32]
    claims: NDArray[np.uint32]
    misses: NDArray[np.uint32]


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Confusion matrices of a seed set at all background thresholds.

    A pixel whose best score over the tagged classes is m becomes that class exactly if m > t (compared in float32; a tie
    is background, and between classes the smaller id wins).

    Attributes:
        classes: class names by mask id.
        thresholds: ``float64 [T]``, increasing.
        confusion: ``int64 [T, C+1, C+1]``, rows truth, columns prediction; pixels whose truth is 255 are not counted.
    """

    classes: tuple[str, ...]
    thresholds: NDArray[np.float64]
    confusion: NDArray[np.int64]
    _images: dict[str, _ImageHistogram] = field(default_factory=dict, repr=False)

    def _areas(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return (
            np.diagonal(self.confusion, axis1=1, axis2=2),
            self.confusion.sum(1),
            self.confusion.sum(2),
        )

    def per_class_iou(self) -> NDArray[np.float64]:
        """IoU at every threshold, ``float64 [T, C+1]``, NaN for a class in neither truth nor seeds."""
        return class_iou(*self._areas())

    def miou(self) -> NDArray[np.float64]:
        """mIoU at every threshold, ``float64 [T]`` in [0, 1]."""
        return mean_iou(self.per_class_iou())

    def best(self) -> tuple[float, float]:
        """The *oracle*, ``(threshold, mIoU)``: the highest point, chosen while looking at the truth; of equals the lowest."""
        index = int(np.argmax(np.nan_to_num(self.miou(), nan=-1.0)))
        return float(self.thresholds[index]), float(self.miou()[index])

    def at(self, threshold: float) -> NDArray[np.float64]:
        """IoU per class at one of the thresholds, ``float64 [C+1]``; raises `ArtifactError` for one that was not swept."""
        return self.per_class_iou()[self.index(threshold)]

    def index(self, threshold: float) -> int:
        """Position of a threshold in `thresholds`; raises `ArtifactError` for one that was not swept."""
        near = int(np.argmin(np.abs(self.thresholds - threshold)))
        if np.float32(self.thresholds[near]) != np.float32(threshold):
            raise ArtifactError(
                f"threshold {threshold:g} was not swept; the nearest is {self.thresholds[near]:g}. "
                f"The curve has {len(self.thresholds)} from {self.thresholds[0]:g} to {self.thresholds[-1]:g}."
            )
        return near

    def false_positive_rate(self) -> NDArray[np.float64]:
        """Over-activation at every threshold, ``float64 [T]``: mean over classes of ``(prediction - hit) / union``.

        With `false_negative_rate` and the mIoU it adds up to 1, as all three are shares of the same union.
        """
        intersection, prediction, truth = self._areas()
        return mean_iou(
            class_iou(
                *_shares(prediction - intersection, prediction + truth - intersection)
            )
        )

    def false_negative_rate(self) -> NDArray[np.float64]:
        """Under-activation at every threshold, ``float64 [T]``: mean over classes of ``(truth - hit) / union``."""
        intersection, prediction, truth = self._areas()
        return mean_iou(
            class_iou(*_shares(truth - intersection, prediction + truth - intersection))
        )

    def counts(self, threshold: float) -> Counts:
        """Per-image counts at one threshold, as one full evaluation of the thresholded seeds would give.

        Raises:
            ArtifactError: the threshold was not swept, or the curve was loaded from a file, which keeps no images.
        """
        place = self.index(threshold)
        if not self._images:
            raise ArtifactError(
                "this curve was loaded from a file and keeps no per-image counts. Save counts(t) beside it when it is built."
            )
        areas = np.zeros((3, len(self._images), len(self.classes)), np.int64)
        for row, image in enumerate(self._images.values()):
            areas[2, row] = image.truth
            claimed = image.claims[:, place + 1 :].sum(1, dtype=np.int64)
            areas[0, row, image.class_ids] = image.hits[:, place + 1 :].sum(
                1, dtype=np.int64
            )
            areas[1, row, image.class_ids] = claimed
            areas[0, row, 0] = image.misses[: place + 1].sum(dtype=np.int64)
            areas[1, row, 0] = image.truth.sum() - claimed.sum()
        confusion = np.concatenate(
            [self.confusion[place], np.zeros((len(self.classes), 1), np.int64)], 1
        )
        return Counts(
            self.classes, tuple(self._images), areas[0], areas[1], areas[2], confusion
        )

    def save(self, path: Path) -> None:
        """Write a compact ``.npz`` (differences between neighbouring thresholds); same curve, same bytes."""
        steps = np.diff(self.confusion, axis=0)
        where = np.flatnonzero(steps)
        arrays: dict[str, NDArray[Any]] = {
            "protocol": np.asarray([PROTOCOL]),
            "classes": np.asarray(self.classes, dtype=str),
            "thresholds": self.thresholds,
            "first": self.confusion[0],
            "gaps": np.diff(where, prepend=0).astype(np.uint32),
            "steps": steps.ravel()[where].astype(np.int64),
        }
        write_atomic(path, lambda handle: save_arrays(handle, arrays))

    @classmethod
    def load(cls, path: Path) -> ThresholdCurve:
        """Read what `save` wrote; raises `ArtifactError` naming the file when it is missing, malformed or of another protocol."""
        stored = load_arrays(path, "a threshold curve")
        try:
            size, number = len(stored["thresholds"]), len(stored["classes"])
            steps = np.zeros((size - 1) * number * number, np.int64)
            steps[np.cumsum(stored["gaps"], dtype=np.int64)] = stored["steps"]
            moved = np.cumsum(steps.reshape(size - 1, number, number), axis=0)
            confusion = np.concatenate(
                [stored["first"][None], stored["first"][None] + moved]
            ).astype(np.int64)
            if (confusion < 0).any() or (np.diff(stored["thresholds"]) <= 0).any():
                raise ValueError("negative counts, or thresholds that do not increase")
            return cls(
                names(stored["classes"]),
                stored["thresholds"].astype(np.float64),
                confusion,
            )
        except (KeyError, IndexError, ValueError, TypeError, MemoryError) as error:
            raise ArtifactError(
                f"{path} holds no valid threshold curve ({error}). Score the seeds again."
            ) from error


class CurveBuilder:
    """Adds up one seed after the other; keeps a few kilobytes per image, never the scores."""

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Sequence[float] | NDArray[np.float64] = DEFAULT_THRESHOLDS,
    ) -> None:
        self.classes = tuple(classes)
        self.thresholds = np.asarray(thresholds, np.float64)
        self._cut = self.thresholds.astype(np.float32)
        if (
            self.thresholds.ndim != 1
            or not self.thresholds.size
            or (np.diff(self._cut) <= 0).any()
        ):
            raise DataError(
                "thresholds must be a list that increases strictly, also as float32."
            )
        number = len(self.classes)
        self._rows = slots(number)
        self._total = np.zeros((number, number, self.thresholds.size + 1), np.int64)
        self._images: dict[str, _ImageHistogram] = {}

    def add(
        self,
        image_id: str,
        class_ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        truth: NDArray[np.uint8],
    ) -> None:
        """Count one image at all thresholds.

        Args:
            image_id: its id; each image is counted once.
            class_ids: ``int64 [K]`` mask ids (1..C), strictly increasing; K may be 0: all background.
            scores: ``float32 [K, H, W]`` at the photograph's size, finite, in [0, 1].
            truth: ``uint8 [H, W]`` mask ids, 255 = not scored.

        Raises:
            ArtifactError: ids or scores break the rules above, or the image comes twice.
            DataError: the truth holds a value that is no class.
        """
        check_once(image_id, self._images)
        self._check(image_id, class_ids, scores, truth)
        table = self._histogram(scores, truth)
        number = len(self.classes)
        if table[number + 1].any():
            foreign = np.setdiff1d(truth, [*range(number), IGNORE]).tolist()
            raise DataError(
                f"image {image_id!r}: the truth holds {foreign[:10]}; allowed are 0..{number - 1} and {IGNORE}."
            )
        scored = table[:number]
        columns = class_ids if len(class_ids) else np.zeros(1, np.int64)
        self._total[:, columns] += scored
        hits = (
            scored[columns, np.arange(len(columns))]
            if len(class_ids)
            else np.zeros((0, scored.shape[2]), np.int64)
        )
        claims = scored.sum(0) if len(class_ids) else hits
        self._images[image_id] = _ImageHistogram(
            np.asarray(class_ids, np.int64),
            scored.sum((1, 2)),
            hits.astype(np.uint32),
            claims.astype(np.uint32),
            scored[0].sum(0).astype(np.uint32),
        )

    def _histogram(
        self, scores: NDArray[np.float32], truth: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        from wsss_bench.evaluate.kernels import score_histogram

        number, flat = len(self.classes), np.ascontiguousarray(truth).ravel()
        if len(scores):
            planes = np.ascontiguousarray(scores, np.float32).reshape(len(scores), -1)
            return score_histogram(planes, flat, self._rows, number + 2, self._cut)
        table = np.zeros((number + 2, 1, self.thresholds.size + 1), np.int64)
        table[:, 0, 0] = np.bincount(self._rows[flat], minlength=number + 2)
        return table

    def _check(
        self,
        image_id: str,
        class_ids: NDArray[np.int64],
        scores: NDArray[np.float32],
        truth: NDArray[np.uint8],
    ) -> None:
        who = f"image {image_id!r}"
        if truth.dtype != np.uint8 or truth.ndim != 2 or not truth.size:
            raise DataError(
                f"{who}: the truth must be uint8 [H, W], not {truth.dtype} {list(truth.shape)}."
            )
        ids = np.asarray(class_ids)
        if ids.ndim != 1 or (ids.size and not np.issubdtype(ids.dtype, np.integer)):
            raise ArtifactError(
                f"{who}: class ids must be a 1-D integer array, not {ids.dtype} {list(ids.shape)}."
            )
        if ids.size and (
            (np.diff(ids) <= 0).any() or ids[0] < 1 or ids[-1] >= len(self.classes)
        ):
            raise ArtifactError(
                f"{who}: class ids must increase strictly within 1..{len(self.classes) - 1}, not {ids.tolist()}."
            )
        if scores.shape != (len(ids), *truth.shape):
            raise ArtifactError(
                f"{who}: scores must have shape {[len(ids), *truth.shape]} (the photograph's size), not {list(scores.shape)}. "
                "Upsample them first: Seed.upsampled()."
            )
        if scores.size and not np.issubdtype(scores.dtype, np.floating):
            raise ArtifactError(
                f"{who}: scores must be floating point, not {scores.dtype}."
            )
        low, high = (
            (float(scores.min()), float(scores.max())) if scores.size else (0.0, 0.0)
        )
        if not (low >= 0 and high <= 1 + 1e-3):
            raise ArtifactError(
                f"{who}: scores must be finite and lie in [0, 1], found [{low:g}, {high:g}]. Divide each map by its maximum."
            )

    def result(self) -> ThresholdCurve:
        """The curve of all images added; raises `DataError` if there are none."""
        if not self._images:
            raise DataError(
                "no image was scored, so there is no threshold curve. Check the split and the seeds."
            )
        above = self._total[:, :, ::-1].cumsum(2)[:, :, ::-1][:, :, 1:]
        confusion = np.ascontiguousarray(above.transpose(2, 0, 1))
        confusion[:, :, 0] = self._total.sum((1, 2)) - confusion[:, :, 1:].sum(2)
        return ThresholdCurve(
            self.classes, self.thresholds, confusion, dict(self._images)
        )


def _shares(
    part: NDArray[np.int64], union: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Arguments for which `class_iou` is ``part / union``."""
    return part, union, part
