"""FickleNet's stochastic selection of hidden units (Lee et al., CVPR 2019), in a form that computes the features once.

The paper expands the feature map so that the s x s windows of a convolution no longer overlap, drops cells of that expanded map
at random (the same cells in every channel, never a window's centre), and convolves with stride s. Because the mask is
shared by all channels and the head is one linear convolution without bias, the sum over channels can be taken first:
``y[c, d, q] = sum_k W[c, k, d] x[k, q]``. Every further draw is then a masked sum of shifted planes of y, and the
element-wise Grad-CAM needs no backward pass. Both are exact; `expand` and `expanded_scores` keep the paper's path.

Index d runs over the window, ``d = a * s + b``; r = (s - 1) / 2; the window of output cell p reads cell ``p + (a - r, b - r)``.
A mask says 1 = kept and lives at output cells: ``mask[:, d, p]``. Nothing is rescaled by 1 / (1 - p): the same rate is
used in training and inference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


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
    windows = F.unfold(x, s, padding=(s - 1) // 2).view(batch, channels, s, s, h, w)
    return windows.permute(0, 1, 4, 2, 5, 3).reshape(batch, channels, h * s, w * s)


def mask_plane(mask: Tensor, s: int) -> Tensor:
    """Lay a mask ``[B, s*s, h, w]`` out on the expanded plane: ``[B, 1, s*h, s*w]``."""
    batch, _, h, w = mask.shape
    return (
        mask.view(batch, s, s, h, w)
        .permute(0, 3, 1, 4, 2)
        .reshape(batch, 1, h * s, w * s)
    )


def expanded_scores(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Scores by the paper's path, the reference for `stochastic_scores`; memory is s*s times that of x.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        mask: ``[B, s*s, h, w]``.

    Returns:
        ``[B, C, h, w]``.
    """
    s = weight.shape[-1]
    return F.conv2d(expand(x, s) * mask_plane(mask, s), weight, stride=s)


