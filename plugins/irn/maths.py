"""IRNet around its network: labels for pairs of pixels from CAMs, and pseudo-labels from a boundary map. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed
from wsss_bench.contract.view import IGNORE
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.crf import dense_crf, unary_from_labels
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams
from wsss_bench.toolbox.random_walk import affinity_from_boundary, propagate


def confident(
    foreground: NDArray[np.uint8], background: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Merge two label maps: the class of the first; 0 where both are background; 255 where only the first is.

    Args:
        foreground: labels at the high threshold; what is left of the classes there is surely foreground.
        background: labels at the low threshold; what is background there is surely background.
    """
    merged = np.where(foreground > 0, foreground, IGNORE)
    return np.where((foreground == 0) & (background == 0), 0, merged).astype(np.uint8)


def relation_labels(
    job: tuple[Path, Seed], params: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """Labels for pairs of pixels (section 4.3): CAMs against two constant background scores, each after a CRF, merged.

    Args:
        job: the photograph's path and its seed.
        params: ``conf_fg``, ``conf_bg``, ``crf`` (a preset's name), ``gt_prob``.

    Returns:
        ``uint8 [H, W]``, 255 where the two disagree on foreground.
    """
    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    image, scores = read_image(path), seed.upsampled()
    ids = np.concatenate([[0], seed.class_ids]).astype(np.uint8)
    crf, trust = PRESETS[params["crf"]], float(params["gt_prob"])
    sides = [
        _after_crf(image, scores, float(params[key]), crf, trust)
        for key in ("conf_fg", "conf_bg")
    ]
    return confident(ids[sides[0]], ids[sides[1]])


def _after_crf(
    image: NDArray[np.uint8],
    scores: NDArray[np.float32],
    threshold: float,
    crf: CrfParams,
    trust: float,
) -> NDArray[np.intp]:
    """Index of the winner, 0 = the constant `threshold`, after a CRF that trusts the winners by `trust`."""
    floor = np.full((1, *scores.shape[1:]), np.float32(threshold))
    winners = np.concatenate([floor, scores]).argmax(0)
    return dense_crf(
        image, unary_from_labels(winners, len(scores) + 1, trust), crf
    ).argmax(0)


def walked_labels(
    job: tuple[NDArray[np.float32], Seed], params: Mapping[str, Any]
) -> NDArray[np.uint8]:
    """Pseudo-labels (section 5): CAMs, damped on boundaries, walk; the best class where it beats a constant share of the maximum.

    Args:
        job: the boundary map ``float32 [h, w]`` (4 pixels per cell) and the seed.
        params: ``walk_radius``, ``beta``, ``steps``, ``background``.

    Returns:
        ``uint8 [H, W]``; every pixel is labelled.
    """
    boundary, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    h, w = boundary.shape
    cams = np.stack(
        [cv2.resize(cam, (w, h), interpolation=cv2.INTER_LINEAR) for cam in seed.scores]
    ) * (1 - boundary)
    affinity = affinity_from_boundary(boundary, int(params["walk_radius"]))
    walked = propagate(cams, affinity, float(params["beta"]), int(params["steps"]))
    height, width = seed.size
    # Enlarged by the stride and cut, not stretched to the image: cells stay over their pixels.
    full = np.stack(
        [
            cv2.resize(m, (4 * w, 4 * h), interpolation=cv2.INTER_LINEAR)[
                :height, :width
            ]
            for m in walked
        ]
    )
    best, top = full.argmax(0), full.max(0)
    # The maximum over all classes; a CAM that is 0 everywhere has none and leaves background.
    return np.where(
        top > float(params["background"]) * top.max(), seed.class_ids[best], 0
    ).astype(np.uint8)
