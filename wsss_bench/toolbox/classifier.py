"""Multi-label classifier training and class activation maps: the part that every localizer shares.

Follows IRN's recipe (its `train_cam` and `make_cam` steps): random long-side resize, random crop padded after
normalisation, binary cross-entropy, poly schedule; inference over scales and mirror, summed, divided by each map's maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.contract.artifacts import Seed, SeedSet, SeedWriter
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.engine.backbones.names import CHANNELS, backbone_config
from wsss_bench.engine.folding import folded
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.precision import autocast
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import (
    iterations,
    load_weights,
    seeded,
    train,
    training_config,
)
from wsss_bench.rng import derive

HeadFactory = Callable[[int, int], nn.Module]


def build_classifier(
    params: Mapping[str, Any], num_foreground: int, head: HeadFactory = LinearCamHead
) -> MultiLabelClassifier:
    """A classifier for `num_foreground` classes.

    Args:
        params: ``backbone`` (short name), ``weights``, ``backbone_options``, ``normalize``.
        head: called as ``head(in_channels, num_foreground)``; the module it returns has ``loss(features, targets)``,
            ``cam(features)`` and ``scores(features)``.
    """
    register()
    options = dict(params.get("backbone_options") or {})
    backbone = backbone_config(
        str(params["backbone"]), params.get("weights"), **options
    )
    return MultiLabelClassifier(
        backbone,
        head(CHANNELS[str(params["backbone"])], num_foreground),
        params["normalize"],
    )


def train_classifier(
    view: WeakView,
    ctx: StageContext,
    head: HeadFactory = LinearCamHead,
    *,
    fast: dict[str, float] | None = None,
    name: str = "classifier",
    params: Mapping[str, Any] | None = None,
) -> MultiLabelClassifier:
    """Train a multi-label classifier on the tagged images of `view`; resumes, and loads a finished one.

    Args:
        ctx: its ``params`` hold ``backbone, weights, crop, resize (lo, hi), batch, epochs | iterations, lr, momentum,
            weight_decay, new_mult, jitter, …`` (see `engine.training_config`).
        head: as in `build_classifier`; its parameters learn ``new_mult`` times faster.
        fast: extra learning-rate multipliers by parameter prefix (e.g. ``{"head.words": 10.0}``).
    """
    p = dict(ctx.params) if params is None else dict(params)
    tagged = view.with_labels()
    model = seeded(
        lambda: build_classifier(p, view.num_classes - 1, head), ctx.seed, name
    )
    augment = Augment.of({"augment": "resize_long", "jitter": 0.0, **p})
    if p.get("step_epochs"):
        p["step_every"] = max(
            1, int(p["step_epochs"]) * (len(tagged) // int(p["batch"]))
        )
    config = training_config(p, iterations(p, len(tagged)), new=("head.",), fast=fast)
    config = {**config, "model": model, "batch": p["batch"]}
    config["data"] = TrainingSet(tagged, augment, derive(ctx.seed, name), cache_mb=512)
    weights = train(config, ctx, name)
    load_weights(model, weights, ctx.device)
    return model


def pixels_of(image: NDArray[np.uint8], size: tuple[int, int], device: str) -> Tensor:
    """``float [1, 3, h, w]`` in 0..255 of a photograph resized (bicubic) to `size`."""
    resized = (
        image.copy()
        if image.shape[:2] == size
        else cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)
    )
    return torch.from_numpy(resized).to(device).permute(2, 0, 1)[None].float()


def normalized(maps: Tensor) -> Tensor:
    """Each map divided by (its maximum + 1e-5), as IRN does; no minimum is subtracted. ``[K, h, w]``, non-negative."""
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-5)


MapFunction = Callable[[MultiLabelClassifier, Tensor, "list[int]"], Tensor]


def linear_cam(
    model: MultiLabelClassifier, pixels: Tensor, classes: list[int]
) -> Tensor:
    """Non-negative CAM ``[K, h, w]`` of 0-based foreground `classes`, from the head's own linear map."""
    return F.relu(model.head.cam(model.features(pixels))[0, classes])


