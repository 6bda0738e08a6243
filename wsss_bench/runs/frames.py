"""Run records as tables: one row a cell, or one row a cell, score and class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.names import STAGES
from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.results.records import COUNTS

if TYPE_CHECKING:
    import pandas as pd

    from wsss_bench.results.records import RunRecord

KINDS = ("wide", "long")

Facts = Mapping[str, Any]
"""What is known of a cell besides its numbers."""

Rows = Iterable[tuple[Facts, "RunRecord | None"]]
"""Cells, each with its record; None where it failed."""

FIRST = ("cell", "dataset", "recipe", "seed")
"""The facts that stand before the numbers; a notebook shows the first and the last columns of a wide table only."""

LONG = ("stage", "class", "iou")


def make_frame(rows: Rows, kind: str) -> pd.DataFrame:
    """Return a table of cells, each given by facts and by its record (None where the cell failed).

    Args:
        rows: the cells; see `Rows`.
        kind: ``"wide"``: one row a cell, with the mIoU of every score in percent and what was scored; ``"long"``: one
            row for each cell, stage (one of `COUNTS`) and class, with the IoU in percent. NaN stands where nothing was
            scored.

    Raises:
        RecipeError: another kind.
        ArtifactError: a record's counts are missing or damaged.
    """
    import pandas as pd

    if kind not in KINDS:
        raise RecipeError(
            f"there is no frame of kind {kind!r}.{did_you_mean(kind, KINDS)}"
        )
    if kind == "wide":
        return pd.DataFrame(_table(rows, _wide))
    found = list(_table(rows, _long))
    # Without a single line pandas would not know the columns.
    return pd.DataFrame(found, columns=None if found else [*FIRST, *LONG])


Numbers = Iterator[dict[str, Any]]


def _table(rows: Rows, numbers: Callable[[RunRecord | None], Numbers]) -> Numbers:
    """Yield the lines of a table: facts and numbers in the order of columns."""
    for facts, record in rows:
        first = {name: facts[name] for name in FIRST if name in facts}
        for line in numbers(record):
            yield {**first, **line, **facts}


def facts_of(record: RunRecord) -> dict[str, Any]:
    """Return what identifies a recorded run: dataset, recipe, methods by stage, seed, profile and run id."""
    picks = {stage: record.picks.get(stage) for stage in STAGES}
    return {
        "dataset": str(record.dataset["name"]),
        "recipe": record.recipe,
        **picks,
        "seed": record.seed,
        "profile": record.profile,
        "run_id": record.run_id,
    }


def _wide(record: RunRecord | None) -> Numbers:
    numbers: dict[str, Any] = {}
    for what in COUNTS:
        counts = record.load_counts(what) if record else None
        # NaN, not None: a column with None in it is no column of numbers to pandas.
        miou = counts.miou() if counts else float("nan")
        numbers[f"{what}_miou"] = 100 * miou
    numbers["scored_on"] = _scored_on(record) if record else None
    numbers["minutes"] = _minutes(record) if record else float("nan")
    yield numbers


def _scored_on(record: RunRecord) -> str | None:
    """Return the number of images scored and a short digest of them; rows of different ones do not compare."""
    from wsss_bench.boards.rows import RANKING
    from wsss_bench.boards.scored import scored_on

    for what in RANKING:
        counts = record.load_counts(what)
        if counts is not None:
            found = scored_on(counts)
            return f"{len(found)} images {found.digest[:8]}"
    return None


def _minutes(record: RunRecord) -> float:
    """Return how long the computing of all stages took, whichever run did it."""
    seconds = [cost.get("seconds", 0.0) for cost in record.cost.values()]
    return sum(seconds) / 60


def _long(record: RunRecord | None) -> Numbers:
    if record is None:
        return
    for what in COUNTS:
        counts = record.load_counts(what)
        if counts is None:
            continue
        scores = 100 * counts.per_class_iou()
        for name, score in zip(record.classes, scores.tolist(), strict=True):
            yield {"stage": what, "class": name, "iou": score}


def as_html(frame: pd.DataFrame, title: str, notes: Sequence[str] = ()) -> str:
    """Return a wide frame as HTML for a notebook: without empty columns, numbers with one digit, `notes` below."""
    # Columns of NaN alone (seeds without a segmentor, say) would push the others out of sight.
    shown = frame.dropna(axis=1, how="all")
    table = shown.to_html(index=False, border=0, float_format="{:.1f}".format)
    lines = [f"<p>{escape(note)}</p>" for note in notes]
    return "\n".join([f"<p><b>{escape(title)}</b></p>", table, *lines])
