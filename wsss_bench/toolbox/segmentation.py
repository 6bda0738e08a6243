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
from wsss_bench.contract.names import TEST_NAMES
from wsss_bench.contract.view import IGNORE, WeakView
from wsss_bench.engine.models import WeakSegmentor
from wsss_bench.engine.ranks import over_ranks
from wsss_bench.engine.segmentor import keep_segmentor, segmentor_config
from wsss_bench.errors import RecipeError
from wsss_bench.io.installed import is_package, package_of
from wsss_bench.rng import derive
from wsss_bench.toolbox.losses import balanced_cross_entropy
from wsss_bench.toolbox.training import (
    Augment,
    CutMix,
    Mixer,
    TrainingSet,
    backbone_config,
    backbone_of,
    iterations,
    normalize_of,
    save_state,
    seeded,
    train,
    training_config,
)


class BalancedLoss(nn.Module):
    """Cross-entropy averaged over foreground and over background pixels apart, then summed: DSRG's balance."""

    def forward(
        self,
        logits: Tensor,
        batch: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the loss by name; `logits` ``[B, C + 1, h, w]`` are brought to the labels' size first."""
        labels = batch["labels"]
        return {"loss_seg": balanced_cross_entropy(_enlarged(logits, labels), labels)}


class PlainLoss(nn.Module):
    """Cross-entropy, mean over labelled pixels; 0 where a batch has none."""

    def forward(
        self,
        logits: Tensor,
        batch: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the loss by name; `logits` ``[B, C + 1, h, w]`` are brought to the labels' size first."""
        labels = batch["labels"].long()
        total = F.cross_entropy(
            _enlarged(logits, labels), labels, ignore_index=IGNORE, reduction="sum"
        )
        # Of all processes that share the batch.
        counted = over_ranks((labels != IGNORE).sum())
        # Torch's own mean of no pixel is no number, and would end the training.
        return {"loss_seg": total / counted.clamp(min=1e-4)}


def _enlarged(logits: Tensor, labels: Tensor) -> Tensor:
    """Return `logits` as float32 at the size of `labels` ``[B, H, W]``, bilinear."""
    size = (labels.shape[1], labels.shape[2])
    return F.interpolate(logits.float(), size, mode="bilinear", align_corners=False)


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
    network: Mapping[str, Any] | None = None,
    mixer: Mixer | None = None,
    name: str = "segmentor",
) -> Segmentor:
    """Train a segmentor and return it.

    Args:
        view: training images with tags.
        labels: a `LabelSet`, or anything that gives ``uint8 [H, W]`` for an id.
        ctx: its ``params`` (or `params`) hold ``network, backbone, weights, crop, resize, batch, iterations | epochs,
            lr, …``, and where the method declares no test settings also ``test_scales, test_flip, test_merge,
            test_warp, crf``.
        loss: a module ``loss(logits, batch) -> dict``; None takes ``params["loss"]``: "balanced", "ce" or "network"
            (mmseg's own).
        params: replaces the stage's parameters.
        start: initialise from this segmentor (same network) instead of ImageNet weights.
        network: a network of the method's own: an mmengine config with ``model``, an mmseg segmentor, and
            ``custom_imports``, the names of the modules that register its parts. It is kept with the segmentor.
        mixer: makes a sample of two; None takes ``params["cutmix"]``, the probability of a pasted square.
        name: tells the trainings of a stage apart.

    Raises:
        RecipeError: there is no such network, backbone or loss.
    """
    p = ctx.training_params if params is None else dict(params)
    config = segmentor_config(p, view.num_classes, network)
    criterion = _criterion(p) if loss is None else loss

    def build() -> WeakSegmentor:
        return WeakSegmentor(config.model, criterion, config.normalize)

    model: WeakSegmentor = seeded(build, ctx.seed, name)
    new: tuple[str, ...] = ("net.decode_head.",)
    if start is not None:
        _start_from(start, model)
        new = ()
    data = TrainingSet(
        view,
        Augment.of(p),
        derive(ctx.seed, name),
        labels,
        _label_size(p),
        cache_mb=512,
        mixer=_cutmix(p) if mixer is None else mixer,
    )
    length = iterations(p, len(view))
    run = dict(training_config(p, length, new=new))
    # Prediction builds the network without its loss, so the loss's own tensors are not kept.
    drop = ("criterion.",)
    run.update(model=model, data=data, batch=p["batch"], drop=drop)
    weights = train(run, ctx, name)
    return keep_segmentor(config, weights, ctx.out_dir, facts_of(p))


def _criterion(p: Mapping[str, Any]) -> nn.Module | None:
    if p["loss"] not in LOSSES:
        known = ", ".join(LOSSES)
        raise RecipeError(f"loss {p['loss']!r} is not known; use {known}.")
    return LOSSES[p["loss"]]()


def _cutmix(p: Mapping[str, Any]) -> Mixer | None:
    probability = float(p.get("cutmix", 0.0))
    return CutMix(probability) if probability else None


def _start_from(start: Segmentor, model: WeakSegmentor) -> None:
    # Now: the runner initialises the network too, and must not undo what is loaded next.
    model.init_weights()
    state = torch.load(start.checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=False)


def _label_size(p: Mapping[str, Any]) -> tuple[int, int]:
    """Return the size at which the loss is taken: the crop's, divided by ``label_stride`` and rounded up."""
    crop = int(p["crop"])
    stride = int(p["label_stride"])
    side = math.ceil(crop / stride)
    return side, side


def classifier_segmentor(
    checkpoint: Path,
    view: WeakView,
    ctx: StageContext,
    head: str = "wsss_bench.toolbox.training:LinearCamHead",
    *,
    params: Mapping[str, Any] | None = None,
    presence: float = 0.5,
    background: float = 0.3,
    head_options: Mapping[str, Any] | None = None,
) -> Segmentor:
    """Make a segmentor of a trained classifier: it labels by its own maps, of the classes that it predicts itself.

    Args:
        checkpoint: weights that `train_classifier` left: of a kept file (``seeds.kept(…)``), or saved by `save_state`.
        view: tells the classes.
        ctx: its ``params`` (or `params`) hold the classifier's ``backbone``, ``backbone_options`` and ``normalize``.
        head: ``module:attribute`` of the classifier's head, called with (channels, classes) and `head_options`. It must
            be importable in any process that predicts.
        params: replaces the stage's parameters.
        presence: a class takes part where its image-level probability exceeds this.
        background: the constant score that a class's map, divided by its maximum, must beat.
        head_options: further arguments of `head`.
    """
    p = ctx.training_params if params is None else dict(params)
    name = str(p["backbone"])
    options = dict(p.get("backbone_options") or {})
    network = {
        "type": "ClassifierSegmentor",
        "backbone": backbone_config(name, None, **options),
        "head": head,
        "head_options": dict(head_options or {}),
        "in_channels": backbone_of(name).channels[-1],
        "num_classes": view.num_classes,
        "presence": presence,
        "background": background,
    }
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    weights = ctx.scratch / "classifier_segmentor.pth"
    # A segmentor's network lies one level deeper than a classifier's parts.
    deeper = {f"net.{key}": value for key, value in state.items()}
    save_state(deeper, weights)
    config = {"model": network, "normalize": normalize_of(p)}
    facts = {
        "network": "the localizer",
        "backbone": name,
        "weights": pretraining(p.get("weights"), str(p.get("backbone") or "")),
    }
    return keep_segmentor(config, weights, ctx.out_dir, facts)


def facts_of(p: Mapping[str, Any]) -> dict[str, Any]:
    """Return board columns from segmentor parameters, and the test settings as far as they are among them."""
    facts: dict[str, Any] = {
        "network": str(p["network"]),
        "backbone": str(p.get("backbone") or "network's own"),
        "weights": pretraining(p.get("weights"), str(p.get("backbone") or "")),
    }
    test = {name: p[key] for key, name in TEST_NAMES.items() if key in p}
    if test:
        facts["test"] = {**test, "scales": list(test.get("scales", (1.0,)))}
    return facts


def pretraining(weights: object, backbone: str = "") -> str:
    """Return what a ``weights`` parameter means on the board: ``ImageNet``, ``file NAME``, timm's own or ``none``."""
    if not weights:
        return "none"
    if is_package(weights):
        return package_of(str(weights)).data
    # What timm loads depends on the network's tag, and need not have been trained on ImageNet.
    if backbone.startswith("timm/") and weights in ("imagenet", "timm"):
        return "timm's own"
    if weights == "imagenet":
        return "ImageNet"
    # Also of a path as Windows writes it: a record may have come from there.
    name = str(weights).replace(chr(92), "/").rsplit("/", 1)[-1]
    return f"file {name}"
