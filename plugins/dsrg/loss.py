"""DSRG's training loss: grow the cues with the network's own prediction, then seed and boundary losses (CVPR 2018, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.crf import dense_crf
from wsss_bench.toolbox.crf_presets import PRESETS, CrfParams
from wsss_bench.toolbox.losses import (
    balanced_seed_loss,
    boundary_loss,
    floored_softmax,
    one_hot_cues,
    seed_loss,
)
from wsss_bench.toolbox.region_growing import grow_batch

NEVER = 2.0  # a threshold no probability exceeds
CHOICES = {
    "grow": ("both", "fg", "bg", "none"),
    "grow_on": ("crf", "softmax"),
    "crf_unary": ("prob", "logprob"),
}


class DsrgLoss(nn.Module):
    """Balanced seeding loss on cues that are re-grown in every iteration, plus the boundary loss, weights 1 : 1.

    Growth restarts from the original cues each time; the CRF is run once per image and serves both losses.

    Args:
        params: ``balanced, boundary, boundary_clip, grow, grow_on, crf_unary, crf_factor, theta_f, theta_b``.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        for key, allowed in CHOICES.items():
            if params[key] not in allowed:
                raise RecipeError(
                    f"dsrg: {key}={params[key]!r} is not known; use {', '.join(allowed)}."
                )
        self.p = dict(params)
        self.crf = PRESETS["dsrg"].scaled(float(params["crf_factor"]))

    def forward(self, logits: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`logits` ``[B, C + 1, h, w]``; ``batch['labels']`` holds the cues at the same grid (255 = none)."""
        cues = batch["labels"]
        if logits.shape[2:] != cues.shape[1:]:
            logits = F.interpolate(
                logits, tuple(cues.shape[1:]), mode="bilinear", align_corners=False
            )
        probs = floored_softmax(logits.float())
        q = self._crf(probs, batch["inputs"]) if self._needs_crf() else None
        grown = self._grown(probs, q, cues, batch["tags"])
        loss = balanced_seed_loss if self.p["balanced"] else seed_loss
        losses = {"loss_seed": loss(probs, one_hot_cues(grown, probs.shape[1]))}
        if self.p["boundary"]:
            assert q is not None
            clip = tuple(self.p["boundary_clip"]) if self.p["boundary_clip"] else None
            losses["loss_boundary"] = boundary_loss(probs, q, clip)
        return losses

    def _needs_crf(self) -> bool:
        return bool(self.p["boundary"]) or (
            self.p["grow"] != "none" and self.p["grow_on"] == "crf"
        )

    def _crf(self, probs: Tensor, inputs: Tensor) -> Tensor:
        """Mean-field marginals at the cue grid; no gradient flows through them (SEC's fix of January 2018)."""
        with torch.no_grad():
            energy = -probs if self.p["crf_unary"] == "prob" else -probs.log()
            thumbnails = F.interpolate(
                inputs.float(),
                tuple(probs.shape[2:]),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )
            if probs.device.type != "cpu":
                from wsss_bench.toolbox.crf_exact import meanfield_exact

                return meanfield_exact(thumbnails.permute(0, 2, 3, 1), energy, self.crf)
            images = (
                thumbnails.clamp(0, 255)
                .round()
                .byte()
                .permute(0, 2, 3, 1)
                .contiguous()
                .numpy()
            )
            return torch.from_numpy(_crf_batch(images, energy.numpy(), self.crf))

    def _grown(
        self, probs: Tensor, q: Tensor | None, cues: Tensor, tags: Tensor
    ) -> Tensor:
        kind = self.p["grow"]
        if kind == "none":
            return cues
        source = q if self.p["grow_on"] == "crf" else probs
        assert source is not None
        present = [
            [] if kind == "bg" else (np.flatnonzero(row[1:]) + 1).tolist()
            for row in tags.cpu().numpy()
        ]
        theta_b = NEVER if kind == "fg" else float(self.p["theta_b"])
        if kind == "bg":
            return self._background_only(source, cues, theta_b)
        grown = grow_batch(
            cues.cpu().numpy(),
            source.detach().float().cpu().numpy(),
            present,
            float(self.p["theta_f"]),
            theta_b,
        )
        return torch.from_numpy(grown).to(cues.device)

    def _background_only(self, source: Tensor, cues: Tensor, theta_b: float) -> Tensor:
        """Grow background alone: foreground cues stay as they are and may not be crossed by a label of their own."""
        values = source.detach().float().cpu().numpy()
        # Background must still beat the foreground classes, so they stay in the comparison but can never exceed theirs.
        wins = values.argmax(1) == 0
        masked = np.zeros_like(values)
        masked[:, 0] = np.where(wins, values[:, 0], 0)
        cue_map = cues.cpu().numpy()
        present = [sorted(set(np.unique(one).tolist()) - {0, 255}) for one in cue_map]
        grown = grow_batch(cue_map, masked, present, float(self.p["theta_f"]), theta_b)
        return torch.from_numpy(grown).to(cues.device)


def _crf_batch(
    images: NDArray[np.uint8], energy: NDArray[np.float32], params: CrfParams
) -> NDArray[np.float32]:
    return np.stack(
        [
            dense_crf(i, np.ascontiguousarray(e), params)
            for i, e in zip(images, energy, strict=True)
        ]
    )
