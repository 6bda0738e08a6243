"""Class activation maps of a classifier: one image or a batch at one scale, and the sum over scales and mirror."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from wsss_bench.engine.batching import Size, resized, scaled, stacked
from wsss_bench.engine.models import MultiLabelClassifier

MapFunction = Callable[[MultiLabelClassifier, Tensor, "list[int]"], Tensor]
"""Called as ``maps(model, pixels, classes)`` with one image ``float [1, 3, H, W]`` and 0-based foreground classes;
returns maps ``[K, h, w]``."""

BatchFunction = Callable[[MultiLabelClassifier, Tensor, Tensor], Tensor]
"""Called as ``maps(model, pixels, rows)`` with ``float [B, 3, H, W]`` and rows ``int64 [N, 2]``, each an image of the
batch and one of its 0-based classes; returns a map for each row, ``[N, h, w]``."""

_LEAST = 16
"""Pixels of a side that a backbone's strides leave a cell of."""


def in_batches(many: BatchFunction) -> Callable[[MapFunction], MapFunction]:
    """Decorate a `MapFunction` with the form of it that takes many images at once.

    A function without one is called image by image. Options bound with `functools.partial` go to both.
    """

    def decorate(one: MapFunction) -> MapFunction:
        setattr(one, _MANY, many)
        return one

    return decorate


_MANY = "in_batches"


def _many(maps: Any) -> BatchFunction | None:
    if isinstance(maps, partial):
        inner = _many(maps.func)
        return None if inner is None else partial(inner, *maps.args, **maps.keywords)
    found: BatchFunction | None = getattr(maps, _MANY, None)
    return found


def pixels_of(
    image: NDArray[np.uint8],
    size: Size,
    device: str,
) -> Tensor:
    """Return ``float [1, 3, h, w]`` in 0..255 of a photograph resized (bicubic) to `size`, (height, width)."""
    return stacked([resized(image, size, cv2.INTER_CUBIC)], device)


def normalized(maps: Tensor) -> Tensor:
    """Return maps ``[K, h, w]``, not negative, each divided by (its maximum + 1e-5), as IRN does."""
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-5)


def linear_cams(model: MultiLabelClassifier, pixels: Tensor, rows: Tensor) -> Tensor:
    """Return the CAM ``[N, h, w]``, not negative, of each of the `rows`, from the head's linear map."""
    maps = model.head.cam(model.features(pixels))
    return F.relu(maps[rows[:, 0], rows[:, 1]])


@in_batches(linear_cams)
def linear_cam(
    model: MultiLabelClassifier, pixels: Tensor, classes: list[int]
) -> Tensor:
    """Return the CAM ``[K, h, w]``, not negative, of 0-based foreground `classes`, from the head's linear map."""
    return linear_cams(model, pixels, rows_of([classes]))


def grad_cams(model: MultiLabelClassifier, pixels: Tensor, rows: Tensor) -> Tensor:
    """Return `grad_cam` of each of the `rows`, ``[N, h, w]``."""
    with torch.enable_grad():
        features = model.features(pixels).detach().requires_grad_()
        scores = model.head.scores(features)
        maps = features.new_zeros(len(rows), *features.shape[2:])
        # One class of every image at a time: what an image scores depends on no other image.
        for places in _ranks(rows):
            images, classes = rows[places].unbind(1)
            total = scores[images, classes].sum()
            (gradient,) = torch.autograd.grad(total, features, retain_graph=True)
            weights = gradient.mean((2, 3), keepdim=True)
            maps[places] = (weights * features).sum(1).detach()[images]
    return F.relu(maps) * features.shape[2] * features.shape[3]


def _ranks(rows: Tensor) -> list[list[int]]:
    """Return the places of every image's first row, of every second one, and so on."""
    seen: dict[int, int] = {}
    found: list[list[int]] = []
    for place, image in enumerate(rows[:, 0].tolist()):
        rank = seen.get(image, 0)
        seen[image] = rank + 1
        if rank == len(found):
            found.append([])
        found[rank].append(place)
    return found


@in_batches(grad_cams)
def grad_cam(
    model: MultiLabelClassifier,
    pixels: Tensor,
    classes: list[int],
) -> Tensor:
    """Return Grad-CAM ``[K, h, w]`` on the last feature map, times h·w: for "pool, then linear" heads it is the CAM.

    Selvaraju et al., ICCV 2017: channel weights are the spatial mean of d score / d features.
    """
    return grad_cams(model, pixels, rows_of([classes]))


def rows_of(classes: Sequence[Sequence[int]]) -> Tensor:
    """Return ``int64 [N, 2]``: every image's number with each of its classes."""
    rows = [(image, c) for image, chosen in enumerate(classes) for c in chosen]
    return torch.tensor(rows, dtype=torch.int64).view(-1, 2)


