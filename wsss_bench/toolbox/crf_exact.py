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
    """Return mean-field marginals with exact kernels, in float32 whatever precision surrounds the call.

    Args:
        images: ``float32 [B, h, w, 3]``, RGB on the 0..255 scale, on the grid of the energies.
        unary: ``[B, K, h, w]`` energies.
        params: constants for this grid; see `CrfParams.scaled`.

    Returns:
        ``float32 [B, K, h, w]``, summing to 1 over K; no gradient. Memory: ``4 * B * (h * w)**2`` bytes, twice at
        the peak.

    Raises:
        ValueError: images and energies lie on different grids.
    """
    batch, _, h, w = unary.shape
    if images.shape != (batch, h, w, 3):
        raise ValueError(
            f"meanfield_exact: images {tuple(images.shape)} must be [B, h, w, 3] "
            f"on the grid of unary {tuple(unary.shape)}."
        )
    # Autocast would multiply in half precision, and move one label in ten.
    with torch.autocast(unary.device.type, enabled=False):
        q = _meanfield(images.float(), unary.float().flatten(2), params)
    return q.view(unary.shape)


def _meanfield(images: Tensor, energies: Tensor, params: CrfParams) -> Tensor:
    kernel = _kernel(images, params)
    q = (-energies).softmax(dim=1)
    for _ in range(params.iterations):
        # The kernel's diagonal stays: implementations on a lattice send a cell its own
        # message too, and the published constants were chosen with it.
        logits = torch.baddbmm(energies, q, kernel, beta=-1)
        q = logits.softmax(dim=1)
    return q


def _kernel(images: Tensor, params: CrfParams) -> Tensor:
    """Return the sum of both kernels ``[B, N, N]``, each symmetrically normalised and weighted; N cells, row-major."""
    batch, h, w, _ = images.shape
    cells = h * w
    rows, columns = torch.meshgrid(
        torch.arange(h),
        torch.arange(w),
        indexing="ij",
    )
    places = torch.stack([columns, rows], dim=-1)
    places = places.view(1, cells, 2).to(images)
    smooth = _normalised(places / params.gauss_sxy, params.gauss_compat)
    colours = images.view(batch, cells, 3) / params.bilateral_srgb
    shared = places / params.bilateral_sxy
    shared = shared.expand(batch, -1, -1)
    features = torch.cat([shared, colours], dim=-1)
    # In place: a third matrix of this size would set the peak of memory.
    return _normalised(features, params.bilateral_compat).add_(smooth)


def _normalised(features: Tensor, compat: float) -> Tensor:
    """Return ``compat * D^-1/2 G D^-1/2`` ``[B, N, N]``, G the Gaussian of features ``[B, N, d]``, D its row sums."""
    # |a - b|^2 as a^2 + b^2 - 2ab needs no [B, N, N, d]. It loses digits where features
    # are far from the origin, so they are centred first.
    centre = features.mean(dim=1, keepdim=True)
    centred = features - centre
    half_squares = 0.5 * centred.square().sum(dim=-1)
    kernel = torch.bmm(centred, centred.transpose(1, 2))
    kernel.sub_(half_squares.unsqueeze(1))
    kernel.sub_(half_squares.unsqueeze(2))
    # Rounding may leave a cell at a squared distance below 0 from itself.
    kernel.clamp_(max=0).exp_()
    sums = kernel.sum(dim=2)
    norm = sums.add_(1e-20).rsqrt_()
    kernel.mul_(norm.unsqueeze(1))
    kernel.mul_(norm.unsqueeze(2))
    return kernel.mul_(compat)
