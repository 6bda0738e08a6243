"""Which run records make one row of a board: seeds gathered, replaced runs left out, a label that is unique."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from wsss_bench.results.records import RunRecord


class Group(NamedTuple):
    """The runs of one row, by increasing seed, and how many runs newer ones replaced."""

    label: str
    records: tuple[RunRecord, ...]
    superseded: int


class _Key(NamedTuple):
    """What the runs of a row have in common."""

    recipe: str
    origin: str
    profile: str
    fingerprint: str
    settings: str


def groups(records: Sequence[RunRecord]) -> list[Group]:
    """Return the rows: records of one recipe with the same settings on the same data, ordered by recipe.

    A row never mixes versions of a method's code: the version that ran last stands, and of each seed its newest run.
    """
    gathered: dict[_Key, list[RunRecord]] = {}
    # Oldest first: the last of a list is then its newest. The run id decides between runs of the same second.
    for record in sorted(records, key=_time):
        gathered.setdefault(_key(record), []).append(record)
    keys = sorted(gathered)
    found = []
    for key in keys:
        label = _label(key, keys)
        found.append(_group(label, gathered[key]))
    return found


def _time(record: RunRecord) -> tuple[str, str]:
    return record.finished, record.run_id


def _key(record: RunRecord) -> _Key:
    settings = [record.params, record.columns]
    return _Key(
        recipe=record.recipe,
        origin=record.origin,
        profile=record.profile,
        fingerprint=str(record.dataset["fingerprint"]),
        settings=json.dumps(settings, sort_keys=True, default=str),
    )


def _group(label: str, records: Sequence[RunRecord]) -> Group:
    code = _code(records[-1])
    same = [record for record in records if _code(record) == code]
    newest = {record.seed: record for record in same}
    kept = tuple(newest[seed] for seed in sorted(newest))
    return Group(label, kept, len(records) - len(kept))


def _code(record: RunRecord) -> str:
    """Return what identifies the code of the picked methods: version and digest of each."""
    found = [
        [stage, card.get("version"), card.get("code")]
        for stage, card in sorted(record.cards.items())
    ]
    return json.dumps(found)


def _label(key: _Key, keys: Sequence[_Key]) -> str:
    """Return the recipe, and as much more as tells it from other rows of the same recipe."""
    alike = [other for other in keys if other.recipe == key.recipe]
    same = [other for other in alike if other.profile == key.profile]
    label = key.recipe
    if len(same) < len(alike):
        label += f" ({key.profile})"
    # Settings are too long for a label, so rows that differ in nothing else are numbered.
    if len(same) > 1:
        label += f" #{same.index(key) + 1}"
    return label
