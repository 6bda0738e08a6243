"""Reduced precision by name: which there are, and the context that computes in one."""

from __future__ import annotations

import torch

from wsss_bench.errors import RecipeError

PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def dtype_of(name: str, key: str) -> str:
    """The dtype of a precision, as mmengine names it; raises `RecipeError`, naming the parameter `key`, where there is none."""
    if name not in PRECISIONS:
        raise RecipeError(
            f"{key}={name!r} is not known; use {', '.join(PRECISIONS)} or '' for full precision."
        )
    return PRECISIONS[name]


def check_device(dtype: str, key: str, device: str) -> None:
    """Raise `RecipeError` where `device` cannot compute in `dtype`."""
    if dtype == "float16" and torch.device(device).type == "cpu":
        raise RecipeError(f"{key}=fp16 needs a GPU. Use {key}=bf16 or leave it out.")


def autocast(name: str, key: str, device: str) -> torch.autocast:
    """Computes matrix products and convolutions in precision `name` ("" is full); raises as `dtype_of` and `check_device` do."""
    dtype = dtype_of(name, key) if name else "bfloat16"
    check_device(dtype, key, device)
    return torch.autocast(
        torch.device(device).type, dtype=getattr(torch, dtype), enabled=bool(name)
    )
