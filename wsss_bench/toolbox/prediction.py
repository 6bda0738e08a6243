"""Prediction with a trained segmentor as a stage: raw and CRF label maps in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import LabelWriter, Segmentor
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.engine.inference import TestSettings, predict_probabilities
from wsss_bench.engine.segmentor import load_segmentor
from wsss_bench.io.images import read_image
from wsss_bench.toolbox.parallel import imap


def predict(
    segmentor: Segmentor,
    view: WeakView,
    out: LabelWriter,
    out_crf: LabelWriter | None,
    ctx: StageContext,
    *,
    restrict: bool = False,
    transform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
) -> None:
    """Predict every image that is not done yet, raw into `out` and after the dense CRF into `out_crf`; closes neither.

    Args:
        restrict: allow only background and the image's tags (training images; `view` must carry labels).
        transform: applied to the probabilities first.
    """
    todo = [
        i
        for i in view
        if not (out.done(i.id) and (out_crf is None or out_crf.done(i.id)))
    ]
    if not todo:
        return
    settings = TestSettings.of(segmentor.test)
    model = load_segmentor(segmentor, ctx.device)

    def jobs() -> Iterator[tuple[str, Path, NDArray[np.float16] | None]]:
        for image in todo:
            probabilities = predict_probabilities(
                model, image.read(), settings, ctx.device
            )
            if restrict:
                absent = np.ones(view.num_classes, bool)
                absent[[0, *image.present]] = False
                probabilities[absent] = 0
            if transform is not None:
                probabilities = transform(probabilities)
            if not out.done(image.id):
                out.write(image.id, probabilities.argmax(0).astype(np.uint8))
            yield (
                image.id,
                image.path,
                probabilities.astype(np.float32) if out_crf is not None else None,
            )

    done = len(view) - len(todo)
    post = (
        partial(_crf_job, preset=settings.crf, restrict=restrict)
        if out_crf is not None
        else _no_crf
    )
    for image_id, label in imap(post, jobs(), ctx.workers, len(todo)):
        if out_crf is not None and label is not None:
            out_crf.write(image_id, label)
        done += 1
        ctx.progress("images", done, len(view))


def _no_crf(job: tuple[str, Path, Any]) -> tuple[str, None]:
    return job[0], None


def _crf_job(
    job: tuple[str, Path, NDArray[np.float32]], preset: str, restrict: bool
) -> tuple[str, NDArray[np.uint8]]:
    from wsss_bench.toolbox.crf import crf_labels
    from wsss_bench.toolbox.crf_presets import PRESETS

    image_id, path, probabilities = job
    image = read_image(path)
    if not restrict:
        return image_id, crf_labels(image, probabilities, PRESETS[preset])
    # Classes that are ruled out take no part, so the labels are those of the present classes alone.
    kept = np.flatnonzero(probabilities.any(axis=(1, 2)))
    labels = crf_labels(
        image, np.ascontiguousarray(probabilities[kept]), PRESETS[preset]
    )
    return image_id, kept[labels].astype(np.uint8)
