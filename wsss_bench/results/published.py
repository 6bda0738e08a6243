"""Numbers that papers report: one CSV file, each row with where it was seen."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.errors import DataError

FILE = "published.csv"
_NETS = re.compile(
    r"WideResNet38|Res2Net101|ResNet\d+|VGG16|MiT-B\d|DeiT-[BS]|ViT-B(?:/16)?|Swin|OverFeat"
)


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


def published_csv(leaderboard_dir: Path | None = None) -> Path:
    """``published.csv`` beside the boards, else the one that comes with the package; raises `DataError` if there is none."""
    package = Path(__file__).resolve().parents[1]
    places = [package.parent / "leaderboards" / FILE, package / "leaderboards" / FILE]
    if leaderboard_dir is not None:
        places.insert(0, leaderboard_dir / FILE)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise DataError(
            f"{FILE} is in none of {', '.join(str(p.parent) for p in places)}. Pass --leaderboard-dir."
        )
    return found


def load_published(path: Path) -> list[Reported]:
    """All rows of a ``published.csv``; raises `DataError` naming the line that is malformed."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            found = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Restore it from the package."
        ) from error
    return [_reported(path, line, cells) for line, cells in enumerate(found, 2)]


def _reported(path: Path, line: int, cells: dict[str, Any]) -> Reported:
    try:
        per_class = json.loads(cells.pop("per_class_json") or "{}")
        order = int(cells.pop("order") or 0)
        row = Reported(**cells, per_class=per_class, order=order)
        if (
            not 0 <= float(row.miou) <= 100
            or not row.source
            or not isinstance(per_class, dict)
        ):
            raise ValueError(
                "miou must lie in 0..100, source must not be empty, per_class_json must be an object"
            )
        return row
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}, line {line}: {error}. Fix the line; docs/protocol.md lists the columns."
        ) from error


CELLS = (
    ("seeds", "train"),
    ("labels", "train"),
    ("segmentation", "val"),
    ("segmentation", "test"),
)
HEADS = ("seeds train", "labels train", "val", "test")


def shown_values(values: Sequence[Mapping[str, Any]], scored: str, split: str) -> str:
    """One cell: the value as printed, or every value with its number of sources where they disagree."""
    found = [v for v in values if (v["scored"], v["split"]) == (scored, split)]
    if len({float(v["miou"]) for v in found}) < 2:
        return str(found[0]["miou"]) if found else ""
    return "conflict: " + " / ".join(
        f"{v['miou']} ({len(v['sources'])})" for v in found
    )


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
        coco = (
            "COCO"
            if "COCO" in f"{row.extra_data} {row.segmentor}"
            or "init I+C" in row.segmentor
            else ""
        )
        key = (row.method, row.net, row.crf, coco, row.role)
        entry = entries.setdefault(key, {"facts": [], "cells": {}, "role": row.role})
        entry["facts"].append(row)
        entry["cells"].setdefault((row.scored, row.split), {}).setdefault(
            row.miou, []
        ).append(row)
    _join_nameless(entries)
    return [
        _entry(key, entry)
        for key, entry in sorted(
            entries.items(), key=lambda item: _rank(item[1], item[0])
        )
    ]


def _join_nameless(entries: dict[tuple[str, ...], dict[str, Any]]) -> None:
    """A source that names no network is put with the one network for which others print all of its values."""
    for key in [key for key in entries if not key[1]]:
        own = {
            (cell, miou)
            for cell, values in entries[key]["cells"].items()
            for miou in values
        }
        fitting = [
            other
            for other in entries
            if other[1] and (other[0], *other[2:]) == (key[0], *key[2:])
            if own
            <= {
                (cell, miou)
                for cell, values in entries[other]["cells"].items()
                for miou in values
            }
        ]
        if len(fitting) == 1:
            nameless = entries.pop(key)
            entries[fitting[0]]["facts"] += nameless["facts"]
            for cell, values in nameless["cells"].items():
                for miou, rows in values.items():
                    entries[fitting[0]]["cells"][cell][miou] += rows


def _rank(
    entry: Mapping[str, Any], key: tuple[str, ...]
) -> tuple[float, tuple[str, ...]]:
    values = entry["cells"].get(("segmentation", "val")) or next(
        iter(entry["cells"].values())
    )
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
        "conflict": any(
            len({float(m) for m in cells}) > 1 for cells in entry["cells"].values()
        ),
        "values": values,
    }
