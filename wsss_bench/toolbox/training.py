"""Public names for trainings: what a method of one's own builds on, gathered from the engine.

A network is a `Network`; `fit` trains it on a `TrainingSet` and leaves it ready for inference. Two networks that teach
each other are two modules of one `Network` with one loss, and rounds inside a stage are trainings of different names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from wsss_bench.contract.context import StageContext
from wsss_bench.engine.backbones.names import (
    backbone_config,
    backbone_of,
    normalize_of,
)
from wsss_bench.engine.backbones.staged import NORMALIZATION
from wsss_bench.engine.loading import Augment, Labels, Targets, TrainingSet, nearest
from wsss_bench.engine.mixing import (
    CutMix,
    FMix,
    ManifoldMixup,
    ManifoldMixupLoss,
    Mixer,
    Mixup,
    Sample,
)
from wsss_bench.engine.models import (
    LinearCamHead,
    MultiLabelClassifier,
    Network,
    Normalizer,
    Objective,
)
from wsss_bench.engine.ranks import over_ranks
from wsss_bench.engine.registry import build, registered
from wsss_bench.engine.training import (
    iterations,
    load_weights,
    save_state,
    seeded,
    train,
    training_config,
)
from wsss_bench.rng import derive

__all__ = [
    "NORMALIZATION",
    "Augment",
    "CutMix",
    "FMix",
    "Labels",
    "LinearCamHead",
    "ManifoldMixup",
    "ManifoldMixupLoss",
    "Mixer",
    "Mixup",
    "MultiLabelClassifier",
    "Network",
    "Normalizer",
    "Objective",
    "Sample",
    "Targets",
    "TrainingSet",
    "backbone_config",
    "backbone_of",
    "build_backbone",
    "build_network",
    "derive",
    "fit",
    "iterations",
    "load_weights",
    "nearest",
    "normalize_of",
    "over_ranks",
    "registered",
    "save_state",
    "seeded",
    "train",
    "training_config",
]


def build_backbone(params: Mapping[str, Any]) -> Any:
    """Return the backbone that ``backbone``, ``weights`` and ``backbone_options`` of `params` name.

    Called with normalised images ``float [B, 3, H, W]`` it returns the outputs of its stages, finest first; `channels`
    says how many maps each has.

    Raises:
        RecipeError: there is no such backbone.
        ArtifactError: the weights cannot be loaded.
    """
    options = dict(params.get("backbone_options") or {})
    config = backbone_config(str(params["backbone"]), params.get("weights"), **options)
    return build(config)


def build_network(make: Callable[[], nn.Module], ctx: StageContext, name: str) -> Any:
    """Return ``make()`` with new layers drawn from (run seed, `name`), the same in every process."""
    return seeded(make, ctx.seed, name)


def fit(
    model: Network,
    data: TrainingSet,
    ctx: StageContext,
    *,
    new: tuple[str, ...],
    fast: dict[str, float] | None = None,
    name: str = "affinity",
) -> None:
    """Train `model` on `data` as the stage's parameters say (see `training_config`), or load a finished training.

    Resumes an interrupted one. The model is left in eval mode on the stage's device.

    Args:
        model: its ``forward(inputs, tags, labels, mode="loss", …)`` returns losses by name; names that begin with
            ``loss`` are summed, the others only logged.
        data: the samples.
        ctx: its parameters without test settings hold ``lr, batch, iterations | epochs, …``.
        new: prefixes of freshly initialised modules; they learn ``new_mult`` times faster.
        fast: extra learning-rate multipliers by parameter prefix.
        name: tells the trainings of a stage apart.
    """
    params = ctx.training_params
    config = training_config(params, iterations(params, len(data)), new, fast)
    config = {**config, "model": model, "data": data, "batch": params["batch"]}
    weights = train(config, ctx, name)
    load_weights(model, weights, ctx.device)
