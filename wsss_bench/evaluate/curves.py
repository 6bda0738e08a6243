"""Seeds at every background threshold, in one pass over the scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate.arrays import AnyArray, Floats, Ints, Mask, Scores
from wsss_bench.evaluate.checks import (
    check_class_ids,
    check_once,
    check_scores,
    check_truth,
    foreign_values,
)
from wsss_bench.evaluate.counts import Counts, slots
from wsss_bench.evaluate.protocol import class_iou, mean_iou
from wsss_bench.evaluate.stored import MISFIT, load_arrays, names, store_arrays

DEFAULT_THRESHOLDS: Floats = np.arange(101) / 100
"""0.00, 0.01, … 1.00."""


@dataclass(frozen=True)
class _ImageHistogram:
    """What one image adds: enough to count it at any threshold, a few kilobytes at most.

    A pixel lies in bin b if b thresholds lie below its best score: at threshold i it is foreground exactly if ``i <
    b``.

    Attributes:
        class_ids: ``int64 [K]`` the tagged classes.
        truth: ``int64 [C+1]`` pixels whose truth is c.
        hits: ``uint32 [K, T+1]`` pixels by bin whose best class is the k-th one, and rightly so.
        claims: ``uint32 [K, T+1]`` pixels by bin whose best class is the k-th one.
        background: ``uint32 [T+1]`` pixels by bin whose truth is background.
    """

    class_ids: Ints
    truth: Ints
    hits: NDArray[np.uint32]
    claims: NDArray[np.uint32]
    background: NDArray[np.uint32]

    def areas(self, place: int) -> Ints:
        """Return intersection, prediction and truth at the threshold of index `place`, ``int64 [3, C+1]``."""
        hit = np.zeros_like(self.truth)
        predicted = np.zeros_like(self.truth)
        above = place + 1
        # Summed in 64 bits: the bins of one image fit into 32, their sum need not.
        hits = self.hits[:, above:].sum(1, dtype=np.int64)
        claims = self.claims[:, above:].sum(1, dtype=np.int64)
        hit[self.class_ids] = hits
        predicted[self.class_ids] = claims
        # What no class claims is predicted as background.
        unclaimed = self.background[:above]
        hit[0] = unclaimed.sum(dtype=np.int64)
        predicted[0] = self.truth.sum() - claims.sum()
        return np.stack([hit, predicted, self.truth])


@dataclass(frozen=True, eq=False)
class ThresholdCurve:
    """Confusion matrices of a seed set at all background thresholds.

    A pixel whose best score over the tagged classes is m becomes that class exactly if m > t (compared in float32; a
    tie is background, and between classes the smaller id wins).

    Attributes:
        classes: class names by mask id.
        thresholds: ``float64 [T]``, increasing.
        confusion: ``int64 [T, C+1, C+1]``, rows truth, columns prediction; pixels whose truth is 255 are not counted.
    """

    classes: tuple[str, ...]
    thresholds: Floats
    confusion: Ints
    _images: dict[str, _ImageHistogram] = field(default_factory=dict, repr=False)

    def _areas(self) -> tuple[Ints, Ints, Ints]:
        """Return intersection, prediction and truth, each ``int64 [T, C+1]``."""
        hit = np.diagonal(self.confusion, axis1=1, axis2=2)
        predicted = self.confusion.sum(1)
        true = self.confusion.sum(2)
        return hit, predicted, true

    def per_class_iou(self) -> Floats:
        """Return the IoU at every threshold, ``float64 [T, C+1]``, NaN for a class in neither truth nor seeds."""
        return class_iou(*self._areas())

    def miou(self) -> Floats:
        """Return the mIoU at every threshold, ``float64 [T]`` in [0, 1]."""
        return mean_iou(self.per_class_iou())

    def best(self) -> tuple[float, float]:
        """Return the *oracle*, ``(threshold, mIoU)``: the highest point, chosen while looking at the truth.

        Of equally high points the lowest threshold.
        """
        miou = self.miou()
        # NaN, where nothing was scored, would win over every number.
        comparable = np.nan_to_num(miou, nan=-1.0)
        index = int(np.argmax(comparable))
        return float(self.thresholds[index]), float(miou[index])

    def at(self, threshold: float) -> Floats:
        """Return the IoU per class at one of the thresholds, ``float64 [C+1]``; raises as `index` does."""
        return self.per_class_iou()[self.index(threshold)]

    def index(self, threshold: float) -> int:
        """Return the position of a threshold in `thresholds`; raises `ArtifactError` for one that was not swept."""
        distances = np.abs(self.thresholds - threshold)
        near = int(np.argmin(distances))
        # Scores are compared in float32, so thresholds that are one there are one.
        found = self.thresholds[near]
        if np.float32(found) == np.float32(threshold):
            return near
        nearest = f"the nearest is {found:g}."
        swept = f"{self.thresholds[0]:g} to {self.thresholds[-1]:g}"
        raise ArtifactError(
            f"threshold {threshold:g} was not swept; {nearest} "
            f"The curve has {len(self.thresholds)} from {swept}."
        )

    def false_positive_rate(self) -> Floats:
        """Return the over-activation at every threshold, ``float64 [T]``.

        That is the mean over classes of ``(prediction - hit) / union``. With `false_negative_rate` and the mIoU it
        adds up to 1, as all three are shares of the same union.
        """
        hit, predicted, true = self._areas()
        union = predicted + true - hit
        return mean_iou(_share(predicted - hit, union))

    def false_negative_rate(self) -> Floats:
        """Return the under-activation at every threshold, ``float64 [T]``.

        That is the mean over classes of ``(truth - hit) / union``.
        """
        hit, predicted, true = self._areas()
        union = predicted + true - hit
        return mean_iou(_share(true - hit, union))

    def counts(self, threshold: float) -> Counts:
        """Return the per-image counts at one threshold, as one full evaluation of the thresholded seeds would give.

        Raises:
            ArtifactError: the threshold was not swept, or the curve was loaded from a file, which keeps no images.
        """
        place = self.index(threshold)
        if not self._images:
            what = "this curve was loaded from a file and keeps no per-image counts."
            raise ArtifactError(f"{what} Save counts(t) beside it when it is built.")
        images = self._images.values()
        areas = [image.areas(place) for image in images]
        hit, predicted, true = np.stack(areas, 1)
        # Thresholded seeds label every pixel: nothing is predicted 255.
        confusion = np.pad(self.confusion[place], [(0, 0), (0, 1)])
        return Counts(
            self.classes,
            tuple(self._images),
            intersection=hit,
            prediction=predicted,
            truth=true,
            confusion=confusion,
        )

    def save(self, path: Path) -> None:
        """Write a compact ``.npz`` (differences between neighbouring thresholds); same curve, same bytes."""
        # From one threshold to the next few cells change, and by little.
        steps = np.diff(self.confusion, axis=0)
        where = np.flatnonzero(steps)
        gaps = np.diff(where, prepend=0)
        changes = steps.ravel()[where]
        arrays: dict[str, AnyArray] = {
            "classes": np.asarray(self.classes, dtype=str),
            "thresholds": self.thresholds,
            "first": self.confusion[0],
            "gaps": gaps.astype(np.uint32),
            "steps": changes.astype(np.int64),
        }
        store_arrays(path, arrays)

    @classmethod
    def load(cls, path: Path) -> ThresholdCurve:
        """Read what `save` wrote.

        Raises:
            ArtifactError: the file is missing, damaged or of another protocol; the message names it.
        """
        stored = load_arrays(path, "a threshold curve")
        try:
            return _unpacked(stored)
        except MISFIT as error:
            what = f"{path} holds no valid threshold curve ({error})."
            raise ArtifactError(f"{what} Score the seeds again.") from error


def _unpacked(stored: Mapping[str, AnyArray]) -> ThresholdCurve:
    """Return the curve in a file's arrays; raises one of `MISFIT` for arrays that do not fit together."""
    thresholds = stored["thresholds"]
    number = len(stored["classes"])
    shape = (len(thresholds) - 1, number, number)
    steps = np.zeros(math.prod(shape), np.int64)
    where = np.cumsum(stored["gaps"], dtype=np.int64)
    steps[where] = stored["steps"]
    steps = steps.reshape(shape)
    moved = np.cumsum(steps, axis=0)
    first = stored["first"][None]
    confusion = np.concatenate([first, first + moved])
    confusion = confusion.astype(np.int64)
    falling = (np.diff(thresholds) <= 0).any()
    if falling or (confusion < 0).any():
        raise ValueError("negative counts, or thresholds that do not increase")
    classes = names(stored["classes"])
    thresholds = thresholds.astype(np.float64)
    return ThresholdCurve(classes, thresholds, confusion)


