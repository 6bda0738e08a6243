"""What a run tells whoever watches: steps started, going on, done, failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from wsss_bench.runs.plan import Cell, Step

Say = Callable[[str], None]
"""Takes one line for the user."""

_QUIET_SECONDS = 10.0


def silent(line: str) -> None:
    """Say nothing."""


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


class PlainDisplay(Observer):
    """Writes one line per event to a stream, and one every ten seconds for a step that goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._clock, self._last = Clock(), 0.0

    def _line(self, text: str) -> None:
        # One call a line: other threads and processes may write to the same terminal.
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def step_started(self, cell: Cell, step: Step) -> None:
        """Say so."""
        self._clock, self._last = Clock(), time.monotonic()
        self._line(f"[{cell.label}] {step.name}: started")

    def step_waiting(self, cell: Cell, step: Step) -> None:
        """Say so."""
        self._line(f"[{cell.label}] {step.name}: another process computes it, waiting")

    def step_progress(
        self, cell: Cell, step: Step, what: str, done: int, total: int
    ) -> None:
        """Say so, every ten seconds."""
        left = self._clock.left(what, done, total)
        if time.monotonic() - self._last < _QUIET_SECONDS:
            return
        self._last = time.monotonic()
        tail = f", {duration(left)} left" if left is not None else ""
        self._line(f"[{cell.label}] {step.name}: {what} {done}/{total}{tail}")

    def step_done(self, cell: Cell, step: Step, seconds: float, cached: bool) -> None:
        """Say so."""
        how = "cached" if cached else f"done in {duration(seconds)}"
        self._line(f"[{cell.label}] {step.name}: {how}")

    def cell_done(self, cell: Cell) -> None:
        """Say so."""
        self._line(f"[{cell.label}] recorded")

    def cell_failed(self, cell: Cell, step: Step | None, error: BaseException) -> None:
        """Say so, with the reason."""
        where = step.name if step else "record"
        self._line(f"[{cell.label}] {where}: FAILED: {error}")

    def note(self, text: str) -> None:
        """Write the line."""
        self._line(text)


class Tenths:
    """Turns ``(what, done, total)`` into lines: at the start, at every tenth and at the end."""

    def __init__(self, title: str, say: Say) -> None:
        self._title, self._say = title, say

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far `what` is, where a tenth is complete."""
        tenth = max(1, total // 10)
        if done == total or done % tenth == 0:
            self._say(f"{self._title}: {what} {done}/{total}")


class Clock:
    """Estimates the time left from the pace since the first report of the same thing."""

    def __init__(self) -> None:
        self._what = ""
        self._first = 0
        self._since = 0.0

    def left(
        self, what: str, done: int, total: int, now: float | None = None
    ) -> float | None:
        """Return the seconds left, or None while there is no pace yet.

        A resumed step starts its pace where it resumed.
        """
        now = time.monotonic() if now is None else now
        # "epoch 2/5" goes on where "epoch 1/5" was: its first word says what is counted.
        kind = what.split(" ")[0]
        if kind != self._what or done < self._first:
            self._what, self._first, self._since = kind, done, now
        gained = done - self._first
        if gained <= 0:
            return None
        return (now - self._since) / gained * (total - done)


def duration(seconds: float) -> str:
    """Return ``7 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
