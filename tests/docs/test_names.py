"""Names in backticks exist: what a docstring or a page calls by name can be found under that name."""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import keyword
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from wsss_bench import StageContext

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("wsss_bench/**/*.py"), *ROOT.glob("plugins/**/*.py")])
PAGES = sorted(
    [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md"), *ROOT.glob("plugins/**/*.md")]
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

NAME = re.compile(r"(?<![`\w])`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)")
"""A name alone between single backticks, maybe dotted, maybe with empty brackets."""

CONTEXT = re.compile(r"\bctx\.(\w+)")
DOTTED = re.compile(r"\bwsss_bench(?:\.\w+)+")
FILE = re.compile(
    r"`((?:wsss_bench|plugins|tests|configs|docs|benchmarks|leaderboards)/[\w./-]+)`"
)


@cache
def universe() -> frozenset[str]:
    """Every identifier of the code, every word that is a string of its own, and every module's name."""
    found: set[str] = set(dir(builtins)) | set(keyword.kwlist)
    for path in [*SOURCES, *ROOT.glob("configs/**/*.py")]:
        found.add(path.stem)
        found.add(path.parent.name)
        for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
            if token.type == tokenize.NAME:
                found.add(token.string)
            elif token.type == tokenize.STRING:
                found.update(re.findall(r"^[rbf]*['\"]([\w.-]+)['\"]$", token.string))
    return frozenset(found)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring, those below constants included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, DOCUMENTED):
            continue
        for statement in node.body:
            if not isinstance(statement, ast.Expr):
                continue
            value = getattr(statement.value, "value", None)
            if isinstance(value, str):
                yield statement.lineno, value


def exists(name: str) -> bool:
    """Whether a dotted name below the package leads to a module or to something in one."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ImportError:
            continue
        for part in parts[size:]:
            if not hasattr(found, part):
                return part in getattr(found, "__annotations__", {})
            found = getattr(found, part)
        return True
    return False


def known(name: str) -> bool:
    """Whether a name in single backticks is one of the code's, of the standard library's or of a package's."""
    if name.startswith("wsss_bench."):
        return exists(name)
    if all(part in universe() for part in name.split(".") if part):
        return True
    return "." in name and exists(name)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_docstrings_exist(path: Path) -> None:
    context = set(dir(StageContext)) | set(StageContext.__dataclass_fields__)
    missing = []
    for line, text in docstrings(path):
        names = [name for name in NAME.findall(text) if not known(name)]
        names += [
            f"ctx.{name}" for name in CONTEXT.findall(text) if name not in context
        ]
        missing += [f"{path.name}:{line}: {name}" for name in names]
    assert not missing


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_pages_exist(path: Path) -> None:
    text = path.read_text()
    context = set(dir(StageContext)) | set(StageContext.__dataclass_fields__)
    missing = [f"ctx.{name}" for name in CONTEXT.findall(text) if name not in context]
    groups = ("wsss_bench.methods", "wsss_bench.datasets")  # entry points, no modules
    dotted = [name for name in DOTTED.findall(text) if name not in groups]
    missing += [name for name in dotted if not exists(name)]
    missing += [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    assert not missing
