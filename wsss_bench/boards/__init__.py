"""Boards: from run records alone to Markdown, CSV, LaTeX, JSON and one HTML page, byte for byte the same every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.boards.builder import build, check, datasets
    from wsss_bench.boards.records import RunRecord, load_records, save_record

_HOME = {
    "build": "builder",
    "check": "builder",
    "datasets": "builder",
    "RunRecord": "records",
    "load_records": "records",
    "save_record": "records",
}

__all__ = ["RunRecord", "build", "check", "datasets", "load_records", "save_record"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
