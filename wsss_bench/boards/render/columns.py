"""Rows as flat cells: the one place that decides what a column is called and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wsss_bench.boards.rows import STAGES, Board, Row, Score
from wsss_bench.results.records import COUNTS

COLUMNS = (
    "supervision",
    "extra_data",
    "backbone",
    "segmentor",
    "pretraining",
    "crf",
    "multi_scale",
    "rounds",
)
"""What decides whether two rows may be compared."""


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as percent, or "" for None and NaN."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def number(value: float | None, digits: int) -> str:
    """A number with fixed digits, or "" for None and NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def thresholds(score: Score | None) -> str:
    """The seeds' thresholds: one, or the range of several."""
    if score is None or not score.thresholds:
        return ""
    low, high = min(score.thresholds), max(score.thresholds)
    return f"{low:.2f}" if low == high else f"{low:.2f}–{high:.2f}"


def pick(row: Row, stage: str) -> str:
    """The method that ran a stage, or a dash."""
    return row.first.picks.get(stage) or "–"


def device(row: Row) -> str:
    """``CPU`` or ``GPU``, or both where seeds ran on different kinds."""
    return "/".join(
        sorted(
            {
                "CPU" if record.device.lower().startswith("cpu") else "GPU"
                for record in row.records
            }
        )
    )


def wide(board: Board) -> tuple[list[str], list[list[str]]]:
    """One line per row: header and cells, numbers in percent with four digits; unknown is empty."""
    header = ["origin", "method", *STAGES]
    for what in COUNTS:
        header += [f"{what}_miou", f"{what}_low", f"{what}_high"]
    header += [
        "seeds_best_threshold",
        "seeds_fixed_threshold",
        "labels_coverage",
        "ties",
        *COLUMNS,
        "seeds_n",
        "seeds",
        "profile",
    ]
    header += [
        "device",
        *(f"minutes_{stage}" for stage in STAGES),
        "minutes",
        "peak_mb",
        "peak_gpu_mb",
        "protocol",
        "paper",
        "notes",
    ]
    header += [f"{board.metric}_iou_{name}" for name in board.classes]
    lines = [_wide_row(board, row) for row in board.rows]
    return header, lines + [_wide_reported(header, entry) for entry in board.reported]


_REPORTED = {
    ("seeds", "train"): "seeds_fixed_miou",
    ("labels", "train"): "labels_miou",
    ("segmentation", "val"): "val_miou",
}


def _wide_reported(header: Sequence[str], entry: Mapping[str, Any]) -> list[str]:
    """A reported row: numbers as printed; where sources disagree the cell is empty and the notes hold every value."""
    cells = {
        "origin": "reported",
        "method": entry["method"],
        "paper": entry["venue"],
        "backbone": entry["net"],
    }
    cells |= {name: entry[name] for name in ("supervision", "extra_data", "crf")}
    said: dict[tuple[str, str], list[str]] = {}
    for value in entry["values"]:
        said.setdefault((value["scored"], value["split"]), []).append(value["miou"])
    found = []
    for (scored, split), values in said.items():
        if len(set(map(float, values))) > 1:
            found.append(f"conflict on {split} {scored}: {' / '.join(values)}")
        elif (scored, split) in _REPORTED:
            cells[_REPORTED[scored, split]] = values[0]
        else:
            found.append(f"{split} {scored}: {values[0]}")
    cells["notes"] = "; ".join(found)
    return [cells.get(name, "") for name in header]


def _wide_row(board: Board, row: Row) -> list[str]:
    cells = [
        row.origin,
        row.method,
        *(row.first.picks.get(stage) or "" for stage in STAGES),
    ]
    for what in COUNTS:
        score = row.scores.get(what)
        cells += (
            [percent(v, 4) for v in (score.miou.value, score.miou.low, score.miou.high)]
            if score
            else ["", "", ""]
        )
    labels = row.scores.get("labels")
    cells += [
        thresholds(row.scores.get("seeds_best")),
        thresholds(row.scores.get("seeds_fixed")),
    ]
    cells += [percent(labels.coverage, 4) if labels else "", row.ties]
    cells += [str(row.first.columns.get(name, "")) for name in COLUMNS]
    cells += [
        str(len(row.seeds)),
        " ".join(map(str, row.seeds)),
        row.first.profile,
        device(row),
    ]
    cells += [number(row.minutes(stage), 2) for stage in STAGES] + [
        number(row.minutes(), 2),
        number(row.peak_mb(), 0),
    ]
    cells += [number(row.peak_mb("peak_gpu_mb"), 0)]
    cells += [row.first.protocol, paper(row), notes(row)]
    ranked = row.scores.get(board.metric)
    return cells + (
        [percent(float(v), 4) for v in ranked.per_class]
        if ranked
        else [""] * len(board.classes)
    )


def paper(row: Row) -> str:
    """The papers of the picked methods, each once, in stage order."""
    found = [str(row.first.cards.get(stage, {}).get("paper", "-")) for stage in STAGES]
    return "; ".join(dict.fromkeys(p for p in found if p not in ("-", "")))


def notes(row: Row) -> str:
    """Footnotes: what the cards say, a single seed, runs that a newer one replaced."""
    found = [str(row.first.cards.get(stage, {}).get("notes", "")) for stage in STAGES]
    found += (
        ["single seed: the interval covers images only"]
        if len(row.seeds) == 1 and row.origin == "measured"
        else []
    )
    found += (
        [f"{row.superseded} older run(s) replaced by newer ones"]
        if row.superseded
        else []
    )
    return "; ".join(dict.fromkeys(n for n in found if n))


LONG_HEADER = [
    "dataset",
    "origin",
    "method",
    "seed",
    "scored",
    "metric",
    "class",
    "value",
    "low",
    "high",
    "threshold",
    "n_images",
    "source",
]


def long(board: Board) -> Iterator[list[str]]:
    """Tidy form: one line per number; ``seed`` is ``mean`` for the row's own value."""
    for row in board.rows:
        for what in COUNTS:
            score = row.scores.get(what)
            if score is None:
                continue
            start, end = [board.name, row.origin, row.method], [str(score.n_images), ""]
            interval = [
                percent(v, 4)
                for v in (score.miou.value, score.miou.low, score.miou.high)
            ]
            yield [*start, "mean", what, "miou", "", *interval, thresholds(score), *end]
            yield [
                *start,
                "mean",
                what,
                "coverage",
                "",
                percent(score.coverage, 4),
                "",
                "",
                "",
                *end,
            ]
            for name, value in zip(board.classes, score.per_class, strict=True):
                yield [
                    *start,
                    "mean",
                    what,
                    "iou",
                    name,
                    percent(float(value), 4),
                    "",
                    "",
                    "",
                    *end,
                ]
            for seed, seen in zip(row.seeds, score.per_seed, strict=True):
                if seen is not None:
                    yield [
                        *start,
                        str(seed),
                        what,
                        "miou",
                        "",
                        percent(seen, 4),
                        "",
                        "",
                        "",
                        *end,
                    ]
    for entry in board.reported:
        for value in entry["values"]:
            what = f"{value['scored']} {value['split']}"
            for source in value["sources"]:
                yield [
                    board.name,
                    "reported",
                    entry["method"],
                    "",
                    what,
                    "miou",
                    "",
                    value["miou"],
                    "",
                    "",
                    "",
                    "",
                    source,
                ]
