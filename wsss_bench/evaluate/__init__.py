"""One evaluator, versioned: what is counted, how it is counted, and what is derived from the counts.

The rules are written down in ``docs/protocol.md``. Importing this package is cheap; numpy and numba come with first
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

PROTOCOL = "iou-v1"
"""Name of the rules every number on a board obeys. A change of any rule is a new name."""

if TYPE_CHECKING:
    from wsss_bench.evaluate.bootstrap import (
        Difference,
        Interval,
        Resamples,
        compare,
        holm,
        interval,
        tie_groups,
    )
    from wsss_bench.evaluate.counts import Counts, CountsBuilder
    from wsss_bench.evaluate.curves import CurveBuilder, ThresholdCurve
    from wsss_bench.evaluate.protocol import class_iou, mean_iou

_HOME = {
    "Counts": "counts",
    "CountsBuilder": "counts",
    "CurveBuilder": "curves",
    "Difference": "bootstrap",
    "Interval": "bootstrap",
    "Resamples": "bootstrap",
    "ThresholdCurve": "curves",
    "class_iou": "protocol",
    "compare": "bootstrap",
    "holm": "bootstrap",
    "interval": "bootstrap",
    "mean_iou": "protocol",
    "tie_groups": "bootstrap",
}

__all__ = [
    "PROTOCOL",
    "Counts",
    "CountsBuilder",
    "CurveBuilder",
    "Difference",
    "Interval",
    "Resamples",
    "ThresholdCurve",
    "class_iou",
    "compare",
    "holm",
    "interval",
    "mean_iou",
    "tie_groups",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
