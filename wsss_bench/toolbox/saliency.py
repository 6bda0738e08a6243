"""Background cues without a saliency model: how little each cell matters to the classifier (SEC's gradient cue)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from wsss_bench.engine.models import MultiLabelClassifier
from wsss_bench.errors import DataError
from wsss_bench.toolbox.classifier import pixels_of


def gradient_saliency(
    model: MultiLabelClassifier, pixels: torch.Tensor, stage: int
) -> NDArray[np.float32]:
    """``max_d |d (sum of all class scores) / d F_d|`` at the output of backbone stage `stage` (0-based), 3×3 median filtered.

    SEC's released background cue: the gradient of every class at once, back-propagated to conv4 (stage 3 of a VGG-16).

    Args:
        pixels: ``float [1, 3, h, w]`` in 0..255.

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
        y = middle * 1.0  # later stages may work in place
        for part in backbone.stages[stage + 1 :]:
            y = part(y)
        (gradient,) = torch.autograd.grad(model.head.scores(y).sum(), middle)
    strongest = gradient[0].abs().amax(0).float().cpu().numpy()
    return cv2.medianBlur(np.ascontiguousarray(strongest), 3)  # type: ignore[return-value]


def background_cue(
    model: MultiLabelClassifier,
    image: NDArray[np.uint8],
    grid: tuple[int, int],
    warp: int,
    stage: int,
    device: str,
) -> NDArray[np.float32]:
    """``1 - saliency / max`` resized to `grid`: 1 where nothing speaks for an object. ``float32 [h, w]`` in [0, 1]."""
    size = (warp, warp) if warp else (image.shape[0], image.shape[1])
    saliency = gradient_saliency(model, pixels_of(image, size, device), stage)
    resized = cv2.resize(
        saliency / max(float(saliency.max()), 1e-12),
        grid[::-1],
        interpolation=cv2.INTER_LINEAR,
    )
    return np.clip(1 - resized, 0, 1).astype(np.float32)


def external_background(
    folder: Path, image_id: str, grid: tuple[int, int]
) -> NDArray[np.float32]:
    """``1 - saliency`` from a folder of 8-bit greyscale maps ``<id>.png`` (255 = salient), resized to `grid`.

    Raises:
        DataError: the map is missing or no image.
    """
    path = folder / f"{image_id}.png"
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise DataError(
            f"saliency map {path} is missing or unreadable. saliency_dir needs one 8-bit PNG per training image."
        )
    resized = cv2.resize(
        grey.astype(np.float32) / 255, grid[::-1], interpolation=cv2.INTER_LINEAR
    )
    return np.clip(1 - resized, 0, 1).astype(np.float32)
