"""DSRG's training loss (CVPR 2018, section 3).

The cues are grown with the network's own prediction, then seed and boundary losses are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.arrays import Bytes, Floats
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

NEVER = 2.0
"""A threshold that no probability exceeds."""

CHOICES = {
    "grow": ("both", "fg", "bg", "none"),
    "grow_on": ("crf", "softmax"),
    "crf_unary": ("prob", "logprob"),
    "thumbnails": ("points", "area"),
}


class DsrgLoss(nn.Module):
    """Balanced seeding loss on cues that are re-grown in every iteration, plus the boundary loss, weights 1 : 1.

    Growth restarts from the original cues each time; the CRF is run once per image and serves both losses.

    Args:
        params: ``balanced, boundary, boundary_clip, grow, grow_on, crf_unary, crf_factor, thumbnails, theta_f,
            theta_b``.
    """

    def __init__(self, params: Mapping[str, Any]) -> None:
        super().__init__()
        for key, allowed in CHOICES.items():
            if params[key] not in allowed:
                known = ", ".join(allowed)
                raise RecipeError(
                    f"dsrg: {key}={params[key]!r} is not known; use {known}."
                )
        self.p = dict(params)
        self.crf = PRESETS["dsrg"].scaled(float(params["crf_factor"]))

    def forward(self, logits: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the losses of a batch by name, computed in float32 whatever precision surrounds the call.

        Args:
            logits: ``[B, C + 1, h, w]``, resized to the cues' grid if they lie on another one.
            batch: ``labels`` the cues ``uint8 [B, h, w]`` (255 = none), ``inputs`` the images ``[B, 3, H, W]`` in
                0..255, ``tags`` ``[B, C + 1]``, 1 for a class that is present.
        """
        # Half precision cannot hold the floor beside a probability near 1.
        with torch.autocast(logits.device.type, enabled=False):
            return self._losses(logits.float(), batch)

    def _losses(self, logits: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        cues = batch["labels"]
        grid = tuple(cues.shape[1:])
        if logits.shape[2:] != grid:
            logits = F.interpolate(logits, grid, mode="bilinear", align_corners=False)
        probs = floored_softmax(logits)
        q = self._crf(probs, batch["inputs"]) if self._needs_crf() else None
        grown = self._grown(probs, q, cues, batch["tags"])
        targets = one_hot_cues(grown, probs.shape[1])
        loss = balanced_seed_loss if self.p["balanced"] else seed_loss
        losses = {"loss_seed": loss(probs, targets)}
        if self.p["boundary"]:
            assert q is not None
            clip = self.p["boundary_clip"]
            bounds = tuple(clip) if clip else None
            losses["loss_boundary"] = boundary_loss(probs, q, bounds)
        return losses

    def _needs_crf(self) -> bool:
        grows_on_it = self.p["grow"] != "none" and self.p["grow_on"] == "crf"
        return bool(self.p["boundary"]) or grows_on_it

    def _crf(self, probs: Tensor, inputs: Tensor) -> Tensor:
        """Return mean-field marginals at the cue grid, like `probs`; no gradient (SEC's fix of January 2018)."""
        with torch.no_grad():
            # The release passes probabilities where energies belong; both are offered.
            energy = -probs if self.p["crf_unary"] == "prob" else -probs.log()
            thumbnails = self._thumbnails(inputs.float(), tuple(probs.shape[2:]))
            colours = thumbnails.permute(0, 2, 3, 1)
            if probs.device.type != "cpu":
                # The lattice lives on the CPU; on a GPU exact kernels of a small grid are
                # faster than the way there and back.
                from wsss_bench.toolbox.crf_exact import meanfield_exact

                return meanfield_exact(colours, energy, self.crf)
            images = colours.clamp(0, 255).round().byte().contiguous()
            marginals = _crf_batch(images.numpy(), energy.numpy(), self.crf)
            return torch.from_numpy(marginals)

    def _thumbnails(self, inputs: Tensor, grid: tuple[int, ...]) -> Tensor:
        """Return the images ``[B, 3, h, w]`` at the cue grid, as ``thumbnails`` asks."""
        if self.p["thumbnails"] == "area":
            return F.interpolate(inputs, grid, mode="bilinear", antialias=True)
        # What the releases' zoom of order 1 does: points from corner to corner, nothing averaged.
        return F.interpolate(inputs, grid, mode="bilinear", align_corners=True)

    def _grown(
        self,
        probs: Tensor,
        q: Tensor | None,
        cues: Tensor,
        tags: Tensor,
    ) -> Tensor:
        """Return the cues ``uint8 [B, h, w]`` after growing, as ``grow`` asks."""
        kind = self.p["grow"]
        if kind == "none":
            return cues
        source = q if self.p["grow_on"] == "crf" else probs
        assert source is not None
        values = source.detach().float().cpu().numpy()
        cue_map = cues.cpu().numpy()
        theta_f = float(self.p["theta_f"])
        theta_b = float(self.p["theta_b"])
        if kind == "bg":
            grown = _grow_background(values, cue_map, theta_f, theta_b)
        else:
            present = []
            for row in tags.cpu().numpy():
                foreground = np.flatnonzero(row[1:]) + 1
                present.append(foreground.tolist())
            limit = NEVER if kind == "fg" else theta_b
            grown = grow_batch(cue_map, values, present, theta_f, limit)
        return torch.from_numpy(grown).to(cues.device)


def _grow_background(
    values: Floats,
    cues: Bytes,
    theta_f: float,
    theta_b: float,
) -> Bytes:
    """Return cues ``uint8 [B, h, w]`` with background alone grown: foreground cues stay, and none is crossed."""
    # Background must still beat the foreground classes, so they are compared before they
    # are silenced: as 0 they never exceed a threshold.
    wins = values.argmax(1) == 0
    masked = np.zeros_like(values)
    masked[:, 0] = np.where(wins, values[:, 0], 0)
    present = []
    for one in cues:
        ids = set(np.unique(one).tolist())
        present.append(sorted(ids - {0, 255}))
    return grow_batch(cues, masked, present, theta_f, theta_b)


def _crf_batch(
    images: Bytes,
    energy: Floats,
    params: CrfParams,
) -> Floats:
    """Return `dense_crf` of every image, ``float32 [B, C + 1, h, w]``."""
    marginals = []
    for image, unary in zip(images, energy, strict=True):
        own = np.ascontiguousarray(unary)
        marginals.append(dense_crf(image, own, params))
    return np.stack(marginals)
