"""FickleNet's stochastic selection of hidden units (Lee et al., CVPR 2019), in a form that computes the features once.

The paper expands the feature map so that the s x s windows of a convolution no longer overlap, drops cells of that
expanded map at random (the same cells in every channel, never a window's centre), and convolves with stride s. Because
the mask is shared by all channels and the head is one linear convolution without bias, the sum over channels can be
taken first: ``y[c, d, q] = sum_k W[c, k, d] x[k, q]``. Every further draw is then a masked sum of shifted planes of y,
and the element-wise Grad-CAM needs no backward pass. Both are exact; `expand` and `expanded_scores` keep the paper's
path.

Index d runs over the window, ``d = a * s + b``; r = (s - 1) / 2; the window of output cell p reads cell
``p + (a - r, b - r)``. A mask says 1 = kept and lives at output cells: ``mask[:, d, p]``. Nothing is rescaled by
1 / (1 - p): the same rate is used in training and inference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Cells = tuple[slice, slice]


class Aggregate(NamedTuple):
    """What `aggregate` makes of many draws."""

    labels: Tensor
    """``uint8 [h, w]``: class ids, 255 where no class fired."""
    mean: Tensor
    """``[C, h, w]``: mean map over the draws."""


def expand(x: Tensor, s: int) -> Tensor:
    """Lay the s x s windows of ``[B, k, h, w]`` side by side: ``[B, k, s*h, s*w]``.

    ``e[i*s + a, j*s + b] = x[i + a - r, j + b - r]``, 0 outside the map.
    """
    _check_odd(s)
    batch, channels, h, w = x.shape
    r = (s - 1) // 2
    windows = F.unfold(x, s, padding=r)
    windows = windows.view(batch, channels, s, s, h, w)
    side_by_side = windows.permute(0, 1, 4, 2, 5, 3)
    return side_by_side.reshape(batch, channels, h * s, w * s)


def mask_plane(mask: Tensor, s: int) -> Tensor:
    """Lay a mask ``[B, s*s, h, w]`` out on the expanded plane: ``[B, 1, s*h, s*w]``."""
    batch, _, h, w = mask.shape
    windows = mask.view(batch, s, s, h, w)
    side_by_side = windows.permute(0, 3, 1, 4, 2)
    return side_by_side.reshape(batch, 1, h * s, w * s)


def expanded_scores(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Return scores by the paper's path, the reference for `stochastic_scores`; memory is s*s times that of x.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        mask: ``[B, s*s, h, w]``.

    Returns:
        ``[B, C, h, w]``.
    """
    s = weight.shape[-1]
    kept = expand(x, s) * mask_plane(mask, s)
    return F.conv2d(kept, weight, stride=s)


def centre_preserving_mask(
    generator: torch.Generator,
    b: int,
    h: int,
    w: int,
    s: int,
    p: float,
) -> Tensor:
    """Draw ``float32 [b, s*s, h, w]``: every cell of a window is dropped (0) with rate `p`, its centre never.

    The mask is made on the generator's device; on the CPU it is the same on every machine.

    Raises:
        ValueError: s is even, or p no rate.
    """
    _check_odd(s)
    if not 0 <= p <= 1:
        raise ValueError(
            f"centre_preserving_mask: the dropout rate must lie in [0, 1], not {p}."
        )
    size = (b, s * s, h, w)
    drawn = torch.rand(size, generator=generator, device=generator.device)
    kept = (drawn >= p).float()
    centre = (s * s) // 2
    # Drawn and overwritten, not left out: the others' numbers do not depend on it.
    kept[:, centre] = 1
    return kept


def deterministic_mask(b: int, h: int, w: int, s: int) -> Tensor:
    """Return the mask ``[b, s*s, h, w]`` that keeps everything, for the deterministic variant."""
    _check_odd(s)
    return torch.ones(b, s * s, h, w)


def project(x: Tensor, weight: Tensor) -> Tensor:
    """Return the sums over channels, from which every draw is computed, by one 1x1 convolution.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``; pass only the rows of the classes that are wanted.

    Returns:
        y ``[B, C, s*s, h, w]``.
    """
    classes, channels, s, _ = weight.shape
    _check_odd(s)
    batch, _, h, w = x.shape
    rows = weight.permute(0, 2, 3, 1)
    rows = rows.reshape(classes * s * s, channels, 1, 1)
    y = F.conv2d(x, rows)
    return y.view(batch, classes, s * s, h, w)


