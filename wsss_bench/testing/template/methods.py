"""One working method per kind of project; ``@WORD@`` is filled in by `wsss_bench.testing.template.project`."""

from __future__ import annotations

SUMMARIES = {
    "localizer": "class activation maps of a classifier with log-sum-exp pooling.",
    "refiner": "seeds averaged over pixels of like colour nearby, then the best class.",
    "segmentor": "DeepLab trained on the pixels it finds hardest (online bootstrapping).",
}

RULES = {
    "localizer": (
        "The logit of class c is `log(mean(exp(r · map_c))) / r` (Pinheiro and Collobert, CVPR 2015): the mean for r → 0,\n"
        "the maximum for r → ∞. Maps are those of the classifier, as for `cam`."
    ),
    "refiner": (
        "Colour is cut into `levels` steps per channel and the image into `cells` × `cells` windows. A class's score at a pixel\n"
        "is its mean over the pixels of the same colour in the same window; the best class wins where it beats `threshold`."
    ),
    "segmentor": (
        "Cross-entropy, mean over the `keep` share of labelled pixels of each batch with the highest loss\n"
        "(Wu et al., *Bridging category-level and instance-level segmentation*, 2016)."
    ),
}

_LOCALIZER = '''\
"""@NAME@: @SUMMARY@"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from wsss_bench import MethodCard, SeedSet, SeedWriter, StageContext, WeakView, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

# Names and values here are the parameters: wsss-bench run --methods '@NAME@[sharpness=8.0]'
DEFAULTS: dict[str, Any] = {
    "sharpness": 4.0,
    "backbone": "resnet50",
    "weights": "imagenet",
    "backbone_options": {},
    "normalize": "imagenet",
    "batch": 16,
    "epochs": 5,
    "iterations": 0,
    "lr": 0.01,
    "optimizer": "SGD",
    "new_mult": 10.0,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "poly",
    "resize": [320, 640],
    "crop": 512,
    "scales": [1.0, 0.5, 1.5, 2.0],
    "flip": True,
    # The background threshold at which the seeds are scored, beside the best one.
    "threshold": 0.15,
}


class @CLASS@:
    """The hooks; torch is imported inside them, so that listing methods stays fast."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(name="@NAME@", version="0.1.0", stages=("localize",), defaults={"localize": DEFAULTS})

    @hookimpl
    def localize(self, view: WeakView, out: SeedWriter, ctx: StageContext) -> SeedSet:
        """Train a multi-label classifier, then write its class activation maps."""
        from wsss_bench.toolbox.classifier import train_classifier, write_seeds

        head = partial(make_head, sharpness=float(ctx.params["sharpness"]))
        return write_seeds(train_classifier(view, ctx, head), view, out, ctx)


def pool(maps: Tensor, sharpness: float) -> Tensor:
    """Log-sum-exp pooling: ``log(mean(exp(sharpness · maps))) / sharpness`` over the last two axes of ``[B, C, h, w]``."""
    return (maps.flatten(2).mul(sharpness).logsumexp(2) - math.log(maps.shape[2] * maps.shape[3])) / sharpness


def make_head(channels: int, classes: int, sharpness: float) -> Any:
    """A classifier head: the linear map of `cam` with another pooling."""
    from torch.nn import functional as F
    from wsss_bench.engine.models import LinearCamHead

    class Head(LinearCamHead):
        def scores(self, features: Tensor) -> Tensor:
            """Image-level logits ``[B, C]``."""
            return pool(self.cam(features), sharpness)

        def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
            """Binary cross-entropy of those logits; ``targets [B, C]`` in {0, 1}."""
            return {"loss_cls": F.binary_cross_entropy_with_logits(self.scores(features), targets)}

    return Head(channels, classes)


plugin = @CLASS@()
'''

_REFINER = '''\
"""@NAME@: @SUMMARY@"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench import LabelSet, LabelWriter, MethodCard, Seed, SeedSet, StageContext, WeakView, hookimpl

# Names and values here are the parameters: wsss-bench run --methods 'cam/@NAME@[threshold=0.3]/_'
DEFAULTS: dict[str, Any] = {"threshold": 0.15, "levels": 8, "cells": 12}


class @CLASS@:
    """The hooks."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(name="@NAME@", version="0.1.0", stages=("refine",), defaults={"refine": DEFAULTS})

    @hookimpl
    def refine(self, view: WeakView, seeds: SeedSet, out: LabelWriter, ctx: StageContext) -> LabelSet:
        """One function per image; `per_image` makes it parallel and lets an interrupted stage go on."""
        from wsss_bench.toolbox.parallel import per_image

        function = partial(label_image, params=dict(ctx.params))
        return per_image(function, view, out, ctx, lambda image: (image.path, seeds[image.id]))


def label_image(job: tuple[Path, Seed], params: dict[str, Any]) -> np.ndarray:
    """The label map ``uint8 [H, W]`` of one photograph and its seed."""
    from wsss_bench.view import read_image

    path, seed = job
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = smooth(seed.upsampled(), groups(read_image(path), int(params["levels"]), int(params["cells"])))
    best = scores.argmax(0)
    return np.where(scores.max(0) > params["threshold"], seed.class_ids[best], 0).astype(np.uint8)


def groups(image: np.ndarray, levels: int, cells: int) -> np.ndarray:
    """``int [H, W]``: pixels of one window and one colour share a number, counted from 0 without gaps."""
    height, width = image.shape[:2]
    red, green, blue = np.moveaxis(image.astype(np.int64) * levels // 256, 2, 0)
    window = (np.arange(height) * cells // height)[:, None] * cells + np.arange(width) * cells // width
    code = ((window * levels + red) * levels + green) * levels + blue
    return np.unique(code, return_inverse=True)[1].reshape(height, width)


def smooth(scores: np.ndarray, group: np.ndarray) -> np.ndarray:
    """``float [K, H, W]``: every score replaced by the mean of its class over the pixel's group."""
    flat = group.ravel()
    size = np.bincount(flat)
    return np.stack([(np.bincount(flat, plane.ravel()) / size)[flat].reshape(plane.shape) for plane in scores])


plugin = @CLASS@()
'''

