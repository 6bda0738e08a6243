"""The trainable things: a classifier that yields class activation maps, and a segmentor with a chosen loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from mmengine.model import BaseModel as Network
from mmengine.registry import MODELS as ROOT
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.backbones.names import normalization
from wsss_bench.errors import RecipeError


class Normalizer(nn.Module):
    """``(x - mean) / std`` per channel, for images ``float [B, 3, H, W]`` in 0..255."""

    mean: Tensor
    std: Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        mean, std = normalization(kind)
        # Not persistent: they follow from a config, and old checkpoints lack them.
        self.register_buffer("mean", _per_channel(mean), persistent=False)
        self.register_buffer("std", _per_channel(std), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the normalised batch, channels last (twice as fast on a CPU, and on tensor cores)."""
        normalized = (images - self.mean) / self.std
        return normalized.contiguous(memory_format=torch.channels_last)


def _per_channel(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)


class LinearCamHead(nn.Module):
    """Global average pooling and a linear classifier without bias.

    The classifier is a 1×1 convolution, so its weights also give the class activation maps (CAM), and
    ``logits = mean(cam)``.
    """

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(in_channels, num_classes, 1, bias=False)

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return binary cross-entropy, mean over classes and batch; `targets` ``float [B, C]``."""
        # Not `self.scores`: a head that changes both would put its features through its own layers twice.
        logits = LinearCamHead.scores(self, features).float()
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        return {"loss_cls": loss}

    def scores(self, features: Tensor) -> Tensor:
        """Return image-level logits ``[B, C]``."""
        # Pooled first: by linearity the mean of the maps, at a fraction of the work.
        pooled = features.mean((2, 3), keepdim=True)
        return self.classifier(pooled).flatten(1)

    def cam(self, features: Tensor) -> Tensor:
        """Return raw class activation maps ``[B, C, h, w]`` (before ReLU)."""
        return self.classifier(features)


Objective = Callable[[Any, Mapping[str, Tensor]], dict[str, Tensor]]
"""A loss that sees the model and the batch: called as ``objective(model, batch)``, returns losses by name."""


class MultiLabelClassifier(Network):
    """Backbone, then a head with ``loss(features, targets)``, ``cam(features)`` and ``scores(features)``.

    Args:
        backbone: mmseg backbone config (see `backbone_config`).
        head: a module as above.
        normalize: key of `NORMALIZATION`.
        objective: replaces the head's loss in training: two views, a teacher, an auxiliary head, blended features. A
            module's parameters learn along.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        head: nn.Module,
        normalize: str = "imagenet",
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.normalize = Normalizer(normalize)
        self.backbone = MODELS.build(backbone)
        # What a head must offer is said above; nn.Module alone does not promise it.
        self.head: Any = head
        self.objective: Any = objective
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Return the last feature map ``[B, k, h, w]`` of images ``float [B, 3, H, W]`` in 0..255."""
        return self.backbone(self.normalize(images))[-1]

    def until(self, images: Tensor, stages: int) -> Tensor:
        """Return what the first `stages` stages make of images ``[B, 3, H, W]`` in 0..255; 0 normalises them only.

        Raises:
            RecipeError: the backbone has fewer stages, or cannot be left after that one.
        """
        depth = self.backbone.depth
        if not 0 <= stages <= depth:
            raise RecipeError(f"there is no layer {stages}; use layers 0 to {depth}.")
        return self.backbone.run(self.normalize(images), 0, stages)

    def onwards(self, maps: Tensor, stages: int) -> Tensor:
        """Return the last feature map from what `until` gave for the same number of stages."""
        return self.backbone.run(maps, stages, self.backbone.depth)

    def forward(
        self,
        inputs: Tensor,
        tags: Tensor | None = None,
        mode: str = "tensor",
        **extras: Tensor,
    ) -> Any:
        """Return a dict of losses (``mode="loss"``) for `tags` ``[B, C + 1]``, or image-level logits ``[B, C]``."""
        if mode != "loss":
            features = self.features(inputs)
            return self.head.scores(features)
        assert tags is not None
        if self.objective is not None:
            batch = {"inputs": inputs, "tags": tags, **extras}
            return self.objective(self, batch)
        features = self.features(inputs)
        # Background is in every image, so there is nothing to learn of it here.
        return self.head.loss(features, tags[:, 1:])


@ROOT.register_module()
class ClassifierSegmentor(nn.Module):
    """A classifier that labels pixels by itself.

    Its own maps, of the classes that it predicts, stand against a constant background score. It is the ``net`` of a
    `WeakSegmentor`, so that prediction (scales, mirror, CRF) is that of every segmentor.

    Args:
        backbone: as in `MultiLabelClassifier`.
        head: ``module:attribute`` of a callable that makes the head, as
            ``head(in_channels, num_classes - 1, **head_options)``.
        in_channels: of the head.
        num_classes: mask ids, background included.
        presence: a class takes part where its image-level probability exceeds this.
        background: the constant score that a class's map, divided by its maximum, must beat.
        head_options: the options.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        head: str,
        in_channels: int,
        num_classes: int,
        presence: float = 0.5,
        background: float = 0.3,
        head_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        make = imported(head)
        options = dict(head_options or {})
        self.head: Any = make(in_channels, num_classes - 1, **options)
        self.presence = presence
        self.background = background

    def _forward(self, images: Tensor) -> Tensor:
        """Return logits ``[B, C + 1, h, w]`` (the name that mmseg gives to this step)."""
        features = self.backbone(images)[-1]
        maps = F.relu(self.head.cam(features)).float()
        largest = maps.amax((2, 3), keepdim=True)
        scores = maps / (largest + 1e-5)
        probabilities = self.head.scores(features).float().sigmoid()
        present = probabilities > self.presence
        scores = scores * present[:, :, None, None]
        background = torch.full_like(scores[:, :1], self.background)
        every = torch.cat([background, scores], 1)
        # Logarithms, since prediction takes a softmax: the probabilities are the scores' shares of their sum.
        return every.clamp(min=1e-4).log()


def imported(place: str) -> Any:
    """Return what ``module:attribute`` names; raises `RecipeError` saying which module is missing."""
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        what = f"{place!r} cannot be imported ({error})."
        raise RecipeError(
            f"{what} Install the package that the network comes from."
        ) from error


class WeakSegmentor(Network):
    """Any mmseg network, trained with its own loss or with a loss that also sees tags and the image.

    Args:
        net: mmseg segmentor config (``EncoderDecoder`` or anything with ``_forward`` and ``loss``).
        loss: None for the network's own loss on dense labels, else a module called as ``loss(logits [B, C+1, h, w],
            batch) -> dict``, where batch holds ``inputs`` (0..255), ``labels`` and ``tags``.
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
        """Return a dict of losses (``mode="loss"``), or logits ``[B, C + 1, h, w]`` at the network's stride."""
        images = self.normalize(inputs)
        if mode != "loss":
            return self.net._forward(images)
        if self.criterion is None:
            assert labels is not None
            samples = [_sample(label) for label in labels]
            return self.net.loss(images, samples)
        logits = self.net._forward(images)
        # The photograph as it is, not normalised: a CRF loss compares its colours.
        batch = {"inputs": inputs, "tags": tags, "labels": labels}
        return self.criterion(logits, batch)


def _sample(label: Tensor) -> SegDataSample:
    """Return a label map ``[h, w]`` as mmseg's own losses take it."""
    size = tuple(label.shape)
    sample = SegDataSample(metainfo={"img_shape": size, "ori_shape": size})
    sample.gt_sem_seg = PixelData(data=label.long()[None])
    return sample
