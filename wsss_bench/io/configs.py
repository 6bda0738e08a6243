"""mmengine's Python configs as plain dicts, and what they inherit from configs that come with the harness."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.paths import configs_dir

Params = dict[str, Any]

INHERIT = "inherit"
"""A config's list of what it is laid over: paths below the bundled configs, such as ``methods/classifier.py``."""


def read_config(path: Path) -> Params:
    """Return the variables of an mmengine Python config that are dicts, inheritance resolved; it runs the file's code.

    ``_base_`` names files beside it, as everywhere in mmengine. ``inherit`` names configs of the harness, which lie
    elsewhere in a checkout than in an installed wheel.

    Raises:
        RecipeError: the file, or one that it inherits from, is missing or cannot be read.
    """
    content = {}
    for key, value in _load(path).items():
        if isinstance(value, Mapping) or key == INHERIT:
            content[key] = _plain(value)
    return inherited(content, f"config {path}")


def stated(path: Path) -> Params:
    """Return the variables that are dicts of a config, without those of the bundled configs that it inherits.

    A bundled config itself states nothing: its values are the harness's.

    Raises:
        RecipeError: the file cannot be read.
    """
    if path.resolve().is_relative_to(configs_dir().resolve()):
        return {}
    return {
        key: _plain(value)
        for key, value in _load(path).items()
        if isinstance(value, Mapping)
    }


def inherited(content: Mapping[str, Any], who: str) -> Params:
    """Return `content` laid over what its ``inherit`` names; dicts merge, and ``_delete_=True`` replaces instead.

    Raises:
        RecipeError: there is no such config; the message begins with `who`.
    """
    own = {key: value for key, value in content.items() if key != INHERIT}
    names = content.get(INHERIT, ())
    if not names:
        return own
    from mmengine.config import Config

    merged = Config({})
    for name in [names] if isinstance(names, str) else names:
        merged.merge_from_dict(read_config(_bundled(name, who)))
    merged.merge_from_dict(own)
    return {key: _plain(value) for key, value in merged.items()}


def bases(path: Path) -> list[Path]:
    """Return the files that a config names in ``inherit`` and ``_base_``; computed names are left out.

    Raises:
        RecipeError: there is no bundled config of a name in ``inherit``.
    """
    if path.suffix != ".py" or not path.is_file():
        return []
    found = []
    # mmengine merges the files but does not say which they were.
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign):
            target = ast.unparse(statement.targets[0])
            if target == INHERIT:
                names = _names(statement.value)
                found += [_bundled(name, f"config {path}") for name in names]
            elif target == "_base_":
                found += [path.parent / name for name in _names(statement.value)]
    return found


def _names(value: ast.expr) -> list[str]:
    try:
        found = ast.literal_eval(value)
    except ValueError:
        return []
    return [found] if isinstance(found, str) else list(found)


def _bundled(name: str, who: str) -> Path:
    folder = configs_dir()
    path = folder / name
    if not path.is_file():
        known = [file.relative_to(folder).as_posix() for file in folder.rglob("*.py")]
        hint = did_you_mean(name, known)
        raise RecipeError(f"{who}: there is no bundled config {name!r}.{hint}")
    return path


def _load(path: Path) -> Any:
    from mmengine.config import Config

    try:
        return Config.fromfile(path)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise RecipeError(f"config {path} cannot be read ({what}).") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
