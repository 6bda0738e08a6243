"""mylocalizer: class activation maps of a classifier with log-sum-exp pooling."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from wsss_bench import MethodCard, SeedSet, SeedWriter, StageContext, WeakView, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

# Names and values here are the parameters: wsss-bench run --methods 'mylocalizer[sharpness=8.0]'
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


class Mylocalizer:
    """The hooks; torch is imported inside them, so that listing methods stays fast."""

    @hookimpl
    def method_card(self) -> MethodCard:
        """What the leaderboard shows of the method."""
        return MethodCard(name="mylocalizer", version="0.1.0", stages=("localize",), defaults={"localize": DEFAULTS})

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


plugin = Mylocalizer()
