"""How a run looks: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wsss_bench.runs.plan import Cell, Step
from wsss_bench.runs.progress import Clock, Observer, PlainDisplay, duration
from wsss_bench.runs.store.folders import DONE, UNFINISHED, Store

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

CACHED, RUNNING, WAITING, FAILED, TODO = (
    "cached",
    "running",
    "waiting",
    "failed",
    "to do",
)
_PLAN_WORDS = {DONE: "cached", UNFINISHED: "resume"}


def print_plan(cells: Sequence[Cell], store: Store) -> None:
    """Cells by steps: cached, resume, running elsewhere, or to do."""
    print(f"Plan: {len(cells)} cells on {cells[0].dataset}, profile {cells[0].profile}")
    seen: set[str] = set()
    for cell in cells:
        words = []
        for step in cell.steps:
            state = states_word(store, step, seen)
            seen.add(step.spec.key)
            by = f" ({step.method.name})" if step.method else ""
            words.append(f"{step.name}{by}: {state}")
        print(f"  {cell.label}\n    " + ", ".join(words))
    sys.stdout.flush()


def states_word(store: Store, step: Step, seen: set[str]) -> str:
    """The plan's word for a step; a step that an earlier cell of this run computes is shared."""
    state = store.folder(step.spec).state()
    if state != DONE and step.spec.key in seen:
        return "shared"
    return _PLAN_WORDS.get(state, state)


def make_display(cells: Sequence[Cell], *, quiet: bool = False) -> Observer:
    """A live table where stdout is a terminal, else plain lines; nothing where `quiet`."""
    if quiet:
        return Observer()
    return LiveDisplay(cells) if sys.stdout.isatty() else PlainDisplay(sys.stdout)


class LiveDisplay(Observer):
    """A table of cells by steps that redraws itself, with one line for the step that runs."""

    def __init__(self, cells: Sequence[Cell], console: Console | None = None) -> None:
        from rich.live import Live

        self._cells = list(cells)
        self._names = list(
            dict.fromkeys(step.name for cell in cells for step in cell.steps)
        )
        self._state = {
            (cell.id, step.name): TODO for cell in cells for step in cell.steps
        }
        self._now, self._clock = "", Clock()
        # Drawn four times a second, not at every image: a report of progress costs nothing.
        self._live: Live = Live(
            get_renderable=self._render, refresh_per_second=4, console=console
        )
        self._live.start()

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(self._table(), Text(self._now, style="dim"))

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        styles = {
            CACHED: "blue",
            RUNNING: "bold yellow",
            WAITING: "yellow",
            FAILED: "bold red",
            TODO: "dim",
        }
        table = Table("cell", *self._names, title=self._cells[0].dataset)
        for cell in self._cells:
            row = [self._state.get((cell.id, name), "-") for name in self._names]
            table.add_row(
                Text(cell.label),
                *(
                    Text(word, style=styles.get(word.split(" ")[0], "green"))
                    for word in row
                ),
            )
        return table

    def _set(self, cell: Cell, step: Step, word: str) -> None:
        self._state[cell.id, step.name] = word

    def step_started(self, cell: Cell, step: Step) -> None:
        """Mark the step."""
        self._clock = Clock()
        self._now = f"{cell.label}: {step.name}"
        self._set(cell, step, RUNNING)

    def step_waiting(self, cell: Cell, step: Step) -> None:
        """Mark the step."""
        self._now = f"{cell.label}: {step.name} is computed by another process"
        self._set(cell, step, WAITING)

    def step_progress(
        self, cell: Cell, step: Step, what: str, done: int, total: int
    ) -> None:
        """Show percentage, count and time left."""
        left = self._clock.left(what, done, total)
        self._now = f"{cell.label}: {step.name}: {what} {done}/{total}" + (
            f", {duration(left)} left" if left is not None else ""
        )
        self._set(cell, step, f"{RUNNING} {100 * done // max(1, total)} %")

    def step_done(self, cell: Cell, step: Step, seconds: float, cached: bool) -> None:
        """Show how long it took, or that it was there."""
        self._now = ""
        self._set(cell, step, CACHED if cached else duration(seconds))

    def cell_failed(self, cell: Cell, step: Step | None, error: BaseException) -> None:
        """Mark the step and say why above the table."""
        from rich.text import Text

        if step is not None:
            self._set(cell, step, FAILED)
        self._live.console.print(
            Text(
                f"{cell.label}: {step.name if step else 'record'}: {error}", style="red"
            )
        )

    def note(self, text: str) -> None:
        """Print the line above the table."""
        self._live.console.print(text, markup=False)

    def close(self) -> None:
        """Leave the table as it is and give the terminal back."""
        self._now = ""
        self._live.stop()
