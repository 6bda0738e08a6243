"""From run records to a ranked board: numbers derived from the counts, intervals, comparisons and ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.grouping import Group, groups
from wsss_bench.boards.rows import RANKING, Board, Pair, Row, Samples, Score
from wsss_bench.boards.scored import ScoredOn, Sets, images_of, splits_of
from wsss_bench.boards.sections import describe, part, records_of, remark
from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate.bootstrap import (
    RESAMPLES,
    Interval,
    Resamples,
    compare,
    holm,
    interval,
    tie_groups,
)
from wsss_bench.evaluate.counts import Counts
from wsss_bench.evaluate.protocol import mean_iou
from wsss_bench.results.records import COUNTS, RunRecord

_Found = Mapping[str, Sequence[Counts | None]]
"""Counts of one row: for each kind of score one entry per seed, None where the seed was not scored."""

_Where = Mapping[str, ScoredOn | None]
"""What one row was scored on, by kind of score; None where its seeds saw different images or masks."""

_Member = tuple[int, Counts]
"""The place of a row, and the counts of one of its seeds."""

_Ranked = list[list[Row]]
"""The rows of each section, best first."""


def make_board(name: str, records: Sequence[RunRecord], n: int = RESAMPLES) -> Board:
    """Gather the records of one dataset into a ranked board.

    Args:
        name: the dataset's name; it seeds the bootstrap, so that a board has the same intervals everywhere.
        records: at least one run.
        n: number of resamples.

    Raises:
        ArtifactError: a counts file is missing or unsound, or two runs have different classes.
    """
    _same_classes(name, records)
    gathered = groups(records)
    labels = [group.label for group in gathered]
    counts = [_load(group) for group in gathered]
    sets = _sets(counts)
    samples = _resample(name, labels, counts, sets, n)
    rows = list(map(_row, gathered, counts, sets, samples))
    metric = _metric(rows)
    ranked, pairs = _ranked(rows, metric)
    return Board(
        name,
        _dataset(records, ranked),
        records[0].classes,
        metric,
        tuple(chain(*ranked)),
        tuple(pairs),
        n,
        sections=tuple(describe(ranked, metric)),
    )


def _ranked(rows: Sequence[Row], metric: str) -> tuple[_Ranked, list[Pair]]:
    """Return the rows by section, each best first with its letters, and all pairs that may be compared."""
    found: _Ranked = []
    pairs: list[Pair] = []
    for number, own in enumerate(part(rows, metric), 1):
        order = sorted(own, key=lambda row: _rank(row, metric))
        compared = _pairs(order, metric)
        tied = _with_ties(order, metric, compared)
        # Pairs name places on the whole board.
        start = sum(map(len, found))
        for pair in compared:
            first, second = start + pair.first, start + pair.second
            pairs.append(replace(pair, first=first, second=second))
        found.append(remark(tied, metric, number))
    return found, pairs


def _dataset(records: Sequence[RunRecord], ranked: _Ranked) -> Mapping[str, Any]:
    """Return the dataset as the first run of the main section describes it."""
    if len(ranked) == 1:
        return records[0].dataset
    shown = {record.run_id for record in records_of(ranked[0])}
    return next(run.dataset for run in records if run.run_id in shown)


def _metric(rows: Sequence[Row]) -> str:
    """Return what the rows are ranked by."""
    for what in RANKING:
        if any(what in row.scores for row in rows):
            return what
    return RANKING[0]


def _same_classes(name: str, records: Sequence[RunRecord]) -> None:
    for record in records:
        if record.classes != records[0].classes:
            raise ArtifactError(
                f"board {name}: runs {records[0].run_id!r} and {record.run_id!r} have different classes; "
                "give one another name."
            )


def _load(group: Group) -> dict[str, list[Counts | None]]:
    found = {}
    for what in COUNTS:
        found[what] = [record.load_counts(what) for record in group.records]
    return found


def _sets(counts: Sequence[_Found]) -> list[_Where]:
    """Return, per row and kind of score, what all its seeds were scored on; None where they saw different sets."""
    sets = Sets()
    return [_common(found, sets) for found in counts]


def _common(found: _Found, sets: Sets) -> _Where:
    return {what: sets.common(seeds) for what, seeds in found.items() if any(seeds)}


def _row(group: Group, found: _Found, where: _Where, drawn: Samples) -> Row:
    scores = {}
    for what, place in where.items():
        own = drawn.get(what)
        scores[what] = _score(group.records, what, found[what], place, own)
    return Row(
        group.label,
        group.records[0].origin,
        group.records,
        scores,
        superseded=group.superseded,
        samples=drawn,
        remarks=(group.apart,) if group.apart else (),
    )


def _rank(row: Row, metric: str) -> tuple[float, str]:
    """Return a sort key: best first, rows without the score last, equals by name."""
    value = row.value(metric)
    place = 1.0 if value is None else -value
    return place, row.method


def _resample(
    board: str,
    labels: Sequence[str],
    counts: Sequence[_Found],
    sets: Sequence[_Where],
    n: int,
) -> list[Samples]:
    """Return, per row, the resampled mIoU ``[n]`` of every kind of score; rows on the same images share the draws."""
    out: list[Samples] = [{} for _ in counts]
    for what in COUNTS:
        for where, members in _by_set(counts, sets, what).items():
            rows = [row for row, _ in members]
            systems = [one.rows(where.ids) for _, one in members]
            # One seed for the board: every row sees the same draws, so that differences are paired.
            draws = Resamples(len(where), n, seed=board)
            mious = draws.miou(systems)
            for row in sorted(set(rows)):
                own = mious[np.equal(rows, row)]
                out[row][what] = draws.over_seeds(own, labels[row])
    return out


def _by_set(
    counts: Sequence[_Found], sets: Sequence[_Where], what: str
) -> dict[ScoredOn, list[_Member]]:
    """Return the seeds of all rows, gathered by what they were scored on."""
    found: dict[ScoredOn, list[_Member]] = {}
    for row, kinds in enumerate(counts):
        where = sets[row].get(what)
        # Seeds that saw different images cannot be resampled together: the row goes without an interval.
        if where is None:
            continue
        members = found.setdefault(where, [])
        members += [(row, seed) for seed in kinds[what] if seed is not None]
    return found


def _score(
    group: Sequence[RunRecord],
    what: str,
    counts: Sequence[Counts | None],
    where: ScoredOn | None,
    drawn: NDArray[np.float64] | None,
) -> Score:
    """Return the score of the seeds that have one; without `drawn` its interval is not known."""
    there = []
    thresholds = []
    per_seed: list[float | None] = []
    for record, found in zip(group, counts, strict=True):
        per_seed.append(None if found is None else found.miou())
        if found is not None:
            there.append(found)
            thresholds += _threshold(record, what)
    mean = float(np.mean([found.miou() for found in there]))
    per_class = np.stack([found.per_class_iou() for found in there], -1)
    coverage = np.mean([found.coverage() for found in there])
    unknown = Interval(mean, float("nan"), float("nan"))
    return Score(
        miou=unknown if drawn is None else interval(mean, drawn),
        per_class=mean_iou(per_class),
        per_seed=tuple(per_seed),
        coverage=float(coverage),
        thresholds=tuple(thresholds),
        n_images=len(there[0]),
        scored_on=where,
        where=images_of(len(there[0]), splits_of(group, what)),
    )


def _threshold(record: RunRecord, what: str) -> list[float]:
    """Return the background threshold that a run's seeds were scored at; nothing for other kinds of score."""
    if what == "seeds_fixed" and "fixed" in record.thresholds:
        return [float(record.thresholds["fixed"])]
    curve = record.load_curve() if what == "seeds_best" else None
    return [] if curve is None else [curve.best()[0]]


