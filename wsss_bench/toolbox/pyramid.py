"""A backbone of which all stages are looked at, and its training on label maps: what affinity networks share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.contract.context import StageContext
from wsss_bench.engine.backbones.names import backbone_config
from wsss_bench.engine.loading import TrainingSet
from wsss_bench.engine.models import Normalizer
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import iterations, load_weights, train, training_config

_PROBE = 64


class Pyramid(nn.Module):
    """Normaliser and backbone.

    Args:
        params: ``backbone`` (short name), ``weights``, ``backbone_options``, ``normalize``.

    Attributes:
        channels: of the five stages.
        strides: pixels per cell of the five stages, told by a trial.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        register()
        options = dict(params.get("backbone_options") or {})
        self.normalize = Normalizer(str(params["normalize"]))
        self.backbone = MODELS.build(
            backbone_config(str(params["backbone"]), params.get("weights"), **options)
        )
        self.channels: tuple[int, ...] = tuple(self.backbone.channels)
        self.eval()
        with torch.no_grad():
            trial = self(torch.zeros(1, 3, _PROBE, _PROBE))
        self.train()
        self.strides: tuple[int, ...] = tuple(
            _PROBE // stage.shape[2] for stage in trial
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The five stages' outputs for images ``float [B, 3, H, W]`` in 0..255."""
        return self.backbone(self.normalize(images))


def to_grid(maps: Tensor, stride: int, wanted: int, size: tuple[int, int]) -> Tensor:
    """Bring maps ``[B, k, h, w]`` of one stride to the grid `size` of another, bilinear.

    Coarser maps are enlarged by the ratio of strides and cut at the right and the bottom, so that cells stay over their pixels
    where an image is no multiple of the stride.
    """
    if stride > wanted:
        maps = F.interpolate(
            maps,
            scale_factor=float(stride // wanted),
            mode="bilinear",
            align_corners=False,
        )
        return maps[..., : size[0], : size[1]]
    return (
        maps
        if stride == wanted
        else F.interpolate(maps, size, mode="bilinear", align_corners=False)
    )


def fit(
    model: BaseModel,
    data: TrainingSet,
    ctx: StageContext,
    *,
    new: tuple[str, ...],
    fast: dict[str, float] | None = None,
    name: str = "affinity",
) -> None:
    """Train `model` on `data` as ``ctx.params`` say (see `engine.training_config`), or load a finished training.

    Resumes an interrupted one. The model is left in eval mode on the stage's device.

    Args:
        new: prefixes of freshly initialised modules; they learn ``new_mult`` times faster.
        fast: extra learning-rate multipliers by parameter prefix.
    """
    config = training_config(ctx.params, iterations(ctx.params, len(data)), new, fast)
    weights = train(
        {**config, "model": model, "data": data, "batch": ctx.params["batch"]},
        ctx,
        name,
    )
    load_weights(model, weights, ctx.device)
