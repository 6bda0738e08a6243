"""Which run records make one row of a board: seeds gathered, replaced runs left out, a label that is unique."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wsss_bench.boards.private import without_paths
from wsss_bench.boards.rows import RANKING
from wsss_bench.boards.scored import digests
from wsss_bench.contract.names import STAGES
from wsss_bench.results.records import RunRecord

DIGITS = 12
"""How much of a digest a note shows."""


class Group(NamedTuple):
    """The runs of one row, by increasing seed; how many runs newer ones replaced; what tells it from rows alike."""

    label: str
    records: tuple[RunRecord, ...]
    superseded: int
    apart: str = ""


class _Key(NamedTuple):
    """What the runs of a row have in common."""

    recipe: str
    origin: str
    profile: str
    fingerprint: str
    settings: str
    inputs: tuple[tuple[str, str], ...]
    scored: str


_Gathered = dict[_Key, list[RunRecord]]


def groups(records: Sequence[RunRecord]) -> list[Group]:
    """Return the rows: records of one recipe with the same settings on the same data, ordered by recipe.

    A row never mixes versions of a method's code: the version that ran last stands, and of each seed its newest run.
    Nor does it mix what its runs were scored on, by the first of `RANKING` that any row has.

    Raises:
        ArtifactError: a counts file is missing or unsound.
    """
    for metric in RANKING:
        found = _groups(records, digests(records, metric))
        # Runs that newer ones replaced do not decide what the rows are ranked by.
        if any(metric in run.counts for group in found for run in group.records):
            return found
    return _groups(records, {})


def _groups(records: Sequence[RunRecord], scored: Mapping[str, str]) -> list[Group]:
    gathered: _Gathered = {}
    # Oldest first: the last of a list is then its newest. The run id decides between runs of the same second.
    for record in sorted(records, key=_time):
        key = _key(record, scored.get(record.run_id, ""))
        gathered.setdefault(key, []).append(record)
    _join(gathered)
    keys = sorted(gathered)
    found = []
    for key in keys:
        group = _group(_label(key, keys), gathered[key])
        found.append(group._replace(apart=_apart(key, keys)))
    return found


def _join(gathered: _Gathered) -> None:
    """Put runs without the score to those of the same settings that have one: a seed may lack what others have."""
    for key in sorted(gathered):
        if key.scored:
            continue
        alike = [
            one for one in gathered if one.scored and one._replace(scored="") == key
        ]
        if alike:
            most = max(alike, key=lambda one: (len(gathered[one]), one.scored))
            joined = gathered[most] + gathered.pop(key)
            gathered[most] = sorted(joined, key=_time)


def _time(record: RunRecord) -> tuple[str, str]:
    return record.finished, record.run_id


def _key(record: RunRecord, scored: str) -> _Key:
    settings = [record.params, record.columns]
    return _Key(
        recipe=record.recipe,
        origin=record.origin,
        profile=record.profile,
        fingerprint=str(record.dataset["fingerprint"]),
        settings=json.dumps(settings, sort_keys=True, default=str),
        inputs=tuple(sorted(given(record).items())),
        scored=scored,
    )


def given(record: RunRecord) -> dict[str, str]:
    """Return the digests of files and folders given as parameters, by ``STAGE.PARAMETER``; the data have others."""
    found = {}
    for name, digest in record.inputs.items():
        stage, _, parameter = name.partition(".")
        # What the dataset read is in its fingerprint.
        if stage in STAGES and parameter:
            found[name] = str(digest)
    return found


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
    label = without_paths(key.recipe)
    # Recipes that differ in a folder alone look alike without it.
    alike = [other for other in keys if without_paths(other.recipe) == label]
    same = [other for other in alike if other.profile == key.profile]
    if len(same) < len(alike):
        label += f" ({key.profile})"
    # Settings are too long for a label, so rows that differ in nothing else are numbered.
    if len(same) > 1:
        label += f" #{same.index(key) + 1}"
    return label


def _apart(key: _Key, keys: Sequence[_Key]) -> str:
    """Return the contents of a row's files and folders where another row of the recipe was given others."""
    others: set[tuple[str, str]] = set()
    for other in keys:
        if (other.recipe, other.profile) == (key.recipe, key.profile):
            others.update(other.inputs)
    found = []
    for name, digest in key.inputs:
        values = {one for known, one in others if known == name}
        if len(values) > 1:
            found.append(f"contents of {name}: {digest[:DIGITS]}")
    return ", ".join(found)