def stochastic_scores(y: Tensor, mask: Tensor) -> Tensor:
    """Return the score map of one draw, ``S[c, p] = sum_d mask[d, p] * y[c, d, p + d]``.

    Args:
        y: ``[B, C, s*s, h, w]`` from `project`; B may be 1 to share it between the draws of `mask`.
        mask: ``[N, s*s, h, w]``, N = B unless B is 1.

    Returns:
        ``[N, C, h, w]``, equal to `expanded_scores`.
    """
    _, classes, area, h, w = y.shape
    out = y.new_zeros(len(mask), classes, h, w)
    for d, cell, source in _shifts(area, h, w):
        out[(..., *cell)] += _masked(y, mask, d, cell, source)
    return out


def _masked(y: Tensor, mask: Tensor, d: int, cell: Cells, source: Cells) -> Tensor:
    """Return what window position d adds, ``[N, C, n, m]``: y where it is read, times the mask of the reading cells."""
    kept = mask[:, d, None]
    plane = y[:, :, d]
    return kept[(..., *cell)] * plane[(..., *source)]


def contributions(y: Tensor, mask: Tensor) -> Tensor:
    """Return what every cell adds to the pooled score: ``(1 / hw) sum_d mask[d, q - d] * y[c, d, q]``.

    It is the product of feature and gradient of the pooled score, summed over channels; its sum over cells is the
    pooled score.

    Args:
        y: ``[B, C, s*s, h, w]`` from `project`; B may be 1 to share it between the draws of `mask`.
        mask: ``[N, s*s, h, w]``.

    Returns:
        ``[N, C, h, w]``, signed.
    """
    _, classes, area, h, w = y.shape
    out = y.new_zeros(len(mask), classes, h, w)
    for d, cell, source in _shifts(area, h, w):
        # Booked where it was read, and not where it arrives as in `stochastic_scores`.
        out[(..., *source)] += _masked(y, mask, d, cell, source)
    return out / (h * w)


def elementwise_gradcam(y: Tensor, mask: Tensor) -> Tensor:
    """Return ``ReLU(sum_k x_k * dS_c / dx_k)`` ``[N, C, h, w]``, S the mean of the score map; no backward pass."""
    return contributions(y, mask).relu()


