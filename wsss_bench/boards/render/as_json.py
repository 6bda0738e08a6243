"""A board as JSON: the documented schema behind ``--json``, the ``.json`` file and the page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from wsss_bench.boards.render.columns import COLUMNS, device, notes, paper
from wsss_bench.boards.rows import STAGES, Board, Row, Score
from wsss_bench.evaluate import PROTOCOL

SCHEMA = 1


def clean(value: Any) -> Any:
    """The same value in JSON's types, floats rounded to 6 digits, NaN as null."""
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [clean(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), 6) + 0.0
    return value if value is None or isinstance(value, str) else str(value)


def dumps(payload: object) -> str:
    """Indented JSON with a final newline; the same payload gives the same bytes."""
    return (
        json.dumps(clean(payload), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )


def as_json(board: Board) -> dict[str, Any]:
    """The board under schema 1. Scores are fractions in [0, 1]; null is not known or, for a class, not present."""
    return {
        "schema": SCHEMA,
        "protocol": PROTOCOL,
        "dataset": {
            key: board.dataset[key]
            for key in ("name", "kind", "splits", "sizes", "fingerprint")
        },
        "classes": board.classes,
        "metric": board.metric,
        "resamples": board.resamples,
        "rows": [_row(row) for row in board.rows],
        "pairs": [
            {
                "first": board.rows[p.first].method,
                "second": board.rows[p.second].method,
                "value": p.difference.value,
                "low": p.difference.low,
                "high": p.difference.high,
                "p": p.difference.p,
                "p_holm": p.adjusted,
            }
            for p in board.pairs
        ],
        "reported": board.reported,
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "method": row.method,
        "origin": row.origin,
        "recipe": row.first.recipe,
        "picks": {stage: row.first.picks.get(stage) for stage in STAGES},
        "seeds": row.seeds,
        "single_seed": len(row.seeds) == 1,
        "runs": [record.run_id for record in row.records],
        "profile": row.first.profile,
        "ties": row.ties,
        "scores": {what: _score(score) for what, score in row.scores.items()},
        "columns": {name: row.first.columns.get(name) for name in COLUMNS},
        "minutes": {stage: row.minutes(stage) for stage in STAGES}
        | {"total": row.minutes()},
        "peak_mb": row.peak_mb(),
        "peak_gpu_mb": row.peak_mb("peak_gpu_mb"),
        "device": device(row),
        "paper": paper(row),
        "notes": notes(row),
        "curves": [
            _curve(record) for record in row.records if record.curve is not None
        ],
    }


def _score(score: Score) -> dict[str, Any]:
    return {
        "miou": score.miou.value,
        "low": score.miou.low,
        "high": score.miou.high,
        "per_class": score.per_class,
        "per_seed": score.per_seed,
        "coverage": score.coverage,
        "thresholds": score.thresholds,
        "n_images": score.n_images,
    }


def _curve(record: Any) -> dict[str, Any]:
    curve = record.load_curve()
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
