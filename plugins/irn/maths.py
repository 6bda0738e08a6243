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
from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.crf import dense_crf, unary_from_labels
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams
from wsss_bench.toolbox.parallel import in_threads
from wsss_bench.toolbox.random_walk import affinity_from_boundary, propagate


def confident(
    foreground: Bytes,
    background: Bytes,
) -> Bytes:
    """Return two label maps merged: the class of the first; 0 where both are background; 255 where only the first is.

    Args:
        foreground: labels at the high threshold; what is left of the classes there is surely foreground.
        background: labels at the low threshold; what is background there is surely background.
    """
    merged = np.where(foreground > 0, foreground, IGNORE)
    nothing = (foreground == 0) & (background == 0)
    return np.where(nothing, 0, merged).astype(np.uint8)


@in_threads
def relation_labels(
    job: tuple[Path, Seed],
    params: Mapping[str, Any],
) -> Bytes:
    """Return labels for pairs of pixels (section 4.3): CAMs against two background scores, each after a CRF, merged.

    Args:
        job: the photograph's path and its seed.
        params: ``conf_fg``, ``conf_bg``, ``crf`` (a preset's name), ``gt_prob``.

    Returns:
        ``uint8 [H, W]``, 255 where the two disagree on foreground.
    """
    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    image = read_image(path)
    scores = seed.upsampled()
    ids = np.concatenate([[0], seed.class_ids]).astype(np.uint8)

    def labels(threshold: float) -> Bytes:
        crf = PRESETS[params["crf"]]
        trust = float(params["gt_prob"])
        return ids[_after_crf(image, scores, threshold, crf, trust)]

    sure_foreground = labels(float(params["conf_fg"]))
    sure_background = labels(float(params["conf_bg"]))
    return confident(sure_foreground, sure_background)


def _after_crf(
    image: Bytes,
    scores: Floats,
    threshold: float,
    crf: CrfParams,
    trust: float,
) -> NDArray[np.intp]:
    """Return the index of the winner ``[H, W]``, 0 = the constant `threshold`, after a CRF.

    The CRF trusts the winners before it by `trust`, not the scores: so does the release.
    """
    floor = np.full_like(scores[:1], threshold)
    winners = np.concatenate([floor, scores]).argmax(0)
    unary = unary_from_labels(winners, len(scores) + 1, trust)
    return dense_crf(image, unary, crf).argmax(0)


@in_threads
def walked_labels(
    job: tuple[Floats, Seed],
    params: Mapping[str, Any],
) -> Bytes:
    """Return pseudo-labels (section 5): CAMs, damped on boundaries, walk; the best class against a constant background.

    Args:
        job: the boundary map ``float32 [h, w]`` (4 pixels per cell) and the seed.
        params: ``walk_radius``, ``beta``, ``steps``, ``background``, the share of the maximum that a class has to beat.

    Returns:
        ``uint8 [H, W]``; every pixel is labelled.
    """
    boundary, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    h, w = boundary.shape
    cams = _resized(seed.scores, h, w)
    affinity = affinity_from_boundary(boundary, int(params["walk_radius"]))
    beta = float(params["beta"])
    steps = int(params["steps"])
    # Scores that lie on a boundary would spread to both of its sides.
    damped = cams * (1 - boundary)
    walked = propagate(damped, affinity, beta, steps)
    height, width = seed.size
    # Enlarged by the stride and cut, not stretched to the image: cells stay over their
    # pixels.
    full = _resized(walked, 4 * h, 4 * w)
    full = full[:, :height, :width]
    best = full.argmax(0)
    top = full.max(0)
    # The maximum over all classes; a CAM that is 0 everywhere has none and leaves
    # background.
    share = float(params["background"])
    wins = top > share * top.max()
    labels = np.where(wins, seed.class_ids[best], 0)
    return labels.astype(np.uint8)


def _resized(maps: Floats, height: int, width: int) -> Floats:
    size = (width, height)
    resized = [cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in maps]
    return np.stack(resized)
