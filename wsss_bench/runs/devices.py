"""What this machine has to compute with."""

from __future__ import annotations

import os

from wsss_bench.errors import RecipeError
from wsss_bench.runs.limits import check_device_name


def usable_cores() -> int:
    """Return how many cores this process may use; a container or ``taskset`` may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def resolve_device(name: str) -> str:
    """Return the device that `name` stands for on this machine; raises `RecipeError` for one that is not there."""
    check_device_name(name)
    # Importing torch takes seconds, which a run on the CPU alone need not wait for here.
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    number = int(name.partition(":")[2] or 0)
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or number >= count:
        has = f"this machine has {count} CUDA devices."
        raise RecipeError(f"--device {name}: {has} Use --device cpu.")
    return name
