"""What a process knows of the others that share its training: its rank, and means over all of them."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from wsss_bench.errors import RecipeError


def world() -> int:
    """Return how many processes share the training that runs now; 1 outside of a shared one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def rank() -> int:
    """Return the number of this process among those that share the training; 0 leads, and is alone outside of one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank()
    return 0


def over_ranks(value: Tensor) -> Tensor:
    """Return the mean of `value` over the processes that share the training, in float32 and without gradient.

    In a process of its own it is `value` as it is. A loss that is a mean over the counted pixels of a batch divides
    by ``over_ranks(count)``: each process has its share of the batch, gradients are averaged over processes, and so
    the mean is that over the whole batch. All processes must get here equally often.
    """
    together = world()
    if together == 1:
        return value
    # A copy: the reduction is in place.
    total = value.detach().to(torch.float32, copy=True)
    dist.all_reduce(total)
    return total / together


def check_share(batch: int, together: int, who: str) -> None:
    """Raise `RecipeError` where `together` processes cannot share a batch evenly."""
    if batch % together:
        what = f"a batch of {batch} images cannot be shared by {together} processes."
        fix = f"Choose batch=… as a multiple of {together}, or another number of --gpus"
        raise RecipeError(f"{who}: {what} {fix}.")
