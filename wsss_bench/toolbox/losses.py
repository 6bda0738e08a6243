"""Losses of the seeding family: SEC (Kolesnikov & Lampert, ECCV 2016) and DSRG (Huang et al., CVPR 2018).

Everywhere `C` counts background as channel 0, `probs` are probabilities over channels (rows of `floored_softmax`), and
`cues` are one-hot or all zero per cell. Every loss is a scalar, averaged over the batch, that can be back-propagated.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from wsss_bench.engine.ranks import over_ranks

_COUNT_FLOOR = 1e-4
"""An empty side of a loss divides by this instead of by zero, and so contributes 0 (DSRG's released layer)."""


def floored_softmax(logits: Tensor, floor: float = 1e-4) -> Tensor:
    """Return the softmax over channels, kept away from zero: ``p = (softmax + floor) / sum``.

    Args:
        logits: ``[B, C, h, w]``.
        floor: added to every channel before renormalising. With 21 channels the largest reachable value is 0.9980,
            with 81 it is 0.9921, so that DSRG's background threshold of 0.99 stays reachable.

    Returns:
        ``[B, C, h, w]``, positive, summing to 1 over channels. Source: SEC's and DSRG's released softmax layer.
    """
    lifted = logits.softmax(dim=1) + floor
    total = lifted.sum(dim=1, keepdim=True)
    return lifted / total


def one_hot_cues(labels: Tensor, channels: int, ignore: int = 255) -> Tensor:
    """Turn integer ``[B, h, w]`` cue maps into ``float32 [B, channels, h, w]``, all zero where a cell is `ignore`."""
    ids = torch.arange(channels, device=labels.device)
    wanted = ids.view(1, -1, 1, 1)
    cells = labels.long().unsqueeze(1)
    known = cells != ignore
    # Asked apart: `ignore` may lie below `channels`, where it would match.
    hot = (cells == wanted) & known
    return hot.float()


def _log(probs: Tensor) -> Tensor:
    """Return a logarithm whose value and gradient stay finite at zero probability."""
    return _positive(probs).log()


def _positive(probs: Tensor) -> Tensor:
    """Return probabilities of at least the smallest normal number of their type."""
    smallest = torch.finfo(probs.dtype).tiny
    return probs.clamp_min(smallest)


def _per_image(values: Tensor) -> Tensor:
    """Return the sum over channels and cells of each image, ``[B]``."""
    return values.sum(dim=(1, 2, 3))


def _check_maps(where: str, probs: Tensor, other: Tensor, name: str) -> None:
    if probs.ndim != 4 or probs.shape != other.shape:
        raise ValueError(
            f"{where}: probs {tuple(probs.shape)} and {name} {tuple(other.shape)} "
            f"must both be [B, C, h, w]. "
            f"Resize {name} to the grid of the network's output first."
        )


def balanced_seed_loss(probs: Tensor, cues: Tensor) -> Tensor:
    """Return the seeding loss with one normaliser for background cues and one for all foreground cues (DSRG, eq. 1).

    Args:
        probs: ``[B, C, h, w]`` probabilities.
        cues: ``[B, C, h, w]`` bool or float, one-hot where a cell is labelled, all zero where it is not.

    Returns:
        Scalar ``-mean_B( sum_bg log p / |S_bg| + sum_fg log p / sum_c |S_c| )``; a side without cues contributes 0.
    """
    _check_maps("balanced_seed_loss", probs, cues, "cues")
    weight = cues.to(probs.dtype)
    masked = weight * _log(probs)
    # Most cues are background; under one common mean they would drown the objects.
    background = _mean_likelihood(masked[:, :1], weight[:, :1])
    foreground = _mean_likelihood(masked[:, 1:], weight[:, 1:])
    both = background + foreground
    return -both.mean()


def _mean_likelihood(masked: Tensor, weight: Tensor) -> Tensor:
    """Return the mean of `masked` log-probabilities over the cells of `weight`, per image ``[B]``; 0 without cells."""
    cells = _per_image(weight).clamp_min(_COUNT_FLOOR)
    return _per_image(masked) / cells


def seed_loss(probs: Tensor, cues: Tensor) -> Tensor:
    """Return SEC's seeding loss: one joint normaliser, the number of labelled cells of any class (SEC, section 3.2).

    Args:
        probs: ``[B, C, h, w]`` probabilities.
        cues: ``[B, C, h, w]`` bool or float, one-hot or all zero per cell.

    Returns:
        Scalar; an image without cues contributes 0.
    """
    _check_maps("seed_loss", probs, cues, "cues")
    weight = cues.to(probs.dtype)
    masked = weight * _log(probs)
    return -_mean_likelihood(masked, weight).mean()


def global_weighted_rank_pooling(probs: Tensor, decay: float) -> Tensor:
    """Return ``sum_j decay^j p_(j) / sum_j decay^j`` over the cells of each map, sorted descending (SEC, section 3.3).

    Args:
        probs: ``[..., h, w]``.
        decay: 0 gives the maximum, 1 the mean.

    Returns:
        ``[...]``, one value per map.
    """
    cells = probs.flatten(-2)
    ranked, _ = cells.sort(dim=-1, descending=True)
    count = ranked.shape[-1]
    ranks = torch.arange(count, dtype=probs.dtype, device=probs.device)
    # torch has 0 ** 0 = 1, so that a decay of 0 gives all weight to the maximum.
    weights = probs.new_tensor(decay) ** ranks
    total = (ranked * weights).sum(dim=-1)
    return total / weights.sum()


def expansion_loss(
    probs: Tensor,
    present: Tensor,
    d_fg: float = 0.996,
    d_bg: float = 0.999,
) -> Tensor:
    """Return SEC's expansion loss: present classes should cover some of the image, absent ones none of it (SEC, eq. 5).

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
            f"expansion_loss: present {tuple(present.shape)} must be "
            f"[B, C] = {tuple(probs.shape[:2])}, background included."
        )
    tagged = present[:, 1:].to(probs.dtype)
    absent = 1 - tagged
    foreground = probs[:, 1:]
    covered = global_weighted_rank_pooling(foreground, d_fg)
    expand = _mean_of(-_log(covered), tagged)
    # An absent class is judged by its best cell alone: a mean over ranks would let a
    # small false region pass.
    strongest = foreground.amax(dim=(2, 3))
    suppress = _mean_of(-_log(1 - strongest), absent)
    background = global_weighted_rank_pooling(probs[:, 0], d_bg)
    per_image = expand + suppress - _log(background)
    return per_image.mean()


def _mean_of(losses: Tensor, classes: Tensor) -> Tensor:
    """Return the mean of losses ``[B, C]`` over the classes that are 1, per image ``[B]``; 0 where there are none."""
    number = classes.sum(1).clamp_min(1)
    return (classes * losses).sum(1) / number


def boundary_loss(
    probs: Tensor,
    q: Tensor,
    clip: tuple[float, float] | None = (0.05, 20.0),
) -> Tensor:
    """Return ``KL(Q || probs)``, mean over all cells of the batch.

    SEC's constrain-to-boundary loss; with `clip`, DSRG's boundary loss.

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
        # `xlogy` is 0 where the target is; a plain product would be NaN.
        divergence = torch.xlogy(target, target)
        divergence = divergence - target * _log(probs)
    else:
        # No gradient flows outside the bounds, as in the released code.
        ratio = target / _positive(probs)
        divergence = target * ratio.clamp(*clip).log()
    return divergence.sum(dim=1).mean()


def balanced_cross_entropy(logits: Tensor, labels: Tensor, ignore: int = 255) -> Tensor:
    """Return the cross-entropy with separate means over foreground and over background pixels of the batch, summed.

    ``-(1/N_fg) sum_fg log p - (1/N_bg) sum_bg log p``: the segmentor loss of RIB and AdvCAM, modelled on DSRG's.

    Args:
        logits: ``[B, C, h, w]``.
        labels: integer ``[B, h, w]`` with values 0..C-1 or `ignore`.
        ignore: label that takes no part.

    Returns:
        Scalar; a side without pixels contributes 0.
    """
    batch, _, h, w = logits.shape
    if labels.shape != (batch, h, w):
        raise ValueError(
            f"balanced_cross_entropy: labels {tuple(labels.shape)} do not lie on "
            f"the grid of logits {tuple(logits.shape)}."
        )
    target = labels.long()
    loss = F.cross_entropy(logits, target, ignore_index=ignore, reduction="none")
    known = target != ignore
    foreground = _mean_where(loss, known & (target != 0))
    background = _mean_where(loss, known & (target == 0))
    return foreground + background


def _mean_where(loss: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of `loss` over the chosen pixels, 0 where there are none."""
    # Of all processes that share the batch; the floor only matters where the sum is 0 too.
    number = over_ranks(chosen.sum()).clamp_min(_COUNT_FLOOR)
    return (loss * chosen).sum() / number
