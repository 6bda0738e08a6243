"""AffinityNet around its network: labels for pairs of cells from two CRFs, and pseudo-labels from a walk. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from wsss_bench.contract.artifacts import Seed
from wsss_bench.contract.view import IGNORE
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.crf import dense_crf, unary_from_probabilities
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_bench.toolbox.parallel import in_threads
from wsss_bench.toolbox.random_walk import Affinity, propagate


def with_background(scores: Floats, alpha: float) -> Floats:
    """Return scores with the background's in front, ``(1 - max over classes)^alpha``.

    Args:
        scores: ``float32 [K, H, W]`` in [0, 1], K at least 1.
        alpha: a small one makes much background, a large one little.

    Returns:
        ``float32 [K + 1, H, W]``.
    """
    strongest = scores.max(0, keepdims=True)
    # Resizing may overshoot 1, and a negative number has no broken power.
    left_over = np.clip(1 - strongest, 0, 1)
    background = left_over ** np.float32(alpha)
    return np.concatenate([background, scores])


@in_threads
def crf_label(job: tuple[Path, Seed], alpha: float, crf: str) -> Bytes:
    """Return the label map of a seed's scores and `with_background`, after a CRF.

    Args:
        job: the photograph's path and its seed.
        alpha: the background's exponent.
        crf: name of a preset.

    Returns:
        ``uint8 [H, W]``; every pixel is labelled.
    """
    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = with_background(seed.upsampled(), alpha)
    unary = unary_from_probabilities(scores)
    marginals = dense_crf(read_image(path), unary, PRESETS[crf])
    return _winners(seed, marginals)


def majority(label: Bytes, cell: int) -> Bytes:
    """Return the most frequent class of each block of `cell` × `cell` pixels, the lowest id among equals.

    Unlabelled pixels do not count.

    Args:
        label: ``uint8 [H, W]``.
        cell: side of a block; blocks at the right and the bottom may be cut.

    Returns:
        ``uint8 [⌈H/cell⌉, ⌈W/cell⌉]``; 255 where a block has no labelled pixel.
    """
    height, width = label.shape
    h = -(-height // cell)
    w = -(-width // cell)
    size = (h * cell, w * cell)
    whole = np.full(size, IGNORE, np.uint8)
    whole[:height, :width] = label
    classes = np.unique(label[label != IGNORE])
    votes = []
    for class_id in classes:
        voted = whole == class_id
        blocks = voted.reshape(h, cell, w, cell)
        votes.append(blocks.sum((1, 3)))
    # Unlabelled wins only where nobody votes: half a vote.
    votes.append(np.full((h, w), 0.5))
    winners = np.stack(votes).argmax(0)
    ids = np.append(classes, np.uint8(IGNORE))
    return ids[winners]


def pair_labels(low: Bytes, high: Bytes) -> Bytes:
    """Return the labels that pairs are judged by.

    Args:
        low: labels with much background (small alpha): its foreground is sure.
        high: labels with little background (large alpha): its background is sure.

    Returns:
        `low`'s class; 0 where `high` is background; 255 where only `low` is, and where `low` is unlabelled.
    """
    merged = np.where(low == 0, IGNORE, low)
    sure = (high == 0) & (low != IGNORE)
    return np.where(sure, 0, merged).astype(np.uint8)


@in_threads
def walked_labels(
    job: tuple[Path, Seed, Affinity, int],
    params: Mapping[str, Any],
) -> Bytes:
    """Return pseudo-labels: scores and background walk over the affinities; the best wins, after a CRF if wanted.

    Args:
        job: the photograph's path, its seed, affinities on a grid, and that grid's pixels per cell.
        params: ``alpha_walk``, ``beta``, ``steps``, ``crf``, ``crf_after`` (mean-field steps at the end, 0 for none).

    Returns:
        ``uint8 [H, W]``; every pixel is labelled.
    """
    path, seed, affinity, cell = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    alpha = float(params["alpha_walk"])
    scores = with_background(seed.upsampled(), alpha)
    pooled = _pooled(scores, affinity.planes.shape[1:], cell)
    beta = float(params["beta"])
    steps = int(params["steps"])
    walked = propagate(pooled, affinity, beta, steps)
    full = _enlarged(walked, cell, seed.size)
    if params["crf_after"]:
        preset = PRESETS[params["crf"]]
        crf = replace(preset, iterations=int(params["crf_after"]))
        unary = unary_from_probabilities(full)
        full = dense_crf(read_image(path), unary, crf)
    return _winners(seed, full)


def _pooled(
    scores: Floats,
    grid: tuple[int, ...],
    cell: int,
) -> Floats:
    """Return means over blocks of `cell` × `cell` pixels on a grid (h, w) that covers the scores."""
    h, w = grid
    channels, height, width = scores.shape
    # Outside the photograph all scores are 0, background's too.
    size = (channels, h * cell, w * cell)
    padded = np.zeros(size, np.float32)
    padded[:, :height, :width] = scores
    blocks = padded.reshape(channels, h, cell, w, cell)
    return blocks.mean((2, 4))


def _enlarged(
    maps: Floats,
    cell: int,
    size: tuple[int, int],
) -> Floats:
    """Return maps enlarged by `cell` and cut to (height, width), not stretched to it: cells stay over their pixels."""
    _, h, w = maps.shape
    height, width = size
    whole = (w * cell, h * cell)
    full = [cv2.resize(one, whole, interpolation=cv2.INTER_LINEAR) for one in maps]
    return np.stack(full)[:, :height, :width]


def _winners(seed: Seed, scores: Floats) -> Bytes:
    """Return the class of the best channel; channel 0 is background, the others the seed's classes."""
    ids = np.concatenate([[0], seed.class_ids])
    return ids[scores.argmax(0)].astype(np.uint8)
