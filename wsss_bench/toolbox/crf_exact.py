"""Dense CRF without a lattice: exact mean field on small grids, batched, on whatever device the energies are.

A kernel over 41x41 cells is a matrix of 1681 squared, 11 MB; for the CRF inside DSRG's and SEC's training loops this
replaces a process pool by one batched matrix product per step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsss_bench.toolbox.crf_presets import CrfParams


@torch.no_grad()
def meanfield_exact(images: Tensor, unary: Tensor, params: CrfParams) -> Tensor:
    """Mean-field marginals with exact kernels, the message of a cell to itself included (as lattice implementations do).

    Args:
        images: ``float32 [B, h, w, 3]``, RGB on the 0..255 scale, on the grid of the energies.
        unary: ``[B, K, h, w]`` energies.
        params: constants for this grid; see `CrfParams.scaled`.

    Returns:
        ``[B, K, h, w]``, summing to 1 over K; no gradient. Memory: ``4 * B * (h * w)**2`` bytes, twice at the peak.

    Raises:
        ValueError: images and energies lie on different grids.
    """
    if images.shape != (unary.shape[0], *unary.shape[2:], 3):
        raise ValueError(
            f"meanfield_exact: images {tuple(images.shape)} must be [B, h, w, 3] on the grid of unary {tuple(unary.shape)}."
        )
    energies = unary.flatten(2)
    kernel = _kernel(images.to(unary), params)
    q = (-energies).softmax(dim=1)
    for _ in range(params.iterations):
        q = torch.baddbmm(energies, q, kernel, beta=-1).softmax(dim=1)
    return q.view_as(unary)


def _kernel(images: Tensor, params: CrfParams) -> Tensor:
    """The sum of both kernels ``[B, N, N]``, each symmetrically normalised and weighted."""
    batch, h, w, _ = images.shape
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    places = torch.stack([columns, rows], dim=-1).view(1, h * w, 2).to(images)
    smooth = _normalised(places / params.gauss_sxy, params.gauss_compat)
    colours = images.view(batch, h * w, 3) / params.bilateral_srgb
    features = torch.cat(
        [(places / params.bilateral_sxy).expand(batch, -1, -1), colours], dim=-1
    )
    return _normalised(features, params.bilateral_compat).add_(smooth)


def _normalised(features: Tensor, compat: float) -> Tensor:
    # Products in place of pairwise differences are as exact as needed once the features are centred.
    centred = features - features.mean(dim=1, keepdim=True)
    squares = centred.square().sum(dim=-1)
    kernel = torch.bmm(centred, centred.transpose(1, 2))
    kernel.sub_(0.5 * squares.unsqueeze(1)).sub_(0.5 * squares.unsqueeze(2)).clamp_(
        max=0
    ).exp_()
    norm = kernel.sum(dim=2).add_(1e-20).rsqrt_()
    return kernel.mul_(norm.unsqueeze(1)).mul_(norm.unsqueeze(2)).mul_(compat)
