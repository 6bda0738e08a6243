"""The two trainable things: a multi-label classifier that yields class activation maps, and a segmentor with a chosen loss."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.backbones.staged import NORMALIZATION


class Normalizer(nn.Module):
    """``(x - mean) / std`` per channel, for images ``float [B, 3, H, W]`` in 0..255."""

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        mean, std = NORMALIZATION[kind]
        self.register_buffer(
            "mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(std).view(1, 3, 1, 1), persistent=False
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalise, and lay the batch out channels-last (twice as fast on CPU, and on tensor cores)."""
        return ((images - self.mean) / self.std).contiguous(
            memory_format=torch.channels_last
        )


class LinearCamHead(nn.Module):
    """Global average pooling and a bias-free linear classifier, whose weights also give the class activation maps (CAM).

    The classifier is a 1×1 convolution, so ``logits = mean(cam)``.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(in_channels, num_classes, 1, bias=False)

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Binary cross-entropy, mean over classes and batch; `targets` ``float [B, C]``."""
        logits = self.classifier(features.mean((2, 3), keepdim=True)).flatten(1)
        return {"loss_cls": F.binary_cross_entropy_with_logits(logits.float(), targets)}

    def scores(self, features: Tensor) -> Tensor:
        """Image-level logits ``[B, C]``."""
        return self.classifier(features.mean((2, 3), keepdim=True)).flatten(1)

    def cam(self, features: Tensor) -> Tensor:
        """Raw class activation maps ``[B, C, h, w]`` (before ReLU)."""
        return self.classifier(features)


class MultiLabelClassifier(BaseModel):
    """Backbone, then a head with ``loss(features, targets)``, ``cam(features)`` and ``scores(features)``.

    Args:
        backbone: mmseg backbone config (see `backbones.backbone_config`).
        head: a module as above.
        normalize: key of `NORMALIZATION`.
    """

    def __init__(
        self, backbone: dict[str, Any], head: nn.Module, normalize: str = "imagenet"
    ) -> None:
        super().__init__()
        self.normalize = Normalizer(normalize)
        self.backbone = MODELS.build(backbone)
        self.head: Any = head  # what a head must offer is said above; nn.Module alone does not promise it
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Last feature map ``[B, k, h, w]`` of images ``float [B, 3, H, W]`` in 0..255."""
        return self.backbone(self.normalize(images))[-1]

    def forward(
        self, inputs: Tensor, tags: Tensor | None = None, mode: str = "tensor"
    ) -> Any:
        """``mode="loss"``: dict of losses for `tags` ``[B, C + 1]``; ``"tensor"``: image-level logits."""
        features = self.features(inputs)
        if mode == "loss":
            assert tags is not None
            return self.head.loss(features, tags[:, 1:])
        return self.head.scores(features)


class WeakSegmentor(BaseModel):
    """Any mmseg network, trained with its own loss or with a loss that also sees tags and the image.

    Args:
        net: mmseg segmentor config (``EncoderDecoder`` or anything with ``_forward`` and ``loss``).
        loss: None for the network's own loss on dense labels, else a module called as
            ``loss(logits [B, C+1, h, w], batch) -> dict``, where batch holds ``inputs`` (0..255), ``labels`` and ``tags``.
        normalize: key of `NORMALIZATION`.
    """

    def __init__(
        self,
        net: dict[str, Any],
        loss: nn.Module | None = None,
        normalize: str = "imagenet",
    ) -> None:
        super().__init__()
        self.normalize = Normalizer(normalize)
        self.net = MODELS.build(net)
        self.criterion = loss
        self.to(memory_format=torch.channels_last)

    def forward(
        self,
        inputs: Tensor,
        tags: Tensor | None = None,
        labels: Tensor | None = None,
        mode: str = "tensor",
    ) -> Any:
        """``mode="loss"``: dict of losses; ``"tensor"``: logits ``[B, C + 1, h, w]`` at the network's stride."""
        images = self.normalize(inputs)
        if mode == "loss" and self.criterion is None:
            assert labels is not None
            return self.net.loss(images, [_sample(label) for label in labels])
        logits = self.net._forward(images)
        if mode == "loss":
            assert self.criterion is not None
            return self.criterion(
                logits, {"inputs": inputs, "tags": tags, "labels": labels}
            )
        return logits


def _sample(label: Tensor) -> SegDataSample:
    height, width = label.shape
    sample = SegDataSample(
        metainfo={"img_shape": (height, width), "ori_shape": (height, width)}
    )
    sample.gt_sem_seg = PixelData(data=label.long()[None])
    return sample
