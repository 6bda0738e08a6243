"""What is said beside the numbers of a row: papers, notes, what a profile replaced, how the masks were read."""

from __future__ import annotations

from wsss_bench.boards.private import file_name, without_paths
from wsss_bench.boards.rows import Row, Truths
from wsss_bench.contract.names import STAGES


def paper(row: Row) -> str:
    """Return the papers of the picked methods, each once, in stage order."""
    return "; ".join(paper for paper in _said(row, "paper") if paper != "-")


def notes(row: Row) -> str:
    """Return the footnotes.

    That is what the cards and the runs say, what the profile replaced, what was scored elsewhere, a single seed, and
    runs that a newer one replaced.
    """
    found = _said(row, "notes") + _told(row)
    found += [*replaced(row), *row.remarks]
    if row.single_seed:
        found.append("single seed: the interval covers images only")
    if row.superseded:
        found.append(f"{row.superseded} older run(s) replaced by newer ones")
    return without_paths("; ".join(found))


def _told(row: Row) -> list[str]:
    """Return what the runs themselves say, each sentence once; with the seeds where not all of them say it."""
    seeds: dict[str, list[int]] = {}
    for record in row.records:
        for note in dict.fromkeys(record.notes):
            # They are joined to one sentence.
            seeds.setdefault(str(note).rstrip(". "), []).append(record.seed)
    found = []
    for note, own in seeds.items():
        if len(own) < len(row.records):
            named = ", ".join(map(str, own))
            note = f"seed {named}: {note}"
        found.append(note)
    return found


def replaced(row: Row) -> list[str]:
    """Return a sentence on the defaults of the methods that the profile replaced; none where it replaced none."""
    changes = []
    for values in row.first.overridden.values():
        for name, pair in values.items():
            own, now = map(_value, pair)
            change = f"{name}: {own} -> {now}"
            # A method's stages often share a parameter.
            if change not in changes:
                changes.append(change)
    if not changes:
        return []
    return [f"profile {row.first.profile} replaces {', '.join(changes)}"]


def _value(value: object) -> str:
    # Each by itself, for a path that is a whole text may hold spaces.
    return file_name(str(value))


def _said(row: Row, what: str) -> list[str]:
    """Return what the cards of the picked methods say, in stage order."""
    found: list[str] = []
    for stage in STAGES:
        card = row.first.cards.get(stage, {})
        text = str(card.get(what, ""))
        # One method often runs several stages, and says it once.
        if text and text not in found:
            found.append(text)
    return found


def truth(truths: Truths) -> str:
    """Return the conventions of the masks as ``val and seeds: …``, or "" where no record names any."""
    roles: dict[str, list[str]] = {}
    for role, named in truths.items():
        text = without_paths(" and ".join(named))
        roles.setdefault(text, []).append(role)
    found = [f"{' and '.join(own)}: {text}" for text, own in roles.items()]
    return "; ".join(found)
