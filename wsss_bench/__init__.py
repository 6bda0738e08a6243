"""One harness for weakly-supervised semantic segmentation.

The public names live here: what the author of a plugin needs, and what a script or a notebook works with.
They are imported on first use, so that importing the package is free.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from wsss_bench import _moved

__version__ = "0.1.0"

BORN = time.time_ns()
"""When this process imported the harness, in nanoseconds since 1970: what has changed since may not be what it runs."""

# Old import paths must work from the first import on, whichever module it is of.
_moved.install()

_WHERE = {
    "hookimpl": "contract.hookspecs",
    "MethodCard": "contract.card",
    "StageContext": "contract.context",
    "WeakImage": "contract.view",
    "WeakView": "contract.view",
    "Seed": "contract.artifacts",
    "SeedSet": "contract.artifacts",
    "SeedWriter": "contract.artifacts",
    "ArraySet": "contract.artifacts",
    "ArrayWriter": "contract.artifacts",
    "IGNORE": "contract.view",
    "read_image": "io.images",
    "LabelSet": "contract.artifacts",
    "LabelWriter": "contract.artifacts",
    "Segmentor": "contract.artifacts",
    "run": "runs.api",
    "RunResult": "runs.result",
    "Board": "runs.result",
    "load_board": "runs.result",
}
"""Public names, and the modules that they are imported from."""

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'wsss_bench' has no attribute {name!r}")
    return getattr(import_module(f"wsss_bench.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
