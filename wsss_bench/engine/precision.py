"""Reduced precision by name: which there are, and the context that computes in one."""

from __future__ import annotations

import torch

from wsss_bench.errors import RecipeError

PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def dtype_of(name: str, key: str, device: str) -> str:
    """The dtype of a precision, as mmengine names it.

    Raises:
        RecipeError: there is no such precision, or the device cannot compute in it; `key` is the parameter it came from.
    """
    if name not in PRECISIONS:
        raise RecipeError(f"{key}={name!r} is not known; use {', '.join(PRECISIONS)} or '' for full precision.")
    if name == "fp16" and device == "cpu":
        raise RecipeError(f"{key}=fp16 needs a GPU. Use {key}=bf16 or leave it out.")
    return PRECISIONS[name]


def autocast(name: str, key: str, device: str) -> torch.autocast:
    """Computes matrix products and convolutions in precision `name` ("" is full); see `dtype_of` for errors."""
    kind = torch.device(device).type
    dtype = getattr(torch, dtype_of(name, key, kind)) if name else torch.bfloat16
    return torch.autocast(kind, dtype=dtype, enabled=bool(name))