def grad_cam(model: MultiLabelClassifier, pixels: Tensor, classes: list[int]) -> Tensor:
    """Grad-CAM ``[K, h, w]`` on the last feature map, times h·w, so that it equals the CAM for "pool, then linear" heads.

    Selvaraju et al., ICCV 2017: channel weights are the spatial mean of d score / d features.
    """
    with torch.enable_grad():
        features = model.features(pixels).detach().requires_grad_()
        scores = model.head.scores(features)[0]
        maps = []
        for c in classes:
            (gradient,) = torch.autograd.grad(scores[c], features, retain_graph=True)
            maps.append((gradient.mean((2, 3), keepdim=True) * features).sum(1)[0])
    return F.relu(torch.stack(maps)) * features.shape[2] * features.shape[3]


def multi_scale(
    model: MultiLabelClassifier,
    image: NDArray[np.uint8],
    classes: list[int],
    scales: tuple[float, ...],
    device: str,
    maps: MapFunction = linear_cam,
    flip: bool = True,
    flip_merge: str = "sum",
    warp: int = 0,
    stride: int = 4,
) -> Tensor:
    """Sum over scales of non-negative maps, at ``[K, ⌈H/stride⌉, ⌈W/stride⌉]``, divided by each one's maximum.

    The wanted classes are selected before upsampling: the same result, a fraction of the work.

    Args:
        flip_merge: a scale's map and its mirrored twin are added ("sum", IRN) or the larger value is kept ("max", VWE).
        warp: 0 keeps the aspect; otherwise the image is warped to ``warp × warp`` first (SEC, DSRG, FickleNet).
    """
    height, width = image.shape[:2] if not warp else (warp, warp)
    grid = (-(-height // stride), -(-width // stride))
    total = torch.zeros(len(classes), *grid)
    if not classes:  # COCO has photographs without tags
        return total
    for scale in scales:
        pixels = pixels_of(
            image,
            (max(16, round(height * scale)), max(16, round(width * scale))),
            device,
        )
        found = maps(model, pixels, classes).float()
        if flip:
            twin = maps(model, pixels.flip(3), classes).float().flip(2)
            found = torch.maximum(found, twin) if flip_merge == "max" else found + twin
        total += (
            F.interpolate(found[None], grid, mode="bilinear", align_corners=False)[0]
            .detach()
            .cpu()
        )
    return normalized(total)


def write_seeds(
    model: MultiLabelClassifier,
    view: WeakView,
    out: SeedWriter,
    ctx: StageContext,
    maps: MapFunction = linear_cam,
    background: Callable[
        [MultiLabelClassifier, WeakImage, NDArray[np.uint8], tuple[int, int]],
        NDArray[np.float32],
    ]
    | None = None,
) -> SeedSet:
    """Class activation maps of every image not done yet, over ``ctx.params['scales']`` and mirror, in precision ``test_amp``.

    Args:
        maps: `linear_cam`, `grad_cam` or a method's own.
        background: gives a background cue ``float32 [h, w]`` in [0, 1] at the grid it is asked for.
    """
    scales = tuple(float(s) for s in ctx.params["scales"])
    model = folded(model)
    with torch.no_grad():  # not inference_mode: Grad-CAM turns gradients on inside
        for index, image in enumerate(view):
            if not out.done(image.id):
                pixels = image.read()
                size = (pixels.shape[0], pixels.shape[1])
                ids = np.asarray(image.present, np.int64)
                with autocast(ctx.params.get("test_amp", ""), "test_amp", ctx.device):
                    scores = multi_scale(
                        model,
                        pixels,
                        (ids - 1).tolist(),
                        scales,
                        ctx.device,
                        maps,
                        bool(ctx.params.get("flip", True)),
                        ctx.params.get("flip_merge", "sum"),
                        int(ctx.params.get("warp", 0)),
                    )
                grid = (scores.shape[1], scores.shape[2])
                cue = (
                    background(model, image, pixels, grid)
                    if background is not None
                    else None
                )
                out.write(image.id, Seed(ids, scores.numpy(), size, cue))
            ctx.progress("images", index + 1, len(view))
    return out.close()
