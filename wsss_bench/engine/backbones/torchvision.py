"""torchvision's networks as backbones of five stages."""

from __future__ import annotations

from typing import TypeGuard

from mmengine.registry import MODELS
from torch import Tensor, nn

from wsss_bench.engine.backbones.staged import (
    StagedBackbone,
    _set_stride,
    dilate,
    load_weights,
)
from wsss_bench.errors import RecipeError


@MODELS.register_module()
class TorchvisionResNet(StagedBackbone):
    """ResNet-50 or -101.

    IRN uses it with ``output_stride=16, dilated=False``, DeepLab with ``output_stride=8, dilated=True``.
    """

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

        who = type(self).__name__
        # The first release of weights: those that the papers had, not torchvision's later and better recipe.
        known = {
            50: (tv.resnet50, tv.ResNet50_Weights.IMAGENET1K_V1),
            101: (tv.resnet101, tv.ResNet101_Weights.IMAGENET1K_V1),
        }
        if depth not in known:
            raise RecipeError(f"{who}: depth {depth} is not offered; use 50 or 101.")
        make, enum = known[depth]
        net = make()
        load_weights(net, weights, enum, f"ResNet-{depth}")
        # After loading: a stride is no tensor, so the weights fit either way.
        _set_stride(net.layer3, net.layer4, output_stride, dilated, who)
        stages: list[nn.Module] = [
            nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool),
            net.layer1,
            net.layer2,
            net.layer3,
            net.layer4,
        ]
        channels = (64, 256, 512, 1024, 2048)
        super().__init__(stages, channels, frozen_stages, bn_eval)


class _SamePad(nn.Module):
    """TensorFlow's SAME padding for a 3×3 stride-2 convolution on even input: one row below, one column right."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad right and bottom (and left/top too where the size is odd, as TensorFlow does)."""
        odd_h = x.shape[2] % 2
        odd_w = x.shape[3] % 2
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
        enum = tv.MobileNet_V2_Weights.IMAGENET1K_V1
        load_weights(net, weights, enum, "MobileNetV2")
        f = net.features
        _set_stride(f[7:14], f[14:], output_stride, dilated, type(self).__name__)
        # After the strides: a convolution that lost its stride pads as it did.
        if padding == "same":
            _pad_same(f)
        # A stage ends before the next strided block.
        stages: list[nn.Module] = [f[:2], f[2:4], f[4:7], f[7:14], f[14:]]
        channels = (16, 24, 32, 96, 1280)
        super().__init__(stages, channels, frozen_stages, bn_eval)


def _pad_same(module: nn.Module) -> None:
    """Put `_SamePad` before every strided 3×3 convolution below `module`."""
    for name, child in list(module.named_children()):
        if _halves(child):
            child.padding = (0, 0)
            setattr(module, name, nn.Sequential(_SamePad(), child))
        else:
            _pad_same(child)


def _halves(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a strided 3×3 convolution."""
    if not isinstance(layer, nn.Conv2d):
        return False
    return layer.stride == (2, 2) and layer.kernel_size == (3, 3)


def _vgg_stages(
    features: nn.Sequential, pools: tuple[nn.Module | None, ...]
) -> list[nn.Module]:
    """Split torchvision's VGG-16 features at its pools and put `pools` (or nothing) at their places."""
    stages: list[nn.Module] = []
    current: list[nn.Module] = []
    for layer in features:
        if not isinstance(layer, nn.MaxPool2d):
            current.append(layer)
            continue
        pool = pools[len(stages)]
        if pool is not None:
            current.append(pool)
        stages.append(nn.Sequential(*current))
        current = []
    return stages


def _plain_pools() -> tuple[nn.Module | None, ...]:
    """Return the pools of the "cam" layout: three as they were trained, then none."""
    return nn.MaxPool2d(2), nn.MaxPool2d(2), nn.MaxPool2d(2), None, None


def _deeplab_pools() -> tuple[nn.Module, ...]:
    """Return DeepLab's pools: overlapping ones, and none that halves the grid beyond stride 8."""
    return (
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 1, 1),
        nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1)),
    )


@MODELS.register_module()
class TorchvisionVGG16(StagedBackbone):
    """VGG-16 convolutions at output stride 8.

    ``layout="deeplab"``: DeepLab's pools (3×3, pad 1; pool4 and pool5 without stride), conv5 dilated by 2, then a 3×3
    average pool: 321 → 41, as SEC and DSRG train it. ``layout="cam"``: plain 2×2 pools 1-3, pool4 and pool5 removed,
    conv5 not dilated, as SEC's released localisation net.
    """

    def __init__(
        self,
        weights: str | None = "imagenet",
        layout: str = "deeplab",
        frozen_stages: int = 0,
        bn_eval: bool = True,
    ) -> None:
        import torchvision.models as tv

        net = tv.vgg16()
        enum = tv.VGG16_Weights.IMAGENET1K_V1
        load_weights(net, weights, enum, "VGG-16")
        pools = _plain_pools() if layout == "cam" else _deeplab_pools()
        stages = _vgg_stages(net.features, pools)
        if layout == "deeplab":
            # pool4 lost its stride, so conv5 looks twice as far to see what it was trained to see.
            dilate(stages[4], 2, first=2)
        channels = (64, 128, 256, 512, 512)
        super().__init__(stages, channels, frozen_stages, bn_eval)
