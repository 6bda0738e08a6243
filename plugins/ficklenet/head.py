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
    """Class scores from a stride-1 s×s convolution under centre-preserving spatial dropout, then average pooling.

    Args:
        params: ``kernel`` (odd s), ``rate`` (dropout p), ``dropout``: ``"centre"`` (the method), ``"general"``
            (ordinary dropout, its Table 5), ``"deterministic"`` (none).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        params: Mapping[str, Any],
    ) -> None:
        super().__init__()
        if params["dropout"] not in DROPOUTS:
            known = ", ".join(DROPOUTS)
            raise RecipeError(
                f"ficklenet: dropout={params['dropout']!r} is not known; use {known}."
            )
        self.kernel = int(params["kernel"])
        self.rate = float(params["rate"])
        self.dropout = str(params["dropout"])
        # A bare weight, no `Conv2d`: the maths need it apart, and no bias may come in.
        window = (self.kernel, self.kernel)
        self.weight = nn.Parameter(torch.empty(num_classes, in_channels, *window))
        # As `Conv2d` begins.
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def mask(
        self,
        batch: int,
        height: int,
        width: int,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Return a fresh mask ``[batch, s*s, height, width]``, or all ones for the deterministic variant."""
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
        self,
        features: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return image-level logits ``[B, C]`` of one draw; in eval mode without a generator every unit is kept."""
        batch, _, height, width = features.shape
        # So what looks at an image from outside (the gradient background cue) does not
        # depend on the process's random state.
        if not self.training and generator is None:
            return pooled_scores(features, self.weight, self._everything(features))
        if self.dropout == "general":
            contribution = general_dropout(
                features,
                self.weight,
                generator or torch.default_generator,
                self.rate,
            )
            return contribution.sum((2, 3))
        mask = self.mask(batch, height, width, generator)
        return pooled_scores(features, self.weight, mask.to(features))

    def _everything(self, features: Tensor) -> Tensor:
        """Return the mask that keeps every unit of these features."""
        batch, _, height, width = features.shape
        return deterministic_mask(batch, height, width, self.kernel).to(features)

    def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return the binary cross-entropy of one draw; the harness seeds torch's generator per iteration."""
        scores = self.scores(features).float()
        loss = F.binary_cross_entropy_with_logits(scores, targets)
        return {"loss_cls": loss}

    def cam(self, features: Tensor) -> Tensor:
        """Return signed contribution maps with every unit kept, ``[B, C, h, w]``."""
        y = project(features, self.weight)
        return contributions(y, self._everything(features))

    def draws(
        self,
        features: Tensor,
        classes: list[int],
        generator: torch.Generator,
        number: int,
        chunk: int = 16,
    ) -> Tensor:
        """Return element-wise Grad-CAM maps ``[N, K, h, w]`` of one image, each divided by its own maximum.

        Args:
            features: ``[1, k, h, w]``.
            classes: channels of the K wanted classes.
            generator: seed it per image, so that a map does not depend on which images came before.
            number: how many draws; the deterministic variant has one.
            chunk: draws computed together; does not change the result.
        """
        _, _, height, width = features.shape
        if not classes:  # COCO has photographs without tags
            return features.new_zeros(1, 0, height, width)
        if self.dropout == "deterministic":
            number = 1
        weight = self.weight[classes]
        if self.dropout == "general":
            maps = [
                general_dropout(features, weight, generator, self.rate).relu()
                for _ in range(number)
            ]
            return normalise_draws(torch.cat(maps))
        # Projected once; every draw is then a masked sum.
        y = project(features, weight)
        parts = []
        for start in range(0, number, chunk):
            count = min(chunk, number - start)
            mask = self.mask(count, height, width, generator)
            drawn = contributions(y, mask.to(y)).relu()
            parts.append(normalise_draws(drawn))
        return torch.cat(parts)
