"""What SEC's descendants share: the localisation head, and the cue maps made from seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from wsss_bench.contract.artifacts import Seed
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.toolbox.cues import (
    background_cues,
    foreground_cues,
    resize_scores,
    stack_cues,
)
from wsss_bench.toolbox.saliency import background_cue, external_background


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
        """As `LinearCamHead.loss`, after the two convolutions."""
        return super().loss(self.body(features), targets)

    def scores(self, features: Tensor) -> Tensor:
        """Image-level logits ``[B, C]``."""
        return super().scores(self.body(features))

    def cam(self, features: Tensor) -> Tensor:
        """Raw class activation maps ``[B, C, h, w]``."""
        return super().cam(self.body(features))


Background = Callable[
    [MultiLabelClassifier, WeakImage, NDArray[np.uint8], tuple[int, int]],
    NDArray[np.float32],
]


def background_of(ctx: StageContext) -> Background:
    """The background cue that ``saliency_dir`` asks for: maps from a folder, or the classifier's gradient."""
    p = ctx.params
    if p["saliency_dir"]:
        folder = Path(p["saliency_dir"])
        return lambda model, image, pixels, grid: external_background(
            folder, image.id, grid
        )
    return lambda model, image, pixels, grid: background_cue(
        model, pixels, grid, int(p["warp"]), int(p["saliency_stage"]), ctx.device
    )


def background_mask(
    seed: Seed, size: tuple[int, int], params: Mapping[str, Any], external: bool
) -> NDArray[np.bool_] | None:
    """Background cue cells ``bool [h, w]`` at `size`, None where the seed has no background cue.

    With saliency maps a cell is background below ``background_max`` (DSRG: 0.06); with the gradient cue the lowest
    ``background_fraction`` of the cells is (SEC: a tenth).
    """
    if seed.background is None:
        return None
    saliency = 1 - resize_scores(seed.background[None], size)[0]
    if external:
        return np.asarray(saliency < float(params["background_max"]))
    return background_cues(saliency, float(params["background_fraction"]))


def to_image_size(grid: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Nearest-neighbour upsampling of a cue grid to the photograph.

    Sampling the result at cell centres (`engine.data.nearest`) gives the grid back wherever no side is smaller than it.
    """
    rows = (2 * np.arange(size[0]) + 1) * grid.shape[0] // (2 * size[0])
    columns = (2 * np.arange(size[1]) + 1) * grid.shape[1] // (2 * size[1])
    return grid[rows[:, None], columns]


def cue_label(
    seed: Seed, params: Mapping[str, Any], external: bool
) -> NDArray[np.uint8]:
    """Seed cues of one image as ``uint8 [H, W]``: foreground above ``foreground`` × class maximum, background, overlap rule."""
    size = (int(params["grid"]), int(params["grid"]))
    ids = seed.class_ids.tolist()
    foreground = foreground_cues(
        resize_scores(seed.scores, size), ids, float(params["foreground"])
    )
    return to_image_size(
        stack_cues(foreground, ids, background_mask(seed, size, params, external)),
        seed.size,
    )


def cue_function(
    params: Mapping[str, Any], external: bool
) -> Callable[[Seed], NDArray[np.uint8]]:
    """`cue_label` bound to its parameters, picklable for `per_image`."""
    return partial(cue_label, params=dict(params), external=external)
