"""AffinityNet: one feature vector per cell, whose differences tell whether two cells belong to one thing (CVPR 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.backbones.staged import NORMALIZATION
from wsss_bench.toolbox.affinity import feature_affinity_loss
from wsss_bench.toolbox.pyramid import Pyramid, to_grid

WIDTHS, GROUPS = (64, 128, 256), (8, 16, 32)


class AffinityNet(BaseModel):
    """Backbone, a 1×1 convolution on each of its last three stages, and one on all of them; trained on pairs of labelled cells.

    Args:
        params: those of `Pyramid`, and ``radius``, ``border``, ``group_norm``.

    Attributes:
        stride: pixels per cell, the third stage's.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.radius, self.border = int(params["radius"]), str(params["border"])
        self.pyramid = Pyramid(params)
        self.stride = self.pyramid.strides[2]
        self.convs = nn.ModuleList(
            nn.Conv2d(c, width, 1, bias=False)
            for c, width in zip(self.pyramid.channels[2:], WIDTHS, strict=True)
        )
        # Apart from the convolutions: the release lets only those learn faster.
        norms = (
            nn.GroupNorm(g, w) if params["group_norm"] else nn.Identity()
            for g, w in zip(GROUPS, WIDTHS, strict=True)
        )
        self.norms = nn.ModuleList(norms)
        self.fuse = nn.Conv2d(sum(WIDTHS), sum(WIDTHS), 1, bias=False)
        for conv in self.convs:
            nn.init.kaiming_normal_(conv.weight)
        nn.init.xavier_uniform_(self.fuse.weight, gain=4)
        self.to(memory_format=torch.channels_last)

    def features(self, inputs: Tensor) -> Tensor:
        """``[B, 448, h, w]`` of images ``float [B, 3, H, W]`` in 0..255; `stride` pixels per cell, sizes rounded up."""
        size = (-(-inputs.shape[2] // self.stride), -(-inputs.shape[3] // self.stride))
        layers = zip(
            self.convs,
            self.norms,
            self.pyramid(inputs)[2:],
            self.pyramid.strides[2:],
            strict=True,
        )
        maps = [
            F.elu(to_grid(norm(conv(stage)), stride, self.stride, size))
            for conv, norm, stage, stride in layers
        ]
        return F.elu(self.fuse(torch.cat(maps, 1)))

    def forward(
        self,
        inputs: Tensor,
        tags: Tensor | None = None,
        labels: Tensor | None = None,
        mode: str = "tensor",
    ) -> Any:
        """``mode="loss"``: dict of losses for `labels` ``uint8 [B, h, w]``; ``"tensor"``: `features`."""
        features = self.features(inputs)
        if mode != "loss":
            return features
        assert labels is not None
        total, terms = feature_affinity_loss(features, labels, self.radius, self.border)
        return {
            "loss_affinity": total,
            **dict(zip(("background", "foreground", "apart"), terms, strict=True)),
        }


@torch.inference_mode()
def cell_features(
    model: AffinityNet, image: NDArray[np.uint8], normalize: str, device: str
) -> Tensor:
    """``float [448, ⌈H/s⌉, ⌈W/s⌉]`` of one photograph, padded to whole cells with what normalises to 0, as the release does."""
    height, width = image.shape[:2]
    h, w = -(-height // model.stride), -(-width // model.stride)
    canvas = np.empty((h * model.stride, w * model.stride, 3), np.float32)
    canvas[:] = NORMALIZATION[normalize][0]
    canvas[:height, :width] = image
    return model(torch.from_numpy(canvas).to(device).permute(2, 0, 1)[None]).float()[0]
