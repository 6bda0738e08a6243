"""How the code reads, in figures: tokens a line, wide lines, comments that say why, long functions, crowded statements.

    python .ci/texture.py wsss_bench plugins

Prints one line of figures, then what misses its bound; the status is 1 where something does. Counted are code lines:
those that hold a token which is neither a comment nor part of a docstring.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

MOST_TOKENS = 8.0  # a code line, on average
MOST_WIDE = 2.0  # per cent of the code lines
WIDE = 100  # columns
FEWEST_COMMENTS = 2.0  # per 100 code lines
LONGEST_FUNCTION = 60  # lines
MEDIAN_FUNCTION = 10  # lines

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)
NO_CODE = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}
# Comments that talk to a tool explain nothing to a reader.
TO_TOOLS = ("# type:", "# noqa", "# fmt:", "# pragma", "# mypy", "# ruff", "#!")


@dataclass
class Figures:
    """What was counted over all files; `crowded` and `long` are places, as ``file:line``."""

    files: int = 0
    lines: int = 0
    tokens: int = 0
    wide: int = 0
    comments: int = 0
    lengths: list[int] = field(default_factory=list)
    crowded: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    fullest: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        """Count one file."""
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source, str(path))
        self.files += 1
        self._count_lines(path, source, docstrings(tree))
        for node in ast.walk(tree):
            self._look_at(path, node)

    def _count_lines(self, path: Path, source: str, skipped: set[int]) -> None:
        held: Counter[int] = Counter()
        lines = source.splitlines(keepends=True)
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type == tokenize.COMMENT:
                self.comments += not token.string.startswith(TO_TOOLS)
            elif token.type not in NO_CODE and token.start[0] not in skipped:
                held[token.start[0]] += 1
        self.lines += len(held)
        self.tokens += held.total()
        self.wide += sum(len(lines[number - 1].rstrip("\n")) > WIDE for number in held)
        for number, count in held.most_common(5):
            self.fullest[f"{path}:{number}"] = count

    def _look_at(self, path: Path, node: ast.AST) -> None:
        if isinstance(node, FUNCTIONS):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            self.lengths.append(length)
            if length > LONGEST_FUNCTION:
                self.long.append(f"{path}:{node.lineno}")
        # A statement with a body is its parts' business.
        if isinstance(node, ast.stmt) and not hasattr(node, "body"):
            inner = [
                part for part in ast.walk(node) if isinstance(part, COMPREHENSIONS)
            ]
            if len(inner) > 1:
                self.crowded.append(f"{path}:{node.lineno}")

    def __str__(self) -> str:
        return (
            f"{self.files} files, {self.lines} code lines: "
            f"{self.tokens / self.lines:.1f} tokens a line, "
            f"{100 * self.wide / self.lines:.1f} % wider than {WIDE}, "
            f"{100 * self.comments / self.lines:.1f} comments per 100, "
            f"functions: median {median(self.lengths):.0f} lines, "
            f"{len(self.long)} over {LONGEST_FUNCTION}; "
            f"{len(self.crowded)} statements with two comprehensions"
        )

    def misses(self) -> Iterator[str]:
        """Yield a line for every bound that is missed, with the places to begin at."""
        if self.tokens > MOST_TOKENS * self.lines:
            places = ", ".join(place for place, _ in self.fullest.most_common(10))
            yield f"more than {MOST_TOKENS} tokens a line; the fullest: {places}"
        if 100 * self.wide > MOST_WIDE * self.lines:
            yield f"more than {MOST_WIDE} % of the lines are wider than {WIDE} columns"
        if 100 * self.comments < FEWEST_COMMENTS * self.lines:
            yield f"fewer than {FEWEST_COMMENTS} comments per 100 lines"
        if median(self.lengths) > MEDIAN_FUNCTION:
            yield f"half of the functions have more than {MEDIAN_FUNCTION} lines"
        if self.long:
            yield f"functions over {LONGEST_FUNCTION} lines: {', '.join(self.long)}"
        if self.crowded:
            yield f"statements with two comprehensions: {', '.join(self.crowded)}"


def docstrings(tree: ast.AST) -> set[int]:
    """Return the numbers of the lines that docstrings cover."""
    covered: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, DOCUMENTED) or not node.body:
            continue
        first = node.body[0]
        if not isinstance(first, ast.Expr) or not isinstance(first.value, ast.Constant):
            continue
        if isinstance(first.value.value, str):
            covered.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return covered


def main(roots: list[str]) -> int:
    """Print the figures of all Python files below `roots`; return 1 where a bound is missed, else 0."""
    figures = Figures()
    for root in roots:
        for path in sorted(Path(root).rglob("*.py")):
            if not {"test", "tests"} & set(path.parts):
                figures.add(path)
    print(figures)
    missed = list(figures.misses())
    for line in missed:
        print(f"missed: {line}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
