"""IRNet's network (CVPR 2019, sections 4.1 and 4.2): boundaries and displacements from all stages of a backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.toolbox.affinity import boundary_affinity_loss, displacement_loss
from wsss_bench.toolbox.arrays import Bytes, Floats
from wsss_bench.toolbox.batching import Size, resized, scaled, stacked
from wsss_bench.toolbox.pyramid import Pyramid, to_grid
from wsss_bench.toolbox.training import Network, over_ranks

Stages = tuple[Tensor, ...]
Each = tuple[int, ...]
"""One number per stage."""

STRIDE = 4
"""Pixels per cell of the boundary map and the displacement field."""


class _Tap(nn.Module):
    """1×1 convolution and group norm of one stage, brought to a common grid, then ReLU."""

    def __init__(
        self,
        channels: int,
        width: int,
        groups: int,
        stride: int,
        wanted: int,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.GroupNorm(groups, width)
        self.stride = stride
        self.wanted = wanted

    def forward(self, stage: Tensor, size: Size) -> Tensor:
        """Return the stage ``[B, width, h, w]`` on the grid `size` of `wanted` pixels per cell."""
        normed = self.norm(self.conv(stage))
        return F.relu(to_grid(normed, self.stride, self.wanted, size))


class BoundaryBranch(nn.Module):
    """32 channels of each of the five stages, side by side, to one logit per cell."""

    def __init__(self, channels: Each, strides: Each) -> None:
        super().__init__()
        pairs = zip(channels, strides, strict=True)
        self.taps = nn.ModuleList(_Tap(c, 32, 4, s, STRIDE) for c, s in pairs)
        self.fuse = nn.Conv2d(32 * len(channels), 1, 1)

    def forward(self, stages: Stages, size: Size) -> Tensor:
        """Return logits ``[B, h, w]`` of a class boundary on the grid `size`."""
        pairs = zip(self.taps, stages, strict=True)
        maps = [tap(stage, size) for tap, stage in pairs]
        logits = self.fuse(torch.cat(maps, 1))
        return logits[:, 0]


class MeanShift(nn.Module):
    """Subtracts, outside training, the mean displacement: the losses only know differences of displacements."""

    mean: Tensor

    def __init__(self, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, field: Tensor) -> Tensor:
        """Return a field ``[B, 2, h, w]`` centred; in training as it is, and its mean enters the running one."""
        if not self.training:
            return field - self.mean[:, None, None]
        current = over_ranks(field.detach().float().mean((0, 2, 3)))
        self.mean.lerp_(current, self.momentum)
        return field


class DisplacementBranch(nn.Module):
    """64, 128 and three times 256 channels; the last three stages are fused on the third one's grid first."""

    def __init__(self, channels: Each, strides: Each) -> None:
        super().__init__()
        widths = (64, 128, 256, 256, 256)
        groups = (8, 16, 16, 16, 16)
        # A backbone of small strides may have a third stage finer than the result.
        middle = max(strides[2], STRIDE)
        grids = (STRIDE, STRIDE, middle, middle, middle)
        self.taps = nn.ModuleList(map(_Tap, channels, widths, groups, strides, grids))
        self.deep = _Tap(768, 256, 16, middle, STRIDE)
        self.fuse = nn.Sequential(
            nn.Conv2d(448, 256, 1, bias=False),
            nn.GroupNorm(16, 256),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 2, 1, bias=False),
        )
        self.shift = MeanShift()

    def forward(self, stages: Stages, size: Size) -> Tensor:
        """Return displacements ``[B, 2, h, w]`` (rows, columns, in cells) on the grid `size`."""
        _, _, h, w = stages[2].shape
        middle = (h, w)
        sizes = (size, size, middle, middle, middle)
        triples = zip(self.taps, stages, sizes, strict=True)
        maps = [tap(stage, room) for tap, stage, room in triples]
        deep = self.deep(torch.cat(maps[2:], 1), size)
        everything = torch.cat([*maps[:2], deep], 1)
        return self.shift(self.fuse(everything))


