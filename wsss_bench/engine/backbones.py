"""Backbones in torchvision's key layout, with the strides, dilations and frozen parts that WSSS papers use.

Each returns the outputs of its five stages (strides 2 or 4 up to the last), finest first, so that mmseg heads and our
own classifier share them. Images arrive normalised, RGB, ``float [B, 3, H, W]``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from wsss_bench.errors import ArtifactError, RecipeError, did_you_mean

#: How pixel values are normalised (mean, std on the 0..255 scale); a property of the pre-trained weights.
NORMALIZATION = {
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
}


class StagedBackbone(nn.Module):
    """Five stages run one after another.

    Args:
        stages: the stages, finest first.
        channels: their output channels.
        frozen_stages: how many leading stages neither learn nor pass gradients (IRN: stem and layer2's output detached).
        bn_eval: keep every batch norm on its running statistics, as IRN and DeepLab do (affine parameters still learn).
    """

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...], frozen_stages: int, bn_eval: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.frozen_stages, self.bn_eval = frozen_stages, bn_eval
        for parameter in self.stages[:frozen_stages].parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All five stage outputs."""
        outputs = []
        for index, stage in enumerate(self.stages):
            with torch.set_grad_enabled(torch.is_grad_enabled() and index >= self.frozen_stages):
                x = stage(x)
            outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> StagedBackbone:
        """Like `nn.Module.train`, but frozen stages and (with ``bn_eval``) batch norms stay in eval mode."""
        super().train(mode)
        if mode:
            self.stages[: self.frozen_stages].eval()
            if self.bn_eval:
                for module in self.modules():
                    if isinstance(module, nn.modules.batchnorm._BatchNorm):
                        module.eval()
        return self


def load_weights(model: nn.Module, weights: str | None, enum: Any, who: str) -> None:
    """Load ImageNet weights into a torchvision model.

    `weights` is None (random), ``"imagenet"`` (fetched through torchvision on first use), or the path of a state dict in
    torchvision's key layout, loaded with ``weights_only=True``.

    Raises:
        ArtifactError: the file is missing, no state dict, or of another architecture.
    """
    if weights is None:
        return
    if weights == "imagenet":
        state = enum.get_state_dict(progress=True, check_hash=True)
    else:
        path = Path(weights)
        if not path.is_file():
            raise ArtifactError(f"{who}: weights {weights!r} is no file. Use weights=imagenet, weights=None or an existing path.")
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ArtifactError(f"{who}: {path} cannot be loaded as plain weights ({error}).") from error
        state = state.get("state_dict", state) if isinstance(state, dict) else {}
    wanted = model.state_dict()
    matching = {k: v for k, v in state.items() if k in wanted and isinstance(v, Tensor) and wanted[k].shape == v.shape}
    missing = [k for k in wanted if k not in matching and not k.startswith(("classifier", "fc."))]
    missing = [k for k in missing if not k.endswith("num_batches_tracked")]
    if missing:
        raise ArtifactError(
            f"{who}: {weights} lacks {len(missing)} of {len(wanted)} tensors (first: {missing[0]}). "
            "It must be a state dict in torchvision's key layout of the same architecture."
        )
    model.load_state_dict(matching, strict=False)


def _convs(module: nn.Module) -> Iterator[nn.Conv2d]:
    return (m for m in module.modules() if isinstance(m, nn.Conv2d))


def dilate(stage: nn.Module, factor: int, *, first: int = 1) -> None:
    """Take a stage's stride away; its 3×3 convolutions after the strided one see `factor` times farther.

    With ``factor=1`` the stride is dropped and nothing is dilated, as IRN's ResNet-50 does.
    """
    seen_stride = False
    for conv in _convs(stage):
        if conv.stride[0] == 2:
            conv.stride = (1, 1)
            if conv.kernel_size[0] == 3:
                conv.dilation, conv.padding = (first, first), (first, first)
                seen_stride = True
        elif conv.kernel_size[0] == 3:
            rate = factor if seen_stride else first
            conv.dilation, conv.padding = (rate, rate), (rate, rate)


def _set_stride(fourth: nn.Module, fifth: nn.Module, output_stride: int, dilated: bool, who: str) -> None:
    """Bring the last two stages to `output_stride` 32, 16 or 8; each stage is touched once, while it still has its stride."""
    if output_stride not in (8, 16, 32):
        raise RecipeError(f"{who}: output_stride={output_stride} is not offered; use 8, 16 or 32.")
    if output_stride == 16:
        dilate(fifth, 2 if dilated else 1)
    elif output_stride == 8:
        dilate(fourth, 2 if dilated else 1)
        dilate(fifth, 4 if dilated else 1, first=2 if dilated else 1)


@MODELS.register_module()
class TorchvisionResNet(StagedBackbone):
    """ResNet-50/101 as IRN (``output_stride=16, dilated=False``) and DeepLab (``output_stride=8, dilated=True``) use it."""

    def __init__(
        self,
        depth: int = 50,
        weights: str | None = "imagenet",
        output_stride: int = 16,
        dilated: bool = False,
        frozen_stages: int = 3,
        bn_eval: bool = True,
    ) -> None:
        import torchvision.models as tv

        enums = {50: tv.ResNet50_Weights.IMAGENET1K_V1, 101: tv.ResNet101_Weights.IMAGENET1K_V1}
        makers = {50: tv.resnet50, 101: tv.resnet101}
        if depth not in makers:
            raise RecipeError(f"TorchvisionResNet: depth {depth} is not offered; use 50 or 101.")
        net = makers[depth]()
        load_weights(net, weights, enums[depth], f"ResNet-{depth}")
        _set_stride(net.layer3, net.layer4, output_stride, dilated, "TorchvisionResNet")
        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        stages: list[nn.Module] = [stem, net.layer1, net.layer2, net.layer3, net.layer4]
        super().__init__(stages, (64, 256, 512, 1024, 2048), frozen_stages, bn_eval)


class _SamePad(nn.Module):
    """TensorFlow's SAME padding for a 3×3 stride-2 convolution on even input: one row below, one column right."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad right and bottom (and left/top too where the size is odd, as TensorFlow does)."""
        odd_h, odd_w = x.shape[2] % 2, x.shape[3] % 2
        return nn.functional.pad(x, (odd_w, 1, odd_h, 1))


@MODELS.register_module()
class TorchvisionMobileNetV2(StagedBackbone):
    """MobileNetV2; `padding="same"` for weights that were trained with TensorFlow's SAME padding."""

    def __init__(
        self,
        weights: str | None = "imagenet",
        output_stride: int = 16,
        dilated: bool = False,
        frozen_stages: int = 0,
        bn_eval: bool = True,
        padding: str = "plain",
    ) -> None:
        import torchvision.models as tv

        net = tv.mobilenet_v2()
        load_weights(net, weights, tv.MobileNet_V2_Weights.IMAGENET1K_V1, "MobileNetV2")
        f = net.features
        _set_stride(f[7:14], f[14:], output_stride, dilated, "TorchvisionMobileNetV2")
        if padding == "same":
            _pad_same(f)
        stages: list[nn.Module] = [f[:2], f[2:4], f[4:7], f[7:14], f[14:]]
        super().__init__(stages, (16, 24, 32, 96, 1280), frozen_stages, bn_eval)


def _pad_same(module: nn.Module) -> None:
    """Put `_SamePad` before every strided 3×3 convolution below `module`."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Conv2d) and child.stride == (2, 2) and child.kernel_size == (3, 3):
            child.padding = (0, 0)
            setattr(module, name, nn.Sequential(_SamePad(), child))
        else:
            _pad_same(child)


def _vgg_stages(features: nn.Sequential, pools: tuple[nn.Module | None, ...], conv5_dilation: int) -> list[nn.Module]:
    """Split torchvision's VGG-16 features at its pools and put `pools` (or nothing) at their places."""
    stages: list[nn.Module] = []
    current: list[nn.Module] = []
    for layer in features:
        if isinstance(layer, nn.MaxPool2d):
            index = len(stages)
            if index == 4 and conv5_dilation > 1:
                for conv in current:
                    if isinstance(conv, nn.Conv2d):
                        conv.dilation = conv.padding = (conv5_dilation, conv5_dilation)
            pool = pools[index]
            stages.append(nn.Sequential(*current, *([pool] if pool is not None else [])))
            current = []
        else:
            current.append(nn.ReLU(inplace=True) if isinstance(layer, nn.ReLU) else layer)
    return stages


@MODELS.register_module()
class TorchvisionVGG16(StagedBackbone):
    """VGG-16 convolutions at output stride 8.

    ``layout="deeplab"``: DeepLab's pools (3×3, pad 1; pool4 and pool5 without stride), conv5 dilated by 2, then a 3×3
    average pool: 321 → 41, as SEC and DSRG train it. ``layout="cam"``: plain 2×2 pools 1-3, pool4 and pool5 removed,
    conv5 not dilated, as SEC's released localisation net.
    """

    def __init__(
        self, weights: str | None = "imagenet", layout: str = "deeplab", frozen_stages: int = 0, bn_eval: bool = True
    ) -> None:
        import torchvision.models as tv

        net = tv.vgg16()
        load_weights(net, weights, tv.VGG16_Weights.IMAGENET1K_V1, "VGG-16")
        if layout == "cam":
            pools: tuple[nn.Module | None, ...] = (nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), None, None)
        else:
            last = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))
            pools = (*(nn.MaxPool2d(3, 2, 1) for _ in range(3)), nn.MaxPool2d(3, 1, 1), last)
        stages = _vgg_stages(net.features, pools, 2 if layout == "deeplab" else 1)
        super().__init__(stages, (64, 128, 256, 512, 512), frozen_stages, bn_eval)


