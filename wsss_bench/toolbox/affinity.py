"""Learnt affinities of pixel pairs: losses of AffinityNet (psa, CVPR 2018) and IRNet (CVPR 2019), and the walk's input.

Released code gathers every pair (IRNet: every cell on the way between two) through index lists, gigabytes per batch.
Here loss and gradient are summed in one sweep over the offsets: what is kept is one gradient of the map's size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_bench.toolbox.pairs import pair_windows
from wsss_bench.toolbox.random_walk import Affinity, half_disc
from wsss_bench.toolbox.sweeps import (
    boundary_sweep,
    displacement_sweep,
    feature_sweep,
)

Sweep = Callable[[Tensor], tuple[Tensor, Tensor]]


def boundary_affinity_loss(
    boundary: Tensor,
    labels: Tensor,
    radius: int,
    border: str = "psa",
) -> tuple[Tensor, Tensor]:
    """Return IRNet's affinity loss (section 4.2): a pair's affinity is 1 minus the strongest boundary on its way.

    Args:
        boundary: ``float [B, h, w]`` probabilities.
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this (IRNet 10).
        border: see `pair_windows`.

    Returns:
        The loss, and its three terms without gradient (background, foreground, different classes).
    """
    _, h, w = boundary.shape
    windows = pair_windows((h, w), radius, border)

    def sweep(values: Tensor) -> tuple[Tensor, Tensor]:
        return boundary_sweep(values, labels, windows)

    return _swept(boundary.float(), sweep)


def feature_affinity_loss(
    features: Tensor,
    labels: Tensor,
    radius: int,
    border: str = "psa",
) -> tuple[Tensor, Tensor]:
    """Return AffinityNet's loss: a pair's affinity is ``exp(-mean |f_i - f_j|)`` over channels.

    Args:
        features: ``float [B, C, h, w]``.
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this (psa 5).
        border: see `pair_windows`.

    Returns:
        The loss, and its three terms without gradient (background, foreground, different classes).
    """
    _, _, h, w = features.shape
    windows = pair_windows((h, w), radius, border)

    def sweep(values: Tensor) -> tuple[Tensor, Tensor]:
        return feature_sweep(values, labels, windows)

    return _swept(features.float(), sweep)


def displacement_loss(
    displacement: Tensor,
    labels: Tensor,
    radius: int,
    border: str = "psa",
) -> tuple[Tensor, Tensor]:
    """Return IRNet's displacement loss: cells of one object point to one centroid, background is not displaced.

    ``½ mean_fg |D_i - D_j - (j - i)| + ½ mean_bg |D_i - D_j|`` over pairs and both components.

    Args:
        displacement: ``float [B, 2, h, w]`` (rows, columns).
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this.
        border: see `pair_windows`.

    Returns:
        The loss, and its two terms without gradient (foreground, background).
    """
    _, _, h, w = displacement.shape
    windows = pair_windows((h, w), radius, border)

    def sweep(values: Tensor) -> tuple[Tensor, Tensor]:
        return displacement_sweep(values, labels, windows)

    return _swept(displacement.float(), sweep)


def affinity_from_features(
    features: Tensor,
    radius: int = 5,
    border: str = "full",
) -> Affinity:
    """Return ``exp(-mean |f_i - f_j|)`` of all pairs of a grid, for `random_walk.propagate`.

    Args:
        features: ``float [C, h, w]``.
        radius: pairs closer than this.
        border: see `pair_windows`; pairs it leaves out get affinity 0.
    """
    _, h, w = features.shape
    offsets = half_disc(radius)
    planes = np.zeros((len(offsets), h, w), np.float32)
    place = {tuple(offset): index for index, offset in enumerate(offsets.tolist())}
    # Channels innermost: their mean runs over neighbours in memory.
    values = features.detach().float().permute(1, 2, 0).contiguous()
    for window in pair_windows((h, w), radius, border):
        difference = values[window.first] - values[window.second]
        # The mean over channels is the released code's; with the paper's sum every
        # affinity would be the C-th power.
        apart = difference.abs_().mean(-1)
        affinity = torch.exp(-apart).cpu().numpy()
        plane = planes[place[window.dy, window.dx]]
        plane[window.first] = affinity
    return Affinity(offsets, planes)


class _Swept(torch.autograd.Function):
    """The sum of a sweep's terms, whose gradient the sweep has already summed.

    Autograd alone would keep one map per offset until the backward pass, for a radius of 10 at least 152.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
        terms, gradient = sweep(values)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(terms)
        return terms.sum(), terms

    @staticmethod
    def backward(ctx: Any, outer: Tensor, _terms: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None


def _swept(values: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
    total, terms = _Swept.apply(values, sweep)
    return total, terms
