"""A board as GitHub Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.boards.render.columns import (
    COLUMNS,
    device,
    notes,
    number,
    percent,
    pick,
    thresholds,
)
from wsss_bench.boards.rows import Board, Row, Score
from wsss_bench.results.published import CELLS, HEADS, shown_values

METRICS = {
    "val": "val mIoU",
    "val_crf": "val mIoU after CRF",
    "labels": "pseudo-label mIoU",
    "seeds_fixed": "seed mIoU at the fixed threshold",
    "seeds_best": "seed mIoU at the oracle threshold",
}
_HEAD = [
    *(
        "#",
        "method",
        "localize",
        "refine",
        "segment",
        "seeds (oracle @t)",
        "seeds (fixed @t)",
        "labels",
        "coverage",
    ),
    *(
        "val [95 %]",
        "tie",
        "val + CRF [95 %]",
        "supervision",
        "extra data",
        "backbone",
        "segmentor",
        "pre-training",
    ),
    *("CRF", "multi-scale", "rounds", "runs", "profile", "minutes", "peak MB"),
]
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


def page(board: Board) -> str:
    """The whole Markdown file: facts, ranking, classes, comparisons, footnotes."""
    parts = [
        f"# {_text(board.name)}",
        _facts(board),
        table(_HEAD, [_cells(k, row) for k, row in enumerate(board.rows, 1)]),
    ]
    parts += [
        "",
        _legend(board),
        "",
        f"## IoU per class ({METRICS[board.metric]})",
        "",
        _classes(board),
        "",
        _comparisons(board),
    ]
    parts += [_footnotes(board), _reported(board)]
    return "\n".join(parts).rstrip() + "\n"


def _facts(board: Board) -> str:
    splits, sizes = board.dataset["splits"], board.dataset["sizes"]
    named = []
    for role in ("train", "seeds", "val"):
        split = splits.get(role, "-")
        size = sizes.get(role)
        named.append(
            f"{role} `{_text(str(split))}`"
            + (f" ({size} images)" if size is not None else "")
        )
    return f"\n{len(board.classes)} classes with background; {', '.join(named)}. Ranked by {METRICS[board.metric]}; mIoU in %.\n"


def _cells(rank: int, row: Row) -> list[str]:
    found, columns = row.scores, row.first.columns
    labels = found.get("labels")
    runs = (
        "1 (single seed)"
        if len(row.seeds) == 1 and row.origin == "measured"
        else str(len(row.seeds))
    )
    minutes = number(row.minutes(), 1)
    return [
        *(
            str(rank),
            row.method,
            pick(row, "localize"),
            pick(row, "refine"),
            pick(row, "segment"),
        ),
        *(
            _at(found.get("seeds_best")),
            _at(found.get("seeds_fixed")),
            percent(labels.miou.value) if labels else "",
        ),
        *(
            percent(labels.coverage) if labels else "",
            _interval(found.get("val")),
            row.ties,
            _interval(found.get("val_crf")),
        ),
        *(str(columns.get(name, "")) for name in COLUMNS),
        *(
            runs,
            row.first.profile,
            f"{minutes} {device(row)}" if minutes else "",
            number(row.peak_mb(), 0),
        ),
    ]


def _at(score: Score | None) -> str:
    if score is None:
        return ""
    return percent(score.miou.value) + (
        f" @{thresholds(score)}" if score.thresholds else ""
    )


def _interval(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{percent(score.miou.value)} [{percent(score.miou.low)}, {percent(score.miou.high)}]"


def _legend(board: Board) -> str:
    return (
        f"Protocol `iou-v1`. Intervals: 95 %, bootstrap over images ({board.resamples:,} resamples), over seeds and images "
        "where several seeds ran; with a single seed they say nothing about training noise. "
        "Rows that share a letter under *tie* do not differ at 5 % (paired bootstrap, Holm over the board). "
        "*Oracle*: the threshold was chosen while looking at the masks; *fixed*: it was not. "
        "Seeds and labels are scored on the images of the `seeds` split, with their image-level labels known. "
        "Minutes are the mean of one run on one device."
    )


def _classes(board: Board) -> str:
    rows = [row for row in board.rows if board.metric in row.scores]
    scores = [row.scores[board.metric] for row in rows]
    lines = [
        [name, *(percent(float(score.per_class[k])) for score in scores)]
        for k, name in enumerate([*board.classes])
        if scores
    ]
    lines.append(
        ["**mean**", *(f"**{percent(score.miou.value)}**" for score in scores)]
    )
    return table(
        ["class", *(row.method for row in rows)],
        lines,
        right={row.method for row in rows},
    )


def _comparisons(board: Board) -> str:
    if not board.pairs:
        return ""
    shown = [pair for pair in board.pairs if pair.first == 0] + [
        p for p in board.pairs if p.first > 0 and p.second == p.first + 1
    ]
    lines = [
        [
            board.rows[p.second].method,
            board.rows[p.first].method,
            f"{100 * p.difference.value:+.1f} [{100 * p.difference.low:+.1f}, {100 * p.difference.high:+.1f}]",
            f"{p.adjusted:.4f}",
        ]
        for p in shown
    ]
    shown_table = table(
        ["method", "against", "difference [95 %]", "p (Holm)"],
        lines,
        right={"difference [95 %]", "p (Holm)"},
    )
    return f"## Against the first, and against the next better\n\n{shown_table}\n"


def _footnotes(board: Board) -> str:
    lines = [
        f"* **{_text(row.method)}**: {_text(notes(row))}."
        for row in board.rows
        if notes(row)
    ]
    return "\n".join(["## Notes", "", *lines]) if lines else ""


def _reported(board: Board) -> str:
    """What papers and repositories print for this dataset, apart from the measured rows; conflicts side by side."""
    lines = []
    for entry in board.reported:
        cells = [shown_values(entry["values"], *cell) for cell in CELLS]
        facts = [
            f"*{entry['method']}*",
            *(
                entry[name]
                for name in ("venue", "net", "supervision", "extra_data", "crf")
            ),
        ]
        lines += [[*facts, *cells]] if any(cells) else []
    if not lines:
        return ""
    head = ["method", "venue", "network", "supervision", "extra data", "CRF", *HEADS]
    return (
        "\n## Reported elsewhere\n\n"
        "Printed by papers and repositories, not measured by this harness; evaluators, data and weights differ. "
        "Where sources disagree every value is shown, the most frequent first, with the number of sources.\n\n"
        + table(head, lines, right=set(HEADS))
    )


def table(
    head: Sequence[str], lines: Sequence[Sequence[str]], right: set[str] | None = None
) -> str:
    """A Markdown table; cells are escaped, columns named in `right` are right-aligned."""
    right = _RIGHT if right is None else right
    rule = ["---:" if name in right else "---" for name in head]
    return "\n".join(
        "| " + " | ".join(map(_text, cells)) + " |" for cells in [head, rule, *lines]
    )


def _text(value: str) -> str:
    """Text that cannot break out of its cell."""
    return " ".join(
        value.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "&lt;")
        .replace("`", "'")
        .split()
    )
