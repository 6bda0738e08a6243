"""How a run looks: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wsss_bench.runs.plan import Cell, Step
from wsss_bench.runs.progress import Clock, Observer, PlainDisplay, duration
from wsss_bench.runs.reasons import reasons
from wsss_bench.runs.store.folders import DONE, UNFINISHED, Store

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from wsss_bench.methods.catalog import LoadedMethod
    from wsss_bench.methods.params import StageParams
    from wsss_bench.runs.cost import Cost
    from wsss_bench.runs.space import Space

CACHED, RUNNING, WAITING = "cached", "running", "waiting"
FAILED, TODO = "failed", "to do"

_STYLES = {
    CACHED: "blue",
    RUNNING: "bold yellow",
    WAITING: "yellow",
    FAILED: "bold red",
    TODO: "dim",
}
_FINISHED = "green"
_PLAN_WORDS = {DONE: "cached", UNFINISHED: "resume"}


def print_plan(
    cells: Sequence[Cell],
    store: Store,
    space: Space | None = None,
    cost: Cost | None = None,
) -> None:
    """Print cells by steps: cached, resume, running elsewhere, or to do; and why what is there cannot be used.

    What a profile replaces of a method's own settings is said once, how much `space` the stages may take, and what
    the run may `cost`.
    """
    first = cells[0]
    print(f"Plan: {len(cells)} cells on {first.dataset}, profile {first.profile}")
    seen: set[str] = set()
    told = reasons(cells, store)
    for cell in cells:
        print(f"  {cell.label}\n    " + ", ".join(_words(cell, store, seen)))
        # Of stages that several cells share, with the first of them.
        for step in cell.steps:
            if step.spec.key in told:
                print(f"    {step.name} anew: {told.pop(step.spec.key)}")
    for line in _replaced(cells):
        print(line)
    if space is not None and space.files:
        print(f"Space: {space}")
    for line in () if cost is None else cost.lines():
        print(line)
    # What follows may take hours, and a pipe would hold the plan back until its end.
    sys.stdout.flush()


def _words(cell: Cell, store: Store, seen: set[str]) -> Iterator[str]:
    """Yield what each step of a cell is and how far; keys that are passed go into `seen`."""
    for step in cell.steps:
        state = states_word(store, step, seen)
        seen.add(step.spec.key)
        by = f" ({step.method.name})" if step.method else ""
        yield f"{step.name}{by}: {state}"


def _replaced(cells: Sequence[Cell]) -> list[str]:
    """Return what a profile puts in the place of values that methods state themselves, a line a method and stage."""
    found: list[str] = []
    for cell in cells:
        for stage, params in cell.resolved.params.items():
            method = cell.resolved.methods[stage]
            found += _unpinned(method, stage, params)
            pairs = []
            for name, (own, value) in params.overridden.items():
                pairs.append(f"{name} {own!r} -> {value!r}")
            if pairs:
                who = f"Profile {cell.profile} replaces {method.name}'s own {stage} settings"
                found.append(f"{who}: {', '.join(pairs)}")
    return list(dict.fromkeys(found))


def _unpinned(method: LoadedMethod, stage: str, params: StageParams) -> Iterator[str]:
    """Yield a line for each parameter that the method has pinned and the user sets all the same."""
    for key, value in params.passed.items():
        if key.partition(".")[0] in method.card.pins.get(stage, ()):
            what = f"{method.name} pins {stage}.{key}"
            yield f"{what}: with {value!r}, as asked for, it is another method"


def states_word(store: Store, step: Step, seen: set[str]) -> str:
    """Return the plan's word for a step; a step that an earlier cell of this run computes is shared."""
    state = store.folder(step.spec).state()
    if state != DONE and step.spec.key in seen:
        return "shared"
    return _PLAN_WORDS.get(state, state)


def make_display(cells: Sequence[Cell], *, quiet: bool = False) -> Observer:
    """Return a live table where stdout is a terminal, else plain lines; nothing where `quiet`."""
    if quiet:
        return Observer()
    if sys.stdout.isatty():
        return LiveDisplay(cells)
    return PlainDisplay(sys.stdout)


class LiveDisplay(Observer):
    """A table of cells by steps that redraws itself, with one line for the step that runs."""

    def __init__(self, cells: Sequence[Cell], console: Console | None = None) -> None:
        from rich.live import Live

        self._cells = list(cells)
        self._state: dict[tuple[str, str], str] = {}
        for cell in cells:
            for step in cell.steps:
                self._state[cell.id, step.name] = TODO
        # In the order of the first cell that has them; a recipe may leave stages out.
        self._names = list(dict.fromkeys(name for _, name in self._state))
        self._now, self._clock = "", Clock()
        # Drawn four times a second, not at every image: a report of progress costs nothing.
        self._live: Live = Live(
            get_renderable=self._render, refresh_per_second=4, console=console
        )
        self._live.start()

    def _render(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        now = Text(self._now, style="dim")
        return Group(self._table(), now)

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table("cell", *self._names, title=self._cells[0].dataset)
        for cell in self._cells:
            # A recipe may hold square brackets, which `rich` would read as markup in anything but a `Text`.
            row = [Text(cell.label)]
            for name in self._names:
                word = self._state.get((cell.id, name), "-")
                style = _STYLES.get(word.split(" ")[0], _FINISHED)
                row.append(Text(word, style=style))
            table.add_row(*row)
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
        tail = f", {duration(left)} left" if left is not None else ""
        self._now = f"{cell.label}: {step.name}: {what} {done}/{total}{tail}"
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
        where = step.name if step else "record"
        line = Text(f"{cell.label}: {where}: {error}", style="red")
        self._live.console.print(line)

    def note(self, text: str) -> None:
        """Print the line above the table."""
        self._live.console.print(text, markup=False)

    def close(self) -> None:
        """Leave the table as it is and give the terminal back."""
        self._now = ""
        self._live.stop()
