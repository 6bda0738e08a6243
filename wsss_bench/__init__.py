"""One harness for weakly-supervised semantic segmentation.

Only the names a plugin author needs live here; they are imported on first use, so that importing the package is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "hookimpl": "hookspecs",
    "MethodCard": "card",
    "StageContext": "context",
    "WeakImage": "view",
    "WeakView": "view",
    "Seed": "artifacts",
    "SeedSet": "artifacts",
    "SeedWriter": "artifacts",
    "LabelSet": "artifacts",
    "LabelWriter": "artifacts",
    "Segmentor": "artifacts",
}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'wsss_bench' has no attribute {name!r}")
    return getattr(import_module(f"wsss_bench.{_WHERE[name]}"), name)
