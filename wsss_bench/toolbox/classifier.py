"""Multi-label classifier training and class activation maps: the part that every localizer shares.

Follows IRN's recipe (its ``train_cam`` and ``make_cam`` steps): random long-side resize, random crop padded after
normalisation, binary cross-entropy, poly schedule; inference over scales and mirror, summed, divided by each map's
maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from wsss_bench.contract.artifacts import Seed, SeedSet, SeedWriter
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.engine.folding import folded
from wsss_bench.engine.precision import autocast
from wsss_bench.engine.registry import register
from wsss_bench.rng import derive
from wsss_bench.toolbox.batching import over_images
from wsss_bench.toolbox.maps import (
    MapFunction,
    Scales,
    grad_cam,
    in_batches,
    linear_cam,
    multi_scale,
    normalized,
    pixels_of,
    rows_of,
    summed,
)
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

__all__ = [
    "BackgroundFunction",
    "HeadFactory",
    "MapFunction",
    "build_classifier",
    "grad_cam",
    "in_batches",
    "linear_cam",
    "multi_scale",
    "normalized",
    "pixels_of",
    "rows_of",
    "train_classifier",
    "write_seeds",
]

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

    Images of one size go through the network together (see `wsss_bench.engine.batching`).

    Args:
        model: the classifier; its batch norms are folded for the purpose.
        view: the images, with their tags.
        out: takes the seeds.
        ctx: ``params["scales"]`` and, where they are there, ``flip``, ``flip_merge``, ``warp``, ``test_amp`` (the
            precision), ``test_batch`` (images that share a batch; 0: the device decides) and ``test_round`` (see
            `Scales.step`) say how maps are made.
        maps: `linear_cam`, `grad_cam` or a method's own; see `in_batches` for one that takes batches.
        background: gives a background cue.

    Raises:
        WsssError: the memory does not hold one image.
    """
    maker = _SeedMaker(folded(model), ctx, maps, background)
    written = sum(out.done(image.id) for image in view)
    # Not inference_mode: Grad-CAM turns gradients on inside.
    with torch.no_grad():
        for image, seed in maker.over(view, out.done):
            out.write(image.id, seed)
            written += 1
            ctx.progress("images", written, len(view))
    return out.close()


def _channels(image: WeakImage) -> list[int]:
    """Return the image's classes as the head counts them, from 0 without background."""
    return [class_id - 1 for class_id in image.present]


@dataclass(frozen=True)
class _Read:
    """An image as it was read: the photograph, and what the network is to see of it at every scale."""

    pixels: NDArray[np.uint8]
    photographs: list[Tensor]


@dataclass(frozen=True)
class _SeedMaker:
    """Makes seeds of images, a batch at a time."""

    model: MultiLabelClassifier
    ctx: StageContext
    maps: MapFunction
    background: BackgroundFunction | None

    @property
    def scales(self) -> Scales:
        return Scales.of(self.ctx.params)

    def over(
        self, view: WeakView, done: Callable[[str], bool]
    ) -> Iterator[tuple[WeakImage, Seed]]:
        """Yield the seed of every image that is not done."""
        steps = self.prepare, self.compute, self.finish
        return over_images(view, done, self.ctx, *steps, name="seeds")

    def prepare(self, image: WeakImage) -> _Read:
        pixels = image.read()
        # COCO has photographs without tags, and no map is made of them.
        wanted = self.scales.photographs(pixels) if image.present else []
        return _Read(pixels, wanted)

    def compute(
        self, images: Sequence[WeakImage], read: Sequence[_Read]
    ) -> tuple[Sequence[_Read], Tensor]:
        ctx, scales = self.ctx, self.scales
        tagged = [image for image in images if image.present]
        classes = [_channels(image) for image in tagged]
        photographs = [one.photographs for one in read if one.photographs]
        grid = scales.grid(scales.seen(read[0].pixels))
        with autocast(str(ctx.params.get("test_amp", "")), "test_amp", ctx.device):
            found = summed(
                self.model, photographs, classes, grid, scales, ctx.device, self.maps
            )
        return read, found

    def finish(
        self, images: Sequence[WeakImage], made: tuple[Sequence[_Read], Tensor]
    ) -> Iterator[Seed]:
        read, scores = made
        counts = [len(image.present) for image in images]
        parts = scores.cpu().split(counts)
        for image, one, part in zip(images, read, parts, strict=True):
            yield self._seed(image, one.pixels, part.numpy())

    def _seed(
        self, image: WeakImage, pixels: NDArray[np.uint8], scores: NDArray[np.float32]
    ) -> Seed:
        cue = None
        if self.background is not None:
            grid = scores.shape[1], scores.shape[2]
            cue = self.background(self.model, image, pixels, grid)
        ids = np.asarray(image.present, np.int64)
        return Seed(ids, scores, (pixels.shape[0], pixels.shape[1]), cue)
