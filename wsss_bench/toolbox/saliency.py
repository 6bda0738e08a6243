"""Background cues without a saliency model: how little each cell matters to the classifier (SEC's gradient cue)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from wsss_bench.engine.models import MultiLabelClassifier
from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.classifier import pixels_of
from wsss_bench.toolbox.saliency_maps import read_saliency


def gradient_saliency(
    model: MultiLabelClassifier,
    pixels: torch.Tensor,
    stage: int,
) -> Floats:
    """Return ``max_d |d (sum of all class scores) / d F_d|`` of a stage's output F, 3×3 median filtered.

    SEC's released background cue: the gradient of every class at once, back-propagated to conv4 (stage 3 of a VGG-16).

    Args:
        model: the classifier, in eval mode.
        pixels: ``float [1, 3, h, w]`` in 0..255.
        stage: the backbone's stage whose output is F, counted from 0.

    Returns:
        ``float32 [h', w']`` ≥ 0 at that stage's resolution.
    """
    backbone = model.backbone
    with torch.no_grad():
        x = model.normalize(pixels)
        for part in backbone.stages[: stage + 1]:
            x = part(x)
    with torch.enable_grad():
        middle = x.detach().requires_grad_()
        # A copy, since later stages may work in place, which a leaf forbids.
        y = middle * 1.0
        for part in backbone.stages[stage + 1 :]:
            y = part(y)
        total = model.head.scores(y).sum()
        (gradient,) = torch.autograd.grad(total, middle)
    strongest = gradient[0].abs().amax(0)
    plane = np.ascontiguousarray(strongest.float().cpu().numpy())
    return cv2.medianBlur(plane, 3)  # type: ignore[return-value]


def background_cue(
    model: MultiLabelClassifier,
    image: Bytes,
    grid: tuple[int, int],
    warp: int,
    stage: int,
    device: str,
) -> Floats:
    """Return ``1 - saliency / max`` on a grid: 1 where nothing speaks for an object.

    Args:
        model: the classifier, in eval mode.
        image: ``uint8 [H, W, 3]``.
        grid: (height, width) of the result.
        warp: side of the square that the image is resized to first, 0 for its own size.
        stage: see `gradient_saliency`.
        device: where the model is.

    Returns:
        ``float32 [h, w]`` in [0, 1].
    """
    size = (warp, warp) if warp else (image.shape[0], image.shape[1])
    pixels = pixels_of(image, size, device)
    saliency = gradient_saliency(model, pixels, stage)
    # A classifier that looks at nothing has no maximum to divide by.
    peak = max(float(saliency.max()), 1e-12)
    return _complement(saliency / peak, grid)


def _complement(
    saliency: Floats,
    grid: tuple[int, int],
) -> Floats:
    """Return 1 minus a map in [0, 1], resized to (height, width)."""
    width_height = grid[::-1]
    resized = cv2.resize(saliency, width_height, interpolation=cv2.INTER_LINEAR)
    return np.clip(1 - resized, 0, 1).astype(np.float32)


def external_background(
    folder: Path,
    image_id: str,
    grid: tuple[int, int],
    size: tuple[int, int] | None = None,
) -> Floats:
    """Return ``1 - saliency`` from a folder of saliency maps (255 = salient).

    Args:
        folder: where the maps lie.
        image_id: the image's id.
        grid: (height, width) of the result.
        size: (H, W) of the photograph, whose proportions the map must have; None to leave that unchecked.

    Returns:
        ``float32 [h, w]`` in [0, 1].

    Raises:
        DataError: as `wsss_bench.toolbox.saliency_maps.read_saliency` does.
    """
    saliency = read_saliency(folder, image_id, size)
    return _complement(saliency, grid)