def centre_preserving_mask(
    generator: torch.Generator, b: int, h: int, w: int, s: int, p: float
) -> Tensor:
    """Draw ``float32 [b, s*s, h, w]``: every cell of a window is dropped (0) with rate `p`, its centre never.

    The mask is made on the generator's device; on the CPU it is the same on every machine.
    """
    _check_odd(s)
    if not 0 <= p <= 1:
        raise ValueError(
            f"centre_preserving_mask: the dropout rate must lie in [0, 1], not {p}."
        )
    kept = (
        torch.rand((b, s * s, h, w), generator=generator, device=generator.device) >= p
    ).float()
    kept[:, (s * s) // 2] = 1
    return kept


def deterministic_mask(b: int, h: int, w: int, s: int) -> Tensor:
    """The mask that keeps everything, for the deterministic variant."""
    _check_odd(s)
    return torch.ones(b, s * s, h, w)


def project(x: Tensor, weight: Tensor) -> Tensor:
    """Sum over channels first: one 1x1 convolution gives ``y [B, C, s*s, h, w]``, from which every draw is computed.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``; pass only the rows of the classes that are wanted.
    """
    classes, channels, s, _ = weight.shape
    _check_odd(s)
    rows = weight.permute(0, 2, 3, 1).reshape(classes * s * s, channels, 1, 1)
    return F.conv2d(x, rows).view(x.shape[0], classes, s * s, *x.shape[2:])


def stochastic_scores(y: Tensor, mask: Tensor) -> Tensor:
    """``S[c, p] = sum_d mask[d, p] * y[c, d, p + d]``: the score map of one draw.

    Args:
        y: ``[B, C, s*s, h, w]`` from `project`; B may be 1 to share it between the draws of `mask`.
        mask: ``[N, s*s, h, w]``, N = B unless B is 1.

    Returns:
        ``[N, C, h, w]``, equal to `expanded_scores`.
    """
    out = y.new_zeros(mask.shape[0], y.shape[1], *y.shape[3:])
    for d, cell, source in _shifts(y.shape[2], y.shape[3], y.shape[4]):
        out[(..., *cell)] += (
            mask[:, d, None, cell[0], cell[1]]
            * y[(slice(None), slice(None), d, *source)]
        )
    return out


def contributions(y: Tensor, mask: Tensor) -> Tensor:
    """What every cell adds to the pooled score: ``(1 / hw) sum_d mask[d, q - d] * y[c, d, q]``.

    It is the product of feature and gradient of the pooled score, summed over channels; its sum over cells is the pooled score.

    Args:
        y: ``[B, C, s*s, h, w]`` from `project`; B may be 1 to share it between the draws of `mask`.
        mask: ``[N, s*s, h, w]``.

    Returns:
        ``[N, C, h, w]``, signed.
    """
    out = y.new_zeros(mask.shape[0], y.shape[1], *y.shape[3:])
    for d, cell, source in _shifts(y.shape[2], y.shape[3], y.shape[4]):
        out[(..., *source)] += (
            mask[:, d, None, cell[0], cell[1]]
            * y[(slice(None), slice(None), d, *source)]
        )
    return out / (y.shape[3] * y.shape[4])


def elementwise_gradcam(y: Tensor, mask: Tensor) -> Tensor:
    """``ReLU(sum_k x_k * dS_c / dx_k)`` for S the spatial mean of the score map, without a backward pass: ``[N, C, h, w]``."""
    return contributions(y, mask).relu()


def pooled_scores(x: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
    """Image-level scores of one draw, the spatial mean of its score map, for training: neither expands x nor projects it.

    ``(1 / hw) sum_{k,d} W[c, k, d] sum_q mask[d, q - d] x[k, q]``: one matrix product per image, then one for the batch.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        mask: ``[B, s*s, h, w]``.

    Returns:
        ``[B, C]``; gradients flow to `x` and `weight`.
    """
    cells = x.shape[2] * x.shape[3]
    at_source = torch.zeros_like(mask)
    for d, cell, source in _shifts(mask.shape[1], x.shape[2], x.shape[3]):
        at_source[(slice(None), d, *source)] = mask[(slice(None), d, *cell)]
    moments = torch.bmm(x.flatten(2), at_source.flatten(2).transpose(1, 2).to(x.dtype))
    return moments.flatten(1) @ weight.flatten(1).T / cells


def general_dropout(
    x: Tensor, weight: Tensor, generator: torch.Generator, p: float
) -> Tensor:
    """`contributions` under ordinary dropout: every unit of every window is dropped on its own, centres included.

    The losing variant of the paper's Table 5. Its mask differs between channels, so the sum over channels cannot be taken
    first; this goes window position by window position and needs s*s times the work per draw.

    Args:
        x: ``[B, k, h, w]``.
        weight: ``[C, k, s, s]``.
        generator: draws ``[B, k, h, w]`` uniform numbers per window position, in the order of d.
        p: rate at which units are dropped.

    Returns:
        ``[B, C, h, w]``, signed; its sum over cells is the pooled score, its ReLU the element-wise Grad-CAM.
    """
    flat = weight.flatten(2)
    out = x.new_zeros(x.shape[0], weight.shape[0], *x.shape[2:])
    for d, _, source in _shifts(flat.shape[2], x.shape[2], x.shape[3]):
        kept = (
            torch.rand(x.shape, generator=generator, device=generator.device) >= p
        ).to(x)
        out[(..., *source)] += F.conv2d(
            (x * kept)[(..., *source)], flat[:, :, d, None, None]
        )
    return out / (x.shape[2] * x.shape[3])


def draw_maps(
    y: Tensor,
    generator: torch.Generator,
    draws: int = 200,
    p: float = 0.9,
    chunk: int = 8,
) -> Tensor:
    """Element-wise Grad-CAM maps of `draws` random selections on one image, each map divided by its own maximum.

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
    s = round(area**0.5)
    maps = []
    with torch.no_grad():
        for start in range(0, draws, chunk):
            mask = centre_preserving_mask(
                generator, min(chunk, draws - start), h, w, s, p
            ).to(y)
            maps.append(normalise_draws(elementwise_gradcam(y, mask)))
    return torch.cat(maps)


def normalise_draws(maps: Tensor, eps: float = 1e-12) -> Tensor:
    """Divide every ``[h, w]`` map by its own maximum; maps without positive values stay zero."""
    return maps / maps.amax(dim=(-2, -1), keepdim=True).clamp_min(eps)


def aggregate(
    maps: Tensor, threshold: float = 0.35, class_ids: Sequence[int] | None = None
) -> Aggregate:
    """One class per cell: a class takes part if any draw exceeds `threshold`; of several the one of highest mean wins.

    Args:
        maps: ``[N, C, h, w]``, N >= 1, normalised per draw (`normalise_draws`).
        threshold: strict.
        class_ids: mask ids of the C channels; 1..C when left out.

    Returns:
        Labels ``uint8 [h, w]`` (255 where no class fired) and the mean maps ``[C, h, w]``.
    """
    ids = torch.tensor(
        list(range(1, maps.shape[1] + 1) if class_ids is None else class_ids),
        dtype=torch.uint8,
        device=maps.device,
    )
    if len(ids) != maps.shape[1]:
        raise ValueError(
            f"aggregate: {len(ids)} class ids for {maps.shape[1]} channels; give one per channel."
        )
    mean = maps.mean(dim=0)
    if not len(ids):
        return Aggregate(
            torch.full(maps.shape[2:], 255, dtype=torch.uint8, device=maps.device), mean
        )
    fired = (maps > threshold).any(dim=0)
    best = torch.where(fired, mean, -torch.inf).argmax(dim=0)
    return Aggregate(
        torch.where(fired.any(dim=0), ids[best], torch.full_like(ids[best], 255)), mean
    )


def _shifts(
    area: int, h: int, w: int
) -> Iterator[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
    """Per window position d: the output cells whose window reaches inside the map, and the cells they read."""
    s = round(area**0.5)
    r = (s - 1) // 2
    for d in range(area):
        dy, dx = d // s - r, d % s - r
        if abs(dy) >= h or abs(dx) >= w:
            continue
        rows, columns = (
            slice(max(-dy, 0), h - max(dy, 0)),
            slice(max(-dx, 0), w - max(dx, 0)),
        )
        yield (
            d,
            (rows, columns),
            (
                slice(rows.start + dy, rows.stop + dy),
                slice(columns.start + dx, columns.stop + dx),
            ),
        )


def _check_odd(s: int) -> None:
    if s < 1 or s % 2 == 0:
        raise ValueError(
            f"ficklenet: the window size must be odd, not {s}; an even window has no centre to preserve."
        )
