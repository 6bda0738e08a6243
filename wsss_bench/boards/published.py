"""What papers and repositories report: one row per number and place it is printed in, never averaged."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.errors import DataError, did_you_mean

FILE = "published.csv"
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
_NETS = re.compile(r"WideResNet38|Res2Net101|ResNet\d+|VGG16|MiT-B\d|DeiT-[BS]|ViT-B(?:/16)?|Swin|OverFeat")


@dataclass(frozen=True)
class Reported:
    """One number as one source prints it.

    Attributes:
        method: the name that joins sources; printed: the name as printed there.
        role: ``result``, ``ablation`` or ``rerun`` (by others than the authors).
        split: of the dataset, or ``not stated``; scored: ``seeds``, ``labels`` or ``segmentation``.
        miou: in percent, as printed, digits included.
        per_class: percent by class name, or empty.
        source: where it was seen; table, order: the table of `TITLES` it belongs to, and its place there.
        note: conflicts and caveats.
    """

    method: str
    printed: str
    role: str
    venue: str
    year: str
    dataset: str
    split: str
    scored: str
    backbone: str
    segmentor: str
    supervision: str
    extra_data: str
    crf: str
    miou: str
    per_class: Mapping[str, float | None]
    source: str
    table: str
    order: int
    note: str

    @property
    def net(self) -> str:
        """The segmentor's backbone where it is named, else the classifier's; "" where neither is."""
        found = _NETS.search(self.segmentor) or _NETS.search(self.backbone)
        return found.group() if found else ""


@dataclass(frozen=True)
class PublishedTable:
    """One table by name: a header and lines of cells, with the sources and notes that go below it."""

    name: str
    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def published_csv(leaderboard_dir: Path | None = None) -> Path:
    """``published.csv`` beside the boards, else the one that comes with the package; raises `DataError` if there is none."""
    package = Path(__file__).resolve().parents[1]
    places = [package.parent / "leaderboards" / FILE, package / "leaderboards" / FILE]
    if leaderboard_dir is not None:
        places.insert(0, leaderboard_dir / FILE)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(f"{FILE} is in none of {', '.join(str(p.parent) for p in places)}. Pass --leaderboard-dir.")
    return found


def load_published(path: Path) -> list[Reported]:
    """All rows of a ``published.csv``; raises `DataError` naming the line that is malformed."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            found = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read ({error}). Restore it from the package.") from error
    return [_reported(path, line, cells) for line, cells in enumerate(found, 2)]


def _reported(path: Path, line: int, cells: dict[str, Any]) -> Reported:
    try:
        per_class = json.loads(cells.pop("per_class_json") or "{}")
        order = int(cells.pop("order") or 0)
        row = Reported(**cells, per_class=per_class, order=order)
        if not 0 <= float(row.miou) <= 100 or not row.source or not isinstance(per_class, dict):
            raise ValueError("miou must lie in 0..100, source must not be empty, per_class_json must be an object")
        return row
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise DataError(f"{path}, line {line}: {error}. Fix the line; docs/protocol.md lists the columns.") from error


def load_tables(path: Path) -> dict[str, PublishedTable]:
    """The tables of `TITLES`, in that order, then ``reported-<dataset>`` with all that is reported on a dataset."""
    rows = load_published(path)
    try:
        tables = {name: _table(name, sorted((r for r in rows if r.table == name), key=lambda r: r.order)) for name in TITLES}
        return tables | {f"reported-{dataset}": _everything(rows, dataset) for dataset in ("voc2012", "coco2014")}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} lacks rows or values of its tables ({error!r}). Restore it from the package.") from error


CELLS = (("seeds", "train"), ("labels", "train"), ("segmentation", "val"), ("segmentation", "test"))
HEADS = ("seeds train", "labels train", "val", "test")


