"""A board as LaTeX: booktabs, best of each column bold, ready to paste."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from wsss_bench.boards.render.columns import fact, percent
from wsss_bench.boards.render.footnotes import replaced, truth
from wsss_bench.boards.rows import Board, Row, Score, Section
from wsss_bench.boards.sections import common_truths
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
    """Return the board's main table: method, supervision, backbone, and each score that any row has.

    Sections stand below each other under headings of their own, each with its best scores in bold.
    """
    scored = {what for row in board.rows for what in row.scores}
    shown = {what: name for what, name in _SCORES.items() if what in scored}
    header = ["Method", "Sup.", "Backbone", "Segmentor", *shown.values()]
    body = []
    for section in board.sections:
        rows = board.rows_of(section)
        if board.parted:
            body += _heading(section, len(header))
        best = {what: _best(rows, what) for what in shown}
        body += [_line(_cells(row, best)) for row in rows]
    return _frame(
        "llll" + "r" * len(shown),
        _line(header),
        body,
        _caption(board),
        f"tab:{board.name}",
    )


def _caption(board: Board) -> str:
    n = board.resamples
    named = truth(common_truths(board.sections))
    masks = f" (truth of {escape(named)})" if named else ""
    caption = (
        f"mIoU (\\%) on {escape(board.name)}, protocol {PROTOCOL}{masks}. "
        f"Small figures: 95\\,\\% bootstrap intervals over images ({n:,} resamples), over seeds too where several ran; "
        "$\\dagger$ single seed. Seeds at the declared threshold."
    )
    if board.parted:
        caption += " Rows under different headings were scored on other images or masks and do not compare."
    if board.marked:
        caption += " $\\ddagger$ scored on other images or masks than most rows."
    if any(map(replaced, board.rows)):
        caption += " $\\ast$ the profile replaces defaults of the method."
    return caption


def _heading(section: Section, columns: int) -> list[str]:
    """Return the lines that set a section apart: a rule, but not under the table's own, and what was scored."""
    text = f"\\emph{{Scored on {escape(section.name)}}}"
    rule = [] if section.number == 1 else ["\\midrule"]
    return [*rule, _line([f"\\multicolumn{{{columns}}}{{l}}{{{text}}}"])]


def _best(rows: Sequence[Row], what: str) -> str:
    """Return the best score of a column as it is printed; "" where no row has one to be compared with others."""
    known = []
    for row in rows:
        score = row.scores.get(what)
        # What was scored on other images is no rival.
        if score is not None and not score.elsewhere:
            known.append(score.miou.value)
    return percent(max(known)) if known else ""


def _cells(row: Row, best: Mapping[str, str]) -> list[str]:
    dagger = r"$^\dagger$" if row.single_seed else ""
    star = r"$^\ast$" if replaced(row) else ""
    cells = [escape(row.method) + dagger + star]
    for name in ("supervision", "backbone", "segmentor"):
        cells.append(escape(fact(row, name)))
    for what, highest in best.items():
        score = row.scores.get(what)
        cells.append(_score(score, highest))
    return cells


def _score(score: Score | None, best: str) -> str:
    if score is None:
        return "--"
    value, low, high = map(percent, score.bounds)
    # Compared as printed: two equal figures, one bold and one not, would puzzle a reader.
    own = value == best and not score.elsewhere
    shown = f"\\textbf{{{value}}}" if own else value
    if score.elsewhere:
        shown += r"$^\ddagger$"
    return f"{shown} {{\\scriptsize [{low}, {high}]}}" if low else shown
