"""Which rows stand together: those scored on the same images and masks; others have sections of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from wsss_bench.boards.rows import Row, Score, Section, Truths
from wsss_bench.boards.scored import (
    ScoredOn,
    differences,
    images_of,
    most_common,
    splits_of,
)
from wsss_bench.results.records import RunRecord

MARK = "‡"
"""Stands at scores that do not compare with those of most rows."""

TRUTH_ROLES = ("val", "seeds")

_MAIN = "the {} of the main section"
_MOST = "the {} of most rows"

_KINDS = {
    "seeds_best": "seeds (oracle)",
    "seeds_fixed": "seeds (fixed)",
    "labels": "labels",
    "val": "val",
    "val_crf": "val + CRF",
}
_Part = tuple[ScoredOn | None, list[Row]]


def part(rows: Sequence[Row], metric: str) -> list[list[Row]]:
    """Return the rows by what they were scored on, the main section first.

    The main section is the one that most rows share; ties by most images, then by the first of its rows' names. Rows
    that do not have the score at all stand with the main section.
    """
    found: dict[ScoredOn | None, list[Row]] = {}
    unscored = []
    for row in rows:
        score = row.scores.get(metric)
        if score is None:
            unscored.append(row)
        else:
            found.setdefault(score.scored_on, []).append(row)
    parts = [own for _, own in sorted(found.items(), key=_place)]
    if not parts:
        return [unscored]
    parts[0].extend(unscored)
    return parts


def _place(found: _Part) -> tuple[int, int, str]:
    """Return a sort key: most rows, most images, names in order."""
    where, rows = found
    return -len(rows), -len(where or ()), min(row.method for row in rows)


def describe(parts: Iterable[Sequence[Row]], metric: str) -> list[Section]:
    """Return the sections of ranked rows: what each was scored on, and how that differs from the first."""
    sections: list[Section] = []
    start = 0
    for number, rows in enumerate(parts, 1):
        # Rows without the score come last.
        first = rows[0].scores.get(metric)
        where = first.scored_on if first else None
        runs = records_of(rows)
        scored = [run for run in runs if metric in run.counts]
        stop = start + len(rows)
        section = Section(
            number=number,
            title=images_of(len(where or ()), splits_of(scored, metric)),
            differs=_differs(where, sections),
            scored_on=where,
            truths=truths(runs),
            rows=range(start, stop),
        )
        sections.append(section)
        start = stop
    return _unique(sections)


def _differs(where: ScoredOn | None, sections: Sequence[Section]) -> str:
    main = sections[0].scored_on if sections else None
    if where is None or main is None:
        return ""
    return differences(where, main, _MAIN)


def _unique(sections: Sequence[Section]) -> list[Section]:
    """Number titles that occur twice, such as those of two halves of one split."""
    titles = [section.title for section in sections]
    found = []
    for place, section in enumerate(sections):
        if titles.count(section.title) > 1:
            number = titles[: place + 1].count(section.title)
            section = replace(section, title=f"{section.title} #{number}")
        found.append(section)
    return found


def records_of(rows: Iterable[Row]) -> list[RunRecord]:
    """Return the runs of all rows."""
    found: list[RunRecord] = []
    for row in rows:
        found += row.records
    return found


def truths(records: Iterable[RunRecord]) -> dict[str, tuple[str, ...]]:
    """Return the conventions that records name for their masks, by role, each once; older records name none."""
    found: dict[str, set[str]] = {}
    for record in records:
        named = record.dataset.get("truth", {})
        for role in TRUTH_ROLES:
            if role in named:
                found.setdefault(role, set()).add(str(named[role]))
    return {role: tuple(sorted(found[role])) for role in TRUTH_ROLES if role in found}


def common_truths(sections: Iterable[Section]) -> dict[str, tuple[str, ...]]:
    """Return the conventions of all sections, by role, each once."""
    found: dict[str, set[str]] = {}
    for section in sections:
        for role, named in section.truths.items():
            found.setdefault(role, set()).update(named)
    return {role: tuple(sorted(named)) for role, named in found.items()}


def remark(rows: Sequence[Row], metric: str, number: int) -> list[Row]:
    """Return the rows of one section with what sets single ones apart.

    That are kinds of score other than the ranked one that were taken on other images or masks than most rows' are, and
    conventions of the masks where the section knows several.
    """
    common = _common(rows, metric)
    known = truths(records_of(rows))
    return [_remarked(row, common, known, number) for row in rows]


def _common(rows: Sequence[Row], metric: str) -> dict[str, ScoredOn]:
    """Return what most rows were scored on, by kind of score; rows of one section agree in the ranked kind."""
    found = {}
    for what in _KINDS:
        scores = [row.scores[what] for row in rows if what in row.scores]
        there = [score.scored_on for score in scores if score.scored_on is not None]
        if what != metric and there:
            found[what] = most_common(there)
    return found


def _remarked(
    row: Row, common: Mapping[str, ScoredOn], known: Truths, number: int
) -> Row:
    remarks = list(row.remarks)
    scores = dict(row.scores)
    for what, score in row.scores.items():
        text = _elsewhere(score, common.get(what))
        if text:
            scores[what] = replace(score, elsewhere=text)
            remarks.append(f"{MARK} {_KINDS[what]} scored on {text}")
    remarks += _conventions(row, known)
    return replace(row, scores=scores, remarks=tuple(remarks), section=number)


def _elsewhere(score: Score, common: ScoredOn | None) -> str:
    """Return what a score was taken on where that is not what most rows have, else ""."""
    if common is None or score.scored_on == common:
        return ""
    if score.scored_on is None:
        return "different images or masks by seed"
    return f"{score.where}: {differences(score.scored_on, common, _MOST)}"


def _conventions(row: Row, known: Truths) -> list[str]:
    """Return the row's own conventions, for roles for which its section knows several."""
    own = truths(row.records)
    found = []
    for role, named in own.items():
        if len(known[role]) > 1:
            found.append(f"truth of {role}: {' and '.join(named)}")
    return found