def _everything(rows: Sequence[Reported], dataset: str) -> PublishedTable:
    """All that is reported on a dataset, but for ablations: one line per method and network."""
    lines = []
    for entry in reported_rows(rows, dataset):
        cells = [shown_values(entry["values"], *cell) for cell in CELLS]
        if any(cells):
            facts = (entry["method"], entry["venue"], entry["net"], entry["supervision"], entry["extra_data"], entry["crf"])
            lines.append((*facts, *cells))
    head = ("method", "venue", "network", "supervision", "extra data", "CRF", *HEADS)
    note = "A conflict shows every value, the most frequent first, with the number of sources; published.csv names them."
    return PublishedTable(f"reported-{dataset}", f"Everything reported on {dataset}", head, tuple(lines), (note,))


def shown_values(values: Sequence[Mapping[str, Any]], scored: str, split: str) -> str:
    """One cell: the value as printed, or every value with its number of sources where they disagree."""
    found = [v for v in values if (v["scored"], v["split"]) == (scored, split)]
    if len({float(v["miou"]) for v in found}) < 2:
        return str(found[0]["miou"]) if found else ""
    return "conflict: " + " / ".join(f"{v['miou']} ({len(v['sources'])})" for v in found)


def pick(tables: Mapping[str, PublishedTable], name: str) -> PublishedTable:
    """One table; raises `DataError` with the near misses for an unknown name."""
    if name not in tables:
        raise DataError(f"there is no published table {name!r}.{did_you_mean(name, tables)}")
    return tables[name]


def _table(name: str, rows: Sequence[Reported]) -> PublishedTable:
    header, lines = {"dsrg-theta": _grid, "dsrg-2": _classes}.get(name, _splits)(rows)
    notes = [f"Source: {source}." for source in dict.fromkeys(r.source for r in rows)]
    notes += [
        f"{r.printed} ({r.split}): {r.note}." for r in rows if r.note and name != "dsrg-theta" and r.scored == "segmentation"
    ]
    notes += [f"{rows[0].note}."] if name == "dsrg-theta" else []
    return PublishedTable(name, TITLES[name], tuple(header), tuple(map(tuple, lines)), tuple(dict.fromkeys(notes)))


