"""Networks that give feature maps, by name, with the strides and frozen parts that WSSS papers use."""

from __future__ import annotations

from wsss_bench._moved import forward

__getattr__ = forward(
    __name__,
    (
        "engine.backbones.names",
        "engine.backbones.staged",
        "engine.backbones.torchvision",
        "engine.backbones.tiny",
    ),
)
