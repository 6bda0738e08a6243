"""Backbones by name: what recipes call them, and what each one is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wsss_bench.engine.backbones.staged import NORMALIZATION, Colour
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.installed import is_package, package_of

_HOME = "wsss_bench.engine.backbones"

TIMM = "timm/"
"""How names of timm's networks begin."""


@dataclass(frozen=True)
class Backbone:
    """What the harness knows of a backbone before it is built.

    Attributes:
        type: the class by its full name: a plugin may have a class of its own that is called the same.
        channels: of the stages' outputs, finest first.
        strides: pixels per cell of the stages' outputs, with the options' defaults.
        fixed: arguments of the class that the name stands for.
        segment: arguments that a segmentor gives it, unless its parameters say otherwise.
    """

    type: str
    channels: tuple[int, ...]
    strides: tuple[int, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    segment: Mapping[str, Any] = field(default_factory=dict)


# DeepLab's output stride, with dilated convolutions in place of the strides that are taken away.
_DILATED = {"output_stride": 8, "dilated": True}


def _resnet(depth: int) -> Backbone:
    return Backbone(
        type=f"{_HOME}.torchvision.TorchvisionResNet",
        channels=(64, 256, 512, 1024, 2048),
        strides=(4, 4, 8, 16, 16),
        fixed={"depth": depth},
        segment=_DILATED,
    )


BACKBONES: dict[str, Backbone] = {
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    "mobilenet_v2": Backbone(
        type=f"{_HOME}.torchvision.TorchvisionMobileNetV2",
        channels=(16, 24, 32, 96, 1280),
        strides=(2, 4, 8, 16, 16),
        segment=_DILATED,
    ),
    "vgg16": Backbone(
        type=f"{_HOME}.torchvision.TorchvisionVGG16",
        channels=(64, 128, 256, 512, 512),
        strides=(2, 4, 8, 8, 8),
    ),
    "tiny": Backbone(
        type=f"{_HOME}.tiny.TinyBackbone",
        channels=(24, 48, 72, 96, 96),
        strides=(2, 4, 4, 4, 4),
    ),
}
"""The backbones that come with the harness; any network of timm is there too, as ``timm/NAME``."""


def backbone_of(name: str) -> Backbone:
    """Return what is known of a backbone; raises `RecipeError` with suggestions for an unknown one."""
    if name.startswith(TIMM):
        return _timm_backbone(name.removeprefix(TIMM))
    if name not in BACKBONES:
        hint = did_you_mean(name, BACKBONES)
        raise RecipeError(f"backbone {name!r} is not known.{hint}")
    return BACKBONES[name]


def backbone_config(
    name: str,
    weights: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Return an mmseg backbone config; raises `RecipeError` with suggestions for an unknown name."""
    known = backbone_of(name)
    return {"type": known.type, "weights": weights, **known.fixed, **options}


def normalize_of(params: Mapping[str, Any]) -> str:
    """Return how a stage normalises images: ``normalize``, unless weights or backbone bring their own way."""
    if is_package(params.get("weights")):
        return str(params["weights"])
    name = str(params.get("backbone") or "")
    return name if name.startswith(TIMM) else str(params.get("normalize", "imagenet"))


def normalization(kind: str) -> tuple[Colour, Colour]:
    """Return mean and standard deviation per channel, on the 0..255 scale.

    Args:
        kind: a key of `NORMALIZATION`, the name of a backbone of timm, or a package of weights (``pip:NAME``).

    Raises:
        RecipeError: there is no such way.
        ArtifactError: there is no such package.
    """
    if is_package(kind):
        package = package_of(kind)
        mean, std = package.mean, package.std
        return (mean, mean, mean), (std, std, std)
    if kind.startswith(TIMM):
        # Imported here: it brings a package that may not be installed.
        from wsss_bench.engine.backbones import timm

        return timm.normalization(kind.removeprefix(TIMM))
    if kind not in NORMALIZATION:
        hint = did_you_mean(kind, NORMALIZATION)
        raise RecipeError(f"normalize={kind!r} is not known.{hint}")
    return NORMALIZATION[kind]


def _timm_backbone(name: str) -> Backbone:
    from wsss_bench.engine.backbones.timm import described

    channels, strides = described(name)
    kind = f"{_HOME}.timm.TimmBackbone"
    return Backbone(kind, channels, strides, {"model": name})
