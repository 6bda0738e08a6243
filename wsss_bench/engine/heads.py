"""Decode heads of the DeepLab family as WSSS papers use them, in mmseg's `BaseDecodeHead` shape."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.registry import MODELS
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn


class _Summed(BaseDecodeHead):
    """Branches whose class scores are summed."""

    branches: nn.ModuleList

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Every branch ends in its own classifier.
        del self.conv_seg

    def forward(self, inputs: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
        """Return class scores ``[B, C + 1, h, w]`` at the backbone's stride."""
        x = self._transform_inputs(inputs)
        scores = [branch(x) for branch in self.branches]
        return torch.stack(scores).sum(0)


@MODELS.register_module()
class DeepLabV1Head(_Summed):
    """fc6 (3×3, dilated) – fc7 (1×1) – fc8 per dilation rate, with dropout, summed.

    ``rates=(12,)`` is DeepLab-LargeFOV (SEC); ``rates=(6, 12, 18, 24)`` is DeepLab-ASPP (DSRG).
    """

    def __init__(self, rates: tuple[int, ...] = (6, 12, 18, 24), **kwargs: Any) -> None:
        super().__init__(init_cfg=None, **kwargs)
        self.branches = nn.ModuleList(self._branch(rate) for rate in rates)
        _init_classifiers(self.branches)

    def _branch(self, rate: int) -> nn.Sequential:
        channels, drop = self.channels, self.dropout_ratio
        return nn.Sequential(
            # fc6
            nn.Conv2d(self.in_channels, channels, 3, padding=rate, dilation=rate),
            nn.ReLU(inplace=True),
            nn.Dropout(drop),
            # fc7
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(inplace=True),
            nn.Dropout(drop),
            # fc8
            nn.Conv2d(channels, self.num_classes, 1),
        )


@MODELS.register_module()
class DeepLabV2Head(_Summed):
    """Four dilated 3×3 classifiers, summed (DeepLabV2's ASPP for ResNet).

    ``kernel=1, rates=(1,)`` is one classifier per cell: what MobileNetV2's authors leave of the head (their section
    6.3).
    """

    def __init__(
        self,
        rates: tuple[int, ...] = (6, 12, 18, 24),
        kernel: int = 3,
        **kwargs: Any,
    ) -> None:
        # mmseg asks for a width between input and classifier, and there is no layer between.
        kwargs.setdefault("channels", 1)
        super().__init__(init_cfg=None, **kwargs)
        self.branches = nn.ModuleList(self._branch(kernel, rate) for rate in rates)
        _init_classifiers(self.branches)

    def _branch(self, kernel: int, rate: int) -> nn.Sequential:
        padding = kernel // 2 * rate
        classifier = nn.Conv2d(
            self.in_channels,
            self.num_classes,
            kernel,
            padding=padding,
            dilation=rate,
        )
        return nn.Sequential(nn.Dropout2d(self.dropout_ratio), classifier)


def _init_classifiers(branches: nn.ModuleList) -> None:
    # As the released networks were: all classes begin nearly alike.
    for branch in branches:
        last = list(branch.children())[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