@dataclass(frozen=True)
class Scales:
    """How maps are made of an image at several sizes.

    Attributes:
        scales: factors on the photograph's size.
        flip: also look at the mirrored photograph.
        flip_merge: a scale's map and its mirrored twin are added ("sum", IRN) or the larger value is kept ("max", VWE).
        warp: 0 keeps the aspect; otherwise the image is warped to ``warp × warp`` first (SEC, DSRG, FickleNet).
        stride: pixels of the photograph per cell of the result.
        step: sides at every scale are rounded to a multiple of it; 0 keeps them.
    """

    scales: tuple[float, ...] = (1.0,)
    flip: bool = True
    flip_merge: str = "sum"
    warp: int = 0
    stride: int = 4
    step: int = 0

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Scales:
        """Return what ``scales, flip, flip_merge, warp, test_round`` among a stage's parameters say."""
        return cls(
            scales=tuple(float(scale) for scale in params["scales"]),
            flip=bool(params.get("flip", True)),
            flip_merge=str(params.get("flip_merge", "sum")),
            warp=int(params.get("warp", 0)),
            step=int(params.get("test_round", 0)),
        )

    def seen(self, image: NDArray[np.uint8]) -> Size:
        """Return the size of the photograph as the network is to see it at scale 1."""
        if self.warp:
            return self.warp, self.warp
        return image.shape[0], image.shape[1]

    def grid(self, seen: Size) -> Size:
        """Return the size of the result in cells, rounded up."""
        height, width = seen
        return math.ceil(height / self.stride), math.ceil(width / self.stride)

    def photographs(self, image: NDArray[np.uint8]) -> list[Tensor]:
        """Return the photograph at every scale (bicubic), ``uint8 [h, w, 3]``."""
        seen = self.seen(image)
        sizes = [scaled(seen, scale, _LEAST, self.step) for scale in self.scales]
        return [resized(image, size, cv2.INTER_CUBIC) for size in sizes]


def summed(
    model: MultiLabelClassifier,
    photographs: Sequence[Sequence[Tensor]],
    classes: Sequence[list[int]],
    grid: Size,
    scales: Scales,
    device: str,
    maps: MapFunction = linear_cam,
) -> Tensor:
    """Return sums over scales of the maps of a batch, each divided by its maximum, ``float [N, *grid]`` on the device.

    Args:
        model: the classifier.
        photographs: of every image what `Scales.photographs` gives; all images have one size.
        classes: of every image its 0-based foreground classes; only these are computed at full size.
        grid: (height, width) of the result.
        scales: how maps are merged.
        device: where the network is.
        maps: `linear_cam`, `grad_cam` or a method's own.
    """
    count = sum(map(len, classes))
    total = torch.zeros(count, *grid, device=device)
    if not count:  # COCO has photographs without tags
        return total
    for one_scale in zip(*photographs, strict=True):
        found = _merged(model, stacked(one_scale, device), classes, scales, maps)
        large = F.interpolate(found[None], grid, mode="bilinear", align_corners=False)
        total += large[0].detach()
    return normalized(total)


def _merged(
    model: MultiLabelClassifier,
    pixels: Tensor,
    classes: Sequence[list[int]],
    scales: Scales,
    maps: MapFunction,
) -> Tensor:
    """Return the maps of a batch at one scale, merged with those of its mirror image, ``float [N, h, w]``."""
    if not scales.flip:
        return _maps(model, pixels, classes, maps).float()
    if pixels.device.type == "cpu":
        # Two passes: on a processor one of twice the size takes longer.
        found = _maps(model, pixels, classes, maps).float()
        twin = _maps(model, pixels.flip(3), classes, maps).float()
    else:
        both = torch.cat([pixels, pixels.flip(3)])
        found, twin = _maps(model, both, [*classes, *classes], maps).float().chunk(2)
    twin = twin.flip(2)
    return torch.maximum(found, twin) if scales.flip_merge == "max" else found + twin


def _maps(
    model: MultiLabelClassifier,
    pixels: Tensor,
    classes: Sequence[list[int]],
    maps: MapFunction,
) -> Tensor:
    many = _many(maps)
    if many is not None:
        return many(model, pixels, rows_of(classes).to(pixels.device))
    found = []
    for number, chosen in enumerate(classes):
        # A method's own function was promised classes.
        if chosen:
            found.append(maps(model, pixels[number : number + 1], chosen))
    return torch.cat(found)


def multi_scale(
    model: MultiLabelClassifier,
    image: NDArray[np.uint8],
    classes: list[int],
    scales: tuple[float, ...],
    device: str,
    maps: MapFunction = linear_cam,
    flip: bool = True,
    flip_merge: str = "sum",
    warp: int = 0,
    stride: int = 4,
) -> Tensor:
    """Return the sum over scales of maps, ``[K, ⌈H/stride⌉, ⌈W/stride⌉]``, each divided by its maximum, on the CPU.

    Args:
        model: the classifier.
        image: a photograph ``uint8 [H, W, 3]``.
        classes: 0-based foreground classes; only these are computed at full size.
        scales, flip, flip_merge, warp, stride: see `Scales`.
        device: where the network is.
        maps: as in `write_seeds`.
    """
    how = Scales(scales, flip, flip_merge, warp, stride)
    grid = how.grid(how.seen(image))
    photographs = how.photographs(image) if classes else []
    found = summed(model, [photographs], [classes], grid, how, device, maps)
    return found.cpu()
