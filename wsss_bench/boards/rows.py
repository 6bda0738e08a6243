"""The rows of a board, as data: what each scored over its seeds, and how it compares with the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.boards.scored import ScoredOn
from wsss_bench.evaluate.bootstrap import RESAMPLES, Difference, Interval
from wsss_bench.results.records import RunRecord

RANKING = ("val", "val_crf", "labels", "seeds_fixed", "seeds_best")
"""A board is ranked by the first of these that any of its rows has."""

Samples = dict[str, NDArray[np.float64]]
"""Resampled mIoU, ``float64 [n]``, by kind of score."""


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
        scored_on: the images and masks; None where the seeds saw different ones.
        where: the same in words, as in ``80 images of val``.
        elsewhere: where they are not those of most rows of the section: how they differ.
    """

    miou: Interval
    per_class: NDArray[np.float64]
    per_seed: tuple[float | None, ...]
    coverage: float
    thresholds: tuple[float, ...]
    n_images: int
    scored_on: ScoredOn | None = None
    where: str = ""
    elsewhere: str = ""

    @property
    def bounds(self) -> tuple[float, float, float]:
        """The mIoU and the ends of its interval."""
        return self.miou.value, self.miou.low, self.miou.high


@dataclass(frozen=True)
class Row:
    """One recipe on one dataset, all its seeds together.

    Attributes:
        method: the row's label, unique on its board.
        origin: ``measured`` or ``imported``.
        records: the runs, by increasing seed.
        scores: by kind of score, one of `COUNTS`.
        ties: letters; rows that share one do not differ.
        superseded: how many runs were left out because newer ones replaced them.
        samples: the resamples that the intervals come from.
        section: number of the section it stands in.
        remarks: what a reader should know that depends on the other rows.
    """

    method: str
    origin: str
    records: tuple[RunRecord, ...]
    scores: Mapping[str, Score]
    ties: str = ""
    superseded: int = 0
    samples: Samples = field(default_factory=dict, repr=False, compare=False)
    section: int = 1
    remarks: tuple[str, ...] = ()

    @property
    def first(self) -> RunRecord:
        """The record of the lowest seed; every fact but seed and cost is the same in the others."""
        return self.records[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that ran, increasing."""
        return tuple(record.seed for record in self.records)

    @property
    def single_seed(self) -> bool:
        """Whether the interval leaves out the spread between trainings; of imported files nobody knows their seeds."""
        return len(self.records) == 1 and self.origin == "measured"

    @property
    def marked(self) -> bool:
        """Whether a score was taken on other images or masks than those of most rows of the section."""
        return any(score.elsewhere for score in self.scores.values())

    def value(self, what: str) -> float | None:
        """Return the mIoU of one kind of score; None where the row has none."""
        score = self.scores.get(what)
        return None if score is None else score.miou.value

    def minutes(self, stage: str | None = None) -> float | None:
        """Return the mean minutes per seed of one stage (all its rounds), or of everything; None where unknown."""
        steps = [_seconds(record, stage) for record in self.records]
        found = [sum(seconds) / 60 for seconds in steps if seconds]
        return sum(found) / len(found) if found else None

    def peak_mb(self, what: str = "peak_mb") -> float | None:
        """Return the largest ``peak_mb`` or ``peak_gpu_mb`` of any stage of any seed; None where none was recorded."""
        found: list[float] = []
        for record in self.records:
            peaks = [cost.get(what) for cost in record.cost.values()]
            found += [float(peak) for peak in peaks if peak is not None]
        return max(found, default=None)


def _seconds(record: RunRecord, stage: str | None) -> list[float]:
    """Return what each step of a stage took; the steps of all stages for None."""
    # Later rounds of a stage are recorded as steps of their own, such as ``refine.2``.
    return [
        float(cost.get("seconds", 0.0))
        for step, cost in record.cost.items()
        if stage is None or step.partition(".")[0] == stage
    ]


@dataclass(frozen=True)
class Pair:
    """Two rows compared on `RANKING`'s metric: second minus first, with its p-value after Holm's correction."""

    first: int
    second: int
    difference: Difference
    adjusted: float


Truths = Mapping[str, tuple[str, ...]]
"""The conventions of the masks that records name, by role (``val``, ``seeds``)."""


@dataclass(frozen=True)
class Section:
    """Rows that were scored on the same images and masks, by what the board is ranked by.

    Attributes:
        number: 1 is the main section, which most rows share.
        title: what was scored, as in ``80 images of val``; unique on the board.
        differs: how that differs from the main section; "" for the main one.
        scored_on: the images and masks; None where nothing was scored.
        truths: under which conventions the masks score, as far as records say.
        rows: places of its rows in `Board.rows`.
    """

    number: int
    title: str
    differs: str = ""
    scored_on: ScoredOn | None = None
    truths: Truths = field(default_factory=dict)
    rows: range = range(0)

    @property
    def name(self) -> str:
        """Title and difference in one: what a heading says after *Scored on*."""
        return f"{self.title}: {self.differs}" if self.differs else self.title


@dataclass(frozen=True)
class Board:
    """Everything one dataset's tables show.

    Attributes:
        name: what the dataset is called; also the stem of the files.
        dataset: the dataset as the records describe it.
        classes: class names by mask id.
        metric: what the rows are ranked by, one of `RANKING`.
        rows: section by section, best first.
        pairs: every two rows of a section that may be compared; ``first`` and ``second`` are places in `rows`.
        resamples: how many bootstrap resamples the intervals come from.
        reported: what others print for this dataset, as `reported_rows` gives it.
        sections: the main one, and one more for each other set of images or masks.
    """

    name: str
    dataset: Mapping[str, Any]
    classes: tuple[str, ...]
    metric: str
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    resamples: int = RESAMPLES
    reported: tuple[Mapping[str, Any], ...] = ()
    sections: tuple[Section, ...] = ()

    @property
    def parted(self) -> bool:
        """Whether there are rows that do not compare with those of the main section."""
        return len(self.sections) > 1

    @property
    def marked(self) -> bool:
        """Whether any row has scores that were not taken where those of most rows were."""
        return any(row.marked for row in self.rows)

    def rows_of(self, section: Section) -> tuple[Row, ...]:
        """Return the rows of a section, best first."""
        return self.rows[section.rows.start : section.rows.stop]
