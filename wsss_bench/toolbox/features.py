"""Features of a whole image set as an artifact in a stage's scratch folder: resumable image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from wsss_bench.contract.artifacts import ArraySet, ArrayWriter
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView

Extract = Callable[[WeakImage], Mapping[str, NDArray[Any]]]
"""Returns the arrays of one image, by name."""


def collect(view: WeakView, ctx: StageContext, extract: Extract, name: str) -> ArraySet:
    """Return the arrays that `extract` gives for every image of `view`, computing those that are not there yet.

    They lie in ``ctx.scratch / name``, so an interrupted stage goes on where it stopped and a finished one leaves
    nothing behind. `extract` is called in this process, one image after the other, so it may use a network on the
    stage's device.

    Args:
        view: the images.
        ctx: gives the scratch folder and takes progress.
        extract: returns plain finite arrays, at least one.
        name: tells the sets of one stage apart; a set of another round needs another name.

    Raises:
        ArtifactError: `extract` returned something else; the message names the image.
    """
    out = ArrayWriter(ctx.scratch / name, view, name)
    for number, image in enumerate(view, start=1):
        if not out.done(image.id):
            out.write(image.id, extract(image))
        ctx.progress(name, number, len(view))
    return out.close()
