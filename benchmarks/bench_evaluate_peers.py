"""The same quantities the plain way, for `bench_evaluate` and the tests: other libraries, and loops easy to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np


def mmseg_areas(
    n_classes: int, predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> Callable[[], list[np.ndarray]]:
    """Intersection, union, prediction and truth areas by mmseg's `IoUMetric`, summed in int64."""
    import torch
    from mmseg.evaluation.metrics import IoUMetric

    pairs = [
        (torch.from_numpy(p), torch.from_numpy(t))
        for p, t in zip(predictions, truths, strict=True)
    ]

    def run() -> list[np.ndarray]:
        total: list[np.ndarray] = [np.zeros(n_classes, np.int64) for _ in range(4)]
        for prediction, truth in pairs:
            areas = IoUMetric.intersect_and_union(prediction, truth, n_classes, 255)
            # mmseg itself sums in float32, which loses pixels from 2^24 on.
            for summed, area in zip(total, areas, strict=True):
                summed += area.numpy().astype(np.int64)
        return total

    return run


def numpy_confusion(
    n_classes: int, predictions: Sequence[np.ndarray], truths: Sequence[np.ndarray]
) -> Callable[[], np.ndarray]:
    """Confusion matrix by `numpy.bincount` over the pixels whose truth is not 255."""

    def run() -> np.ndarray:
        total = np.zeros((n_classes, n_classes), np.int64)
        for p, t in zip(predictions, truths, strict=True):
            there = t < n_classes
            keys = n_classes * t[there].astype(np.int64) + p[there]
            pairs = np.bincount(keys, minlength=n_classes**2)
            total += pairs.reshape(n_classes, n_classes)
        return total

    return run


Scored = Sequence[tuple[np.ndarray, np.ndarray]]


def passes(
    scored: Scored, truths: Sequence[np.ndarray], thresholds: np.ndarray, n: int = 21
) -> Callable[[], np.ndarray]:
    """One full evaluation per threshold: background plane of constant score, argmax, confusion matrix."""

    def run() -> np.ndarray:
        total = np.zeros((len(thresholds), n, n), np.int64)
        for (ids, scores), truth in zip(scored, truths, strict=True):
            keys = np.concatenate([[0], ids])
            for k, threshold in enumerate(thresholds):
                room = ((1, 0), (0, 0), (0, 0))
                padded = np.pad(scores, room, constant_values=threshold)
                label = keys[padded.argmax(0)]
                there = truth != 255
                pairs = n * truth[there].astype(np.int64) + label[there]
                total[k] += np.bincount(pairs, minlength=n * n).reshape(n, n)
        return total

    return run


def numpy_sweep(
    scored: Scored, truths: Sequence[np.ndarray], thresholds: np.ndarray, n: int = 21
) -> Callable[[], np.ndarray]:
    """All thresholds at once with `searchsorted`, `bincount` and a cumulative sum."""

    def run() -> np.ndarray:
        bins = len(thresholds) + 1
        table = np.zeros((n, n, bins), np.int64)
        for (ids, scores), truth in zip(scored, truths, strict=True):
            there = truth != 255
            best = scores.max(0)[there]
            label = ids[scores.argmax(0)[there]]
            place = np.searchsorted(thresholds, best, side="left")
            keys = (truth[there].astype(np.int64) * n + label) * bins + place
            table += np.bincount(keys, minlength=n * n * bins).reshape(n, n, bins)
        # From the highest bin down: a score above a threshold is above all lower ones.
        summed = table[:, :, ::-1].cumsum(2)[:, :, ::-1]
        above = summed[:, :, 1:].transpose(2, 0, 1).copy()
        # What no class claims is background.
        above[:, :, 0] = table.sum((1, 2)) - above[:, :, 1:].sum(2)
        return above

    return run


def bootstrap_loop(
    resamples: object, systems: Sequence[np.ndarray]
) -> Callable[[], np.ndarray]:
    """mIoU of every resample, one resample and one class at a time, from the same draws."""

    def run() -> np.ndarray:
        out = np.empty((len(systems), resamples.n))  # type: ignore[attr-defined]
        weights = np.concatenate(list(resamples.weights()))  # type: ignore[attr-defined]
        for s, rows in enumerate(systems):
            for k, weight in enumerate(weights):
                images = np.arange(len(weight))
                picked = np.repeat(images, weight.astype(np.int64))
                hit, predicted, true = rows[picked].sum(0).T
                union = predicted + true - hit
                # A class that a resample does not hold takes no part in its mean.
                ious = [h / u for h, u in zip(hit, union, strict=True) if u]
                out[s, k] = np.asarray(ious).sum() / len(ious)
        return out

    return run
