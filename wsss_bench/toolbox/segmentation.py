"""Training a segmentor on pseudo-labels, with a plain, a balanced, or a method's own loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.contract.artifacts import Segmentor
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import IGNORE, WeakView
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.mixing import CutMix
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.segmentor import segmentor_config
from wsss_bench.engine.training import (
    iterations,
    save_state,
    seeded,
    train,
    training_config,
)
from wsss_bench.errors import RecipeError
from wsss_bench.rng import derive
from wsss_bench.toolbox.losses import balanced_cross_entropy


class BalancedLoss(nn.Module):
    """Cross-entropy averaged over foreground and over background pixels apart, then summed (DSRG's balance, dense labels)."""

    def forward(self, logits: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`logits` ``[B, C + 1, h, w]`` are brought to the size of ``batch['labels']`` first."""
        labels = batch["labels"]
        logits = F.interpolate(
            logits.float(),
            tuple(labels.shape[1:]),
            mode="bilinear",
            align_corners=False,
        )
        return {"loss_seg": balanced_cross_entropy(logits, labels)}


class PlainLoss(nn.Module):
    """Cross-entropy, mean over labelled pixels; 0 where a batch has none."""

    def forward(self, logits: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`logits` ``[B, C + 1, h, w]`` are brought to the size of ``batch['labels']`` first."""
        labels = batch["labels"].long()
        logits = F.interpolate(
            logits.float(),
            tuple(labels.shape[1:]),
            mode="bilinear",
            align_corners=False,
        )
        total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
        return {"loss_seg": total / (labels != IGNORE).sum().clamp(min=1)}


LOSSES: dict[str, Callable[[], nn.Module | None]] = {
    "balanced": BalancedLoss,
    "ce": PlainLoss,
    "network": lambda: None,
}


def train_segmentor(
    view: WeakView,
    labels: Any,
    ctx: StageContext,
    loss: nn.Module | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    start: Segmentor | None = None,
    name: str = "segmentor",
) -> Segmentor:
    """Train a segmentor and return it.

    Args:
        view: training images with tags.
        labels: a `LabelSet`, or anything that gives ``uint8 [H, W]`` for an id.
        ctx: its ``params`` (or `params`) hold ``network, backbone, weights, crop, resize, batch, iterations | epochs, lr, …``
            and the test settings ``test_scales, test_flip, test_merge, test_warp, crf``.
        loss: a module ``loss(logits, batch) -> dict``; None takes ``params['loss']``: "balanced", "ce" or "network"
            (mmseg's own).
        start: initialise from this segmentor (same network) instead of ImageNet weights.
    """
    p = dict(ctx.params) if params is None else dict(params)
    config = segmentor_config(p, view.num_classes)
    if loss is None:
        if p["loss"] not in LOSSES:
            raise RecipeError(
                f"loss {p['loss']!r} is not known; use {', '.join(LOSSES)}."
            )
        loss = LOSSES[p["loss"]]()
    model = seeded(
        lambda: WeakSegmentor(config.model, loss, config.normalize), ctx.seed, name
    )
    if start is not None:
        model.init_weights()  # now: the runner calls it too, and must not undo what is loaded next
        state = torch.load(start.checkpoint, map_location="cpu", weights_only=True)
        model.load_state_dict(state, strict=False)
    crop = int(p["crop"])
    side = (
        crop
        if int(p["label_stride"]) == 1
        else math.ceil(crop / int(p["label_stride"]))
    )
    run = training_config(
        p, iterations(p, len(view)), new=("net.decode_head.",) if start is None else ()
    )
    mix = float(p.get("cutmix", 0.0))
    mixer = CutMix(mix) if mix else None
    data = TrainingSet(
        view,
        Augment.of(p),
        derive(ctx.seed, name),
        labels,
        (side, side),
        cache_mb=512,
        mixer=mixer,
    )
    weights = train(
        {**run, "model": model, "data": data, "batch": p["batch"]}, ctx, name
    )
    _drop_loss_tensors(weights, model)
    return ctx.segmentor(config, weights, **facts_of(p))


def _drop_loss_tensors(weights: Path, model: WeakSegmentor) -> None:
    """Take the loss's own tensors out of the kept weights: prediction builds the network without its loss."""
    if model.criterion is not None and model.criterion.state_dict():
        state = torch.load(weights, map_location="cpu", weights_only=True)
        kept = {
            key: value
            for key, value in state.items()
            if not key.startswith("criterion.")
        }
        save_state(kept, weights)


def facts_of(p: Mapping[str, Any]) -> dict[str, Any]:
    """Test settings and board columns from segmentor parameters."""
    facts: dict[str, Any] = {
        "test": {
            "scales": list(p["test_scales"]),
            "flip": bool(p["test_flip"]),
            "merge": p["test_merge"],
            "warp": int(p["test_warp"]),
            "crf": p["crf"],
            "amp": p.get("test_amp", ""),
        },
        "network": str(p["network"]),
        "backbone": str(p.get("backbone") or "network's own"),
        "weights": pretraining(p.get("weights")),
    }
    if "relabel_scales" in p:
        facts["relabel"] = {
            "scales": list(p["relabel_scales"]),
            "warp": int(p["relabel_warp"]),
        }
    return facts


def pretraining(weights: object) -> str:
    """What a ``weights`` parameter means on the board: ``ImageNet``, ``ImageNet (file name)`` or ``none``."""
    if not weights:
        return "none"
    return (
        "ImageNet"
        if weights == "imagenet"
        else f"file {str(weights).replace(chr(92), '/').rsplit('/', 1)[-1]}"
    )
