"""Seeds from many draws of one network: features in batches, draws image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.seed import Seed
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.rng import torch_generator
from wsss_bench.toolbox.arrays import Bytes
from wsss_bench.toolbox.batching import Size, over_images, resized, stacked
from wsss_bench.toolbox.sec import background_of


@dataclass(frozen=True)
class _Read:
    """A photograph, and as the network is to see it."""

    pixels: Bytes
    seen: Tensor


def drawn_seeds(
    model: Any, view: WeakView, done: Callable[[str], bool], ctx: StageContext
) -> Iterator[tuple[WeakImage, Seed]]:
    """Yield every image that is not done with the maximum (scores) and the mean (rank) of its draws.

    Args:
        model: a classifier with a `FickleHead`, in eval mode.
        view: the images, with their tags.
        done: whether an image of that id needs nothing any more.
        ctx: gives ``warp``, ``draws``, ``test_batch``, and what `background_of` looks at.
    """
    maker = _Maker(model, ctx)
    steps = maker.prepare, maker.compute, maker.finish
    warp = int(ctx.params["warp"])
    alike = (lambda image: (warp, warp)) if warp else None
    return over_images(view, done, ctx, *steps, name="draws", shape_of=alike)


@dataclass(frozen=True)
class _Maker:
    model: Any
    ctx: StageContext

    def prepare(self, image: WeakImage) -> _Read:
        pixels = image.read()
        warp = int(self.ctx.params["warp"])
        size: Size = (warp, warp) if warp else (pixels.shape[0], pixels.shape[1])
        return _Read(pixels, resized(pixels, size, cv2.INTER_CUBIC))

    @torch.no_grad()
    def compute(
        self, images: Sequence[WeakImage], read: Sequence[_Read]
    ) -> tuple[Sequence[_Read], list[Tensor]]:
        pixels = stacked([one.seen for one in read], self.ctx.device)
        features = self.model.features(pixels)
        drawn = []
        for number, image in enumerate(images):
            drawn.append(self._draws(image, features[number : number + 1]))
        return read, drawn

    def _draws(self, image: WeakImage, features: Tensor) -> Tensor:
        """Return maximum and mean over the draws, ``float [2, K, h, w]``."""
        channels = [c - 1 for c in image.present]
        # One generator per image: a map does not depend on which images came before.
        generator = torch_generator(self.ctx.seed, "ficklenet", image.id)
        number = int(self.ctx.params["draws"])
        maps = self.model.head.draws(features, channels, generator, number).float()
        # Over many draws the mean of a map is far below its maximum; only its order matters, so it is stored as it is.
        return torch.stack([maps.amax(0), maps.mean(0)])

    def finish(
        self, images: Sequence[WeakImage], made: tuple[Sequence[_Read], list[Tensor]]
    ) -> Iterator[Seed]:
        background = background_of(self.ctx)
        for image, read, drawn in zip(images, *made, strict=True):
            highest, mean = drawn.cpu().numpy()
            grid = highest.shape[1], highest.shape[2]
            cue = background(self.model, image, read.pixels, grid)
            size = read.pixels.shape[0], read.pixels.shape[1]
            yield Seed(np.asarray(image.present, np.int64), highest, size, cue, mean)