@MODELS.register_module()
class TinyBackbone(StagedBackbone):
    """A small residual-free CNN at stride 4 that learns from scratch within a minute on a CPU; for `shapes` and tests."""

    def __init__(self, width: int = 24, weights: str | None = None, frozen_stages: int = 0, bn_eval: bool = False) -> None:
        if weights is not None:
            raise RecipeError("TinyBackbone has no pre-trained weights; use weights=None.")
        w = width
        channels = (w, w * 2, w * 3, w * 4, w * 4)
        strides, dilations = (2, 2, 1, 1, 1), (1, 1, 1, 2, 2)
        stages: list[nn.Module] = []
        previous = 3
        for out, stride, rate in zip(channels, strides, dilations, strict=True):
            stages.append(
                nn.Sequential(
                    nn.Conv2d(previous, out, 3, stride, rate, dilation=rate, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                )
            )
            previous = out
        super().__init__(stages, channels, frozen_stages, bn_eval)


#: Short names for recipes: (registered type, fixed arguments).
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50": ("TorchvisionResNet", {"depth": 50}),
    "resnet101": ("TorchvisionResNet", {"depth": 101}),
    "mobilenet_v2": ("TorchvisionMobileNetV2", {}),
    "vgg16": ("TorchvisionVGG16", {}),
    "tiny": ("TinyBackbone", {}),
}
CHANNELS = {"resnet50": 2048, "resnet101": 2048, "mobilenet_v2": 1280, "vgg16": 512, "tiny": 96}


def backbone_config(name: str, weights: str | None, **options: Any) -> dict[str, Any]:
    """An mmseg backbone config for a short name; raises `RecipeError` with suggestions for an unknown one."""
    if name not in BACKBONES:
        raise RecipeError(f"backbone {name!r} is not known.{did_you_mean(name, BACKBONES)}")
    kind, fixed = BACKBONES[name]
    return {"type": kind, "weights": weights, **fixed, **options}
