"""One way to compile hot loops: numba, cached on disk, without the interpreter lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

_F = TypeVar("_F", bound=Callable[..., Any])


def jit(function: _F) -> _F:
    """Compile `function` on first call, cached on disk; where no cache folder is writable, compile once per process."""
    return _compile(function)


def fast_jit(function: _F) -> _F:
    """`jit` that may reorder floating-point sums and assumes finite numbers: for results that are rounded anyway."""
    return _compile(function, fastmath=True, error_model="numpy")


def fused_jit(function: _F) -> _F:
    """`jit` that may fuse a multiplication and an addition, and nothing else: sums keep their order."""
    return _compile(function, fastmath={"contract"}, error_model="numpy")


def _compile(function: _F, **options: Any) -> _F:
    # Without the interpreter lock, so that threads work on several images at a time.
    try:
        decorate = numba.njit(cache=True, nogil=True, **options)
        compiled = decorate(function)
    except RuntimeError:
        # numba refuses to cache where it finds no folder to write to, such as a package
        # installed by root under a home that is read-only.
        decorate = numba.njit(nogil=True, **options)
        compiled = decorate(function)
    return compiled
