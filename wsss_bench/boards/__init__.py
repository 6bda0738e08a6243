"""Boards: from run records alone to Markdown, CSV, LaTeX, JSON and one HTML page, byte for byte the same every time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsss_bench.boards.builder import build, check, datasets

_HOME = {
    "build": "builder",
    "check": "builder",
    "datasets": "builder",
}

__all__ = ["build", "check", "datasets"]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the command line loads this package without numpy."""
    from importlib import import_module

    from wsss_bench._moved import forward

    if name not in _HOME:
        # Names of records could be imported from here before they had a room of their own.
        return forward(__name__, ("results.records",), depth=3)(name)
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
