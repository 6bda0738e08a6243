"""Dense CRF as a refiner: seeds to labels by mean field (Krähenbühl and Koltun, NIPS 2011)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from wsss_bench import (
    LabelSet,
    LabelWriter,
    MethodCard,
    SeedSet,
    StageContext,
    WeakView,
    hookimpl,
)

MODES = ("labels", "alpha")
"""What the unaries are made of: one label a pixel, or scores beside ``(1 - max)^alpha``."""


class DenseCrf:
    """Per-image refinement, parallel over images."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """Return the CRF's card."""
        return MethodCard(
            name="densecrf",
            version="1.0",
            stages=("refine",),
            paper="Krähenbühl and Koltun, Efficient Inference in Fully Connected CRFs "
            "with Gaussian Edge Potentials, NIPS 2011",
            recipe="_/_/_",
            defaults=Path(__file__).with_name("config.py"),
        )

    @hookimpl
    def refine(
        self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext
    ) -> LabelSet:
        """Write labels of the image's tags and background; every pixel is labelled."""
        from wsss_bench.errors import RecipeError
        from wsss_bench.toolbox.crf_presets import PRESETS
        from wsss_bench.toolbox.parallel import in_threads, per_image

        params = dict(ctx.params)
        preset, mode = params["preset"], params["mode"]
        if preset not in PRESETS:
            known = ", ".join(PRESETS)
            raise RecipeError(f"densecrf: preset={preset!r} is not known; use {known}.")
        if mode not in MODES:
            known = " or ".join(MODES)
            raise RecipeError(f"densecrf: mode={mode!r} is not known; use {known}.")
        label = in_threads(partial(_label, params=params))
        return per_image(label, view, out, ctx, lambda i: (i.path, seeds[i.id]))


def _label(job: tuple[Path, Any], params: dict[str, Any]) -> Any:
    """Return the labels ``uint8 [H, W]`` of one image, a photograph's path and a seed."""
    import numpy as np

    from wsss_bench.io.images import read_image
    from wsss_bench.toolbox.crf import (
        dense_crf,
        unary_from_labels,
        unary_from_probabilities,
    )
    from wsss_bench.toolbox.crf_presets import PRESETS

    path, seed = job
    # Classes that the image does not have take no part: the CRF's cost grows with their number.
    ids = np.concatenate([[0], seed.class_ids])
    scores = seed.upsampled()
    if not len(scores):
        return np.zeros(seed.size, np.uint8)
    if params["mode"] == "labels":
        floor = np.full((1, *seed.size), np.float32(params["threshold"]))
        labels = np.concatenate([floor, scores]).argmax(0)
        unary = unary_from_labels(labels, len(ids), float(params["gt_prob"]))
    else:
        rest = (1 - scores.max(0, keepdims=True)).clip(0)
        background = rest ** float(params["alpha"])
        unary = unary_from_probabilities(np.concatenate([background, scores]))
    q = dense_crf(read_image(path), unary, PRESETS[params["preset"]])
    return ids[q.argmax(0)].astype(np.uint8)


plugin = DenseCrf()
