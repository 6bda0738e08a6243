"""A board as JSON: the documented schema behind ``--json``, the ``.json`` file and the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsss_bench.boards.private import file_name, without_paths
from wsss_bench.boards.render.columns import COLUMNS, device
from wsss_bench.boards.render.footnotes import notes, paper
from wsss_bench.boards.rows import Board, Pair, Row, Score, Section
from wsss_bench.boards.sections import common_truths
from wsss_bench.contract.names import STAGES
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.results.records import RunRecord

SCHEMA = 1
_DATASET = ("name", "kind", "splits", "sizes", "fingerprint")


def clean(value: Any) -> Any:
    """Return the same value in JSON's types, floats rounded to 6 digits, NaN as null."""
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [clean(v) for v in value]
    # Before int: to Python a bool is one.
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        if math.isnan(value):
            return None
        # Adding 0.0 turns -0.0 into 0.0; the two are equal and must not differ in bytes.
        return round(float(value), 6) + 0.0
    return value if value is None or isinstance(value, str) else str(value)


def dumps(payload: object) -> str:
    """Return indented JSON with a final newline; the same payload gives the same bytes."""
    cleaned = clean(payload)
    text = json.dumps(
        cleaned,
        indent=1,
        ensure_ascii=False,
        allow_nan=False,
    )
    return text + "\n"


def as_json(board: Board) -> dict[str, Any]:
    """Return the board under schema 1.

    Scores are fractions in [0, 1]; null is not known or, for a class, not present. What most boards have no need of
    (``truth``, ``sections``; of a row ``section`` and ``overridden``; of a score ``elsewhere``) is left out there.
    """
    dataset = {key: board.dataset[key] for key in _DATASET}
    rows = [_row(board, row) for row in board.rows]
    pairs = [_pair(board, pair) for pair in board.pairs]
    return {
        "schema": SCHEMA,
        "protocol": PROTOCOL,
        "dataset": dataset,
        "classes": board.classes,
        "metric": board.metric,
        "resamples": board.resamples,
        "rows": rows,
        "pairs": pairs,
        "reported": board.reported,
        **_sections(board),
    }


def _sections(board: Board) -> dict[str, Any]:
    """Return what the rows were scored on, where that is not the same for all, and how the masks were read."""
    found: dict[str, Any] = {}
    truths = common_truths(board.sections)
    if truths:
        found["truth"] = _plain(truths)
    if board.parted:
        found["sections"] = [_section(board, section) for section in board.sections]
    return found


def _section(board: Board, section: Section) -> dict[str, Any]:
    where = section.scored_on
    return {
        "number": section.number,
        "scored_on": section.name,
        "n_images": len(where or ()),
        "digest": where.digest if where else "",
        "truth": _plain(section.truths),
        "rows": [row.method for row in board.rows_of(section)],
    }


def _pair(board: Board, pair: Pair) -> dict[str, Any]:
    return {
        "first": board.rows[pair.first].method,
        "second": board.rows[pair.second].method,
        "value": pair.difference.value,
        "low": pair.difference.low,
        "high": pair.difference.high,
        "p": pair.difference.p,
        "p_holm": pair.adjusted,
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    first = row.first
    picks = {stage: first.picks.get(stage) for stage in STAGES}
    columns = {name: _fact(first.columns.get(name)) for name in COLUMNS}
    scores = {what: _score(score) for what, score in row.scores.items()}
    minutes = {stage: row.minutes(stage) for stage in STAGES}
    curves = [_curve(record) for record in row.records if record.curve]
    return {
        "method": row.method,
        "origin": row.origin,
        "recipe": without_paths(first.recipe),
        "picks": picks,
        "seeds": row.seeds,
        # Of imported rows too, unlike `Row.single_seed`: schema 1 says how many seeds there are, not what to warn of.
        "single_seed": len(row.seeds) == 1,
        "runs": [record.run_id for record in row.records],
        "profile": first.profile,
        "ties": row.ties,
        "scores": scores,
        "columns": columns,
        "minutes": {**minutes, "total": row.minutes()},
        "peak_mb": row.peak_mb(),
        "peak_gpu_mb": row.peak_mb("peak_gpu_mb"),
        "device": device(row),
        "paper": paper(row),
        "notes": notes(row),
        "curves": curves,
        **_apart(board, row),
    }


def _fact(value: object) -> object:
    """Return a fact as it is, numbers too; of a path the last part alone."""
    return file_name(value) if isinstance(value, str) else value


def _apart(board: Board, row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if board.parted:
        found["section"] = row.section
    if row.first.overridden:
        found["overridden"] = _plain(row.first.overridden)
    return found


def _plain(value: object) -> object:
    """Return the same value with every path in it cut to its last part."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _fact(value)


def _score(score: Score) -> dict[str, Any]:
    elsewhere = {"elsewhere": score.elsewhere} if score.elsewhere else {}
    return {
        "miou": score.miou.value,
        "low": score.miou.low,
        "high": score.miou.high,
        "per_class": score.per_class,
        "per_seed": score.per_seed,
        "coverage": score.coverage,
        "thresholds": score.thresholds,
        "n_images": score.n_images,
        **elsewhere,
    }


def _curve(record: RunRecord) -> dict[str, Any]:
    curve = record.load_curve()
    assert curve is not None  # asked for only where the record names one
    best, value = curve.best()
    return {
        "seed": record.seed,
        "thresholds": curve.thresholds,
        "miou": curve.miou(),
        "false_positive_rate": curve.false_positive_rate(),
        "false_negative_rate": curve.false_negative_rate(),
        "oracle": {"threshold": best, "miou": value},
        "fixed": record.thresholds.get("fixed"),
    }