def _pairs(rows: Sequence[Row], metric: str) -> list[Pair]:
    """Return every two rows of one section, higher rank first, adjusted together."""
    found = []
    # A row without the score has no samples, and can be compared with nothing.
    scored = [(i, row) for i, row in enumerate(rows) if metric in row.samples]
    for (i, first), (j, second) in combinations(scored, 2):
        gain = second.scores[metric].miou.value - first.scores[metric].miou.value
        drawn = (first.samples[metric], second.samples[metric])
        found.append(Pair(i, j, compare(gain, *drawn), 1.0))
    # Over all pairs at once: a reader of the section looks at every one of them.
    adjusted = holm([pair.difference.p for pair in found])
    both = zip(found, adjusted, strict=True)
    return [replace(pair, adjusted=p) for pair, p in both]


def _with_ties(
    rows: Sequence[Row],
    metric: str,
    pairs: Sequence[Pair],
    level: float = 0.05,
) -> list[Row]:
    """Return the rows with their letters; rows that were never compared count as not different."""
    scored = [i for i, row in enumerate(rows) if metric in row.samples]
    # Letters are given among the scored rows alone, which have places of their own.
    place = {row: k for k, row in enumerate(scored)}
    different = set()
    for pair in pairs:
        if pair.adjusted < level:
            different.add((place[pair.first], place[pair.second]))
    letters = tie_groups(len(scored), different)
    ties = dict(zip(scored, letters, strict=True))
    return [replace(row, ties=ties.get(i, "")) for i, row in enumerate(rows)]
