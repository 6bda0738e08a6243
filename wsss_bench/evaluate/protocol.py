"""The protocol's arithmetic: from integer counts to IoU."""

from __future__ import annotations

import numpy as np

from wsss_bench.evaluate.arrays import AnyArray, Floats

Counted = AnyArray


def class_iou(
    intersection: Counted,
    prediction: Counted,
    truth: Counted,
) -> Floats:
    """Return the IoU per class, ``float64 [..., C+1]``, from summed pixel counts of the same shape.

    ``intersection / (prediction + truth - intersection)``. A class that is present but missed scores 0, so does a class
    that is predicted but present nowhere; a class in neither is NaN and takes no part in a mean.
    """
    # float64 holds every integer up to 2**53, far more than a set has pixels: the sums are exact.
    union = np.asarray(prediction, np.float64) + truth - intersection
    with np.errstate(divide="ignore", invalid="ignore"):
        iou = intersection / union
    return np.where(union > 0, iou, np.nan)


def mean_iou(iou: Floats) -> Floats:
    """Return the mean over the last axis of the classes that are not NaN, ``float64 [...]``; NaN if every class is."""
    there = ~np.isnan(iou)
    number = there.sum(-1)
    # Not `numpy.nanmean`, which warns where there is no class at all.
    total = np.where(there, iou, 0.0).sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / number
    return np.where(number > 0, mean, np.nan)
