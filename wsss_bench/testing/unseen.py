"""What a look at a plugin's code cannot see: modules named while it runs, code from texts, programs, files elsewhere.

A stage's key holds the code that imports lead to, and what a run was seen to import or read beside the plugin. The rest
is for the author to know: after a change there an old result may be taken for a new one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsss_bench.methods.catalog import LoadedMethod

_CALLS = {
    "import_module": "imports a module whose name is put together while it runs",
    "__import__": "imports a module whose name is put together while it runs",
    "exec": "runs code from a text",
    "eval": "runs code from a text",
    "Popen": "starts a program",
    "check_call": "starts a program",
    "check_output": "starts a program",
    "system": "starts a program",
    "popen": "starts a program",
    "CDLL": "loads a library",
    "LoadLibrary": "loads a library",
    "urlopen": "reads from the network",
    "urlretrieve": "reads from the network",
}
"""Functions by name, and what calling one means."""

_SUBPROCESS = "subprocess"
_OPENERS = ("open", "read_text", "read_bytes", "load", "imread")
_GLOBAL = "changes a variable of its module while it runs"


@dataclass(frozen=True, order=True)
class Unseen:
    """One place in a plugin's code: the file, the line, and what happens there."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.what}"


def unseen(method: LoadedMethod) -> list[Unseen]:
    """Return the places in a plugin's own modules at which it rests on what its key cannot hold."""
    if method.code is None:
        return []
    closure = method.code.of()
    found: set[Unseen] = set()
    for name in closure.own:
        file = closure.files[name]
        if file.suffix == ".py":
            found.update(_in_file(file))
        else:
            found.add(Unseen(file.name, 1, "is compiled: its own imports are not seen"))
    return sorted(found)


def _in_file(file: Path) -> Iterator[Unseen]:
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        what = _what(node)
        if what:
            yield Unseen(file.name, getattr(node, "lineno", 1), what)


def _what(node: ast.AST) -> str:
    if isinstance(node, ast.Global):
        return _GLOBAL
    if not isinstance(node, ast.Call):
        return ""
    name = _called(node.func)
    if name == "run" and _root(node.func) == _SUBPROCESS:
        return _CALLS["Popen"]
    if name in _CALLS and not _is_plain(name, node):
        return _CALLS[name]
    if name in _OPENERS and _absolute(node):
        return "reads a file at a fixed place; make it a parameter"
    return ""


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", "") or getattr(function, "id", "")


def _root(function: ast.expr) -> str:
    """Return the first name of ``a.b.c``."""
    while isinstance(function, ast.Attribute):
        function = function.value
    return getattr(function, "id", "")


def _is_plain(name: str, node: ast.Call) -> bool:
    """Return whether a call is harmless: a module named in full, or a method of something else by the same name."""
    if name in ("import_module", "__import__"):
        # A run notes what such a call imports, so only what differs from run to run stays unseen.
        return bool(node.args) and isinstance(node.args[0], ast.Constant)
    # `model.eval()` is no `eval`.
    return name in ("exec", "eval") and isinstance(node.func, ast.Attribute)


def _absolute(node: ast.Call) -> bool:
    """Return whether a call names a file by an absolute path, or one of the user's home, in plain text."""
    constants = (one for one in ast.walk(node) if isinstance(one, ast.Constant))
    texts = [one.value for one in constants if isinstance(one.value, str)]
    return any(len(text) > 1 and text[0] in "/~" for text in texts)
