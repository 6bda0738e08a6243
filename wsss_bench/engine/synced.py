"""Batch norms whose statistics are those of the whole batch, where several processes have a share of it each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from wsss_bench.engine.ranks import world
from wsss_bench.errors import RecipeError

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers that `synced` knows; a subclass may do more than normalise."""


@contextmanager
def synced(model: nn.Module, who: str) -> Iterator[None]:
    """Let moving batch norms of `model` take their statistics over all processes while the block runs.

    `model` is left in training mode; a batch norm that stays in eval mode there does not move.

    Raises:
        RecipeError: a layer moves that cannot be told to; the message begins with `who` and names it.
    """
    model.train()
    moving = [] if world() == 1 else _moving(model, who)
    # The layers themselves stay: whoever folds, saves or loads the network knows their kinds.
    for norm in moving:
        norm.forward = partial(_normed, norm)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for norm in moving:
            del norm.forward


def _moving(model: nn.Module, who: str) -> list[_BatchNorm]:
    found = []
    for name, module in model.named_modules():
        if not isinstance(module, _BatchNorm) or not module.training:
            continue
        if type(module) not in PLAIN:
            kind = type(module).__name__
            what = f"the batch norm {name} ({kind}) moves, and is not one that processes can share."
            fix = "Freeze its statistics, or train on one GPU."
            raise RecipeError(f"{who}: {what} {fix}")
        found.append(module)
    return found


class _Sum(torch.autograd.Function):
    """The sum over all processes; a gradient is that of all their losses."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> Tensor:
        total = outer.contiguous().clone()
        dist.all_reduce(total)
        return total


def _normed(norm: _BatchNorm, values: Tensor) -> Tensor:
    """Return what `norm` makes of its input in training mode, with the statistics of all processes."""
    shape = [1, -1] + [1] * (values.ndim - 2)
    places = [axis for axis in range(values.ndim) if axis != 1]
    # Half precision holds no sum over a batch.
    wide = values.float()
    count = wide.numel() // wide.shape[1] * world()
    mean = _Sum.apply(wide.sum(places)) / count
    centred = wide - mean.view(shape)
    # In a second pass: the mean of squares less the square of the mean loses half of the digits.
    variance = _Sum.apply(centred.square().sum(places)) / count
    _move(norm, mean.detach(), variance.detach(), count)
    normed = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        normed = normed * norm.weight.view(shape) + norm.bias.view(shape)
    return normed.to(values.dtype)


def _move(norm: _BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Move the running statistics as torch does, with the unbiased variance."""
    if norm.running_mean is None or norm.running_var is None:
        return
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked += 1
    step = norm.momentum
    if step is None:
        step = 1.0 / float(norm.num_batches_tracked)
    unbiased = variance * (count / max(1, count - 1))
    norm.running_mean.lerp_(mean, step)
    norm.running_var.lerp_(unbiased, step)
