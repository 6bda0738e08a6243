"""What papers and repositories report: one row per number and place it is printed in, never averaged."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def load_tables(path: Path) -> dict[str, PublishedTable]:
    """The tables of `TITLES`, in that order, then ``reported-<dataset>`` with all that is reported on a dataset."""
    rows = load_published(path)
    try:
        tables = {
            name: _table(
                name,
                sorted((r for r in rows if r.table == name), key=lambda r: r.order),
            )
            for name in TITLES
        }
        return tables | {
            f"reported-{dataset}": _everything(rows, dataset)
            for dataset in ("voc2012", "coco2014")
        }
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} lacks rows or values of its tables ({error!r}). Restore it from the package."
        ) from error


def _everything(rows: Sequence[Reported], dataset: str) -> PublishedTable:
    """All that is reported on a dataset, but for ablations: one line per method and network."""
    lines = []
    for entry in reported_rows(rows, dataset):
        cells = [shown_values(entry["values"], *cell) for cell in CELLS]
        if any(cells):
            facts = (
                entry["method"],
                entry["venue"],
                entry["net"],
                entry["supervision"],
                entry["extra_data"],
                entry["crf"],
            )
            lines.append((*facts, *cells))
    head = ("method", "venue", "network", "supervision", "extra data", "CRF", *HEADS)
    note = "A conflict shows every value, the most frequent first, with the number of sources; published.csv names them."
    return PublishedTable(
        f"reported-{dataset}",
        f"Everything reported on {dataset}",
        head,
        tuple(lines),
        (note,),
    )


def pick(tables: Mapping[str, PublishedTable], name: str) -> PublishedTable:
    """One table; raises `DataError` with the near misses for an unknown name."""
    if name not in tables:
        raise DataError(
            f"there is no published table {name!r}.{did_you_mean(name, tables)}"
        )
    return tables[name]


def _table(name: str, rows: Sequence[Reported]) -> PublishedTable:
    header, lines = {"dsrg-theta": _grid, "dsrg-2": _classes}.get(name, _splits)(rows)
    notes = [f"Source: {source}." for source in dict.fromkeys(r.source for r in rows)]
    notes += [
        f"{r.printed} ({r.split}): {r.note}."
        for r in rows
        if r.note and name != "dsrg-theta" and r.scored == "segmentation"
    ]
    notes += [f"{rows[0].note}."] if name == "dsrg-theta" else []
    return PublishedTable(
        name,
        TITLES[name],
        tuple(header),
        tuple(map(tuple, lines)),
        tuple(dict.fromkeys(notes)),
    )


def _splits(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    """One line per method and setting, one column per split and kind of score; columns without a difference are left out."""
    columns = list(dict.fromkeys((r.scored, r.split) for r in rows))
    facts = ("supervision", "backbone", "segmentor", "extra_data")
    shown = [fact for fact in facts if len({getattr(r, fact) for r in rows}) > 1]
    several = len({what for what, _ in columns}) > 1
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for row in rows:
        lines.setdefault((row.printed, *(getattr(row, f) for f in shown)), {})[
            row.scored, row.split
        ] = row.miou
    head = [
        "method",
        *(f.replace("_", " ") for f in shown),
        *(f"{what} {split}" if several else split for what, split in columns),
    ]
    return head, [
        [*key, *(cells.get(column, "–") for column in columns)]
        for key, cells in lines.items()
    ]


def _classes(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    names = list(rows[0].per_class)
    return ["method", *names, "mIoU"], [
        [r.printed, *(f"{r.per_class[n]:.1f}" for n in names), r.miou] for r in rows
    ]


def _grid(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    cells = {tuple(re.findall(r"=([\d.]+)", r.printed)): r.miou for r in rows}
    across, down = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (1, 0))
    return ["θ_b \\ θ_f", *across], [[b, *(cells[b, f] for f in across)] for b in down]


def render(table: PublishedTable, how: str) -> str:
    """The table as ``md``, ``csv`` (or ``long``), ``tex`` or ``json``."""
    if how == "json":
        from wsss_bench.boards.render.as_json import dumps

        rows = [dict(zip(table.header, line, strict=True)) for line in table.lines]
        return dumps(
            {
                "schema": 1,
                "name": table.name,
                "title": table.title,
                "rows": rows,
                "notes": table.notes,
            }
        )
    if how in ("csv", "long"):
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([table.header, *table.lines])
        return out.getvalue()
    if how == "tex":
        from wsss_bench.boards.render.latex import tabular

        return tabular(
            table.header,
            table.lines,
            caption=f"{table.title}. Reported, not measured here.",
            label=f"tab:{table.name}",
        )
    from wsss_bench.boards.render.markdown import table as markdown_table

    right = set(table.header[1:]) - {
        "supervision",
        "backbone",
        "segmentor",
        "extra data",
        "venue",
        "network",
        "CRF",
    }
    body = markdown_table(table.header, table.lines, right=right)
    return (
        f"# {table.title}\n\nReported, not measured here; mIoU in %.\n\n{body}\n\n"
        + "".join(f"* {n}\n" for n in table.notes)
    )
