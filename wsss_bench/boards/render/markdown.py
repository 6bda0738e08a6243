"""A board as GitHub Markdown, and the one writer of Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from wsss_bench.boards.render.columns import (
    columns,
    coverage,
    device,
    mark,
    number,
    percent,
    pick,
    thresholds,
)
from wsss_bench.boards.render.footnotes import notes, replaced, truth
from wsss_bench.boards.rows import Board, Pair, Row, Section
from wsss_bench.boards.sections import MARK, common_truths
from wsss_bench.contract.names import STAGES
from wsss_bench.evaluate import PROTOCOL
from wsss_bench.results.published import CELLS, HEADS, shown_values

METRICS = {
    "val": "val mIoU",
    "val_crf": "val mIoU after CRF",
    "labels": "pseudo-label mIoU",
    "seeds_fixed": "seed mIoU at the fixed threshold",
    "seeds_best": "seed mIoU at the oracle threshold",
}
"""What the score that a board is ranked by is called in a sentence."""

_HEAD = (
    "#",
    "method",
    "localize",
    "refine",
    "segment",
    "seeds (oracle @t)",
    "seeds (fixed @t)",
    "labels",
    "coverage",
    "val [95 %]",
    "tie",
    "val + CRF [95 %]",
    "supervision",
    "extra data",
    "backbone",
    "segmentor",
    "pre-training",
    "CRF",
    "multi-scale",
    "rounds",
    "runs",
    "profile",
    "minutes",
    "peak MB",
)
_AGAINST = "Against the first, and against the next better"
_FACTS = ("venue", "net", "supervision", "extra_data", "crf")
_RIGHT = {
    "#",
    "seeds (oracle @t)",
    "seeds (fixed @t)",
    "labels",
    "coverage",
    "val [95 %]",
    "val + CRF [95 %]",
    "rounds",
    "minutes",
    "peak MB",
}


def text(value: object) -> str:
    """Return text that is shown as it is and cannot break out of its cell."""
    # The backslash goes first, or it would escape those that are added for other characters.
    plain = str(value).replace("\\", "\\\\")
    plain = plain.replace("|", "\\|")
    plain = plain.replace("<", "&lt;")
    plain = plain.replace("`", "'")
    # Splitting takes line ends away, which would end the row.
    return " ".join(plain.split())


def markup(value: object) -> str:
    """Return a cell that is Markdown itself, such as a link; only what would end the cell is escaped."""
    return str(value).replace("|", "\\|")


def table(
    head: Sequence[str],
    lines: Iterable[Sequence[object]],
    right: Collection[str] = (),
    cell: Callable[[object], str] = text,
) -> str:
    """Return a Markdown table without a final newline.

    Args:
        head: the columns' headings.
        lines: as many cells per line as there are headings.
        right: headings of the columns that are right-aligned.
        cell: how a cell is written: `text` for anything a user may have typed, `markup` for cells that are Markdown.
    """
    rule = ["---:" if name in right else "---" for name in head]
    out = []
    for cells in (head, rule, *lines):
        joined = " | ".join(map(cell, cells))
        out.append(f"| {joined} |")
    return "\n".join(out)


def page(board: Board) -> str:
    """Return the whole Markdown file: facts, ranking, classes, comparisons, footnotes."""
    parts = [
        f"# {text(board.name)}",
        _facts(board),
        _rankings(board),
        _legend(board),
        "",
        *_by_section(board, f"IoU per class ({METRICS[board.metric]})", _classes),
        *_by_section(board, _AGAINST, _comparisons),
        _footnotes(board),
        _reported(board),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _rankings(board: Board) -> str:
    """Return the table of every section; where there are several each has its heading, and the first alone ranks."""
    parts = []
    for section in board.sections:
        if board.parted:
            parts += [_heading(section), ""]
        lines = []
        for rank, row in enumerate(board.rows_of(section), 1):
            place = str(rank) if section.number == 1 else "–"
            lines.append(_cells(place, row))
        parts += [table(_HEAD, lines, _RIGHT), ""]
    return "\n".join(parts)


def _heading(section: Section) -> str:
    lines = [f"## Scored on {text(section.name)}"]
    if section.number > 1:
        lines += [
            "",
            "Not ranked against the main section: a score on other images or masks does not compare.",
        ]
    named = truth(section.truths)
    if named:
        lines += ["", f"Truth of {text(named)}."]
    return "\n".join(lines)


def _by_section(
    board: Board, title: str, body: Callable[[Board, Section], str]
) -> list[str]:
    """Return a part of the page: one table, or one under each section's title where there are several."""
    found = []
    for section in board.sections:
        content = body(board, section)
        if not content:
            continue
        if board.parted:
            found += [f"### {text(section.title)}", ""]
        found += [content, ""]
    return [f"## {title}", "", *found] if found else [""]


def _facts(board: Board) -> str:
    splits, sizes = board.dataset["splits"], board.dataset["sizes"]
    named = []
    for role in ("train", "seeds", "val"):
        size = sizes.get(role)
        images = f" ({size} images)" if size is not None else ""
        named.append(f"{role} `{text(splits.get(role, '-'))}`{images}")
    what = f"{len(board.classes)} classes with background; {', '.join(named)}"
    return f"\n{what}. Ranked by {METRICS[board.metric]}; mIoU in %.\n"


