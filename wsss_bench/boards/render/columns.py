"""Rows as flat cells: the one place that decides what a column is called and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wsss_bench.boards.private import file_name
from wsss_bench.boards.render.footnotes import notes, paper
from wsss_bench.boards.rows import Board, Row, Score, Section
from wsss_bench.boards.sections import MARK
from wsss_bench.contract.names import STAGES
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

SCORED_ON = "scored_on"
"""A column of tables in which not all was scored on the same images and masks; others lack it."""


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction as percent, or "" for None and NaN."""
    return number(None if value is None else 100 * value, digits)


def number(value: float | None, digits: int) -> str:
    """Return a number with fixed digits, or "" for None and NaN."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def thresholds(score: Score | None) -> str:
    """Return the seeds' thresholds: one, or the range of several."""
    if score is None or not score.thresholds:
        return ""
    low, high = min(score.thresholds), max(score.thresholds)
    return f"{low:.2f}" if low == high else f"{low:.2f}–{high:.2f}"


def pick(row: Row, stage: str) -> str:
    """Return the method that ran a stage, or a dash."""
    return row.first.picks.get(stage) or "–"


def coverage(row: Row, digits: int = 1) -> str:
    """Return the share of labelled pixels of the row's labels as percent, or ""."""
    labels = row.scores.get("labels")
    return percent(labels.coverage, digits) if labels else ""


def mark(score: Score | None) -> str:
    """Return `MARK` for a score that was taken on other images or masks than most rows' are, else ""."""
    return MARK if score is not None and score.elsewhere else ""


def columns(row: Row) -> list[str]:
    """Return the row's cells of `COLUMNS`."""
    return [fact(row, name) for name in COLUMNS]


def fact(row: Row, name: str) -> str:
    """Return one of `COLUMNS` as text; of a path, such as that of a backbone's file, the last part alone."""
    found = row.first.columns.get(name, "")
    return file_name(str(found))


def device(row: Row) -> str:
    """Return ``CPU`` or ``GPU``, or both where seeds ran on different kinds."""
    names = [record.device.lower() for record in row.records]
    kinds = {"CPU" if name.startswith("cpu") else "GPU" for name in names}
    return "/".join(sorted(kinds))


_Line = list[str]
_Entry = Mapping[str, Any]
"""What others report of one method and network, as `reported_rows` gives it."""


def wide(board: Board) -> tuple[_Line, list[_Line]]:
    """Return header and one line of cells per row; numbers in percent with four digits, unknown is empty."""
    header = _wide_header(board)
    measured = []
    for section in board.sections:
        for row in board.rows_of(section):
            line = _wide_row(board, row)
            measured.append(_with_section(board, section, line))
    reported = [_wide_reported(header, entry) for entry in board.reported]
    return header, measured + reported


def _wide_header(board: Board) -> _Line:
    header = ["origin", "method"]
    if board.parted:
        header.append(SCORED_ON)
    header += STAGES
    for what in COUNTS:
        header += [f"{what}_miou", f"{what}_low", f"{what}_high"]
    header += ["seeds_best_threshold", "seeds_fixed_threshold"]
    header += ["labels_coverage", "ties", *COLUMNS]
    header += ["seeds_n", "seeds", "profile", "device"]
    header += [f"minutes_{stage}" for stage in STAGES]
    header += ["minutes", "peak_mb", "peak_gpu_mb"]
    header += ["protocol", "paper", "notes"]
    return header + [f"{board.metric}_iou_{name}" for name in board.classes]


def _with_section(board: Board, section: Section, line: _Line) -> _Line:
    """Return a line with the section after origin and method, where the board has more than one."""
    return [*line[:2], section.name, *line[2:]] if board.parted else line


def _wide_row(board: Board, row: Row) -> _Line:
    """Return a measured row's cells, in the order of `_wide_header`."""
    first, scores = row.first, row.scores
    cells = [row.origin, row.method]
    cells += [first.picks.get(stage) or "" for stage in STAGES]
    for what in COUNTS:
        cells += _bounds(scores.get(what))
    cells += [thresholds(scores.get("seeds_best"))]
    cells += [thresholds(scores.get("seeds_fixed"))]
    cells += [coverage(row, 4), row.ties, *columns(row)]
    seeds = [str(seed) for seed in row.seeds]
    cells += [str(len(seeds)), " ".join(seeds)]
    cells += [first.profile, device(row)]
    for stage in (*STAGES, None):
        cells.append(number(row.minutes(stage), 2))
    for what in ("peak_mb", "peak_gpu_mb"):
        cells.append(number(row.peak_mb(what), 0))
    cells += [first.protocol, paper(row), notes(row)]
    ranked = scores.get(board.metric)
    if ranked is None:
        return cells + [""] * len(board.classes)
    return cells + [percent(iou, 4) for iou in ranked.per_class]


