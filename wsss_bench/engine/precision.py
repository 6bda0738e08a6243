"""Reduced precision by name: which there are, and the context that computes in one."""

from __future__ import annotations

import torch

from wsss_bench.errors import RecipeError

PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def dtype_of(name: str, key: str) -> str:
    """Return the dtype of a precision, as mmengine names it.

    Raises:
        RecipeError: there is no such precision; the message names the parameter `key`.
    """
    if name not in PRECISIONS:
        known = ", ".join(PRECISIONS)
        fix = f"use {known} or '' for full precision."
        raise RecipeError(f"{key}={name!r} is not known; {fix}")
    return PRECISIONS[name]


def check_device(
    dtype: str,
    key: str,
    device: str,
) -> None:
    """Raise `RecipeError` where `device` cannot compute in `dtype`."""
    # float16 has few kernels on a CPU, and gradients underflow without a scaler, which mmengine has for GPUs only.
    if dtype == "float16" and torch.device(device).type == "cpu":
        raise RecipeError(f"{key}=fp16 needs a GPU. Use {key}=bf16 or leave it out.")


def autocast(
    name: str,
    key: str,
    device: str,
) -> torch.autocast:
    """Return a context in which matrix products and convolutions run in precision `name` ("" is full).

    Raises:
        RecipeError: as `dtype_of` and `check_device` do.
    """
    # A context that is off wants a dtype too; bfloat16 is one that every device has.
    dtype = dtype_of(name, key) if name else "bfloat16"
    check_device(dtype, key, device)
    kind = torch.device(device).type
    return torch.autocast(kind, getattr(torch, dtype), enabled=bool(name))
