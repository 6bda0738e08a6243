"""A digest of a method's code: part of every stage key, so that changed code never reuses an old result."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType


def code_digest(module: ModuleType, config: Path | None = None) -> str:
    """Return a hex digest over the ``.py`` files of the module's package (tests left out), or over its one file.

    Args:
        module: the module that holds the plugin.
        config: the file that the method's card names as its defaults. It counts only where code imports it: its values
            are in the keys one by one, and a comment in it, or a value for another profile, must make no result stale.
    """
    file = Path(str(module.__file__))
    folder = file.parent
    # A module without a package lies among files that have nothing to do with it.
    files = sorted(folder.rglob("*.py")) if module.__package__ else [file]
    code = [path for path in files if "tests" not in path.relative_to(folder).parts]
    if config in code:
        others = [path for path in code if path != config]
        if not _is_imported(config.stem, others):
            code = others
    digest = hashlib.sha256()
    for path in code:
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_imported(name: str, files: Iterable[Path]) -> bool:
    """Return whether one of `files` imports a module called `name`, wherever in it."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                places = [alias.name for alias in node.names]
                if isinstance(node, ast.ImportFrom):
                    places.append(node.module or "")
                if any(place.rpartition(".")[2] == name for place in places):
                    return True
    return False