def _bounds(score: Score | None) -> list[str]:
    """Return a score and its interval, three cells."""
    if score is None:
        return ["", "", ""]
    return [percent(value, 4) for value in score.bounds]


_REPORTED = {
    ("seeds", "train"): "seeds_fixed_miou",
    ("labels", "train"): "labels_miou",
    ("segmentation", "val"): "val_miou",
}
"""The column of a reported number, by what was scored on which split; numbers on other splits go into the notes."""


def _wide_reported(header: Sequence[str], entry: _Entry) -> _Line:
    """Return a reported row's cells: numbers as printed; where sources disagree the notes hold every value."""
    cells = {
        "origin": "reported",
        "method": entry["method"],
        "paper": entry["venue"],
        "backbone": entry["net"],
        "supervision": entry["supervision"],
        "extra_data": entry["extra_data"],
        "crf": entry["crf"],
    }
    said: dict[tuple[str, str], list[str]] = {}
    for value in entry["values"]:
        cell = (value["scored"], value["split"])
        said.setdefault(cell, []).append(value["miou"])
    found = []
    for (scored, split), values in said.items():
        # As numbers: a source that prints 51.70 agrees with one that prints 51.7.
        if len(set(map(float, values))) > 1:
            found.append(f"conflict on {split} {scored}: {' / '.join(values)}")
        elif (scored, split) in _REPORTED:
            cells[_REPORTED[scored, split]] = values[0]
        else:
            found.append(f"{split} {scored}: {values[0]}")
    cells["notes"] = "; ".join(found)
    return [cells.get(name, "") for name in header]


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


def long_header(board: Board) -> _Line:
    """Return the headings of the tidy form: `LONG_HEADER`, and what was scored where that is not one set."""
    if board.parted or board.marked:
        return [*LONG_HEADER, SCORED_ON]
    return LONG_HEADER


def long(board: Board) -> Iterator[list[str]]:
    """Yield the tidy form, one line per number; ``seed`` is ``mean`` for the row's own value."""
    header = long_header(board)
    for row in board.rows:
        for what in COUNTS:
            score = row.scores.get(what)
            if score is None:
                continue
            facts = {
                "dataset": board.name,
                "origin": row.origin,
                "method": row.method,
                "scored": what,
                "n_images": str(score.n_images),
                SCORED_ON: _scored_on(board, row, what),
            }
            for cells in _long_score(board.classes, row.seeds, score):
                yield _long_line(header, facts | cells)
    for entry in board.reported:
        facts = {
            "dataset": board.name,
            "origin": "reported",
            "method": entry["method"],
            "metric": "miou",
        }
        for cells in _long_reported(entry):
            yield _long_line(header, facts | cells)


def _long_line(header: Sequence[str], cells: Mapping[str, str]) -> _Line:
    return [cells.get(name, "") for name in header]


def _scored_on(board: Board, row: Row, what: str) -> str:
    """Return in words what a score was taken on."""
    if what == board.metric:
        return board.sections[row.section - 1].name
    score = row.scores[what]
    return score.elsewhere or score.where


def _long_score(
    classes: Sequence[str], seeds: Sequence[int], score: Score
) -> Iterator[dict[str, str]]:
    """Yield the cells in which the numbers of one score differ: the mean over seeds first, then each seed."""
    value, low, high = _bounds(score)
    mean = {"seed": "mean", "metric": "miou", "value": value}
    mean |= {"low": low, "high": high}
    yield mean | {"threshold": thresholds(score)}
    labelled = percent(score.coverage, 4)
    yield {"seed": "mean", "metric": "coverage", "value": labelled}
    for name, iou in zip(classes, score.per_class, strict=True):
        own = {"class": name, "value": percent(iou, 4)}
        yield {"seed": "mean", "metric": "iou", **own}
    for seed, miou in zip(seeds, score.per_seed, strict=True):
        # A seed may lack a score that others have, where a run was scored before that kind existed.
        if miou is not None:
            value = percent(miou, 4)
            yield {"seed": str(seed), "metric": "miou", "value": value}


def _long_reported(entry: _Entry) -> Iterator[dict[str, str]]:
    """Yield one line per value and source: nothing is averaged or left out."""
    for value in entry["values"]:
        scored = f"{value['scored']} {value['split']}"
        for source in value["sources"]:
            yield {"scored": scored, "value": value["miou"], "source": source}
