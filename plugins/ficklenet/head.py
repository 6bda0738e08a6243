"""FickleNet's head: one s×s convolution over randomly kept hidden units (CVPR 2019, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.errors import RecipeError
from wsss_plugins.ficklenet.maths import (
    centre_preserving_mask,
    contributions,
    deterministic_mask,
    general_dropout,
    normalise_draws,
    pooled_scores,
    project,
)

DROPOUTS = ("centre", "general", "deterministic")


class FickleHead(nn.Module):
    """Class scores from a stride-1 s×s convolution under centre-preserving spatial dropout, then global average pooling.

    Args:
        params: ``kernel`` (odd s), ``rate`` (dropout p), ``dropout``: ``"centre"`` (the method), ``"general"`` (ordinary
            dropout, its Table 5), ``"deterministic"`` (none).
    """

    def __init__(
        self, in_channels: int, num_classes: int, params: Mapping[str, Any]
    ) -> None:
        super().__init__()
        if params["dropout"] not in DROPOUTS:
            raise RecipeError(
                f"ficklenet: dropout={params['dropout']!r} is not known; use {', '.join(DROPOUTS)}."
            )
        self.kernel, self.rate, self.dropout = (
            int(params["kernel"]),
            float(params["rate"]),
            str(params["dropout"]),
        )
        self.weight = nn.Parameter(
            torch.empty(num_classes, in_channels, self.kernel, self.kernel)
        )
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def mask(
        self, batch: int, height: int, width: int, generator: torch.Generator | None
    ) -> Tensor:
        """A fresh mask, or all ones for the deterministic variant."""
        if self.dropout == "deterministic":
            return deterministic_mask(batch, height, width, self.kernel)
        return centre_preserving_mask(
            generator or torch.default_generator,
            batch,
            height,
            width,
            self.kernel,
            self.rate,
        )

    def scores(
        self, features: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Image-level logits ``[B, C]`` of one draw; in eval mode without a generator every unit is kept.

        So what looks at an image from outside (the gradient background cue) does not depend on the process's random state.
        """
        batch, _, height, width = features.shape
        if not self.training and generator is None:
            ones = deterministic_mask(batch, height, width, self.kernel).to(features)
            return pooled_scores(features, self.weight, ones)
        if self.dropout == "general":
            contribution = general_dropout(
                features, self.weight, generator or torch.default_generator, self.rate
            )
            return contribution.sum((2, 3))
        return pooled_scores(
            features,
            self.weight,
            self.mask(batch, height, width, generator).to(features),
        )

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Binary cross-entropy of one draw; the harness seeds torch's generator per iteration."""
        return {
            "loss_cls": F.binary_cross_entropy_with_logits(
                self.scores(features).float(), targets
            )
        }

    def cam(self, features: Tensor) -> Tensor:
        """Signed contribution maps with every unit kept, ``[B, C, h, w]``."""
        batch, _, height, width = features.shape
        ones = deterministic_mask(batch, height, width, self.kernel).to(features)
        return contributions(project(features, self.weight), ones)

    def draws(
        self,
        features: Tensor,
        classes: list[int],
        generator: torch.Generator,
        number: int,
        chunk: int = 16,
    ) -> Tensor:
        """Element-wise Grad-CAM maps ``[N, K, h, w]`` of one image, each divided by its own maximum.

        The features are projected once; every draw is then a masked sum. Ordinary dropout needs the slow path.
        """
        if not classes:  # COCO has photographs without tags
            return features.new_zeros(1, 0, *features.shape[2:])
        if self.dropout == "deterministic":
            number = 1
        weight = self.weight[classes]
        if self.dropout == "general":
            maps = [
                general_dropout(features, weight, generator, self.rate).relu()
                for _ in range(number)
            ]
            return normalise_draws(torch.cat(maps))
        y = project(features, weight)
        parts = []
        for start in range(0, number, chunk):
            mask = self.mask(
                min(chunk, number - start),
                features.shape[2],
                features.shape[3],
                generator,
            ).to(y)
            parts.append(normalise_draws(contributions(y, mask).relu()))
        return torch.cat(parts)
