"""A backbone of which all stages are looked at: what affinity networks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.toolbox.training import Normalizer, build_backbone, normalize_of

_PROBE = 64
"""Side of the trial image: a multiple of every stride there is."""


class Pyramid(nn.Module):
    """Normaliser and backbone.

    Args:
        params: ``backbone`` (short name), ``weights``, ``backbone_options``, ``normalize``.

    Attributes:
        channels: of the five stages.
        strides: pixels per cell of the five stages, told by a trial.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.normalize = Normalizer(normalize_of(params))
        self.backbone = build_backbone(params)
        self.channels: tuple[int, ...] = tuple(self.backbone.channels)
        # In eval mode: a trial must not move the running statistics.
        self.eval()
        with torch.no_grad():
            trial = self(torch.zeros(1, 3, _PROBE, _PROBE))
        self.train()
        strides = [_PROBE // stage.shape[2] for stage in trial]
        self.strides: tuple[int, ...] = tuple(strides)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the five stages' outputs for images ``float [B, 3, H, W]`` in 0..255."""
        return self.backbone(self.normalize(images))


def to_grid(
    maps: Tensor,
    stride: int,
    wanted: int,
    size: tuple[int, int],
) -> Tensor:
    """Return maps ``[B, k, h, w]`` of one stride at the grid `size` of another, bilinear.

    Coarser maps are enlarged by the ratio of strides and cut at the right and the bottom, so that cells stay over their
    pixels where an image is no multiple of the stride.
    """
    if stride == wanted:
        return maps
    if stride < wanted:
        return F.interpolate(maps, size, mode="bilinear", align_corners=False)
    factor = float(stride // wanted)
    large = F.interpolate(
        maps,
        scale_factor=factor,
        mode="bilinear",
        align_corners=False,
    )
    return large[..., : size[0], : size[1]]