def _cells(rank: str, row: Row) -> list[str]:
    """Return the cells of one row of the ranking, in the order of its headings."""
    labels = mark(row.scores.get("labels"))
    picked = [pick(row, stage) for stage in STAGES]
    return [
        rank,
        row.method,
        *picked,
        _at(row, "seeds_best"),
        _at(row, "seeds_fixed"),
        percent(row.value("labels")) + labels,
        coverage(row) + labels,
        _interval(row, "val"),
        row.ties,
        _interval(row, "val_crf"),
        *columns(row),
        "1 (single seed)" if row.single_seed else str(len(row.seeds)),
        _profile(row),
        _minutes(row),
        number(row.peak_mb(), 0),
    ]


def _profile(row: Row) -> str:
    # What it replaced of the method's own defaults is among the notes.
    return row.first.profile + (" (replaces defaults)" if replaced(row) else "")


def _minutes(row: Row) -> str:
    minutes = number(row.minutes(), 1)
    # They mean nothing without the kind of device they were taken on.
    return f"{minutes} {device(row)}" if minutes else ""


def _at(row: Row, what: str) -> str:
    score = row.scores.get(what)
    if score is None:
        return ""
    at = f" @{thresholds(score)}" if score.thresholds else ""
    return percent(score.miou.value) + at + mark(score)


def _interval(row: Row, what: str) -> str:
    score = row.scores.get(what)
    if score is None:
        return ""
    value, low, high = map(percent, score.bounds)
    return (f"{value} [{low}, {high}]" if low else value) + mark(score)


def _legend(board: Board) -> str:
    n = board.resamples
    family = "within a section, Holm over it" if board.parted else "Holm over the board"
    return (
        f"{_protocol(board)} Intervals: 95 %, bootstrap over images ({n:,} resamples), over seeds and images "
        "where several seeds ran; with a single seed they say nothing about training noise. "
        f"Rows that share a letter under *tie* do not differ at 5 % (paired bootstrap, {family}). "
        "*Oracle*: the threshold was chosen while looking at the masks; *fixed*: it was not. "
        "Seeds and labels are scored on the images of the `seeds` split, with their image-level labels known. "
        "Minutes are the mean of one run on one device."
        f"{_marks(board)}"
    )


def _protocol(board: Board) -> str:
    """Return the rules that scores were taken under; the convention of the masks where records name it."""
    named = truth(common_truths(board.sections))
    return (
        f"Protocol `{PROTOCOL}`; truth of {text(named)}."
        if named
        else f"Protocol `{PROTOCOL}`."
    )


def _marks(board: Board) -> str:
    if not board.marked:
        return ""
    return f" {MARK}: scored on other images or masks than most rows of the section; see the notes."


def _classes(board: Board, section: Section) -> str:
    rows = [row for row in board.rows_of(section) if board.metric in row.scores]
    scores = [row.scores[board.metric] for row in rows]
    names = [row.method for row in rows]
    lines = []
    if scores:
        for k, klass in enumerate(board.classes):
            cells = [percent(score.per_class[k]) for score in scores]
            lines.append([klass, *cells])
    means = [f"**{percent(score.miou.value)}**" for score in scores]
    lines.append(["**mean**", *means])
    return table(["class", *names], lines, names)


def _comparisons(board: Board, section: Section) -> str:
    pairs = [pair for pair in board.pairs if pair.first in section.rows]
    if not pairs:
        return ""
    # All pairs would make hundreds of lines; a reader asks how far a row is from the best and from its neighbour.
    best = section.rows.start
    shown = [pair for pair in pairs if pair.first == best]
    rest = [pair for pair in pairs if pair.first > best]
    shown += [pair for pair in rest if pair.second == pair.first + 1]
    return table(
        ["method", "against", "difference [95 %]", "p (Holm)"],
        [_pair(board, pair) for pair in shown],
        ["difference [95 %]", "p (Holm)"],
    )


def _pair(board: Board, pair: Pair) -> list[str]:
    found = pair.difference
    fractions = (found.value, found.low, found.high)
    value, low, high = (f"{100 * one:+.1f}" for one in fractions)
    return [
        board.rows[pair.second].method,
        board.rows[pair.first].method,
        f"{value} [{low}, {high}]",
        f"{pair.adjusted:.4f}",
    ]


def _footnotes(board: Board) -> str:
    lines = []
    for row in board.rows:
        note = text(notes(row))
        if note:
            lines.append(f"* **{text(row.method)}**: {note}.")
    return "\n".join(["## Notes", "", *lines]) if lines else ""


def _reported(board: Board) -> str:
    """Return what papers and repositories print for this dataset, apart from the measured rows."""
    lines = []
    for entry in board.reported:
        cells = [shown_values(entry["values"], *cell) for cell in CELLS]
        # An entry may hold nothing but scores on other splits, which this table does not show.
        if any(cells):
            facts = [entry[name] for name in _FACTS]
            lines.append([f"*{entry['method']}*", *facts, *cells])
    if not lines:
        return ""
    head = ["method", "venue", "network", "supervision", "extra data", "CRF", *HEADS]
    return (
        "\n## Reported elsewhere\n\n"
        "Printed by papers and repositories, not measured by this harness; evaluators, data and weights differ. "
        "Where sources disagree every value is shown, the most frequent first, with the number of sources.\n\n"
        + table(head, lines, HEADS)
    )
