"""What SEC's descendants share: the localisation head, and the cue maps made from seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.contract.artifacts import Seed
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage
from wsss_bench.toolbox.classifier import BackgroundFunction as Background
from wsss_bench.toolbox.cues import (
    background_cues,
    foreground_cues,
    resize_scores,
    stack_cues,
)
from wsss_bench.toolbox.saliency import background_cue, external_background
from wsss_bench.toolbox.training import LinearCamHead, MultiLabelClassifier

Photograph = NDArray[np.uint8]
"""``uint8 [H, W, 3]``, RGB."""

Grid = tuple[int, int]
"""Height and width in cells."""


class SecHead(LinearCamHead):
    """conv3×3-1024, ReLU, dropout, conv3×3-1024, dropout, then pooling and a bias-free classifier (SEC's released net).

    No ReLU follows the second convolution, as in the released prototxt. With ``width=0`` it is `LinearCamHead`.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 1024) -> None:
        super().__init__(width or in_channels, num_classes)
        layers: list[nn.Module] = []
        if width:
            layers = [
                nn.Conv2d(in_channels, width, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Dropout(0.5),
                nn.Conv2d(width, width, 3, padding=1),
                nn.Dropout(0.5),
            ]
        self.body = nn.Sequential(*layers)

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return binary cross-entropy of `scores`, mean over classes and batch; `targets` ``float [B, C]``."""
        # Of the scores themselves: the convolutions have dropout, and must run once.
        logits = self.scores(features).float()
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        return {"loss_cls": loss}

    def scores(self, features: Tensor) -> Tensor:
        """Return image-level logits ``[B, C]``."""
        return super().scores(self.body(features))

    def cam(self, features: Tensor) -> Tensor:
        """Return raw class activation maps ``[B, C, h, w]``."""
        return super().cam(self.body(features))


def background_of(ctx: StageContext) -> Background:
    """Return the background cue that ``saliency_dir`` asks for: maps from a folder, or the classifier's gradient."""
    p = ctx.params

    def external(
        model: MultiLabelClassifier,
        image: WeakImage,
        pixels: Photograph,
        grid: Grid,
    ) -> NDArray[np.float32]:
        folder = Path(p["saliency_dir"])
        size = (pixels.shape[0], pixels.shape[1])
        return external_background(folder, image.id, grid, size)

    def own(
        model: MultiLabelClassifier,
        image: WeakImage,
        pixels: Photograph,
        grid: Grid,
    ) -> NDArray[np.float32]:
        warp, stage = int(p["warp"]), int(p["saliency_stage"])
        return background_cue(model, pixels, grid, warp, stage, ctx.device)

    return external if p["saliency_dir"] else own


def background_mask(
    seed: Seed,
    size: Grid,
    params: Mapping[str, Any],
    external: bool,
) -> NDArray[np.bool_] | None:
    """Return the background cue's cells ``bool [h, w]`` at `size`, None where the seed has no such cue.

    With saliency maps a cell is background below ``background_max`` (DSRG: 0.06); with the gradient cue the lowest
    ``background_fraction`` of the cells is (SEC: a tenth).
    """
    if seed.background is None:
        return None
    background = resize_scores(seed.background[None], size)[0]
    saliency = 1 - background
    if external:
        highest = float(params["background_max"])
        return np.asarray(saliency < highest)
    # A gradient has no scale of its own, so only the order of the cells says anything.
    fraction = float(params["background_fraction"])
    return background_cues(saliency, fraction)


def to_image_size(
    grid: NDArray[np.uint8],
    size: tuple[int, int],
) -> NDArray[np.uint8]:
    """Return a cue grid at the photograph's `size`, by nearest neighbour.

    Sampling the result at cell centres (as `nearest` does) gives the grid back wherever no side is smaller than it.
    """
    # Centres in whole numbers: (2k + 1) / 2 of the photograph, scaled to the grid without rounding errors.
    rows, columns = (
        (2 * np.arange(pixels) + 1) * cells // (2 * pixels)
        for pixels, cells in zip(size, grid.shape, strict=True)
    )
    return grid[rows[:, None], columns]


def cue_label(
    seed: Seed,
    params: Mapping[str, Any],
    external: bool,
) -> NDArray[np.uint8]:
    """Return one image's cues, ``uint8 [H, W]``: foreground above ``foreground`` × class maximum, and background."""
    side = int(params["grid"])
    size = side, side
    ids = seed.class_ids.tolist()
    scores = resize_scores(seed.scores, size)
    share = float(params["foreground"])
    foreground = foreground_cues(scores, ids, share)
    background = background_mask(seed, size, params, external)
    cues = stack_cues(foreground, ids, background)
    return to_image_size(cues, seed.size)


def cue_function(
    params: Mapping[str, Any],
    external: bool,
) -> Callable[[Seed], NDArray[np.uint8]]:
    """Return `cue_label` bound to its parameters, picklable for `per_image`."""
    return partial(cue_label, params=dict(params), external=external)
