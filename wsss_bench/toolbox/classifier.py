"""Multi-label classifier training and class activation maps: the part that every localizer shares.

Follows IRN's recipe (its ``train_cam`` and ``make_cam`` steps): random long-side resize, random crop padded after
normalisation, binary cross-entropy, poly schedule; inference over scales and mirror, summed, divided by each map's
maximum.
"""

from __future__ import annotations

import math
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
from wsss_bench.engine.folding import folded
from wsss_bench.engine.precision import autocast
from wsss_bench.engine.registry import register
from wsss_bench.rng import derive
from wsss_bench.toolbox.training import (
    Augment,
    LinearCamHead,
    Mixer,
    MultiLabelClassifier,
    Objective,
    Targets,
    TrainingSet,
    backbone_config,
    backbone_of,
    iterations,
    load_weights,
    normalize_of,
    seeded,
    train,
    training_config,
)

HeadFactory = Callable[[int, int], nn.Module]
"""Called as ``head(in_channels, num_foreground)``."""


def build_classifier(
    params: Mapping[str, Any],
    num_foreground: int,
    head: HeadFactory = LinearCamHead,
    objective: Objective | None = None,
) -> MultiLabelClassifier:
    """Return a classifier for `num_foreground` classes.

    Args:
        params: ``backbone`` (short name or ``timm/NAME``), ``weights``, ``backbone_options``, ``normalize``.
        num_foreground: how many classes there are besides background.
        head: called as ``head(in_channels, num_foreground)``; the module it returns has ``loss(features, targets)``,
            ``cam(features)`` and ``scores(features)``.
        objective: as in `train_classifier`.
    """
    register()
    name = str(params["backbone"])
    options = dict(params.get("backbone_options") or {})
    backbone = backbone_config(name, params.get("weights"), **options)
    made = head(backbone_of(name).channels[-1], num_foreground)
    return MultiLabelClassifier(backbone, made, normalize_of(params), objective)


def train_classifier(
    view: WeakView,
    ctx: StageContext,
    head: HeadFactory = LinearCamHead,
    *,
    objective: Objective | None = None,
    mixer: Mixer | None = None,
    targets: Targets | None = None,
    fast: dict[str, float] | None = None,
    name: str = "classifier",
    params: Mapping[str, Any] | None = None,
) -> MultiLabelClassifier:
    """Train a multi-label classifier on the tagged images of `view` and return it; resumes, and loads a finished one.

    Args:
        view: images without a tag are left out.
        ctx: its parameters, without test settings, hold ``backbone, weights, crop, resize (lo, hi), batch,
            epochs | iterations, lr, momentum, weight_decay, new_mult, jitter, …`` (see `training_config`).
        head: as in `build_classifier`; its parameters learn ``new_mult`` times faster.
        objective: called as ``objective(model, batch)`` in place of the head's loss; returns losses by name. The batch
            holds ``inputs float [B, 3, h, w]`` in 0..255, ``tags float [B, C + 1]`` and what `mixer` adds. A module's
            parameters learn along, ``new_mult`` times faster; they are not part of the classifier that is returned.
        mixer: makes a sample of two (see `wsss_bench.toolbox.training`).
        targets: ``float32 [K]`` by image id in place of the tags. The head sees all but the first, which stands for
            background, so a head for other targets than the classes takes its size from its own factory.
        fast: extra learning-rate multipliers by parameter prefix (e.g. ``{"head.words": 10.0}``).
        name: tells the trainings of a stage apart: a second round needs another name.
        params: replaces the stage's parameters.
    """
    p = ctx.training_params if params is None else dict(params)
    tagged = view.with_labels()

    def build() -> MultiLabelClassifier:
        return build_classifier(p, view.num_classes - 1, head, objective)

    model: MultiLabelClassifier = seeded(build, ctx.seed, name)
    data = TrainingSet(
        tagged,
        Augment.of({"augment": "resize_long", "jitter": 0.0, **p}),
        derive(ctx.seed, name),
        cache_mb=512,
        mixer=mixer,
        targets=targets,
    )
    config = _schedule(p, len(tagged), fast)
    drop = ("objective.",)
    config.update(model=model, data=data, batch=p["batch"], drop=drop)
    weights = train(config, ctx, name)
    # What taught the classifier is not part of it.
    model.objective = None
    load_weights(model, weights, ctx.device)
    return model


def _schedule(
    p: dict[str, Any],
    images: int,
    fast: dict[str, float] | None,
) -> dict[str, Any]:
    # Steps counted in epochs, for papers that count so.
    if p.get("step_epochs"):
        an_epoch = images // int(p["batch"])
        steps = int(p["step_epochs"]) * an_epoch
        p["step_every"] = max(1, steps)
    new = ("head.", "objective.")
    length = iterations(p, images)
    return dict(training_config(p, length, new=new, fast=fast))


def pixels_of(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    device: str,
) -> Tensor:
    """Return ``float [1, 3, h, w]`` in 0..255 of a photograph resized (bicubic) to `size`, (height, width)."""
    if image.shape[:2] == size:
        resized = image.copy()
    else:
        resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC)  # type: ignore[assignment]
    pixels = torch.from_numpy(resized).to(device)
    return pixels.permute(2, 0, 1)[None].float()


