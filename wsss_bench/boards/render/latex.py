"""A board as LaTeX: booktabs, best of each column bold, ready to paste."""

from __future__ import annotations

from collections.abc import Sequence

from wsss_bench.boards.render.columns import percent
from wsss_bench.boards.rows import Board, Row

_SCORES = (
    ("seeds_fixed", "Seeds"),
    ("labels", "Labels"),
    ("val", "Val"),
    ("val_crf", "Val + CRF"),
)
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "θ": r"$\theta$",
    "–": "--",
    "→": r"$\to$",
}


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(_SPECIAL.get(c, "\\" + c if c in "&%$#_{}" else c) for c in text)


def tabular(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    caption: str,
    label: str,
    align: str = "",
) -> str:
    """A ``table`` with a booktabs ``tabular``; cells are escaped, the caption too."""
    body = [" & ".join(map(escape, cells)) + r" \\" for cells in lines]
    return _frame(
        align or "l" + "r" * (len(header) - 1),
        " & ".join(map(escape, header)),
        body,
        escape(caption),
        label,
    )


def _frame(
    align: str, header: str, body: Sequence[str], caption: str, label: str
) -> str:
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{caption}}}",
        f"\\label{{{label}}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        f"{header} \\\\",
        "\\midrule",
        *body,
        "\\bottomrule",
        "\\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def page(board: Board) -> str:
    """The board's main table: method, supervision, backbone and the scores that any row has, intervals as subscripts."""
    shown = [
        (what, name)
        for what, name in _SCORES
        if any(what in row.scores for row in board.rows)
    ]
    best = {
        what: max(
            (r.scores[what].miou.value for r in board.rows if what in r.scores),
            default=0.0,
        )
        for what, _ in shown
    }
    header = " & ".join(
        ["Method", "Sup.", "Backbone", "Segmentor", *(name for _, name in shown)]
    )
    body = [_line(row, shown, best) + r" \\" for row in board.rows]
    n = board.resamples
    caption = (
        f"mIoU (\\%) on {escape(board.name)}, protocol iou-v1. Small figures: 95\\,\\% bootstrap intervals over images "
        f"({n:,} resamples), over seeds too where several ran; $\\dagger$ single seed. Seeds at the declared threshold."
    )
    return _frame("llll" + "r" * len(shown), header, body, caption, f"tab:{board.name}")


def _line(row: Row, shown: Sequence[tuple[str, str]], best: dict[str, float]) -> str:
    columns = row.first.columns
    dagger = r"$^\dagger$" if len(row.seeds) == 1 and row.origin == "measured" else ""
    cells = [
        escape(row.method) + dagger,
        *(
            escape(str(columns.get(name, "")))
            for name in ("supervision", "backbone", "segmentor")
        ),
    ]
    for what, _ in shown:
        score = row.scores.get(what)
        if score is None:
            cells.append("--")
            continue
        value = percent(score.miou.value)
        value = f"\\textbf{{{value}}}" if value == percent(best[what]) else value
        cells.append(
            f"{value} {{\\scriptsize [{percent(score.miou.low)}, {percent(score.miou.high)}]}}"
        )
    return " & ".join(cells)