def pooled_scores(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Return the image-level scores of one draw, the spatial mean of its score map, for training.

    ``(1 / hw) sum_{k,d} W[c, k, d] sum_q mask[d, q - d] x[k, q]``. Neither expands x nor projects it: one matrix
    product per image, then one for the batch.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        mask: ``[B, s*s, h, w]``.

    Returns:
        ``[B, C]``; gradients flow to `x` and `weight`.
    """
    _, area, h, w = mask.shape
    at_source = torch.zeros_like(mask)
    for d, cell, source in _shifts(area, h, w):
        moved = mask[:, d][(..., *cell)]
        at_source[:, d][(..., *source)] = moved
    cells_by_position = at_source.flatten(2).transpose(1, 2)
    moments = torch.bmm(x.flatten(2), cells_by_position.to(x.dtype))
    total = moments.flatten(1) @ weight.flatten(1).T
    return total / (h * w)


def general_dropout(
    x: Tensor,
    weight: Tensor,
    generator: torch.Generator,
    p: float,
) -> Tensor:
    """Return `contributions` under ordinary dropout: every unit of every window is dropped on its own, also centres.

    The losing variant of the paper's Table 5. Its mask differs between channels, so the sum over channels cannot be
    taken first; this goes window position by window position and needs s*s times the work per draw.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        generator: draws ``[B, k, h, w]`` uniform numbers per window position, in the order of d.
        p: rate at which units are dropped.

    Returns:
        ``[B, C, h, w]``, signed; its sum over cells is the pooled score, its ReLU the element-wise Grad-CAM.
    """
    batch, _, h, w = x.shape
    flat = weight.flatten(2)
    classes, _, area = flat.shape
    out = x.new_zeros(batch, classes, h, w)
    for d, _, source in _shifts(area, h, w):
        # Drawn for the whole map, also where the window does not read.
        drawn = torch.rand(x.shape, generator=generator, device=generator.device)
        kept = x * (drawn >= p).to(x)
        row = flat[:, :, d, None, None]
        read = kept[(..., *source)]
        out[(..., *source)] += F.conv2d(read, row)
    return out / (h * w)


def draw_maps(
    y: Tensor,
    generator: torch.Generator,
    draws: int = 200,
    p: float = 0.9,
    chunk: int = 8,
) -> Tensor:
    """Return element-wise Grad-CAM maps of `draws` random selections on one image, each divided by its own maximum.

    Args:
        y: ``[1, C, s*s, h, w]`` from `project`.
        generator: seed it per image, so that a map does not depend on which images came before.
        draws: number of selections (paper: 200).
        p: dropout rate (paper: 0.9).
        chunk: draws computed together; does not change the result.

    Returns:
        ``[draws, C, h, w]`` in [0, 1].
    """
    _, _, area, h, w = y.shape
    s = math.isqrt(area)
    maps = []
    with torch.no_grad():
        for start in range(0, draws, chunk):
            count = min(chunk, draws - start)
            mask = centre_preserving_mask(generator, count, h, w, s, p)
            drawn = elementwise_gradcam(y, mask.to(y))
            maps.append(normalise_draws(drawn))
    return torch.cat(maps)


def normalise_draws(maps: Tensor, eps: float = 1e-12) -> Tensor:
    """Divide every ``[h, w]`` map by its own maximum; maps without positive values stay zero."""
    peak = maps.amax(dim=(-2, -1), keepdim=True)
    return maps / peak.clamp_min(eps)


def aggregate(
    maps: Tensor,
    threshold: float = 0.35,
    class_ids: Sequence[int] | None = None,
) -> Aggregate:
    """One class per cell: a class takes part if any draw exceeds `threshold`; of several the one of highest mean wins.

    Args:
        maps: ``[N, C, h, w]``, N >= 1, normalised per draw (`normalise_draws`).
        threshold: strict.
        class_ids: mask ids of the C channels; 1..C when left out.

    Returns:
        Labels ``uint8 [h, w]`` (255 where no class fired) and the mean maps ``[C, h, w]``.

    Raises:
        ValueError: ids and channels do not match.
    """
    channels = maps.shape[1]
    if class_ids is None:
        class_ids = range(1, channels + 1)
    if len(class_ids) != channels:
        raise ValueError(
            f"aggregate: {len(class_ids)} class ids for {channels} channels; "
            "give one per channel."
        )
    mean = maps.mean(dim=0)
    ids = maps.new_tensor(list(class_ids), dtype=torch.uint8)
    nothing = maps.new_full(maps.shape[2:], 255, dtype=torch.uint8)
    # Without classes there is no best one: `argmax` would refuse.
    if not channels:
        return Aggregate(nothing, mean)
    fired = (maps > threshold).any(dim=0)
    # A class that never fired may not win by its mean.
    candidates = torch.where(fired, mean, -torch.inf)
    best = ids[candidates.argmax(dim=0)]
    labels = torch.where(fired.any(dim=0), best, nothing)
    return Aggregate(labels, mean)


def _shifts(area: int, h: int, w: int) -> Iterator[tuple[int, Cells, Cells]]:
    """Yield, per window position d, the output cells whose window reaches inside the map, and the cells they read.

    Positions that read outside the map everywhere are left out.
    """
    s = math.isqrt(area)
    r = (s - 1) // 2
    for d in range(area):
        dy = d // s - r
        dx = d % s - r
        if abs(dy) >= h or abs(dx) >= w:
            continue
        rows, source_rows = _overlap(h, dy)
        columns, source_columns = _overlap(w, dx)
        yield d, (rows, columns), (source_rows, source_columns)


def _overlap(length: int, step: int) -> Cells:
    """Return the cells whose neighbour `step` further lies inside too, and these neighbours."""
    first = max(-step, 0)
    last = length - max(step, 0)
    return slice(first, last), slice(first + step, last + step)


def _check_odd(s: int) -> None:
    if s < 1 or s % 2 == 0:
        raise ValueError(
            f"ficklenet: the window size must be odd, not {s}; "
            "an even window has no centre to preserve."
        )
