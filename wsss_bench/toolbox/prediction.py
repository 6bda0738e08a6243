"""Prediction with a trained segmentor as a stage: raw and CRF label maps in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import LabelWriter, Segmentor
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.engine.inference import (
    TestSettings,
    predict_probabilities,
    probabilities_of,
)
from wsss_bench.engine.segmentor import load_segmentor
from wsss_bench.toolbox.crf import CrfJob, crf_job, crf_of_job
from wsss_bench.toolbox.parallel import imap

__all__ = ["TestSettings", "load_segmentor", "predict", "predict_probabilities"]

Probabilities = NDArray[np.float32]
"""Class probabilities ``float32 [C + 1, H, W]``."""


def predict(
    segmentor: Segmentor,
    view: WeakView,
    out: LabelWriter,
    out_crf: LabelWriter | None,
    ctx: StageContext,
    *,
    restrict: bool = False,
    transform: Callable[[Probabilities], Probabilities] | None = None,
) -> None:
    """Predict every image that is not done yet, raw into `out` and after the dense CRF into `out_crf`; closes neither.

    Args:
        segmentor: the network, and how it predicts (see `TestSettings`).
        view: the images.
        out: takes the labels of highest probability.
        out_crf: takes the labels after the CRF, or None.
        ctx: gives device, workers and progress.
        restrict: allow only background and the image's tags (training images; `view` must carry labels).
        transform: applied to the probabilities first.
    """
    todo = [image for image in view if not _done(image, out, out_crf)]
    missing = frozenset(image.id for image in todo)
    if not todo:
        return
    settings = TestSettings.of(segmentor.test)
    model = load_segmentor(segmentor, ctx.device)
    found_of = probabilities_of(
        model,
        view,
        settings,
        ctx.device,
        done=lambda image_id: image_id not in missing,
        workers=ctx.workers,
        keep=ctx.scratch / f"{out.path.name}.batches.json",
    )
    written = _Written(ctx, len(view) - len(todo), len(view))

    def jobs() -> Iterator[CrfJob]:
        for image, found in found_of:
            if restrict:
                found = _restricted(found, image)
            if transform is not None:
                found = transform(found)
            if not out.done(image.id):
                out.write(image.id, found.argmax(0).astype(np.uint8))
            if out_crf is not None:
                yield crf_job(image.id, image.path, found, restrict)
            else:
                written.one_more()

    after = partial(crf_of_job, preset=settings.crf)
    for image_id, label in imap(after, jobs(), ctx.workers, len(todo)):
        assert out_crf is not None
        out_crf.write(image_id, label)
        written.one_more()


@dataclass
class _Written:
    """Counts and reports the images that nothing more is done to."""

    ctx: StageContext
    done: int
    total: int

    def one_more(self) -> None:
        self.done += 1
        self.ctx.progress("images", self.done, self.total)


def _done(image: WeakImage, out: LabelWriter, out_crf: LabelWriter | None) -> bool:
    return out.done(image.id) and (out_crf is None or out_crf.done(image.id))


def _restricted(probabilities: Probabilities, image: WeakImage) -> Probabilities:
    """Return the probabilities with those of classes that the image does not have set to 0."""
    absent = np.ones(len(probabilities), bool)
    absent[[0, *image.present]] = False
    probabilities[absent] = 0
    return probabilities
