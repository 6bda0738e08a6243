"""Training of IRNet's branches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from wsss_bench.contract.artifacts import LabelSet
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import RecipeError
from wsss_bench.rng import derive
from wsss_bench.toolbox.classifier import pixels_of
from wsss_bench.toolbox.crf_presets import PRESETS
from wsss_bench.toolbox.pairs import BORDERS
from wsss_bench.toolbox.training import Augment, TrainingSet, fit, seeded
from wsss_plugins.irn.network import STRIDE, InterPixelNet

CHOICES: dict[str, tuple[str, ...]] = {
    "crf": tuple(PRESETS),
    "border": BORDERS,
    "centring": ("running", "pass"),
}


def check(params: Mapping[str, Any]) -> None:
    """Raise `RecipeError` for a choice that is not offered, before any work is done."""
    for key, offered in CHOICES.items():
        if params[key] not in offered:
            known = ", ".join(offered)
            raise RecipeError(f"irn: {key}={params[key]!r} is not known; use {known}.")
    background, foreground = params["conf_bg"], params["conf_fg"]
    if not 0 <= background <= foreground <= 1:
        must = "0 <= conf_bg <= conf_fg <= 1 must hold"
        raise RecipeError(f"irn: {must}, not {background} and {foreground}.")


def train_network(
    view: WeakView,
    labels: LabelSet,
    ctx: StageContext,
) -> InterPixelNet:
    """Return the trained network in eval mode; resumes, and loads a finished training.

    The displacement branch learns ``displacement_mult`` times faster than the boundary branch.
    """
    p = ctx.training_params
    model: InterPixelNet = seeded(lambda: InterPixelNet(p), ctx.seed, "irn")
    side = math.ceil(int(p["crop"]) / STRIDE)
    data = TrainingSet(
        view,
        Augment.of(p),
        derive(ctx.seed, "irn"),
        labels,
        label_size=(side, side),
        cache_mb=512,
    )
    new = ("boundary.", "displacement.")
    fast = {"displacement.": float(p["displacement_mult"])}
    fit(model, data, ctx, new=new, fast=fast, name="irn")
    if model.displacement is not None and p["centring"] == "pass":
        _centre(model, view, ctx)
    return model


@torch.inference_mode()
def _centre(model: InterPixelNet, view: WeakView, ctx: StageContext) -> None:
    """Make the mean displacement over all images the one that is subtracted, as the later release does."""
    assert model.displacement is not None
    shift = model.displacement.shift
    shift.mean.zero_()
    total = torch.zeros_like(shift.mean)
    for number, image in enumerate(view):
        pixels = image.read()
        size = (pixels.shape[0], pixels.shape[1])
        found = model.displacements(pixels_of(pixels, size, ctx.device))
        total += found.float().mean((0, 2, 3))
        ctx.progress("centring", number + 1, len(view))
    shift.mean.copy_(total / len(view))