def _splits(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    """One line per method and setting, one column per split and kind of score; columns without a difference are left out."""
    columns = list(dict.fromkeys((r.scored, r.split) for r in rows))
    facts = ("supervision", "backbone", "segmentor", "extra_data")
    shown = [fact for fact in facts if len({getattr(r, fact) for r in rows}) > 1]
    several = len({what for what, _ in columns}) > 1
    lines: dict[tuple[str, ...], dict[tuple[str, str], str]] = {}
    for row in rows:
        lines.setdefault((row.printed, *(getattr(row, f) for f in shown)), {})[row.scored, row.split] = row.miou
    head = [
        "method",
        *(f.replace("_", " ") for f in shown),
        *(f"{what} {split}" if several else split for what, split in columns),
    ]
    return head, [[*key, *(cells.get(column, "–") for column in columns)] for key, cells in lines.items()]


def _classes(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    names = list(rows[0].per_class)
    return ["method", *names, "mIoU"], [[r.printed, *(f"{r.per_class[n]:.1f}" for n in names), r.miou] for r in rows]


def _grid(rows: Sequence[Reported]) -> tuple[list[str], list[list[str]]]:
    cells = {tuple(re.findall(r"=([\d.]+)", r.printed)): r.miou for r in rows}
    across, down = (list(dict.fromkeys(key[axis] for key in cells)) for axis in (1, 0))
    return ["θ_b \\ θ_f", *across], [[b, *(cells[b, f] for f in across)] for b in down]


def render(table: PublishedTable, how: str) -> str:
    """The table as ``md``, ``csv`` (or ``long``), ``tex`` or ``json``."""
    if how == "json":
        from wsss_bench.boards.jsons import dumps

        rows = [dict(zip(table.header, line, strict=True)) for line in table.lines]
        return dumps({"schema": 1, "name": table.name, "title": table.title, "rows": rows, "notes": table.notes})
    if how in ("csv", "long"):
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([table.header, *table.lines])
        return out.getvalue()
    if how == "tex":
        from wsss_bench.boards.latex import tabular

        return tabular(
            table.header, table.lines, caption=f"{table.title}. Reported, not measured here.", label=f"tab:{table.name}"
        )
    from wsss_bench.boards.markdown import table as markdown_table

    right = set(table.header[1:]) - {"supervision", "backbone", "segmentor", "extra data", "venue", "network", "CRF"}
    body = markdown_table(table.header, table.lines, right=right)
    return f"# {table.title}\n\nReported, not measured here; mIoU in %.\n\n{body}\n\n" + "".join(f"* {n}\n" for n in table.notes)


def reported_rows(rows: Iterable[Reported], dataset: str) -> list[dict[str, Any]]:
    """What a board of `dataset` shows as *reported*: one entry per method and network, every distinct value with its sources.

    Returns:
        Dicts with ``method``, ``venue``, ``year``, ``net``, ``supervision``, ``extra_data``, ``crf``, ``conflict`` and
        ``values``: a list of ``{scored, split, miou, sources, notes}``. Nothing is averaged: a conflict keeps all values.
    """
    entries: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        if row.dataset != dataset or row.role == "ablation":
            continue
        coco = "COCO" if "COCO" in f"{row.extra_data} {row.segmentor}" or "init I+C" in row.segmentor else ""
        key = (row.method, row.net, row.crf, coco, row.role)
        entry = entries.setdefault(key, {"facts": [], "cells": {}, "role": row.role})
        entry["facts"].append(row)
        entry["cells"].setdefault((row.scored, row.split), {}).setdefault(row.miou, []).append(row)
    _join_nameless(entries)
    return [_entry(key, entry) for key, entry in sorted(entries.items(), key=lambda item: _rank(item[1], item[0]))]


def _join_nameless(entries: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """A source that names no network is put with the one network for which others print all of its values."""
    for key in [key for key in entries if not key[1]]:
        own = {(cell, miou) for cell, values in entries[key]["cells"].items() for miou in values}
        fitting = [
            other
            for other in entries
            if other[1] and (other[0], *other[2:]) == (key[0], *key[2:])
            if own <= {(cell, miou) for cell, values in entries[other]["cells"].items() for miou in values}
        ]
        if len(fitting) == 1:
            nameless = entries.pop(key)
            entries[fitting[0]]["facts"] += nameless["facts"]
            for cell, values in nameless["cells"].items():
                for miou, rows in values.items():
                    entries[fitting[0]]["cells"][cell][miou] += rows


def _rank(entry: Mapping[str, Any], key: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    values = entry["cells"].get(("segmentation", "val")) or next(iter(entry["cells"].values()))
    return -max(map(float, values)), key


def _entry(key: tuple[str, ...], entry: Mapping[str, Any]) -> dict[str, Any]:
    facts: list[Reported] = entry["facts"]

    def most(name: str) -> str:
        found = [getattr(row, name) for row in facts if getattr(row, name)]
        return str(max(found, key=len)) if found else ""

    values = [
        {
            "scored": scored,
            "split": split,
            "miou": miou,
            "sources": sorted({row.source for row in rows}),
            "notes": sorted({row.note for row in rows if row.note}),
        }
        for (scored, split), cells in sorted(entry["cells"].items())
        for miou, rows in sorted(cells.items(), key=lambda item: -len(item[1]))
    ]
    return {
        "method": key[0],
        "role": entry["role"],
        "venue": " ".join(part for part in (most("venue"), most("year")) if part),
        "net": key[1],
        "supervision": most("supervision"),
        "extra_data": most("extra_data"),
        "crf": key[2],
        "conflict": any(len({float(m) for m in cells}) > 1 for cells in entry["cells"].values()),
        "values": values,
    }
