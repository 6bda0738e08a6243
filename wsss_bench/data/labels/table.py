"""Image-level labels from a CSV table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from wsss_bench.data.labels.common import (
    Entries,
    Labels,
    known_classes,
    plain,
    unreadable,
)
from wsss_bench.errors import DataError, did_you_mean

_CELLS = {
    "0": False,
    "1": True,
    "0.0": False,
    "1.0": True,
    "0.": False,
    "1.": True,
    "false": False,
    "true": True,
}
"""What stands for absent and present, in small letters; the longer ones are pandas' ways to write them."""

_DELIMITERS = (",", ";", "\t")
"""Between cells. Where a comma separates decimals, spreadsheets write semicolons."""


def read_label_table(path: Path, classes: Sequence[str], ids: Sequence[str]) -> Labels:
    """Return the labels of `ids` from a CSV with the header ``id,<class names>`` and cells 0 or 1.

    Args:
        path: the table; may hold more images than asked for. An image may be named by its file (``x.jpg``), or, as in
            IRN's lists, by its number (2007000032 for ``2007_000032``).
        classes: class names by mask id, background first; the table has a column for each but the background, in any
            order.
        ids: the images wanted.

    Raises:
        DataError: missing file, unknown or missing column, a cell that is neither 0 nor 1, an id that is given twice or
            missing.
    """
    table: Entries[tuple[int, ...]] = Entries(f"label table {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            delimiter = _delimiter(handle.readline())
            handle.seek(0)
            rows = csv.reader(handle, delimiter=delimiter)
            columns = _columns(path, next(rows, []), classes)
            _fill(table, path, rows, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise unreadable(path, error) from error
    return table.choose(ids)


def _delimiter(header: str) -> str:
    counts = {one: header.count(one) for one in _DELIMITERS}
    # The first of those that are equally often there: a comma.
    return max(counts, key=counts.__getitem__)


def _columns(path: Path, header: list[str], classes: Sequence[str]) -> list[int]:
    """Return the mask id of each column after the first."""
    known = known_classes(classes)
    if not header or plain(header[0]) != "id":
        begins = ",".join(header)[:60]
        what = f"must begin with the header id,<class names>, not {begins!r}."
        raise DataError(f"label table {path} {what}")
    columns = []
    for name in header[1:]:
        mask_id = known.get(plain(name))
        if mask_id is None:
            hint = did_you_mean(name, classes[1:])
            what = f"column {name!r} is no class here."
            raise DataError(f"label table {path}: {what}{hint}")
        columns.append(mask_id)
    absent = set(known.values()).difference(columns)
    what = ""
    if absent:
        first = classes[min(absent)]
        what = f"lacks a column for {first!r}"
    elif len(columns) != len(known):
        what = "has two columns for one class"
    if what:
        fix = "Its header must name each class once."
        raise DataError(f"label table {path} {what}. {fix}")
    return columns


def _fill(
    table: Entries[tuple[int, ...]],
    path: Path,
    rows: Iterable[list[str]],
    columns: list[int],
) -> None:
    # The header was line 1.
    for number, row in enumerate(rows, 2):
        # The `csv` module gives a blank line as no cells.
        if not row:
            continue
        where = f"label table {path}, line {number}"
        image_id, *cells = (cell.strip() for cell in row)
        marks = [_CELLS.get(cell.lower()) for cell in cells]
        if None in marks or len(marks) != len(columns):
            needed = f"{len(columns)} cells of 0 or 1 are needed"
            raise DataError(f"{where}: {needed}, not {cells!r}.")
        marked = zip(columns, marks, strict=True)
        present = [mask_id for mask_id, mark in marked if mark]
        if not table.add(image_id, tuple(sorted(present))):
            what = f"image {image_id!r} has a row already."
            raise DataError(f"{where}: {what} Remove one of them.")
