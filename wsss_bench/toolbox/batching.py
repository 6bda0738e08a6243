"""A method's own network over all images, in batches of one size: the form that its inference is written in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.engine.batching import (
    InBatches,
    ShapeOf,
    Size,
    batch_size,
    batches,
    resized,
    scaled,
    stacked,
)

__all__ = ["Size", "over_images", "resized", "scaled", "stacked"]

Read = TypeVar("Read")
Made = TypeVar("Made")


def over_images(
    view: WeakView,
    done: Callable[[str], bool],
    ctx: StageContext,
    prepare: Callable[[WeakImage], Read],
    compute: Callable[[Sequence[WeakImage], Sequence[Read]], Any],
    finish: Callable[[Sequence[WeakImage], Any], Iterable[Made]],
    *,
    name: str,
    shape_of: ShapeOf | None = None,
    floats: int = 0,
) -> Iterator[tuple[WeakImage, Made]]:
    """Yield a result for every image of `view` that is not done, a batch at a time; the order follows from the view.

    Reading runs ahead in other threads, and on a GPU one batch is computed while the one before it is brought back. A
    batch that does not fit into memory is halved, which the stage's scratch folder remembers: a run that is taken up
    again computes the same batches.

    Args:
        view: the images.
        done: whether an image of that id needs nothing any more.
        ctx: gives device, threads (``workers``), the scratch folder, and the parameter ``test_batch`` where there is
            one: how many images share a batch, 0 for the device's default.
        prepare: reads what the network needs of one image.
        compute: called with images that have one size, and what was prepared of each; returns what `finish` takes,
            on the device. It is called where the consumer is, so ``torch.no_grad()`` around the loop holds.
        finish: turns that into one result for each image.
        name: tells the passes of a stage apart.
        shape_of: gives what a batch's images must have in common; None takes the size in pixels.
        floats: of one image's largest result, so that a batch of them fits.

    Raises:
        WsssError: the memory does not hold one image.
    """
    size = batch_size(int(ctx.params.get("test_batch", 0)), ctx.device, floats)
    keep = ctx.scratch / f"{name}.batches.json"
    how = InBatches(prepare, compute, finish, ctx.workers, keep)
    return how.over(batches(view, size, shape_of), done)