def normalized(maps: Tensor) -> Tensor:
    """Return maps ``[K, h, w]``, not negative, each divided by (its maximum + 1e-5), as IRN does."""
    return maps / (maps.amax((1, 2), keepdim=True) + 1e-5)


MapFunction = Callable[[MultiLabelClassifier, Tensor, "list[int]"], Tensor]
"""Called as ``maps(model, pixels, classes)`` with 0-based foreground classes; returns maps ``[K, h, w]``."""


def linear_cam(
    model: MultiLabelClassifier, pixels: Tensor, classes: list[int]
) -> Tensor:
    """Return the CAM ``[K, h, w]``, not negative, of 0-based foreground `classes`, from the head's linear map."""
    features = model.features(pixels)
    maps = model.head.cam(features)
    return F.relu(maps[0, classes])


def grad_cam(
    model: MultiLabelClassifier,
    pixels: Tensor,
    classes: list[int],
) -> Tensor:
    """Return Grad-CAM ``[K, h, w]`` on the last feature map, times h·w: for "pool, then linear" heads it is the CAM.

    Selvaraju et al., ICCV 2017: channel weights are the spatial mean of d score / d features.
    """
    with torch.enable_grad():
        features = model.features(pixels).detach().requires_grad_()
        scores = model.head.scores(features)[0]
        maps = []
        for c in classes:
            (gradient,) = torch.autograd.grad(scores[c], features, retain_graph=True)
            weights = gradient.mean((2, 3), keepdim=True)
            maps.append((weights * features).sum(1)[0])
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
    """Return the sum over scales of maps, ``[K, ⌈H/stride⌉, ⌈W/stride⌉]``, each divided by its maximum.

    Args:
        model: the classifier.
        image: a photograph ``uint8 [H, W, 3]``.
        classes: 0-based foreground classes; only these are computed at full size.
        scales: factors on the photograph's size.
        device: where the network is.
        maps: as in `write_seeds`.
        flip: also look at the mirrored photograph.
        flip_merge: a scale's map and its mirrored twin are added ("sum", IRN) or the larger value is kept ("max", VWE).
        warp: 0 keeps the aspect; otherwise the image is warped to ``warp × warp`` first (SEC, DSRG, FickleNet).
        stride: pixels of the photograph per cell of the result.
    """
    height, width = image.shape[:2] if not warp else (warp, warp)
    grid = (math.ceil(height / stride), math.ceil(width / stride))
    total = torch.zeros(len(classes), *grid)
    if not classes:  # COCO has photographs without tags
        return total
    for scale in scales:
        # Not below what the backbone's strides leave a cell of.
        size = (
            max(16, round(height * scale)),
            max(16, round(width * scale)),
        )
        pixels = pixels_of(image, size, device)
        found = maps(model, pixels, classes).float()
        if flip:
            twin = maps(model, pixels.flip(3), classes).float().flip(2)
            found = torch.maximum(found, twin) if flip_merge == "max" else found + twin
        large = F.interpolate(found[None], grid, mode="bilinear", align_corners=False)
        # The sum waits on the CPU: a GPU would hold the maps of all classes and scales.
        total += large[0].detach().cpu()
    return normalized(total)


BackgroundFunction = Callable[
    [MultiLabelClassifier, WeakImage, NDArray[np.uint8], tuple[int, int]],
    NDArray[np.float32],
]
"""Called as ``background(model, image, pixels, grid)``; returns a cue ``float32 [h, w]`` in [0, 1] at that grid."""


def write_seeds(
    model: MultiLabelClassifier,
    view: WeakView,
    out: SeedWriter,
    ctx: StageContext,
    maps: MapFunction = linear_cam,
    background: BackgroundFunction | None = None,
) -> SeedSet:
    """Write class activation maps of every image that is not done yet and return them as a `SeedSet`.

    Args:
        model: the classifier; its batch norms are folded for the purpose.
        view: the images, with their tags.
        out: takes the seeds.
        ctx: ``params["scales"]`` and, where they are there, ``flip``, ``flip_merge``, ``warp`` and ``test_amp`` (the
            precision) say how maps are made.
        maps: `linear_cam`, `grad_cam` or a method's own.
        background: gives a background cue.
    """
    model = folded(model)
    # Not inference_mode: Grad-CAM turns gradients on inside.
    with torch.no_grad():
        for number, image in enumerate(view, start=1):
            if not out.done(image.id):
                out.write(image.id, _seed(model, image, ctx, maps, background))
            ctx.progress("images", number, len(view))
    return out.close()


def _seed(
    model: MultiLabelClassifier,
    image: WeakImage,
    ctx: StageContext,
    maps: MapFunction,
    background: BackgroundFunction | None,
) -> Seed:
    p = ctx.params
    pixels = image.read()
    ids = np.asarray(image.present, np.int64)
    with autocast(p.get("test_amp", ""), "test_amp", ctx.device):
        scores = multi_scale(
            model,
            pixels,
            (ids - 1).tolist(),
            tuple(float(scale) for scale in p["scales"]),
            ctx.device,
            maps,
            bool(p.get("flip", True)),
            p.get("flip_merge", "sum"),
            int(p.get("warp", 0)),
        )
    cue = None
    if background is not None:
        cue = background(model, image, pixels, (scores.shape[1], scores.shape[2]))
    return Seed(ids, scores.numpy(), (pixels.shape[0], pixels.shape[1]), cue)
