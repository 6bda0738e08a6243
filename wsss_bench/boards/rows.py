"""From run records to the rows of a board: seeds gathered, numbers derived from the counts, intervals and ties."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate.bootstrap import (
    RESAMPLES,
    Difference,
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

RANKING = ("val", "val_crf", "labels", "seeds_fixed", "seeds_best")
"""A board is ranked by the first of these that any of its rows has."""

STAGES = ("localize", "refine", "segment")


@dataclass(frozen=True)
class Score:
    """What one kind of label map scored, over the seeds of a row.

    Attributes:
        miou: mean over seeds with its 95 % interval, in [0, 1].
        per_class: ``float64 [C+1]`` mean over seeds; NaN for a class in neither truth nor prediction.
        per_seed: mIoU of each seed, in the row's order; None for a seed that has no such score.
        coverage: mean share of labelled pixels.
        thresholds: background threshold of each seed, where there is one.
        n_images: images scored.
    """

    miou: Interval
    per_class: NDArray[np.float64]
    per_seed: tuple[float | None, ...]
    coverage: float
    thresholds: tuple[float, ...]
    n_images: int


@dataclass(frozen=True)
class Row:
    """One recipe on one dataset, all its seeds together."""

    method: str
    origin: str
    records: tuple[RunRecord, ...]
    scores: Mapping[str, Score]
    ties: str = ""
    superseded: int = 0
    samples: Mapping[str, NDArray[np.float64]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def first(self) -> RunRecord:
        """The record of the lowest seed; every fact but seed and cost is the same in the others."""
        return self.records[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that ran, increasing."""
        return tuple(record.seed for record in self.records)

    def minutes(self, stage: str | None = None) -> float | None:
        """Mean minutes per seed of one stage (all its rounds), or of everything; None where no cost was recorded."""
        found = [
            sum(
                float(cost.get("seconds", 0.0))
                for name, cost in record.cost.items()
                if _is(name, stage)
            )
            / 60
            for record in self.records
            if any(_is(name, stage) for name in record.cost)
        ]
        return sum(found) / len(found) if found else None

    def peak_mb(self, what: str = "peak_mb") -> float | None:
        """Largest ``peak_mb`` or ``peak_gpu_mb`` of any stage of any seed, in MB; None where it was not recorded."""
        found = [
            float(c[what])
            for record in self.records
            for c in record.cost.values()
            if c.get(what) is not None
        ]
        return max(found) if found else None


def _is(name: str, stage: str | None) -> bool:
    """Whether a step such as ``refine.2`` belongs to a stage; to None every step belongs."""
    return stage is None or name.partition(".")[0] == stage


@dataclass(frozen=True)
class Pair:
    """Two rows compared on `RANKING`'s metric: second minus first, with Holm's adjusted p-value over the whole board."""

    first: int
    second: int
    difference: Difference
    adjusted: float


@dataclass(frozen=True)
class Board:
    """Everything one dataset's tables show."""

    name: str
    dataset: Mapping[str, Any]
    classes: tuple[str, ...]
    metric: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    resamples: int = RESAMPLES
    reported: tuple[Mapping[str, Any], ...] = ()


def make_board(name: str, records: Sequence[RunRecord], n: int = RESAMPLES) -> Board:
    """Gather the records of one dataset into a ranked board.

    Raises:
        ArtifactError: a counts file is missing or unsound, or two runs were scored against different masks or classes.
    """
    classes = records[0].classes
    other = next((r for r in records if r.classes != classes), None)
    if other is not None:
        raise ArtifactError(
            f"board {name}: runs {records[0].run_id!r} and {other.run_id!r} have different classes; give one another name."
        )
    gathered = groups(records)
    counts = [
        {what: [r.load_counts(what) for r in group] for what in COUNTS}
        for _, group, _ in gathered
    ]
    samples = _resample(name, [label for label, _, _ in gathered], counts, n)
    rows = []
    for (label, group, superseded), found, drawn in zip(
        gathered, counts, samples, strict=True
    ):
        scores = {
            what: _score(group, what, found[what], drawn[what])
            for what in COUNTS
            if any(found[what])
        }
        rows.append(
            Row(
                label,
                group[0].origin,
                group,
                scores,
                superseded=superseded,
                samples=drawn,
            )
        )
    metric = next(
        (m for m in RANKING if any(m in row.scores for row in rows)), RANKING[0]
    )
    order = sorted(
        rows,
        key=lambda row: (
            -row.scores[metric].miou.value if metric in row.scores else 1.0,
            row.method,
        ),
    )
    ids = {
        row.method: _ids(found[metric]) for row, found in zip(rows, counts, strict=True)
    }
    pairs = _pairs(order, metric, ids)
    return Board(
        name,
        records[0].dataset,
        classes,
        metric,
        tuple(_with_ties(order, metric, pairs)),
        tuple(pairs),
        n,
    )


_Key = tuple[str, str, str, str, str]


def groups(
    records: Sequence[RunRecord],
) -> list[tuple[str, tuple[RunRecord, ...], int]]:
    """Records of one recipe with the same settings on the same data, a label that is unique, and how many were replaced.

    A row never mixes versions of a method's code: of several the one that ran last stands, and of each seed the newest run.
    """
    gathered: dict[_Key, list[RunRecord]] = {}
    for record in sorted(records, key=lambda r: (r.finished, r.run_id)):
        settings = json.dumps(
            [record.params, record.columns], sort_keys=True, default=str
        )
        key = (
            record.recipe,
            record.origin,
            record.profile,
            str(record.dataset["fingerprint"]),
            settings,
        )
        gathered.setdefault(key, []).append(record)
    out = []
    for key in sorted(gathered):
        code = _code(gathered[key][-1])
        newest = {
            record.seed: record for record in gathered[key] if _code(record) == code
        }
        group = tuple(newest[seed] for seed in sorted(newest))
        out.append(
            (_label(key, sorted(gathered)), group, len(gathered[key]) - len(group))
        )
    return out


