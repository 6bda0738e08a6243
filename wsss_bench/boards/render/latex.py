"""A board as LaTeX: booktabs, best of each column bold, ready to paste."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wsss_bench.boards.render.columns import percent
from wsss_bench.boards.rows import Board, Row, Score
from wsss_bench.evaluate import PROTOCOL

_SCORES = {
    "seeds_fixed": "Seeds",
    "labels": "Labels",
    "val": "Val",
    "val_crf": "Val + CRF",
}
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "θ": r"$\theta$",
    "–": "--",
    "→": r"$\to$",
}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}


def escape(text: str) -> str:
    """Return text as LaTeX prints it."""
    # Character by character: a replacement holds braces and backslashes that must not be escaped again.
    return "".join(_SPECIAL.get(character, character) for character in text)


def tabular(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    caption: str,
    label: str,
    align: str = "",
) -> str:
    """Return a ``table`` with a booktabs ``tabular``; cells and caption are escaped.

    Args:
        align: LaTeX's column letters; by default the first column is left-aligned, the others right-aligned.
    """
    return _frame(
        align or "l" + "r" * (len(header) - 1),
        _line(map(escape, header)),
        [_line(map(escape, cells)) for cells in lines],
        escape(caption),
        label,
    )


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _frame(
    align: str,
    header: str,
    body: Sequence[str],
    caption: str,
    label: str,
) -> str:
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        header,
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def page(board: Board) -> str:
    """Return the board's main table: method, supervision, backbone, and each score that any row has."""
    scored = {what for row in board.rows for what in row.scores}
    shown = {what: name for what, name in _SCORES.items() if what in scored}
    best = {what: _best(board, what) for what in shown}
    header = ["Method", "Sup.", "Backbone", "Segmentor", *shown.values()]
    n = board.resamples
    caption = (
        f"mIoU (\\%) on {escape(board.name)}, protocol {PROTOCOL}. "
        f"Small figures: 95\\,\\% bootstrap intervals over images ({n:,} resamples), over seeds too where several ran; "
        "$\\dagger$ single seed. Seeds at the declared threshold."
    )
    return _frame(
        "llll" + "r" * len(shown),
        _line(header),
        [_line(_cells(row, best)) for row in board.rows],
        caption,
        f"tab:{board.name}",
    )


def _best(board: Board, what: str) -> str:
    """Return the best score of a column as it is printed."""
    values = [row.value(what) for row in board.rows]
    known = [value for value in values if value is not None]
    return percent(max(known))


def _cells(row: Row, best: Mapping[str, str]) -> list[str]:
    dagger = r"$^\dagger$" if row.single_seed else ""
    cells = [escape(row.method) + dagger]
    for name in ("supervision", "backbone", "segmentor"):
        fact = row.first.columns.get(name, "")
        cells.append(escape(str(fact)))
    for what, highest in best.items():
        score = row.scores.get(what)
        cells.append(_score(score, highest))
    return cells


def _score(score: Score | None, best: str) -> str:
    if score is None:
        return "--"
    value, low, high = map(percent, score.bounds)
    # Compared as printed: two equal figures, one bold and one not, would puzzle a reader.
    shown = f"\\textbf{{{value}}}" if value == best else value
    return f"{shown} {{\\scriptsize [{low}, {high}]}}" if low else shown