class InterPixelNet(Network):
    """Backbone, boundary branch and, unless left out, displacement branch; trained on pairs of labelled cells.

    Args:
        params: those of `Pyramid`, and ``radius``, ``border``, ``displacement``.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        self.radius = int(params["radius"])
        self.border = str(params["border"])
        self.pyramid = Pyramid(params)
        channels = self.pyramid.channels
        strides = self.pyramid.strides
        self.boundary = BoundaryBranch(channels, strides)
        self.displacement: DisplacementBranch | None = None
        if params["displacement"]:
            self.displacement = DisplacementBranch(channels, strides)
        self.to(memory_format=torch.channels_last)

    def forward(
        self,
        inputs: Tensor,
        tags: Tensor | None = None,
        labels: Tensor | None = None,
        mode: str = "tensor",
    ) -> Any:
        """Return boundary logits ``[B, h, w]``, or losses by name.

        Args:
            inputs: ``float [B, 3, H, W]`` in 0..255.
            tags: not used; the trainer passes them to every network.
            labels: ``uint8 [B, h, w]`` on a grid of `STRIDE` pixels per cell, sizes rounded up; 255 = unknown.
            mode: ``"tensor"``, or ``"loss"``, which needs `labels`.
        """
        size = _grid(inputs.shape[2], inputs.shape[3])
        stages = self.pyramid(inputs)
        logits = self.boundary(stages, size)
        if mode != "loss":
            return logits
        assert labels is not None
        total, terms = boundary_affinity_loss(
            logits.float().sigmoid(),
            labels,
            self.radius,
            self.border,
        )
        losses = {"loss_affinity": total}
        # The trainer sums what has "loss" in its name; the terms are only logged.
        losses["background"], losses["foreground"], losses["apart"] = terms
        if self.displacement is not None:
            field = self.displacement(stages, size)
            loss, _ = displacement_loss(field, labels, self.radius, self.border)
            losses["loss_displacement"] = loss
        return losses

    def displacements(self, inputs: Tensor) -> Tensor:
        """Return centred displacements ``[B, 2, h, w]`` in cells; only where the branch was trained."""
        assert self.displacement is not None
        size = _grid(inputs.shape[2], inputs.shape[3])
        return self.displacement(self.pyramid(inputs), size)


def _grid(height: int, width: int) -> Size:
    """Return the size in cells of an image, the last ones cut."""
    return -(-height // STRIDE), -(-width // STRIDE)


@torch.inference_mode()
def boundary_map(
    model: InterPixelNet,
    image: Bytes,
    scales: tuple[float, ...],
    flip: bool,
    device: str,
) -> Floats:
    """Return the probability of a class boundary per cell of 4×4 pixels, from the mean logit over scales and mirror.

    Args:
        model: the trained network, in eval mode.
        image: ``uint8 [H, W, 3]``.
        scales: factors on the image's size.
        flip: whether the mirrored image counts as much.
        device: where the model is.

    Returns:
        ``float32 [⌈H/4⌉, ⌈W/4⌉]``.
    """
    photographs = at_scales(image, scales)
    grid = _grid(image.shape[0], image.shape[1])
    return boundary_maps(model, [photographs], grid, flip, device)[0].cpu().numpy()


def at_scales(image: Bytes, scales: tuple[float, ...]) -> list[Tensor]:
    """Return the photograph at every scale (bicubic), ``uint8 [h, w, 3]``."""
    # Shrunk further, a thumbnail would leave the deepest stage nothing.
    sizes = [scaled((image.shape[0], image.shape[1]), scale, 16) for scale in scales]
    return [resized(image, size, cv2.INTER_CUBIC) for size in sizes]


@torch.inference_mode()
def boundary_maps(
    model: InterPixelNet,
    photographs: Sequence[Sequence[Tensor]],
    grid: Size,
    flip: bool,
    device: str,
) -> Tensor:
    """Return `boundary_map` of images of one size, ``float [B, *grid]`` on the device.

    Args:
        model: as there.
        photographs: of every image what `at_scales` gives.
        grid: (height, width) of the result.
        flip, device: as there.
    """
    total = torch.zeros(len(photographs), 1, *grid, device=device)
    for one_scale in zip(*photographs, strict=True):
        pixels = stacked(one_scale, device)
        batch = torch.cat([pixels, pixels.flip(3)]) if flip else pixels
        logits = model(batch).float()[:, None]
        if flip:
            plain, mirrored = logits.chunk(2)
            logits = (plain + mirrored.flip(3)) / 2
        if logits.shape[2:] != grid:
            logits = F.interpolate(logits, grid, mode="bilinear", align_corners=False)
        total += logits
    return (total[:, 0] / len(photographs[0])).sigmoid()