def _code(record: RunRecord) -> str:
    """What identifies the code of the picked methods: version and digest of each."""
    return json.dumps(
        [
            [stage, card.get("version"), card.get("code")]
            for stage, card in sorted(record.cards.items())
        ]
    )


def _label(key: _Key, keys: Sequence[_Key]) -> str:
    """The recipe, and as much more as tells it from other rows of the same recipe."""
    alike = [other for other in keys if other[0] == key[0]]
    same = [other for other in alike if other[2] == key[2]]
    label = key[0] + (f" ({key[2]})" if len(same) < len(alike) else "")
    return label + (f" #{same.index(key) + 1}" if len(same) > 1 else "")


def _ids(counts: Sequence[Counts | None]) -> tuple[str, ...] | None:
    """The images a row was scored on, sorted; None where it was not scored or its seeds saw different images."""
    found = {tuple(sorted(c.ids)) for c in counts if c is not None}
    return found.pop() if len(found) == 1 else None


def _resample(
    board: str,
    labels: Sequence[str],
    counts: Sequence[Mapping[str, Sequence[Counts | None]]],
    n: int,
) -> list[dict[str, NDArray[np.float64]]]:
    """Resampled mIoU ``[n]`` of every row and kind of score; rows on the same images share the draws."""
    out: list[dict[str, NDArray[np.float64]]] = [{} for _ in counts]
    for what in COUNTS:
        by_images: dict[tuple[str, ...], list[tuple[int, Counts]]] = {}
        for row, found in enumerate(counts):
            ids = _ids(found[what])
            for one in found[what]:
                if one is not None and ids is not None:
                    by_images.setdefault(ids, []).append((row, one))
        for ids, members in by_images.items():
            systems = [one.rows(ids) for _, one in members]
            _same_truth(board, what, [labels[row] for row, _ in members], systems)
            draws = Resamples(len(ids), n, seed=board)
            mious = draws.miou(systems)
            for row in sorted({row for row, _ in members}):
                own = mious[[k for k, (r, _) in enumerate(members) if r == row]]
                out[row][what] = draws.over_seeds(own, labels[row])
    return out


def _same_truth(
    board: str, what: str, labels: Sequence[str], systems: Sequence[NDArray[np.int64]]
) -> None:
    for label, rows in zip(labels, systems, strict=True):
        if not np.array_equal(rows[..., 2], systems[0][..., 2]):
            raise ArtifactError(
                f"board {board}: {what} of {labels[0]!r} and {label!r} were scored against different masks of the same images. "
                "Score both again on one copy of the data."
            )


def _score(
    group: Sequence[RunRecord],
    what: str,
    counts: Sequence[Counts | None],
    drawn: NDArray[np.float64] | None = None,
) -> Score:
    there = [
        (record, found)
        for record, found in zip(group, counts, strict=True)
        if found is not None
    ]
    values = [found.miou() for _, found in there]
    mean = float(np.mean(values))
    thresholds: list[float] = []
    for record, _ in there:
        curve = record.load_curve() if what == "seeds_best" else None
        if curve is not None:
            thresholds.append(curve.best()[0])
        elif what == "seeds_fixed" and "fixed" in record.thresholds:
            thresholds.append(float(record.thresholds["fixed"]))
    return Score(
        miou=interval(mean, drawn)
        if drawn is not None
        else Interval(mean, float("nan"), float("nan")),
        per_class=mean_iou(np.stack([found.per_class_iou() for _, found in there], -1)),
        per_seed=tuple(None if found is None else found.miou() for found in counts),
        coverage=float(np.mean([found.coverage() for _, found in there])),
        thresholds=tuple(thresholds),
        n_images=len(there[0][1]),
    )


def _pairs(
    rows: Sequence[Row], metric: str, ids: Mapping[str, tuple[str, ...] | None]
) -> list[Pair]:
    """Every two rows that were scored on the same images, higher rank first, adjusted together."""
    found = []
    for i, first in enumerate(rows):
        for j in range(i + 1, len(rows)):
            second = rows[j]
            if (
                metric in first.samples
                and metric in second.samples
                and ids[first.method] == ids[second.method]
            ):
                value = (
                    second.scores[metric].miou.value - first.scores[metric].miou.value
                )
                found.append(
                    Pair(
                        i,
                        j,
                        compare(value, first.samples[metric], second.samples[metric]),
                        1.0,
                    )
                )
    adjusted = holm([pair.difference.p for pair in found])
    return [replace(pair, adjusted=p) for pair, p in zip(found, adjusted, strict=True)]


def _with_ties(
    rows: Sequence[Row], metric: str, pairs: Sequence[Pair], level: float = 0.05
) -> list[Row]:
    scored = [i for i, row in enumerate(rows) if metric in row.samples]
    place = {row: k for k, row in enumerate(scored)}
    different = {(place[p.first], place[p.second]) for p in pairs if p.adjusted < level}
    letters = dict(zip(scored, tie_groups(len(scored), different), strict=True))
    return [replace(row, ties=letters.get(i, "")) for i, row in enumerate(rows)]
