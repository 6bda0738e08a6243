"""How often this process has dropped modules to import them anew: worker processes of an earlier count run old code."""

from __future__ import annotations

_dropped = 0


def count() -> int:
    """Return how often modules were dropped so far."""
    return _dropped


def note_dropped() -> None:
    """Say that modules were dropped."""
    global _dropped
    _dropped += 1
