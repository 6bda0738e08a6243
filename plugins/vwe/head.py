"""VWE's classifier head (IJCAI 2021, section 3): word assignment, word prediction, word-to-image classification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.errors import RecipeError
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
    "fuse": ("max", "none"),
}


class VweHead(LinearCamHead):
    """Image classifier on pooled features, plus the visual words encoder.

    Three binary cross-entropies, weight 1 each: image labels from the pooled feature, word labels from the pooled feature,
    image labels from the word histogram. The features are detached where they meet the codebook, as in the release: the
    third loss trains the codebook and its classifier alone.

    Args:
        params: ``encoder, words, pooling, gamma, levels, hist, word_feat, fuse``.
    """

    def __init__(
        self, in_channels: int, num_classes: int, params: Mapping[str, Any]
    ) -> None:
        super().__init__(in_channels, num_classes)
        for key, allowed in CHOICES.items():
            if params[key] not in allowed:
                raise RecipeError(
                    f"vwe: {key}={params[key]!r} is not known; use {', '.join(allowed)}."
                )
        self.p = dict(params)
        if params["encoder"]:
            words = int(params["words"])
            self.codebook = nn.Parameter(torch.empty(words, in_channels))
            nn.init.kaiming_normal_(self.codebook, a=5**0.5)
            self.word_classifier = nn.Linear(in_channels, words, bias=False)
            self.word_to_image = nn.Linear(words, num_classes, bias=False)

    def pooled(self, features: Tensor, kind: str) -> Tensor:
        """``[B, k]``: global average, or hybrid spatial pyramid pooling."""
        if kind == "gap":
            return features.mean((2, 3))
        return hspp(features, float(self.p["gamma"]), tuple(self.p["levels"]))

    def scores(self, features: Tensor) -> Tensor:
        """Image-level logits ``[B, C]``."""
        return F.linear(
            self.pooled(features, self.p["pooling"]), self.classifier.weight.flatten(1)
        )

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The three losses (one with ``encoder=False``)."""
        losses = {
            "loss_cls": F.binary_cross_entropy_with_logits(
                self.scores(features).float(), targets
            )
        }
        if not self.p["encoder"]:
            return losses
        assignment = assign_words(features.detach(), self.codebook)
        with torch.no_grad():
            present = word_labels(assignment).float()
        predicted = self.word_classifier(self.pooled(features, self.p["word_feat"]))
        losses["loss_word"] = F.binary_cross_entropy_with_logits(
            predicted.float(), present
        )
        from_words = self.word_to_image(word_histogram(assignment, self.p["hist"]))
        losses["loss_word_to_image"] = F.binary_cross_entropy_with_logits(
            from_words.float(), targets
        )
        return losses

    def word_maps(self, features: Tensor) -> Tensor:
        """Class maps from words, ``[B, C, h, w]``: assignment times the word-to-image weights."""
        return word_cam(
            assign_words(features, self.codebook), self.word_to_image.weight
        )


def fused_cam(
    model: MultiLabelClassifier, pixels: Tensor, classes: list[int]
) -> Tensor:
    """Non-negative maps ``[K, h, w]``: the image CAM, or its maximum with the word CAM after each is divided by its own maximum."""
    head, features = model.head, model.features(pixels)
    image_maps = head.cam(features)[:, classes]
    if not (head.p["encoder"] and head.p["fuse"] == "max") or not classes:
        return F.relu(image_maps[0])
    return fuse_max(image_maps, head.word_maps(features)[:, classes])[0]
