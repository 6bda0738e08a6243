"""What a run tells whoever watches: steps started, going on, done, failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell, Step


class Observer:
    """Base of every display; does nothing."""

    def cell_started(self, cell: Cell) -> None:
        """The cell's first step is about to be looked up."""

    def step_waiting(self, cell: Cell, step: Step) -> None:
        """Another process computes this step; this one waits for it."""

    def step_started(self, cell: Cell, step: Step) -> None:
        """The step is not in the store (or unfinished there) and is computed now."""

    def step_progress(
        self, cell: Cell, step: Step, what: str, done: int, total: int
    ) -> None:
        """`done` of `total` of `what` (images, iterations, …)."""

    def step_done(self, cell: Cell, step: Step, seconds: float, cached: bool) -> None:
        """The step is committed, by this run or (`cached`) by an earlier one."""

    def cell_done(self, cell: Cell) -> None:
        """The cell's record is written."""

    def cell_failed(self, cell: Cell, step: Step | None, error: BaseException) -> None:
        """The cell stops here; the others go on."""

    def note(self, text: str) -> None:
        """One line for the user."""

    def close(self) -> None:
        """The run is over, finished or not."""


class Clock:
    """Estimates the time left from the pace since the first report of the same thing."""

    def __init__(self) -> None:
        self._what = ""
        self._first = 0
        self._since = 0.0

    def left(
        self, what: str, done: int, total: int, now: float | None = None
    ) -> float | None:
        """Seconds left, or None while there is no pace yet. A resumed step starts its pace where it resumed."""
        now = time.monotonic() if now is None else now
        if what.split(" ")[0] != self._what or done < self._first:
            self._what, self._first, self._since = what.split(" ")[0], done, now
        gained = done - self._first
        return (now - self._since) / gained * (total - done) if gained > 0 else None


def duration(seconds: float) -> str:
    """``7 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