_SEGMENTOR = '''\
"""@NAME@: @SUMMARY@"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wsss_bench import LabelSet, MethodCard, Segmentor, StageContext, WeakView, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

# Names and values here are the parameters: wsss-bench run --methods 'cam/_/@NAME@[keep=0.5]'
DEFAULTS: dict[str, Any] = {
    "keep": 0.25,
    "network": "deeplabv2",
    "backbone": "resnet101",
    "weights": "imagenet",
    "backbone_options": {"frozen_stages": 1},
    "rates": [],
    "normalize": "imagenet",
    "batch": 10,
    "epochs": 0,
    "iterations": 20000,
    "lr": 2.5e-4,
    "optimizer": "SGD",
    "new_mult": 10.0,
    "bias_mult": 2.0,
    "bias_decay": False,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "poly",
    "augment": "scale",
    "resize": [0.5, 1.5],
    "crop": 321,
    "jitter": 0.0,
    "label_stride": 1,
    "test_scales": [1.0],
    "test_flip": False,
    "test_merge": "probs",
    "test_warp": 0,
    "crf": "deeplab",
}


class @CLASS@:
    """The hooks; torch is imported inside them, so that listing methods stays fast."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(name="@NAME@", version="0.1.0", stages=("segment",), defaults={"segment": DEFAULTS})

    @hookimpl
    def segment(self, view: WeakView, labels: LabelSet, ctx: StageContext) -> Segmentor:
        """Train the network that ``network`` and ``backbone`` name, with a loss of our own."""
        from wsss_bench.toolbox.segmentation import train_segmentor

        return train_segmentor(view, labels, ctx, make_loss(float(ctx.params["keep"])))


def make_loss(keep: float) -> Any:
    """The loss module: called as ``loss(logits [B, C + 1, h, w], batch) -> dict``."""
    from torch import nn
    from torch.nn import functional as F

    class Loss(nn.Module):
        def forward(self, logits: Tensor, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            """``batch["labels"]`` is ``uint8 [B, H, W]``, 255 where there is no label."""
            labels = batch["labels"].long()
            logits = F.interpolate(logits.float(), tuple(labels.shape[1:]), mode="bilinear", align_corners=False)
            losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none")
            return {"loss_seg": hardest(losses[labels != 255], keep)}

    return Loss()


def hardest(losses: Tensor, keep: float) -> Tensor:
    """Mean of the `keep` share of ``losses [N]`` that are highest (at least one); 0 where N is 0."""
    if not len(losses):
        return losses.sum()
    return losses.topk(max(1, round(keep * len(losses)))).values.mean()


plugin = @CLASS@()
'''

PLUGINS = {"localizer": _LOCALIZER, "refiner": _REFINER, "segmentor": _SEGMENTOR}

TESTS = {
    "localizer": """

def test_pooling_lies_between_mean_and_maximum() -> None:
    import math

    import torch

    from @PACKAGE@.plugin import pool

    maps = torch.tensor([[[[0.0, 1.0]]]])
    assert math.isclose(pool(maps, 2.0).item(), math.log((1 + math.e**2) / 2) / 2, rel_tol=1e-6)
    assert abs(pool(maps, 1e-3).item() - 0.5) < 1e-3
    assert abs(pool(maps, 1e3).item() - 1.0) < 1e-3
""",
    "refiner": """

def test_scores_are_averaged_over_like_pixels() -> None:
    import numpy as np

    from @PACKAGE@.plugin import groups, smooth

    image = np.array([[[10, 0, 0], [12, 0, 0], [250, 0, 0], [250, 0, 0]]], np.uint8)
    group = groups(image, levels=4, cells=1)
    assert group.tolist() == [[0, 0, 1, 1]]
    np.testing.assert_allclose(smooth(np.array([[[1.0, 0.0, 0.25, 0.25]]]), group), [[[0.5, 0.5, 0.25, 0.25]]])
""",
    "segmentor": """

def test_the_hardest_share_counts() -> None:
    import torch

    from @PACKAGE@.plugin import hardest

    losses = torch.tensor([4.0, 1.0, 2.0, 3.0])
    assert hardest(losses, 0.5).item() == 3.5
    assert hardest(losses, 0.01).item() == 4.0
    assert hardest(losses[:0], 0.5).item() == 0.0
""",
}
