"""torchvision's networks as backbones of five stages."""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor, nn

from wsss_bench.engine.backbones.staged import StagedBackbone, _set_stride, load_weights
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

        enums = {
            50: tv.ResNet50_Weights.IMAGENET1K_V1,
            101: tv.ResNet101_Weights.IMAGENET1K_V1,
        }
        makers = {50: tv.resnet50, 101: tv.resnet101}
        if depth not in makers:
            raise RecipeError(
                f"TorchvisionResNet: depth {depth} is not offered; use 50 or 101."
            )
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
        if (
            isinstance(child, nn.Conv2d)
            and child.stride == (2, 2)
            and child.kernel_size == (3, 3)
        ):
            child.padding = (0, 0)
            setattr(module, name, nn.Sequential(_SamePad(), child))
        else:
            _pad_same(child)


def _vgg_stages(
    features: nn.Sequential, pools: tuple[nn.Module | None, ...], conv5_dilation: int
) -> list[nn.Module]:
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
            stages.append(
                nn.Sequential(*current, *([pool] if pool is not None else []))
            )
            current = []
        else:
            current.append(
                nn.ReLU(inplace=True) if isinstance(layer, nn.ReLU) else layer
            )
    return stages


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
        load_weights(net, weights, tv.VGG16_Weights.IMAGENET1K_V1, "VGG-16")
        if layout == "cam":
            pools: tuple[nn.Module | None, ...] = (
                nn.MaxPool2d(2),
                nn.MaxPool2d(2),
                nn.MaxPool2d(2),
                None,
                None,
            )
        else:
            last = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.AvgPool2d(3, 1, 1))
            pools = (
                *(nn.MaxPool2d(3, 2, 1) for _ in range(3)),
                nn.MaxPool2d(3, 1, 1),
                last,
            )
        stages = _vgg_stages(net.features, pools, 2 if layout == "deeplab" else 1)
        super().__init__(stages, (64, 128, 256, 512, 512), frozen_stages, bn_eval)
