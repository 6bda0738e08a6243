"""Losses and learning rates of a training as a table in a file, which an interrupted training goes on with."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import write_atomic

LOSSES = "losses"
"""The folder of such tables, beside what a stage or a kept training leaves."""

COUNT = "iteration"

ROWS = 50
"""How many rows a short training gets at least, where it has as many iterations."""

EVERY = 20
"""How many iterations a row of a long training stands for."""


def interval(total: int) -> int:
    """Return how many of `total` iterations a row of the table stands for."""
    return max(1, min(EVERY, math.ceil(total / ROWS)))


class LossTable:
    """A CSV file of a row for every few iterations; no time is in it, so the same training gives the same bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    def resume(self, done: int) -> None:
        """Go on after iteration `done`: what was written later than that is dropped, it will be written again.

        A process may have been killed after its last checkpoint, or in the middle of a line.
        """
        rows = _rows(self.path) if self.path.is_file() else []
        self._columns = rows[0] if rows else []
        kept = [row for row in rows[1:] if self._whole(row) and int(row[0]) <= done]
        if kept:
            self._write([self._columns, *kept])
            return
        # The columns too: another training of that name may have other losses.
        self._columns = []
        self.path.unlink(missing_ok=True)

    def _whole(self, row: Sequence[str]) -> bool:
        return len(row) == len(self._columns) and row[0].isdecimal()

    def add(self, done: int, values: Mapping[str, float]) -> None:
        """Append the row of iteration `done`; losses that were not there before become columns of their own."""
        new = [name for name in values if name not in self._columns]
        if new:
            self._add_columns(new)
        cells = [str(done)]
        for name in self._columns[1:]:
            cells.append(f"{values[name]:.6g}" if name in values else "")
        with self.path.open("a", newline="") as handle:
            handle.write(_text([cells]))

    def _add_columns(self, new: Sequence[str]) -> None:
        before = _rows(self.path)[1:] if self._columns else []
        self._columns = [*(self._columns or [COUNT]), *new]
        empty = [""] * len(new)
        self._write([self._columns, *([*row, *empty] for row in before)])

    def _write(self, rows: Sequence[Sequence[str]]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = _text(rows).encode()
        write_atomic(self.path, lambda handle: handle.write(content))


def _text(rows: Sequence[Sequence[str]]) -> str:
    page = io.StringIO()
    csv.writer(page, lineterminator="\n").writerows(rows)
    return page.getvalue()


def _rows(path: Path) -> list[list[str]]:
    text = path.read_text(errors="replace")
    # The end of a line is written last: without it the line may have been cut anywhere, in a number too.
    whole = text[: text.rfind("\n") + 1]
    return list(csv.reader(whole.splitlines()))


def read_losses(path: Path) -> dict[str, list[float]]:
    """Return the columns of a table; NaN where a loss was not there yet.

    Raises:
        ArtifactError: the file is no such table.
    """
    rows = _rows(path)
    if not rows or rows[0][:1] != [COUNT]:
        what = f"{path} is no table of losses."
        raise ArtifactError(f"{what} Delete its folder and run the command again.")
    columns: dict[str, list[float]] = {name: [] for name in rows[0]}
    for row in rows[1:]:
        try:
            for name, cell in zip(rows[0], row, strict=True):
                columns[name].append(float(cell) if cell else math.nan)
        except ValueError as error:
            what = f"{path} is damaged in the row {','.join(row)!r}."
            fix = "Delete its folder and run the command again."
            raise ArtifactError(f"{what} {fix}") from error
    return columns
