"""AffinityNet around its network: labels for pairs of cells from two CRFs, and pseudo-labels from a walk. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed
from wsss_bench.contract.view import IGNORE
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.crf import dense_crf, unary_from_probabilities
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_bench.toolbox.random_walk import Affinity, propagate


def with_background(scores: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    """Prepend the background score ``(1 - max over classes)^alpha``: ``[K, H, W]`` to ``[K + 1, H, W]``.

    A small `alpha` makes much background, a large one little.
    """
    background = np.clip(1 - scores.max(0, keepdims=True), 0, 1) ** np.float32(alpha)
    return np.concatenate([background, scores])


def crf_label(job: tuple[Path, Seed], alpha: float, crf: str) -> NDArray[np.uint8]:
    """Label map ``uint8 [H, W]`` of the scores and ``(1 - max)^alpha`` as background, after the CRF of preset `crf`."""
    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = with_background(seed.upsampled(), alpha)
    return _winners(
        seed,
        dense_crf(read_image(path), unary_from_probabilities(scores), PRESETS[crf]),
    )


def majority(label: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    """Most frequent class of each block of `cell` × `cell` pixels, unlabelled ones not counted; the lowest id among equals.

    Args:
        label: ``uint8 [H, W]``.
        cell: side of a block; blocks at the right and the bottom may be cut.

    Returns:
        ``uint8 [⌈H/cell⌉, ⌈W/cell⌉]``; 255 where a block has no labelled pixel.
    """
    height, width = label.shape
    h, w = -(-height // cell), -(-width // cell)
    whole = np.full((h * cell, w * cell), IGNORE, np.uint8)
    whole[:height, :width] = label
    ids = np.array([*np.unique(label[label != IGNORE]).tolist(), IGNORE], np.uint8)
    votes = [(whole == i).reshape(h, cell, w, cell).sum((1, 3)) for i in ids[:-1]]
    # Unlabelled wins only where nobody votes: half a vote.
    return ids[np.stack([*votes, np.full((h, w), 0.5)]).argmax(0)]


def pair_labels(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Labels that pairs are judged by.

    Args:
        low: labels with much background (small alpha): its foreground is sure.
        high: labels with little background (large alpha): its background is sure.

    Returns:
        `low`'s class; 0 where `high` is background; 255 where only `low` is, and where `low` is unlabelled.
    """
    merged = np.where(low == 0, IGNORE, low)
    return np.where((high == 0) & (low != IGNORE), 0, merged).astype(np.uint8)


def walked_labels(
    job: tuple[Path, Seed, Affinity, int], params: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """Pseudo-labels: scores and background walk over the affinities; the best wins, after a CRF if wanted.

    Args:
        job: the photograph's path, its seed, affinities on a grid, and that grid's pixels per cell.
        params: ``alpha_walk``, ``beta``, ``steps``, ``crf``, ``crf_after`` (mean-field steps at the end, 0 for none).

    Returns:
        ``uint8 [H, W]``; every pixel is labelled.
    """
    path, seed, affinity, cell = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    h, w = affinity.planes.shape[1:]
    height, width = seed.size
    # Outside the photograph all scores are 0, background's too.
    padded = np.zeros((len(seed.class_ids) + 1, h * cell, w * cell), np.float32)
    padded[:, :height, :width] = with_background(
        seed.upsampled(), float(params["alpha_walk"])
    )
    pooled = padded.reshape(len(padded), h, cell, w, cell).mean((2, 4))
    walked = propagate(pooled, affinity, float(params["beta"]), int(params["steps"]))
    size = (w * cell, h * cell)
    full = np.stack(
        [
            cv2.resize(m, size, interpolation=cv2.INTER_LINEAR)[:height, :width]
            for m in walked
        ]
    )
    if params["crf_after"]:
        crf = replace(PRESETS[params["crf"]], iterations=int(params["crf_after"]))
        full = dense_crf(read_image(path), unary_from_probabilities(full), crf)
    return _winners(seed, full)


def _winners(seed: Seed, scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.concatenate([[0], seed.class_ids])[scores.argmax(0)].astype(np.uint8)
