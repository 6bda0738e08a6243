"""Visual words encoder and hybrid spatial pooling (Ru et al., IJCAI 2021; VWL, IJCV 2022).

Shapes: features ``[B, D, h, w]``, codebook ``[k, D]``, assignment ``[B, k, h, w]``. Where the paper and its released
code differ, both are here and the argument says which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def assign_words(features: Tensor, codebook: Tensor) -> Tensor:
    """Return the soft assignment of every cell to the visual words: a softmax of cosine similarities, no temperature.

    Args:
        features: ``[B, D, h, w]``. The release passes them detached, so that the codebook loss trains no backbone.
        codebook: ``[k, D]``.

    Returns:
        ``[B, k, h, w]``, summing to 1 over words. Because cosines lie in [-1, 1] it is almost flat for many words.
    """
    directions = F.normalize(features, dim=1)
    words = F.normalize(codebook, dim=1)
    similarity = torch.einsum("bdhw,kd->bkhw", directions, words)
    return similarity.softmax(dim=1)


def word_labels(assignment: Tensor) -> Tensor:
    """Return which words occur, ``[B, k]``: 1 where a word is the best of some cell of ``[B, k, h, w]``, or 0."""
    occurs = assignment.new_zeros(assignment.shape[:2])
    best = assignment.argmax(dim=1)
    return occurs.scatter_(1, best.flatten(1), 1.0)


def word_histogram(assignment: Tensor, mode: Literal["mean", "sum"] = "sum") -> Tensor:
    """Return the histogram of soft word counts ``[B, k]``: the sum over cells (released code) or their mean (paper).

    The mean carries little signal with hundreds of words; the sum is of the order of cells per word.

    Raises:
        ValueError: another mode.
    """
    if mode not in ("mean", "sum"):
        raise ValueError(f"word_histogram: mode must be 'mean' or 'sum', not {mode!r}.")
    if mode == "mean":
        return assignment.mean(dim=(2, 3))
    return assignment.sum(dim=(2, 3))


def hspp(
    features: Tensor,
    gamma: float = 2.0,
    levels: Sequence[int] = (1, 2, 4),
    mode: Literal["adaptive", "floor"] = "adaptive",
) -> Tensor:
    """Return hybrid spatial pyramid pooling.

    ``(sum_r mean of the r x r local maxima + gamma * average) / (gamma + len(levels))``.

    Args:
        features: ``[B, D, h, w]``, h and w at least as large as every level.
        gamma: weight of global average pooling.
        levels: grid sizes r.
        mode: ``"adaptive"`` splits the map into exactly r x r windows (paper); ``"floor"`` uses windows of
            ``floor(h / r)`` with equal stride (released code), the same only where every r divides h and w.

    Returns:
        ``[B, D]``.

    Raises:
        ValueError: another mode, or a map too small to be split.
    """
    if mode not in ("adaptive", "floor"):
        raise ValueError(f"hspp: mode must be 'adaptive' or 'floor', not {mode!r}.")
    height, width = features.shape[-2:]
    finest = max(levels)
    if min(height, width) < finest:
        raise ValueError(
            f"hspp: features of {height}x{width} cells cannot be split into "
            f"{finest}x{finest} windows; lower levels."
        )
    pooled = gamma * features.mean(dim=(2, 3))
    for level in levels:
        if mode == "adaptive":
            maxima = F.adaptive_max_pool2d(features, level)
        else:
            window = (height // level, width // level)
            maxima = F.max_pool2d(features, window)
        pooled = pooled + maxima.mean(dim=(2, 3))
    return pooled / (gamma + len(levels))


def word_cam(assignment: Tensor, weight: Tensor) -> Tensor:
    """Return class maps from words: ``M_c = sum_j W[c, j] P_j``.

    Args:
        assignment: ``[B, k, h, w]``.
        weight: ``[C, k]``, the linear layer from word histogram to classes.

    Returns:
        ``[B, C, h, w]``, before ReLU.
    """
    return torch.einsum("bkhw,ck->bchw", assignment, weight)


def normalise_maps(maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the ReLU of every ``[h, w]`` map over its maximum plus `eps`; one without positive values stays zero."""
    positive = maps.relu()
    peak = positive.amax(dim=(-2, -1), keepdim=True)
    return positive / (peak + eps)


def fuse_max(image_maps: Tensor, word_maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the cell-wise maximum of image CAM and word CAM, each normalised by its own maximum first.

    Args:
        image_maps: ``[B, C, h, w]`` from the image classifier, before or after ReLU.
        word_maps: ``[B, C, h, w]`` from `word_cam`.
        eps: added to each maximum.

    Returns:
        ``[B, C, h, w]`` in [0, 1].
    """
    # Logits and word weights have no common scale: unnormalised, one would always win.
    from_image = normalise_maps(image_maps, eps)
    from_words = normalise_maps(word_maps, eps)
    return torch.maximum(from_image, from_words)


def decorrelation_loss(codebook: Tensor) -> Tensor:
    """Return ``(|G|_F - |diag G|_2) / 2`` with G the Gram matrix of the row-centred codewords (VWL-L).

    Args:
        codebook: ``[k, D]``, raw codewords.

    Returns:
        Scalar, 0 when centred codewords are orthogonal.
    """
    centre = codebook.mean(dim=1, keepdim=True)
    centred = codebook - centre
    gram = centred @ centred.T
    # A difference of norms, not the norm of the rest: so the paper has it.
    excess = gram.norm() - gram.diagonal().norm()
    return 0.5 * excess


def update_codebook(
    codebook: Tensor,
    features: Tensor,
    assignment: Tensor,
    rate: float = 1e-3,
) -> Tensor:
    """Return the codebook after a memory-bank step of VWL-M.

    ``rate * mean of the cells assigned to a word + (1 - rate) * word``; a word without cells is left as it is.

    Args:
        codebook: ``[k, D]``.
        features: ``[B, D, h, w]``.
        assignment: ``[B, k, h, w]``; each cell counts for its best word.
        rate: step size.

    Returns:
        ``[k, D]``, detached; the argument is not changed.
    """
    with torch.no_grad():
        best = assignment.argmax(dim=1).flatten()
        cells = features.permute(0, 2, 3, 1).flatten(0, 2)
        sums = torch.zeros_like(codebook)
        sums.index_add_(0, best, cells.to(codebook.dtype))
        counts = torch.bincount(best, minlength=len(codebook))
        counts = counts.to(codebook.dtype).unsqueeze(1)
        moved = rate * sums / counts.clamp_min(1)
        moved = moved + (1 - rate) * codebook
        # The released code shrinks words without cells, which cosine similarity cannot see.
        return torch.where(counts > 0, moved, codebook)
