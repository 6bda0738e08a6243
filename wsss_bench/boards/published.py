"""What papers and repositories report: one row per number and place it is printed in, never averaged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.boards.builder import csv_text
from wsss_bench.errors import DataError, did_you_mean
from wsss_bench.results.published import (
    CELLS,
    HEADS,
    Reported,
    load_published,
    reported_rows,
    shown_values,
)

TITLES = {
    "dsrg-1": "DSRG (CVPR 2018): comparison on VOC 2012",
    "dsrg-coco": "DSRG (CVPR 2018): comparison on COCO 2014",
    "dsrg-2": "DSRG (CVPR 2018), Table 2: balanced seeding loss, region growing, retraining; VOC 2012 val",
    "dsrg-theta": "DSRG (CVPR 2018): thresholds of region growing; VOC 2012 val",
    "vwe-1": "VWE (IJCAI 2021), Table 1: parts of the method; mIoU of the seeds",
    "vwe-2": "VWE (IJCAI 2021), Table 2: quality of seeds and pseudo-labels",
    "vwe-segmentation": "VWE (IJCAI 2021): semantic segmentation on VOC 2012",
    "ficklenet-1": "FickleNet (CVPR 2019), Table 1: VGG16-based DeepLab on VOC 2012",
    "ficklenet-2": "FickleNet (CVPR 2019), Table 2: ResNet-based DeepLab on VOC 2012",
    "ficklenet-5": "FickleNet (CVPR 2019), Table 5: dropout rates; VOC 2012 val",
    "survey": "Survey of six papers; VOC 2012, split not stated",
    "mixup-1": "Mixup study, Table 1: seeds from 1,464 training images; VOC 2012 train",
    "mixup-2": "Mixup study, Table 2: segmentation from 1,464 training images; VOC 2012 val",
}


@dataclass(frozen=True)
class PublishedTable:
    """One table by name: a header and lines of cells, with the sources and notes that go below it."""

    name: str
    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


_TEXT = {
    "supervision",
    "backbone",
    "segmentor",
    "extra data",
    "venue",
    "network",
    "CRF",
}
"""Headings of columns that hold words; all others but the first hold numbers."""


def load_tables(path: Path) -> dict[str, PublishedTable]:
    """Return the tables of `TITLES`, in that order, then ``reported-<dataset>`` with all that is reported on a dataset.

    Raises:
        DataError: the file is malformed, or a table cannot be made from its rows.
    """
    rows = load_published(path)
    try:
        tables = {name: _table(name, rows) for name in TITLES}
        for dataset in ("voc2012", "coco2014"):
            tables[f"reported-{dataset}"] = _everything(rows, dataset)
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} lacks rows or values of its tables ({error!r}). Restore it from the package."
        ) from error
    return tables


def pick(tables: Mapping[str, PublishedTable], name: str) -> PublishedTable:
    """Return one table; raises `DataError` with the near misses for an unknown name."""
    if name not in tables:
        raise DataError(
            f"there is no published table {name!r}.{did_you_mean(name, tables)}"
        )
    return tables[name]


def _everything(rows: Sequence[Reported], dataset: str) -> PublishedTable:
    """Return all that is reported on a dataset, but for ablations: one line per method and network."""
    facts = ("method", "venue", "net", "supervision", "extra_data", "crf")
    lines = []
    for entry in reported_rows(rows, dataset):
        cells = [shown_values(entry["values"], *cell) for cell in CELLS]
        if any(cells):
            known = [entry[fact] for fact in facts]
            lines.append((*known, *cells))
    head = ("method", "venue", "network", "supervision", "extra data", "CRF", *HEADS)
    note = (
        "A conflict shows every value, the most frequent first, with the number of sources; "
        "published.csv names them."
    )
    return PublishedTable(
        f"reported-{dataset}",
        f"Everything reported on {dataset}",
        head,
        tuple(lines),
        (note,),
    )


def _table(name: str, rows: Sequence[Reported]) -> PublishedTable:
    own = [row for row in rows if row.table == name]
    own.sort(key=lambda row: row.order)
    layout = _LAYOUTS.get(name, _splits)
    header, lines = layout(own)
    notes = [f"Source: {row.source}." for row in own]
    if name == "dsrg-theta":
        # All rows of this grid carry one note, which is about the grid as a whole.
        notes.append(f"{own[0].note}.")
    else:
        for row in own:
            if row.note and row.scored == "segmentation":
                notes.append(f"{row.printed} ({row.split}): {row.note}.")
    return PublishedTable(
        name,
        TITLES[name],
        tuple(header),
        tuple(map(tuple, lines)),
        tuple(dict.fromkeys(notes)),
    )


_Layout = tuple[list[str], list[list[str]]]
"""A header, and lines of cells."""

_FACTS = ("supervision", "backbone", "segmentor", "extra_data")


def _splits(rows: Sequence[Reported]) -> _Layout:
    """Return one line per method and setting, one column per split and kind of score."""
    shown = [fact for fact in _FACTS if _differs(rows, fact)]
    columns: list[tuple[str, str]] = []
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for row in rows:
        column = (row.scored, row.split)
        if column not in columns:
            columns.append(column)
        facts = [getattr(row, fact) for fact in shown]
        cells = lines.setdefault((row.printed, *facts), {})
        cells[column] = row.miou
    heads = [fact.replace("_", " ") for fact in shown]
    several = _differs(rows, "scored")
    for scored, split in columns:
        heads.append(f"{scored} {split}" if several else split)
    body = []
    for key, cells in lines.items():
        numbers = [cells.get(column, "–") for column in columns]
        body.append([*key, *numbers])
    return ["method", *heads], body


def _differs(rows: Sequence[Reported], fact: str) -> bool:
    """Return whether a fact is worth a column: what is the same in every row is left out."""
    return len({getattr(row, fact) for row in rows}) > 1


def _classes(rows: Sequence[Reported]) -> _Layout:
    """Return one line per method, one column per class."""
    names = list(rows[0].per_class)
    lines = []
    for row in rows:
        values = [f"{row.per_class[name]:.1f}" for name in names]
        lines.append([row.printed, *values, row.miou])
    return ["method", *names, "mIoU"], lines


def _grid(rows: Sequence[Reported]) -> _Layout:
    """Return a grid over two thresholds."""
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        # The thresholds stand in the printed name, as in "theta_b=0.95".
        down, across = re.findall(r"=([\d.]+)", row.printed)
        cells.setdefault(down, {})[across] = row.miou
    columns = list(dict.fromkeys(a for line in cells.values() for a in line))
    lines = []
    for down, line in cells.items():
        lines.append([down, *(line[across] for across in columns)])
    return ["θ_b \\ θ_f", *columns], lines


_LAYOUTS = {"dsrg-theta": _grid, "dsrg-2": _classes}
"""Tables that are not laid out by split."""


def render(table: PublishedTable, how: str) -> str:
    """Return the table as ``md``, ``csv`` (or ``long``), ``tex`` or ``json``."""
    if how == "json":
        return _json(table)
    if how in ("csv", "long"):
        return csv_text([table.header, *table.lines])
    if how == "tex":
        from wsss_bench.boards.render.latex import tabular

        caption = f"{table.title}. Reported, not measured here."
        label = f"tab:{table.name}"
        return tabular(table.header, table.lines, caption, label)
    return _markdown(table)


def _json(table: PublishedTable) -> str:
    from wsss_bench.boards.render.as_json import dumps

    rows = []
    for line in table.lines:
        rows.append(dict(zip(table.header, line, strict=True)))
    payload = {
        "schema": 1,
        "name": table.name,
        "title": table.title,
        "rows": rows,
        "notes": table.notes,
    }
    return dumps(payload)


def _markdown(table: PublishedTable) -> str:
    from wsss_bench.boards.render import markdown

    numbers = {*table.header[1:]} - _TEXT
    body = markdown.table(table.header, table.lines, numbers)
    notes = "".join(f"* {note}\n" for note in table.notes)
    said = "Reported, not measured here; mIoU in %."
    return f"# {table.title}\n\n{said}\n\n{body}\n\n{notes}"
