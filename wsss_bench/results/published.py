"""Numbers that papers report: one CSV file, each row with where it was seen."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsss_bench.errors import DataError
from wsss_bench.io.paths import PACKAGE

FILE = "published.csv"
_NETS = re.compile(
    r"WideResNet38|Res2Net101|ResNet\d+|VGG16|MiT-B\d|DeiT-[BS]|ViT-B(?:/16)?|Swin|OverFeat"
)

CELLS = (
    ("seeds", "train"),
    ("labels", "train"),
    ("segmentation", "val"),
    ("segmentation", "test"),
)
"""What a table of reported numbers shows, as (scored, split)."""

HEADS = ("seeds train", "labels train", "val", "test")
"""The headings of `CELLS`."""


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

    @property
    def coco(self) -> str:
        """``COCO`` where COCO was trained on too, else "": such a number is no rival of one from VOC alone."""
        named = f"{self.extra_data} {self.segmentor}"
        # Some papers write "init I+C" for weights from ImageNet and COCO.
        return "COCO" if "COCO" in named or "init I+C" in self.segmentor else ""


def published_csv(leaderboard_dir: Path | None = None) -> Path:
    """Return ``published.csv`` beside the boards, else the one that comes with the package.

    Raises:
        DataError: there is none.
    """
    # In a checkout the boards lie beside the package, in a wheel inside it.
    folders = [PACKAGE.parent / "leaderboards", PACKAGE / "leaderboards"]
    if leaderboard_dir is not None:
        folders.insert(0, leaderboard_dir)
    for folder in folders:
        if (folder / FILE).is_file():
            return folder / FILE
    places = ", ".join(map(str, folders))
    raise DataError(f"{FILE} is in none of {places}. Pass --leaderboard-dir.")


def load_published(path: Path) -> list[Reported]:
    """Return all rows of a ``published.csv``; raises `DataError` naming the line that is malformed."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            found = list(csv.DictReader(handle))
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read ({error}). Restore it from the package."
        ) from error
    # The header is line 1.
    return [_reported(path, line, cells) for line, cells in enumerate(found, 2)]


def _reported(path: Path, line: int, cells: dict[str, Any]) -> Reported:
    """Return one row; raises `DataError` where a column is missing, unknown, or holds what it must not."""
    try:
        per_class = json.loads(cells.pop("per_class_json") or "{}")
        order = int(cells.pop("order") or 0)
        row = Reported(**cells, per_class=per_class, order=order)
        in_range = 0 <= float(row.miou) <= 100
        if not (in_range and row.source and isinstance(per_class, dict)):
            raise ValueError(
                "miou must lie in 0..100, source must not be empty, per_class_json must be an object"
            )
    # RecursionError: JSON of a few thousand brackets is enough to make the parser give up.
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise DataError(
            f"{path}, line {line}: {error}. Fix the line; docs/protocol.md lists the columns."
        ) from error
    return row


def shown_values(values: Sequence[Mapping[str, Any]], scored: str, split: str) -> str:
    """Return one cell: the value as printed, or every value with its number of sources where they disagree.

    Args:
        values: as in an entry of `reported_rows`.
        scored: ``seeds``, ``labels`` or ``segmentation``.
        split: the split that was scored.
    """
    found = [v for v in values if (v["scored"], v["split"]) == (scored, split)]
    if not found:
        return ""
    numbers = {float(value["miou"]) for value in found}
    if len(numbers) == 1:
        return str(found[0]["miou"])
    every = [f"{value['miou']} ({len(value['sources'])})" for value in found]
    return f"conflict: {' / '.join(every)}"


_Key = tuple[str, str, str, str, str]
"""What makes two numbers belong to one entry: method, network, CRF, COCO, role."""

_Cell = tuple[str, str]
"""What was scored, and on which split."""


