"""AffinityNet (CVPR 2018): one feature vector per cell; differences tell whether two cells belong to one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.toolbox.affinity import feature_affinity_loss
from wsss_bench.toolbox.arrays import Bytes
from wsss_bench.toolbox.batching import over_images, stacked
from wsss_bench.toolbox.pyramid import Pyramid, to_grid
from wsss_bench.toolbox.training import NORMALIZATION, Network

WIDTHS = (64, 128, 256)
"""Channels of the three convolutions."""

GROUPS = (8, 16, 32)
"""Groups of their group norms."""


class AffinityNet(Network):
    """Backbone, a 1×1 convolution on each of its last three stages, and one on all; trained on pairs of labelled cells.

    Args:
        params: those of `Pyramid`, and ``radius``, ``border``, ``group_norm``.

    Attributes:
        stride: pixels per cell, the third stage's.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.radius = int(params["radius"])
        self.border = str(params["border"])
        self.pyramid = Pyramid(params)
        self.stride = self.pyramid.strides[2]
        convs = [
            nn.Conv2d(channels, width, 1, bias=False)
            for channels, width in zip(self.pyramid.channels[2:], WIDTHS, strict=True)
        ]
        self.convs = nn.ModuleList(convs)
        # Apart from the convolutions: the release lets only those learn faster.
        norms = (
            nn.GroupNorm(groups, width) if params["group_norm"] else nn.Identity()
            for groups, width in zip(GROUPS, WIDTHS, strict=True)
        )
        self.norms = nn.ModuleList(norms)
        total = sum(WIDTHS)
        self.fuse = nn.Conv2d(total, total, 1, bias=False)
        for conv in convs:
            nn.init.kaiming_normal_(conv.weight)
        # The release's gain.
        nn.init.xavier_uniform_(self.fuse.weight, gain=4)
        self.to(memory_format=torch.channels_last)

    def features(self, inputs: Tensor) -> Tensor:
        """Return features ``[B, 448, h, w]`` of images ``float [B, 3, H, W]`` in 0..255.

        There are `stride` pixels per cell, sizes rounded up.
        """
        height, width = inputs.shape[2:]
        size = (-(-height // self.stride), -(-width // self.stride))
        layers = zip(
            self.convs,
            self.norms,
            self.pyramid(inputs)[2:],
            self.pyramid.strides[2:],
            strict=True,
        )
        maps = []
        for conv, norm, stage, stride in layers:
            normed = norm(conv(stage))
            maps.append(F.elu(to_grid(normed, stride, self.stride, size)))
        return F.elu(self.fuse(torch.cat(maps, 1)))

    def forward(
        self,
        inputs: Tensor,
        tags: Tensor | None = None,
        labels: Tensor | None = None,
        mode: str = "tensor",
    ) -> Any:
        """Return `features`, or losses by name.

        Args:
            inputs: ``float [B, 3, H, W]`` in 0..255.
            tags: not used; the trainer passes them to every network.
            labels: ``uint8 [B, h, w]`` on the features' grid, 255 = unknown.
            mode: ``"tensor"``, or ``"loss"``, which needs `labels`.
        """
        features = self.features(inputs)
        if mode != "loss":
            return features
        assert labels is not None
        total, terms = feature_affinity_loss(features, labels, self.radius, self.border)
        losses = {"loss_affinity": total}
        # The trainer sums what has "loss" in its name; the terms are only logged.
        losses["background"], losses["foreground"], losses["apart"] = terms
        return losses


@torch.inference_mode()
def cell_features(
    model: AffinityNet,
    image: Bytes,
    normalize: str,
    device: str,
) -> Tensor:
    """Return the features of one photograph, ``float [448, ⌈H/s⌉, ⌈W/s⌉]`` for s pixels per cell.

    Args:
        model: the trained network, in eval mode.
        image: ``uint8 [H, W, 3]``.
        normalize: which mean and deviation the backbone was trained with.
        device: where the model is.
    """
    canvas = on_whole_cells(image, model.stride, normalize)
    return model(stacked([canvas], device)).float()[0]


def on_whole_cells(image: Bytes, stride: int, normalize: str) -> Tensor:
    """Return a photograph on a canvas of whole cells, ``float32 [h, w, 3]`` in 0..255.

    The rest is what normalises to 0, as in the release.
    """
    height, width = image.shape[:2]
    h = -(-height // stride)
    w = -(-width // stride)
    canvas = np.empty((h * stride, w * stride, 3), np.float32)
    canvas[:] = NORMALIZATION[normalize][0]
    canvas[:height, :width] = image
    return torch.from_numpy(canvas)


def features_of(
    model: AffinityNet,
    view: WeakView,
    done: Callable[[str], bool],
    ctx: StageContext,
) -> Iterator[tuple[WeakImage, Tensor]]:
    """Yield every image that is not done with its `cell_features`, on the CPU, computed in batches; see `over_images`.

    Args:
        model: the trained network, in eval mode.
        view: the images.
        done: whether an image of that id needs nothing any more.
        ctx: gives ``normalize`` and ``test_batch``.
    """
    normalize = str(ctx.params["normalize"])

    def prepare(image: WeakImage) -> Tensor:
        return on_whole_cells(image.read(), model.stride, normalize)

    @torch.inference_mode()
    def compute(images: Sequence[WeakImage], read: Sequence[Tensor]) -> Tensor:
        return model(stacked(read, ctx.device)).float()

    def finish(images: Sequence[WeakImage], features: Tensor) -> Iterable[Tensor]:
        return features.cpu().unbind()

    steps = prepare, compute, finish
    return over_images(view, done, ctx, *steps, name="features")
