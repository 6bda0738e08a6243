"""Whether two rows may be compared: scored on the same images and masks; and if not, how they differ."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wsss_bench.boards.rows import RANKING
from wsss_bench.boards.scored import ScoredOn, differences, digests, scored_on
from wsss_bench.errors import ArtifactError
from wsss_bench.evaluate.counts import Counts
from wsss_bench.results.records import RunRecord


def common_kind(runs: Sequence[RunRecord]) -> str | None:
    """Return the first kind of score, in the order of `RANKING`, that all runs have."""
    for what in RANKING:
        if all(what in run.counts for run in runs):
            return what
    return None


def common_images(
    counts: Sequence[Counts], runs: Sequence[RunRecord], both: str, what: str
) -> tuple[str, ...]:
    """Return the ids of the images that everything was scored on, sorted.

    Args:
        counts: the counts of all seeds of both sides, the first side's first.
        runs: the runs they belong to, in the same order.
        both: how a message names the two sides.
        what: the kind of score.

    Raises:
        ArtifactError: not all saw the same images and masks; the message says how far they share them, and on which
            other kind of score the two can be compared.
    """
    sets = [scored_on(found) for found in counts]
    for other, run in zip(sets, runs, strict=True):
        if other != sets[0]:
            hint = _instead(runs, what)
            raise ArtifactError(f"{both} {_apart(other, run, sets[0], runs[0])} {hint}")
    return sets[0].ids


def _apart(other: ScoredOn, run: RunRecord, first: ScoredOn, of: RunRecord) -> str:
    """Return how the sets of two runs differ, as the predicate of a sentence and a second one."""
    named = f"the {{}} of {of.run_id!r}"
    found = f"{run.run_id!r}: {len(other)}, {differences(other, first, named)}."
    # Equal ids do not make equal masks: another copy of the data may hold other annotations.
    if other.ids == first.ids and not np.array_equal(other.truth, first.truth):
        return f"were scored against different masks ({found[:-1]})."
    return f"were scored on different images ({found[:-1]}); only the same images can be compared."


def _instead(runs: Sequence[RunRecord], what: str) -> str:
    """Return what to do: another kind of score that all share, or to score again."""
    for kind in RANKING:
        if kind == what or any(kind not in run.counts for run in runs):
            continue
        if len(set(digests(runs, kind).values())) == 1:
            return f"They share their {kind}: pass --on {kind}."
    return "Score both again on one copy of the data, with one list of images."
