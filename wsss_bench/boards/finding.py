"""Which rows two names stand for: a name is a run id, a recipe, or a row's label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss_bench.boards.grouping import groups
from wsss_bench.errors import DataError, did_you_mean
from wsss_bench.results.records import RunRecord, by_dataset, load_records

Found = tuple[str, tuple[RunRecord, ...]]
"""A row's label and its runs."""


def find_both(
    leaderboard_dir: Path, first: str, second: str, dataset: str | None
) -> tuple[str, Found, Found]:
    """Return the one dataset on which both names stand for a row, and the two rows.

    Raises:
        DataError: a name is unknown or stands for several rows, or there is no such dataset, or more than one.
    """
    records = load_records(leaderboard_dir, dataset)
    by_set = by_dataset(records)
    lefts = {name: _find(own, first) for name, own in by_set.items()}
    rights = {name: _find(own, second) for name, own in by_set.items()}
    matches = []
    for name in by_set:
        left, right = lefts[name], rights[name]
        if left and right:
            matches.append((name, left, right))
    if len(matches) == 1:
        return matches[0]
    both = f"{first!r} and {second!r}"
    if matches:
        names = ", ".join(match[0] for match in matches)
        raise DataError(f"{both} ran on {names}. Pass --dataset NAME.")
    for wanted, found in ((first, lefts), (second, rights)):
        if not any(found.values()):
            raise _unknown(wanted, leaderboard_dir, records)
    names = ", ".join(by_set)
    raise DataError(f"{both} did not run on the same dataset ({names}).")


def _unknown(
    wanted: str, leaderboard_dir: Path, records: Sequence[RunRecord]
) -> DataError:
    names = {record.recipe for record in records}
    names |= {record.run_id for record in records}
    hint = did_you_mean(wanted, names)
    return DataError(f"no run or recipe {wanted!r} under {leaderboard_dir}.{hint}")


def _find(records: Sequence[RunRecord], wanted: str) -> Found | None:
    """Return the run of that id, else the row of that label or recipe; raises `DataError` where several rows fit."""
    for record in records:
        if record.run_id == wanted:
            return f"{record.recipe} (seed {record.seed})", (record,)
    found = []
    for group in groups(records):
        if group.label == wanted:
            return group.label, group.records
        if group.records[0].recipe == wanted:
            found.append((group.label, group.records))
    if len(found) > 1:
        labels = ", ".join(label for label, _ in found)
        raise DataError(
            f"{wanted!r} stands for {len(found)} rows: {labels}. Name one of them."
        )
    return found[0] if found else None