class CurveBuilder:
    """Adds up one seed after the other; keeps a few kilobytes per image, never the scores."""

    def __init__(
        self,
        classes: Sequence[str],
        thresholds: Sequence[float] | Floats = DEFAULT_THRESHOLDS,
    ) -> None:
        self.classes = tuple(classes)
        self.thresholds = np.asarray(thresholds, np.float64)
        self._cut = self.thresholds.astype(np.float32)
        listed = self._cut.ndim == 1 and self._cut.size > 0
        if not listed or (np.diff(self._cut) <= 0).any():
            what = "thresholds must be a list that increases strictly"
            raise DataError(f"{what}, also as float32.")
        number = len(self.classes)
        self._rows = slots(number)
        self._bins = len(self.thresholds) + 1
        # Pixels by truth, best class and bin, over all images.
        shape = (number, number, self._bins)
        self._total = np.zeros(shape, np.int64)
        self._images: dict[str, _ImageHistogram] = {}

    def add(
        self,
        image_id: str,
        class_ids: Ints,
        scores: Scores,
        truth: Mask,
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
        number = len(self.classes)
        check_once(image_id, self._images)
        check_truth(image_id, truth)
        check_class_ids(image_id, class_ids, number)
        shape = (len(class_ids), *truth.shape)
        check_scores(image_id, scores, shape)
        table = self._histogram(scores, truth)
        # The last row counts what is no class; see `slots`.
        if table[number + 1].any():
            raise DataError(foreign_values(image_id, "truth", truth, number))
        ids = np.asarray(class_ids, np.int64)
        scored = table[:number]
        self._images[image_id] = self._add_up(ids, scored)

    def _add_up(self, ids: Ints, scored: Ints) -> _ImageHistogram:
        """Add one image's ``int64 [C+1, K, T+1]`` to the total, and return what is kept of it."""
        if len(ids):
            self._total[:, ids] += scored
            planes = np.arange(len(ids))
            hits = scored[ids, planes]
            claims = scored.sum(0)
        else:
            # The histogram of an image without classes has one column, for the background.
            self._total[:, :1] += scored
            hits = claims = np.zeros((0, self._bins), np.int64)
        background = scored[0].sum(0)
        return _ImageHistogram(
            class_ids=ids,
            truth=scored.sum((1, 2)),
            hits=hits.astype(np.uint32),
            claims=claims.astype(np.uint32),
            background=background.astype(np.uint32),
        )

    def _histogram(self, scores: Scores, truth: Mask) -> Ints:
        """Return pixels by truth (two rows more than classes), best class and bin, ``int64 [C+3, max(K, 1), T+1]``."""
        from wsss_bench.evaluate.kernels import score_histogram

        size = len(self.classes) + 2
        flat = np.ascontiguousarray(truth).ravel()
        if len(scores):
            planes = np.ascontiguousarray(scores, np.float32)
            planes = planes.reshape(len(scores), -1)
            return score_histogram(planes, flat, self._rows, size, self._cut)
        # Without classes every pixel lies in the lowest bin: background at all thresholds.
        table = np.zeros((size, 1, self._bins), np.int64)
        rows = self._rows[flat]
        table[:, 0, 0] = np.bincount(rows, minlength=size)
        return table

    def result(self) -> ThresholdCurve:
        """Return the curve of all images added; raises `DataError` if there are none."""
        if not self._images:
            what = "no image was scored, so there is no threshold curve."
            raise DataError(f"{what} Check the split and the seeds.")
        # Summed from the highest bin down: a pixel is foreground at every threshold below its best score.
        from_top = np.flip(self._total, 2).cumsum(2)
        at_least = np.flip(from_top, 2)
        above = at_least[:, :, 1:]
        confusion = np.ascontiguousarray(above.transpose(2, 0, 1))
        # What no class claims is predicted as background.
        pixels = self._total.sum((1, 2))
        claimed = confusion[:, :, 1:].sum(2)
        confusion[:, :, 0] = pixels - claimed
        images = dict(self._images)
        return ThresholdCurve(self.classes, self.thresholds, confusion, images)


def _share(part: Ints, union: Ints) -> Floats:
    """Return ``part / union``, NaN where the union is empty."""
    # `class_iou` divides its first argument by the second plus the third minus the first.
    return class_iou(part, union, part)
