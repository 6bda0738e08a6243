"""VWE's classifier head (IJCAI 2021, section 3): word assignment, word prediction, word-to-image classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.training import LinearCamHead, MultiLabelClassifier
from wsss_plugins.vwe.maths import (
    assign_words,
    fuse_max,
    hspp,
    word_cam,
    word_histogram,
    word_labels,
)

CHOICES = {
    "pooling": ("hspp", "gap"),
    "hist": ("sum", "mean"),
    "word_feat": ("hspp", "gap"),
}
FUSIONS = ("max", "none")


class VweHead(LinearCamHead):
    """Image classifier on pooled features, plus the visual words encoder.

    Three binary cross-entropies, weight 1 each: image labels from the pooled feature, word labels from the pooled
    feature, image labels from the word histogram.

    Args:
        params: ``encoder, words, pooling, gamma, levels, hist, word_feat``.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        params: Mapping[str, Any],
    ) -> None:
        super().__init__(in_channels, num_classes)
        for key, allowed in CHOICES.items():
            if params[key] not in allowed:
                known = ", ".join(allowed)
                raise RecipeError(
                    f"vwe: {key}={params[key]!r} is not known; use {known}."
                )
        self.p = dict(params)
        if params["encoder"]:
            words = int(params["words"])
            self.codebook = nn.Parameter(torch.empty(words, in_channels))
            nn.init.kaiming_normal_(self.codebook, a=5**0.5)
            self.word_classifier = nn.Linear(in_channels, words, bias=False)
            self.word_to_image = nn.Linear(words, num_classes, bias=False)

    def pooled(self, features: Tensor, kind: str) -> Tensor:
        """Return features pooled to ``[B, k]``: by global average, or by hybrid spatial pyramid pooling."""
        if kind == "gap":
            return features.mean((2, 3))
        gamma = float(self.p["gamma"])
        return hspp(features, gamma, tuple(self.p["levels"]))

    def scores(self, features: Tensor) -> Tensor:
        """Return image-level logits ``[B, C]``."""
        pooled = self.pooled(features, self.p["pooling"])
        # The 1x1 convolution that makes CAMs, as a linear layer.
        return F.linear(pooled, self.classifier.weight.flatten(1))

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the three losses by name (one with ``encoder=False``).

        Args:
            features: ``[B, k, h, w]``.
            targets: ``float [B, C]`` of 0/1.
        """
        losses = {"loss_cls": _bce(self.scores(features), targets)}
        if not self.p["encoder"]:
            return losses
        # Detached where they meet the codebook, as in the release: the third loss trains
        # the codebook and its classifier alone.
        assignment = assign_words(features.detach(), self.codebook)
        with torch.no_grad():
            present = word_labels(assignment).float()
        predicted = self.word_classifier(self.pooled(features, self.p["word_feat"]))
        losses["loss_word"] = _bce(predicted, present)
        histogram = word_histogram(assignment, self.p["hist"])
        losses["loss_word_to_image"] = _bce(self.word_to_image(histogram), targets)
        return losses

    def word_maps(self, features: Tensor) -> Tensor:
        """Return class maps from words, ``[B, C, h, w]``: assignment times the word-to-image weights."""
        assignment = assign_words(features, self.codebook)
        return word_cam(assignment, self.word_to_image.weight)


def _bce(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy, in float32 also under mixed precision."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets)


def check_fusion(fuse: str) -> None:
    """Raise `RecipeError` for a fusion that is not offered."""
    if fuse not in FUSIONS:
        known = ", ".join(FUSIONS)
        raise RecipeError(f"vwe: fuse={fuse!r} is not known; use {known}.")


def fused_cam(
    model: MultiLabelClassifier,
    pixels: Tensor,
    classes: list[int],
    fuse: str = "max",
) -> Tensor:
    """Return the image CAM, or its maximum with the word CAM.

    Args:
        model: a classifier with a `VweHead`.
        pixels: ``float [1, 3, H, W]`` in 0..255.
        classes: channels of the K wanted classes.
        fuse: ``"max"`` (paper) or ``"none"`` (release: the image CAM alone).

    Returns:
        ``[K, h, w]``, not negative.
    """
    head = model.head
    features = model.features(pixels)
    image_maps = head.cam(features)[:, classes]
    fuses = head.p["encoder"] and fuse == "max"
    if not fuses or not classes:
        return F.relu(image_maps[0])
    word_maps = head.word_maps(features)[:, classes]
    return fuse_max(image_maps, word_maps)[0]
