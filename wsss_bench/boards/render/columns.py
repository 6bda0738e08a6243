"""Rows as flat cells: the one place that decides what a column is called and how a number is written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wsss_bench.boards.rows import Board, Row, Score
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


def device(row: Row) -> str:
    """Return ``CPU`` or ``GPU``, or both where seeds ran on different kinds."""
    names = [record.device.lower() for record in row.records]
    kinds = {"CPU" if name.startswith("cpu") else "GPU" for name in names}
    return "/".join(sorted(kinds))


def paper(row: Row) -> str:
    """Return the papers of the picked methods, each once, in stage order."""
    found = [str(row.first.cards.get(stage, {}).get("paper", "-")) for stage in STAGES]
    # A dict keeps the order and drops what comes twice: one method often runs several stages.
    return "; ".join(p for p in dict.fromkeys(found) if p not in ("-", ""))


def notes(row: Row) -> str:
    """Return the footnotes: what the cards say, a single seed, runs that a newer one replaced."""
    found = [str(row.first.cards.get(stage, {}).get("notes", "")) for stage in STAGES]
    if row.single_seed:
        found.append("single seed: the interval covers images only")
    if row.superseded:
        found.append(f"{row.superseded} older run(s) replaced by newer ones")
    return "; ".join(note for note in dict.fromkeys(found) if note)


def wide(board: Board) -> tuple[list[str], list[list[str]]]:
    """Return header and one line of cells per row; numbers in percent with four digits, unknown is empty."""
    header = _wide_header(board)
    measured = [_wide_row(board, row) for row in board.rows]
    reported = [_wide_reported(header, entry) for entry in board.reported]
    return header, measured + reported


def _wide_header(board: Board) -> list[str]:
    header = ["origin", "method", *STAGES]
    for what in COUNTS:
        header += [f"{what}_miou", f"{what}_low", f"{what}_high"]
    header += ["seeds_best_threshold", "seeds_fixed_threshold"]
    header += ["labels_coverage", "ties", *COLUMNS]
    header += ["seeds_n", "seeds", "profile", "device"]
    header += [f"minutes_{stage}" for stage in STAGES]
    header += ["minutes", "peak_mb", "peak_gpu_mb"]
    header += ["protocol", "paper", "notes"]
    return header + [f"{board.metric}_iou_{name}" for name in board.classes]


def _wide_row(board: Board, row: Row) -> list[str]:
    """Return a measured row's cells, in the order of `_wide_header`."""
    first, scores = row.first, row.scores
    cells = [row.origin, row.method]
    cells += [first.picks.get(stage) or "" for stage in STAGES]
    for what in COUNTS:
        cells += _bounds(scores.get(what))
    cells += [thresholds(scores.get("seeds_best"))]
    cells += [thresholds(scores.get("seeds_fixed"))]
    labels = scores.get("labels")
    cells += [percent(labels.coverage, 4) if labels else "", row.ties]
    cells += [str(first.columns.get(name, "")) for name in COLUMNS]
    cells += [str(len(row.seeds)), " ".join(map(str, row.seeds))]
    cells += [first.profile, device(row)]
    cells += [number(row.minutes(stage), 2) for stage in (*STAGES, None)]
    cells += [number(row.peak_mb(), 0), number(row.peak_mb("peak_gpu_mb"), 0)]
    cells += [first.protocol, paper(row), notes(row)]
    ranked = scores.get(board.metric)
    if ranked is None:
        return cells + [""] * len(board.classes)
    return cells + [percent(float(value), 4) for value in ranked.per_class]


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


def _wide_reported(header: Sequence[str], entry: Mapping[str, Any]) -> list[str]:
    """Return a reported row's cells: numbers as printed; where sources disagree the notes hold every value."""
    cells = {name: entry[name] for name in ("supervision", "extra_data", "crf")}
    cells |= {"origin": "reported", "method": entry["method"]}
    cells |= {"paper": entry["venue"], "backbone": entry["net"]}
    said: dict[tuple[str, str], list[str]] = {}
    for value in entry["values"]:
        said.setdefault((value["scored"], value["split"]), []).append(value["miou"])
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


def long(board: Board) -> Iterator[list[str]]:
    """Yield the tidy form, one line per number; ``seed`` is ``mean`` for the row's own value."""
    for row in board.rows:
        known = [(what, row.scores[what]) for what in COUNTS if what in row.scores]
        for what, score in known:
            facts = {
                "dataset": board.name,
                "origin": row.origin,
                "method": row.method,
                "scored": what,
                "n_images": str(score.n_images),
            }
            for cells in _long_score(board.classes, row.seeds, score):
                yield _long_line(facts | cells)
    for entry in board.reported:
        facts = {
            "dataset": board.name,
            "origin": "reported",
            "method": entry["method"],
            "metric": "miou",
        }
        for cells in _long_reported(entry):
            yield _long_line(facts | cells)


def _long_line(cells: Mapping[str, str]) -> list[str]:
    return [cells.get(name, "") for name in LONG_HEADER]


def _long_score(
    classes: Sequence[str], seeds: Sequence[int], score: Score
) -> Iterator[dict[str, str]]:
    """Yield the cells in which the numbers of one score differ: the mean over seeds first, then each seed."""
    value, low, high = _bounds(score)
    mean = {"seed": "mean", "metric": "miou", "value": value}
    yield mean | {"low": low, "high": high, "threshold": thresholds(score)}
    coverage = percent(score.coverage, 4)
    yield {"seed": "mean", "metric": "coverage", "value": coverage}
    for name, iou in zip(classes, score.per_class, strict=True):
        own = percent(float(iou), 4)
        yield {"seed": "mean", "metric": "iou", "class": name, "value": own}
    for seed, miou in zip(seeds, score.per_seed, strict=True):
        # A seed may lack a score that others have, where a run was scored before that kind existed.
        if miou is not None:
            yield {"seed": str(seed), "metric": "miou", "value": percent(miou, 4)}


def _long_reported(entry: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Yield one line per value and source: nothing is averaged or left out."""
    for value in entry["values"]:
        scored = f"{value['scored']} {value['split']}"
        for source in value["sources"]:
            yield {"scored": scored, "value": value["miou"], "source": source}
