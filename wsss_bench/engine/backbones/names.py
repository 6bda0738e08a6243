"""Backbones in torchvision's key layout, with the strides, dilations and frozen parts that WSSS papers use.

Each returns the outputs of its five stages (strides 2 or 4 up to the last), finest first, so that mmseg heads and our
own classifier share them. Images arrive normalised, RGB, ``float [B, 3, H, W]``.
"""

from __future__ import annotations

from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean

#: Short names for recipes: (registered type, fixed arguments).
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50": ("TorchvisionResNet", {"depth": 50}),
    "resnet101": ("TorchvisionResNet", {"depth": 101}),
    "mobilenet_v2": ("TorchvisionMobileNetV2", {}),
    "vgg16": ("TorchvisionVGG16", {}),
    "tiny": ("TinyBackbone", {}),
}
CHANNELS = {
    "resnet50": 2048,
    "resnet101": 2048,
    "mobilenet_v2": 1280,
    "vgg16": 512,
    "tiny": 96,
}


def backbone_config(name: str, weights: str | None, **options: Any) -> dict[str, Any]:
    """An mmseg backbone config for a short name; raises `RecipeError` with suggestions for an unknown one."""
    if name not in BACKBONES:
        raise RecipeError(
            f"backbone {name!r} is not known.{did_you_mean(name, BACKBONES)}"
        )
    kind, fixed = BACKBONES[name]
    return {"type": kind, "weights": weights, **fixed, **options}