@dataclass
class _Entry:
    """All rows of one method and network."""

    role: str
    facts: list[Reported] = field(default_factory=list)
    cells: dict[_Cell, dict[str, list[Reported]]] = field(default_factory=dict)

    def add(self, row: Reported) -> None:
        cell = self.cells.setdefault((row.scored, row.split), {})
        # By the printed digits: 51.7 and 51.70 are shown as they stand.
        cell.setdefault(row.miou, []).append(row)

    def numbers(self) -> Iterator[tuple[_Cell, str, list[Reported]]]:
        """Yield cell, value as printed, and the rows that print it."""
        for cell, values in self.cells.items():
            for miou, rows in values.items():
                yield cell, miou, rows

    def printed(self) -> set[tuple[_Cell, str]]:
        """Return every value in every cell."""
        return {(cell, miou) for cell, miou, _ in self.numbers()}

    def most(self, name: str) -> str:
        """Return the longest of what the sources say about a fact; "" where none says anything."""
        found = [str(getattr(row, name)) for row in self.facts]
        return max(found, key=len)


def reported_rows(rows: Iterable[Reported], dataset: str) -> list[dict[str, Any]]:
    """Return what a board of `dataset` shows as *reported*: one entry per method and network, best first.

    Returns:
        Dicts with ``method``, ``role``, ``venue``, ``net``, ``supervision``, ``extra_data``, ``crf``, ``conflict`` and
        ``values``: a list of ``{scored, split, miou, sources, notes}``. Nothing is averaged: a conflict keeps every
        value.
    """
    entries: dict[_Key, _Entry] = {}
    for row in rows:
        if row.dataset != dataset or row.role == "ablation":
            continue
        key = (row.method, row.net, row.crf, row.coco, row.role)
        entry = entries.setdefault(key, _Entry(row.role))
        entry.facts.append(row)
        entry.add(row)
    _join_nameless(entries)
    ranked = sorted(entries, key=lambda key: (-_best(entries[key]), key))
    return [_as_dict(key, entries[key]) for key in ranked]


def _join_nameless(entries: dict[_Key, _Entry]) -> None:
    """Put a source that names no network with the one network for which others print all of its values."""
    nameless = [key for key in entries if not key[1]]
    for key in nameless:
        own = entries[key].printed()
        fitting = [
            other
            for other, entry in entries.items()
            if _differ_in_net(key, other) and own <= entry.printed()
        ]
        # With two networks that fit nobody can tell which was meant, so the source stays on its own.
        if len(fitting) != 1:
            continue
        joined = entries[fitting[0]]
        gone = entries.pop(key)
        joined.facts += gone.facts
        for _, _, rows in gone.numbers():
            for row in rows:
                joined.add(row)


def _differ_in_net(nameless: _Key, other: _Key) -> bool:
    named = bool(other[1])
    return named and (nameless[0], *nameless[2:]) == (other[0], *other[2:])


def _best(entry: _Entry) -> float:
    """Return the highest value on val, or in the first cell where val was not scored."""
    first = next(iter(entry.cells.values()))
    values = entry.cells.get(("segmentation", "val"), first)
    return max(map(float, values))


def _as_dict(key: _Key, entry: _Entry) -> dict[str, Any]:
    values = []
    conflict = False
    for cell in sorted(entry.cells):
        mious = entry.cells[cell]
        # As numbers: digits that one source leaves away are no disagreement.
        conflict |= len(set(map(float, mious))) > 1
        # The value with most sources first; among equals the order of the file.
        for miou in sorted(mious, key=lambda miou: -len(mious[miou])):
            values.append(_value(cell, miou, mious[miou]))
    venue = [entry.most("venue"), entry.most("year")]
    return {
        "method": key[0],
        "role": entry.role,
        "venue": " ".join(filter(None, venue)),
        "net": key[1],
        "supervision": entry.most("supervision"),
        "extra_data": entry.most("extra_data"),
        "crf": key[2],
        "conflict": conflict,
        "values": values,
    }


def _value(cell: _Cell, miou: str, rows: Sequence[Reported]) -> dict[str, Any]:
    sources = {row.source for row in rows}
    notes = {row.note for row in rows}
    return {
        "scored": cell[0],
        "split": cell[1],
        "miou": miou,
        "sources": sorted(sources),
        "notes": sorted(notes - {""}),
    }
