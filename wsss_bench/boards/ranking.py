"""From run records to a ranked board: numbers derived from the counts, intervals, comparisons and ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.grouping import Group, groups
from wsss_bench.boards.rows import RANKING, Board, Pair, Row, Samples, Score
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

_Images = tuple[str, ...]

_Member = tuple[int, Counts]
"""The place of a row, and the counts of one of its seeds."""


def make_board(name: str, records: Sequence[RunRecord], n: int = RESAMPLES) -> Board:
    """Gather the records of one dataset into a ranked board.

    Args:
        name: the dataset's name; it seeds the bootstrap, so that a board has the same intervals everywhere.
        records: at least one run.
        n: number of resamples.

    Raises:
        ArtifactError: a counts file is missing or unsound, or two runs were scored against different masks or classes.
    """
    _same_classes(name, records)
    gathered = groups(records)
    labels = [group.label for group in gathered]
    counts = [_load(group) for group in gathered]
    samples = _resample(name, labels, counts, n)
    rows = list(map(_row, gathered, counts, samples))
    metric = _metric(rows)
    ids = {}
    for row, found in zip(rows, counts, strict=True):
        ids[row.method] = _ids(found[metric])
    order = sorted(rows, key=lambda row: _rank(row, metric))
    pairs = _pairs(order, metric, ids)
    return Board(
        name,
        records[0].dataset,
        records[0].classes,
        metric,
        tuple(_with_ties(order, metric, pairs)),
        tuple(pairs),
        n,
    )


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


def _row(group: Group, found: _Found, drawn: Samples) -> Row:
    scores = {
        what: _score(group.records, what, found[what], drawn.get(what))
        for what in COUNTS
        if any(found[what])
    }
    return Row(
        group.label,
        group.records[0].origin,
        group.records,
        scores,
        superseded=group.superseded,
        samples=drawn,
    )


def _rank(row: Row, metric: str) -> tuple[float, str]:
    """Return a sort key: best first, rows without the score last, equals by name."""
    value = row.value(metric)
    place = 1.0 if value is None else -value
    return place, row.method


def _ids(counts: Sequence[Counts | None]) -> _Images | None:
    """Return the images a row was scored on, sorted; None where it was not scored or its seeds saw different images."""
    found = {tuple(sorted(c.ids)) for c in counts if c is not None}
    return found.pop() if len(found) == 1 else None


def _resample(
    board: str,
    labels: Sequence[str],
    counts: Sequence[_Found],
    n: int,
) -> list[Samples]:
    """Return, per row, the resampled mIoU ``[n]`` of every kind of score; rows on the same images share the draws."""
    out: list[Samples] = [{} for _ in counts]
    for what in COUNTS:
        for ids, members in _by_images(counts, what).items():
            rows = [row for row, _ in members]
            names = [labels[row] for row in rows]
            systems = [one.rows(ids) for _, one in members]
            _same_truth(board, what, names, systems)
            # One seed for the board: every row sees the same draws, so that differences are paired.
            draws = Resamples(len(ids), n, seed=board)
            mious = draws.miou(systems)
            for row in sorted(set(rows)):
                own = mious[np.equal(rows, row)]
                out[row][what] = draws.over_seeds(own, labels[row])
    return out


def _by_images(counts: Sequence[_Found], what: str) -> dict[_Images, list[_Member]]:
    """Return the seeds of all rows, gathered by the images they were scored on."""
    found: dict[_Images, list[_Member]] = {}
    for row, kinds in enumerate(counts):
        seeds = kinds[what]
        ids = _ids(seeds)
        # Seeds that saw different images cannot be resampled together: the row goes without an interval.
        if ids is None:
            continue
        members = found.setdefault(ids, [])
        members += [(row, seed) for seed in seeds if seed is not None]
    return found


def _same_truth(
    board: str,
    what: str,
    labels: Sequence[str],
    systems: Sequence[NDArray[np.int64]],
) -> None:
    """Refuse rows that were scored against different masks; `systems` are ``int64 [N, C+1, 3]``, the truth last."""
    truths = [rows[..., 2] for rows in systems]
    for label, truth in zip(labels, truths, strict=True):
        if not np.array_equal(truth, truths[0]):
            raise ArtifactError(
                f"board {board}: {what} of {labels[0]!r} and {label!r} were scored against different masks of "
                "the same images. Score both again on one copy of the data."
            )


def _score(
    group: Sequence[RunRecord],
    what: str,
    counts: Sequence[Counts | None],
    drawn: NDArray[np.float64] | None = None,
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
    )


def _threshold(record: RunRecord, what: str) -> list[float]:
    """Return the background threshold that a run's seeds were scored at; nothing for other kinds of score."""
    if what == "seeds_fixed" and "fixed" in record.thresholds:
        return [float(record.thresholds["fixed"])]
    curve = record.load_curve() if what == "seeds_best" else None
    return [] if curve is None else [curve.best()[0]]


def _pairs(
    rows: Sequence[Row],
    metric: str,
    ids: Mapping[str, _Images | None],
) -> list[Pair]:
    """Return every two rows that were scored on the same images, higher rank first, adjusted together."""
    found = []
    # A row whose seeds saw different images has no samples, and can be compared with nothing.
    scored = [(i, row) for i, row in enumerate(rows) if metric in row.samples]
    for (i, first), (j, second) in combinations(scored, 2):
        if ids[first.method] != ids[second.method]:
            continue
        gain = second.scores[metric].miou.value - first.scores[metric].miou.value
        drawn = (first.samples[metric], second.samples[metric])
        found.append(Pair(i, j, compare(gain, *drawn), 1.0))
    # Over all pairs at once: a reader of the board looks at every one of them.
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
