"""A small backbone that learns from scratch on a CPU."""

from __future__ import annotations

from mmengine.registry import MODELS
from torch import nn

from wsss_bench.engine.backbones.staged import StagedBackbone
from wsss_bench.errors import RecipeError


@MODELS.register_module()
class TinyBackbone(StagedBackbone):
    """A small CNN without shortcuts, at stride 4, that learns from scratch within a minute on a CPU.

    For the ``shapes`` data set and for tests.
    """

    def __init__(
        self,
        width: int = 24,
        weights: str | None = None,
        frozen_stages: int = 0,
        bn_eval: bool = False,
    ) -> None:
        if weights is not None:
            what = "TinyBackbone has no pre-trained weights"
            raise RecipeError(f"{what}; use weights=None.")
        channels = (width, 2 * width, 3 * width, 4 * width, 4 * width)
        # Dilated instead of strided from the third stage on: maps stay fine, and cells still see far.
        strides = (2, 2, 1, 1, 1)
        dilations = (1, 1, 1, 2, 2)
        stages: list[nn.Module] = []
        previous = 3
        for out, stride, rate in zip(channels, strides, dilations, strict=True):
            stages.append(_stage(previous, out, stride, rate))
            previous = out
        super().__init__(stages, channels, frozen_stages, bn_eval)


def _stage(
    channels: int,
    out: int,
    stride: int,
    rate: int,
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride, rate, rate, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
