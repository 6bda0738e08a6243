"""Everything that touches mmengine and mmsegmentation: networks, data loading, trainings, prediction.

No other room imports mm*. Importing this package costs nothing; torch and mm* load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from wsss_bench._moved import forward

_WHERE = {
    "train": "training",
    "training_config": "training",
    "keep_segmentor": "segmentor",
    "load_segmentor": "segmentor",
    "segmentor_config": "segmentor",
    "predict_probabilities": "inference",
    "register": "registry",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name == "predict":
        return forward(__name__, ("toolbox.prediction",), depth=3)(name)
    if name not in _WHERE:
        raise AttributeError(f"module 'wsss_bench.engine' has no attribute {name!r}")
    return getattr(import_module(f"wsss_bench.engine.{_WHERE[name]}"), name)
