"""Source files of modules: digests of what they say, and the names that they import."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from wsss_bench.io.hashing import Memory
from wsss_bench.methods.syntax import kept_tree, syntax_digest

# Of code nothing is kept on the disk: it is read again by every process.
_CODE = Memory(keep=False, trust=False)


def content_of(file: Path) -> str:
    """Return the digest of a file's bytes."""
    [found] = _CODE.digests([file])
    return found


def file_syntax(file: Path, without: tuple[str, ...] = ()) -> str:
    """Return the digest of a module's file: of its syntax, or of its bytes where it is compiled."""
    content = content_of(file)
    if file.suffix != ".py":
        return content
    return _syntax(file, content, without)


# By content: an edited file is another entry. Never by time alone, which an editor can restore.
@lru_cache(maxsize=4096)
def _syntax(file: Path, content: str, without: tuple[str, ...]) -> str:
    return syntax_digest(file.read_bytes(), without)


def imported(file: Path, package: str, without: tuple[str, ...] = ()) -> list[str]:
    """Return the dotted names that a file imports, wherever in it; ``from a import b`` gives ``a`` and ``a.b``."""
    if file.suffix != ".py":
        return []
    return list(_imported(file, content_of(file), package, without))


@lru_cache(maxsize=4096)
def _imported(
    file: Path, content: str, package: str, without: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        tree = kept_tree(ast.parse(file.read_bytes()), without)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    return tuple(dict.fromkeys(_names(tree, package)))


def _names(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and _is_for_types(node.test):
            # What only a type checker sees never runs.
            for other in node.orelse:
                yield from _names(ast.Module([other], []), package)
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, package)
            yield source
            for alias in node.names:
                yield f"{source}.{alias.name}"
        yield from _names(node, package)


def _is_for_types(test: ast.expr) -> bool:
    name = getattr(test, "id", None) or getattr(test, "attr", None)
    return name == "TYPE_CHECKING"


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *filter(None, [node.module])])


def handed_out(package: Path) -> Mapping[str, str]:
    """Return the names that a package hands out by a ``__getattr__`` of its own, and the module of each.

    Such packages (ours, and others') hold a table of names and modules; `package` is their ``__init__.py``.
    """
    return _handed_out(package, content_of(package))


@lru_cache(maxsize=256)
def _handed_out(file: Path, content: str) -> Mapping[str, str]:
    tree = ast.parse(file.read_bytes())
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    found: dict[str, str] = {}
    if "__getattr__" not in functions:
        return found
    for node in tree.body:
        value = getattr(node, "value", None)
        if not isinstance(value, ast.Dict):
            continue
        for key, item in zip(value.keys, value.values, strict=True):
            name, module = getattr(key, "value", None), getattr(item, "value", None)
            if isinstance(name, str) and isinstance(module, str):
                found[name] = module.lstrip(".")
    return found
