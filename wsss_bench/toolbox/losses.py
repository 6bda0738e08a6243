"""Losses of the seeding family: SEC (Kolesnikov & Lampert, ECCV 2016) and DSRG (Huang et al., CVPR 2018).

Everywhere `C` counts background as channel 0, `probs` are probabilities over channels (rows of `floored_softmax`), and
`cues` are one-hot or all zero per cell. Every loss is a scalar, averaged over the batch, that can be back-propagated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_COUNT_FLOOR = 1e-4
"""An empty side of a loss divides by this instead of by zero, and so contributes 0 (DSRG's released layer)."""


def floored_softmax(logits: Tensor, floor: float = 1e-4) -> Tensor:
    """Softmax over channels, kept away from zero: ``p = (softmax + floor) / sum``.

    Args:
        logits: ``[B, C, h, w]``.
        floor: added to every channel before renormalising. With 21 channels the largest reachable value is 0.9980,
            with 81 it is 0.9921, so that DSRG's background threshold of 0.99 stays reachable.

    Returns:
        ``[B, C, h, w]``, positive, summing to 1 over channels. Source: SEC's and DSRG's released softmax layer.
    """
    lifted = logits.softmax(dim=1) + floor
    return lifted / lifted.sum(dim=1, keepdim=True)


def one_hot_cues(labels: Tensor, channels: int, ignore: int = 255) -> Tensor:
    """Turn integer ``[B, h, w]`` cue maps into ``float32 [B, channels, h, w]``, all zero where a cell is `ignore`."""
    wanted = torch.arange(channels, device=labels.device).view(1, -1, 1, 1)
    return (
        (labels.long().unsqueeze(1) == wanted) & (labels.long().unsqueeze(1) != ignore)
    ).float()


def _log(probs: Tensor) -> Tensor:
    """Logarithm whose value and gradient stay finite at zero probability."""
    return probs.clamp_min(torch.finfo(probs.dtype).tiny).log()


def _check_maps(where: str, probs: Tensor, other: Tensor, name: str) -> None:
    if probs.ndim != 4 or probs.shape != other.shape:
        raise ValueError(
            f"{where}: probs {tuple(probs.shape)} and {name} {tuple(other.shape)} must both be [B, C, h, w]."
            f" Resize {name} to the grid of the network's output first."
        )


def balanced_seed_loss(probs: Tensor, cues: Tensor) -> Tensor:
    """Seeding loss with one normaliser for background cues and one for all foreground cues (DSRG, eq. 1).

    Args:
        probs: ``[B, C, h, w]`` probabilities.
        cues: ``[B, C, h, w]`` bool or float, one-hot where a cell is labelled, all zero where it is not.

    Returns:
        Scalar ``-mean_B( sum_bg log p / |S_bg| + sum_fg log p / sum_c |S_c| )``; a side without cues contributes 0.
    """
    _check_maps("balanced_seed_loss", probs, cues, "cues")
    weight = cues.to(probs.dtype)
    masked = weight * _log(probs)
    background = masked[:, 0].sum(dim=(1, 2)) / weight[:, 0].sum(dim=(1, 2)).clamp_min(
        _COUNT_FLOOR
    )
    foreground = masked[:, 1:].sum(dim=(1, 2, 3)) / weight[:, 1:].sum(
        dim=(1, 2, 3)
    ).clamp_min(_COUNT_FLOOR)
    return -(background + foreground).mean()


def seed_loss(probs: Tensor, cues: Tensor) -> Tensor:
    """SEC's seeding loss: one joint normaliser, the number of labelled cells of any class (SEC, section 3.2).

    Args:
        probs: ``[B, C, h, w]`` probabilities.
        cues: ``[B, C, h, w]`` bool or float, one-hot or all zero per cell.

    Returns:
        Scalar; an image without cues contributes 0.
    """
    _check_maps("seed_loss", probs, cues, "cues")
    weight = cues.to(probs.dtype)
    total = (weight * _log(probs)).sum(dim=(1, 2, 3))
    return -(total / weight.sum(dim=(1, 2, 3)).clamp_min(_COUNT_FLOOR)).mean()


def global_weighted_rank_pooling(probs: Tensor, decay: float) -> Tensor:
    """``sum_j decay^j p_(j) / sum_j decay^j`` over the cells of each map, sorted descending (SEC, section 3.3).

    Args:
        probs: ``[..., h, w]``.
        decay: 0 gives the maximum, 1 the mean.

    Returns:
        ``[...]``, one value per map.
    """
    ranked = probs.flatten(-2).sort(dim=-1, descending=True).values
    ranks = torch.arange(ranked.shape[-1], device=probs.device, dtype=probs.dtype)
    weights = torch.as_tensor(decay, dtype=probs.dtype, device=probs.device) ** ranks
    return (ranked * weights).sum(dim=-1) / weights.sum()


def expansion_loss(
    probs: Tensor, present: Tensor, d_fg: float = 0.996, d_bg: float = 0.999
) -> Tensor:
    """SEC's expansion loss: present classes should cover some of the image, absent ones none of it (SEC, eq. 5).

    Args:
        probs: ``[B, C, h, w]`` probabilities.
        present: ``[B, C]`` bool or 0/1; column 0 (background) is ignored, background is always expected.
        d_fg: rank-pooling decay of present classes. The default puts half of the weight on 10 % of a 41x41 grid.
        d_bg: rank-pooling decay of background; half of the weight on 31 % of a 41x41 grid.

    Returns:
        Scalar. An image without tagged (or without absent) classes contributes 0 for that term, never NaN.
    """
    if present.shape != probs.shape[:2]:
        raise ValueError(
            f"expansion_loss: present {tuple(present.shape)} must be [B, C] = {tuple(probs.shape[:2])}, background included."
        )
    tagged = present[:, 1:].to(probs.dtype)
    absent = 1 - tagged
    foreground = probs[:, 1:]
    expand = -(tagged * _log(global_weighted_rank_pooling(foreground, d_fg))).sum(
        1
    ) / tagged.sum(1).clamp_min(1)
    suppress = -(absent * _log(1 - foreground.amax(dim=(2, 3)))).sum(1) / absent.sum(
        1
    ).clamp_min(1)
    background = -_log(global_weighted_rank_pooling(probs[:, 0], d_bg))
    return (expand + suppress + background).mean()


def boundary_loss(
    probs: Tensor, q: Tensor, clip: tuple[float, float] | None = (0.05, 20.0)
) -> Tensor:
    """``KL(Q || probs)``, mean over all cells of the batch: SEC's constrain-to-boundary loss, DSRG's boundary loss.

    Args:
        probs: ``[B, C, h, w]`` probabilities of the network.
        q: ``[B, C, h, w]`` the same maps after a dense CRF. Taken as constant: no gradient flows through the CRF.
        clip: bounds on the ratio ``Q / probs`` inside the logarithm, as in DSRG's released code; None for SEC.

    Returns:
        Scalar; 0 where both agree.
    """
    _check_maps("boundary_loss", probs, q, "q")
    target = q.detach().to(probs.dtype)
    if clip is None:
        divergence = torch.xlogy(target, target) - target * _log(probs)
    else:
        ratio = target / probs.clamp_min(torch.finfo(probs.dtype).tiny)
        divergence = target * ratio.clamp(*clip).log()
    return divergence.sum(dim=1).mean()


def balanced_cross_entropy(logits: Tensor, labels: Tensor, ignore: int = 255) -> Tensor:
    """Cross-entropy with separate means over foreground and over background pixels of the batch, summed.

    ``-(1/N_fg) sum_fg log p - (1/N_bg) sum_bg log p``: the segmentor loss of RIB and AdvCAM, after DSRG's balanced seeding.

    Args:
        logits: ``[B, C, h, w]``.
        labels: integer ``[B, h, w]`` with values 0..C-1 or `ignore`.
        ignore: label that takes no part.

    Returns:
        Scalar; a side without pixels contributes 0.
    """
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"balanced_cross_entropy: labels {tuple(labels.shape)} do not lie on the grid of logits {tuple(logits.shape)}."
        )
    target = labels.long()
    loss = F.cross_entropy(logits, target, ignore_index=ignore, reduction="none")
    background = (target == 0) & (target != ignore)
    foreground = (target != 0) & (target != ignore)
    parts = [
        (loss * side).sum() / side.sum().clamp_min(1)
        for side in (foreground, background)
    ]
    return parts[0] + parts[1]
