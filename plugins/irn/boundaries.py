"""Boundary maps of all images, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import Tensor

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.toolbox.arrays import Floats
from wsss_bench.toolbox.batching import Size, over_images
from wsss_plugins.irn.network import STRIDE, InterPixelNet, at_scales, boundary_maps

Read = tuple[Size, list[Tensor]]
"""An image's grid, and its photograph at every scale."""


def boundaries(
    model: InterPixelNet,
    view: WeakView,
    done: Callable[[str], bool],
    ctx: StageContext,
) -> Iterator[tuple[WeakImage, Floats]]:
    """Yield every image that is not done with its boundary map, as `boundary_map` gives it; see `over_images`.

    Args:
        model: the trained network, in eval mode.
        view: the images.
        done: whether an image of that id needs nothing any more.
        ctx: gives ``scales``, ``flip`` and ``test_batch``.
    """
    scales = tuple(float(scale) for scale in ctx.params["scales"])
    flip = bool(ctx.params["flip"])

    def prepare(image: WeakImage) -> Read:
        pixels = image.read()
        grid = -(-pixels.shape[0] // STRIDE), -(-pixels.shape[1] // STRIDE)
        return grid, at_scales(pixels, scales)

    def compute(images: Sequence[WeakImage], read: Sequence[Read]) -> Tensor:
        photographs = [one for _, one in read]
        return boundary_maps(model, photographs, read[0][0], flip, ctx.device)

    def finish(images: Sequence[WeakImage], maps: Tensor) -> Iterable[Floats]:
        return iter(maps.cpu().numpy())

    steps = prepare, compute, finish
    return over_images(view, done, ctx, *steps, name="boundaries")
