"""The conformance kit: ``check_method("mine").require()`` in a test, or ``wsss-bench plugin check mine``.

Importing this package is cheap; a check runs the method in processes of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.testing.kit import check_method
    from wsss_bench.testing.report import CHECKS, Check, Report

__all__ = ["CHECKS", "Check", "Report", "check_method"]

_HOME = {
    "CHECKS": "report",
    "Check": "report",
    "Report": "report",
    "check_method": "kit",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
