"""mmengine's Python configs as plain dicts, and what they inherit from configs that come with the harness."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wsss_bench.errors import RecipeError, did_you_mean
from wsss_bench.io.paths import configs_dir

Params = dict[str, Any]

BUNDLED = "wsss_bench::"
"""How ``_base_`` of a config anywhere names one of the harness's: ``"wsss_bench::methods/_classifier.py"``."""

BASE = "_base_"
"""The variable in which a config names what it is laid over."""


def read_config(path: Path) -> Params:
    """Return the variables of an mmengine config that are dicts, inheritance resolved; this runs the file's code.

    ``_base_`` names files beside the config, as everywhere in mmengine, or configs of the harness (see `BUNDLED`), which
    lie elsewhere in a checkout than in an installed wheel. Dicts merge; ``_delete_=True`` in one replaces instead.

    Raises:
        RecipeError: the file, or one that it inherits from, is missing or cannot be read.
    """
    content = {}
    for key, value in _load(path).items():
        if isinstance(value, Mapping):
            content[key] = _plain(value)
    return content


def bases(path: Path) -> list[Path]:
    """Return the files that ``_base_`` of a config names, in that order; those of other packages are left out.

    Raises:
        RecipeError: there is no bundled config of such a name.
    """
    found = []
    for name in _names(_statement(_source(path))):
        if name.startswith(BUNDLED):
            found.append(_bundled(name.removeprefix(BUNDLED), path))
        elif "::" not in name:
            found.append(path.parent / name)
    return found


def _load(path: Path) -> Mapping[str, Any]:
    from mmengine.config import Config

    if not _reaches_bundled(path):
        return _from_file(path, path)
    # mmengine finds a name with "::" only in packages that carry a list of their configs, so what such a config
    # inherits is merged here.
    merged = Config({})
    for base in bases(path):
        merged.merge_from_dict(dict(_load(base)))
    with TemporaryDirectory(prefix="wsss-bench-config-") as folder:
        alone = Path(folder) / path.name
        alone.write_text(_without_base(_source(path)), encoding="utf-8")
        merged.merge_from_dict(dict(_from_file(alone, path)))
    return merged


def _from_file(path: Path, who: Path) -> Mapping[str, Any]:
    from mmengine.config import Config

    try:
        return Config.fromfile(path)
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise RecipeError(f"config {who} cannot be read ({what}).") from error


def _reaches_bundled(path: Path) -> bool:
    """Return whether a config, or one that it inherits from, names a bundled one."""
    if any(name.startswith(BUNDLED) for name in _names(_statement(_source(path)))):
        return True
    return any(_reaches_bundled(base) for base in bases(path))


def _source(path: Path) -> str:
    # mmengine reports what is missing, and other formats know no bundled configs.
    if path.suffix != ".py" or not path.is_file():
        return ""
    return path.read_text(encoding="utf-8")


def _statement(source: str) -> ast.Assign | None:
    """Return the statement that sets ``_base_``."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # mmengine says where
        return None
    for statement in statements:
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id == BASE:
                return statement
    return None


def _names(statement: ast.Assign | None) -> list[str]:
    if statement is None:
        return []
    try:
        value = ast.literal_eval(statement.value)
    except ValueError:  # computed names are left to mmengine
        return []
    return [value] if isinstance(value, str) else list(value)


def _without_base(source: str) -> str:
    statement = _statement(source)
    lines = source.splitlines()
    if statement is not None:
        end = statement.end_lineno or statement.lineno
        # Blank, not gone: the numbers of lines in messages stay right.
        for number in range(statement.lineno, end + 1):
            lines[number - 1] = ""
    return "\n".join(lines) + "\n"


def _bundled(name: str, path: Path) -> Path:
    folder = configs_dir()
    found = folder / name
    if not found.is_file():
        known = [file.relative_to(folder).as_posix() for file in folder.rglob("*.py")]
        hint = did_you_mean(name, known)
        raise RecipeError(f"config {path}: there is no bundled config {name!r}.{hint}")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
