"""Files and folders among parameters: a key and a record hold what is in them, not where they lie."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.configs import bases
from wsss_bench.io.hashing import digests, folder_digest
from wsss_bench.io.installed import installed_file, is_package
from wsss_bench.io.paths import configs_dir
from wsss_bench.methods.modules import Walk
from wsss_bench.methods.sources import file_syntax

_NAMES = ("dir", "folder", "path", "file", "root")
"""How the names of parameters end that hold a place, whatever it looks like."""


def key_params(value: Any, name: str = "") -> Any:
    """Return parameters as they enter a key: an existing file or folder counts by content and name.

    Args:
        value: a mapping of parameters, or one of them.
        name: what a single parameter is called.

    Raises:
        ArtifactError: a file that is named cannot be read.
    """
    if isinstance(value, Mapping):
        return {str(key): key_params(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [key_params(item, name) for item in value]
    if isinstance(value, str | Path):
        return _keyed(value, name)
    return value


def _keyed(value: str | Path, name: str) -> Any:
    place = _place(value, name)
    if place is None:
        return _named_config(str(value), name)
    kind = "folder" if place.is_dir() else "file"
    return {kind: place.name, "sha256": content(place)}


def _named_config(value: str, name: str) -> Any:
    """Return a text, or, where it names one of the harness's networks, the content of its config."""
    if name != "network" or not value.isidentifier():
        return value
    config = configs_dir() / "models" / f"{value}.py"
    return {"config": value, "sha256": content(config)} if config.is_file() else value


def _place(value: str | Path, name: str) -> Path | None:
    """Return the file or folder that a parameter names, None where it names none that is there."""
    if is_package(value):
        return installed_file(str(value))
    if isinstance(value, str):
        named = name.rpartition("_")[2] in _NAMES
        # A text that can be no path of ours is not looked up on the disk.
        if not value or not (named or "/" in value or "." in value):
            return None
    place = Path(value).expanduser()
    try:
        found = place.is_file() or place.is_dir()
    # A text that is too long for a path, or holds what no path may.
    except (OSError, ValueError):
        return None
    # "." and ".." are whole working directories, and somebody's way to say "here".
    return place if found and place.name not in ("", "..") else None


def content(place: Path) -> str:
    """Return the digest of a file, or of all that is in a folder; of a config, with what it is based on and imports.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        if place.is_dir():
            return folder_digest(place)
        return _config(place) if place.suffix == ".py" else digests([place])[0]
    except OSError as error:
        raise ArtifactError(f"{place} cannot be read ({error.strerror}).") from error


def _config(place: Path) -> str:
    """Return one digest over a config, the configs it is laid over, and the modules that it has imported."""
    own = file_syntax(place)
    found = [_config(base) for base in bases(place) if base.is_file()]
    walk = Walk(home=place.resolve().parent)
    roots = filter(None, map(walk.find, _custom_imports(place)))
    found += walk.closure(tuple(roots)).own.values()
    if not found:
        return own
    text = "\n".join([own, *found])
    return hashlib.sha256(text.encode()).hexdigest()


def _custom_imports(place: Path) -> Iterator[str]:
    """Yield the names in a config's ``custom_imports``, in either of mmengine's forms."""
    try:
        tree = ast.parse(place.read_bytes())
    # A file that is no Python is told of by whoever loads it.
    except (SyntaxError, ValueError):
        return
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [getattr(target, "id", "") for target in node.targets]
            if "custom_imports" in names:
                yield from _texts(node.value)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def contents(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the digest of every file and folder among a stage's parameters, by parameter."""
    return dict(sorted(_contents(params, "")))


def _contents(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _contents(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _contents(item, f"{name}.{number}")
    elif isinstance(value, str | Path):
        place = _place(value, name.rpartition(".")[2])
        if place is not None:
            yield name, content(place)
