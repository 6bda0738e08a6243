"""What a Python file says, not how it is written: a digest that comments, docstrings and blank lines leave alone."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def syntax_digest(source: bytes, without: Iterable[str] = ()) -> str:
    """Return a hex digest of a file's normalised syntax tree; of its bytes where Python cannot parse them.

    Comments, blank lines, the shape of lines and docstrings do not count, unless the file reads ``__doc__``. The same
    text gives the same digest under every version of Python that can parse it.

    Args:
        source: the content of a ``.py`` file.
        without: names of functions that do not count either, at the top or in a class; see `kept_tree`.
    """
    try:
        tree = kept_tree(ast.parse(source), without)
    # A null byte is a `ValueError`, a nest too deep a `RecursionError` or a `MemoryError`.
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256(source).hexdigest()
    keep_docs = any(_names_doc(node) for node in ast.walk(tree))
    digest = hashlib.sha256()
    for token in _tokens(tree, keep_docs):
        digest.update(token.encode(errors="surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()


def kept_tree(tree: ast.Module, without: Iterable[str] = ()) -> ast.Module:
    """Return the tree without the functions named in `without`, but for those that what is kept refers to.

    A plugin's file holds the hooks of several stages, of which a stage's key concerns one.
    """
    dropped = set(without)
    if not dropped:
        return tree
    kept = _pruned(tree, dropped)
    while called := dropped & _names(kept):
        dropped -= called
        kept = _pruned(tree, dropped)
    return kept


def _pruned(tree: ast.Module, dropped: set[str]) -> ast.Module:
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            fields = dict(ast.iter_fields(node))
            inner = [one for one in node.body if not _is_dropped(one, dropped)]
            body.append(ast.ClassDef(**{**fields, "body": inner}))
        elif not _is_dropped(node, dropped):
            body.append(node)
    return ast.Module(body=body, type_ignores=[])


def _is_dropped(node: ast.stmt, dropped: set[str]) -> bool:
    return isinstance(node, _FUNCTION) and node.name in dropped


def _names(tree: ast.AST) -> set[str]:
    """Return every name and attribute that a tree refers to, and every text that could be one."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        # For `getattr`.
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def _names_doc(node: ast.AST) -> bool:
    name = getattr(node, "id", None) or getattr(node, "attr", None)
    return name == "__doc__"


def _tokens(node: ast.AST, keep_docs: bool) -> Iterator[str]:
    """Yield a tree as texts: types and fields by name, empty fields left out."""
    yield type(node).__name__
    for name, value in ast.iter_fields(node):
        # Fields that a later Python adds are empty for code that an earlier one can parse.
        if value is None or value == [] or name in ("kind", "type_comment"):
            continue
        # That a None was written counts, though.
        yield name
        is_body = name == "body" and isinstance(node, _DOCUMENTED)
        if is_body and not keep_docs and _starts_with_doc(value):
            value = value[1:]
        yield from _field(value, keep_docs)
    if isinstance(node, ast.Constant) and node.value is None:
        yield "None"
    yield "."


def _starts_with_doc(body: list[ast.stmt]) -> bool:
    first = body[0]
    return (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def _field(value: object, keep_docs: bool) -> Iterator[str]:
    if isinstance(value, ast.AST):
        yield from _tokens(value, keep_docs)
    elif isinstance(value, list):
        for item in value:
            # A dictionary that is unpacked into another has None for its key.
            yield from _field(item, keep_docs)
        yield "]"
    else:
        yield f"{type(value).__name__} {value!r}"
