"""Files and folders among parameters: a key and a record hold what is in them, not where they lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError
from wsss_bench.io.hashing import digests, folder_digest

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
        return str(value)
    kind = "folder" if place.is_dir() else "file"
    return {kind: place.name, "sha256": content(place)}


def _place(value: str | Path, name: str) -> Path | None:
    """Return the file or folder that a parameter names, None where it names none that is there."""
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
    """Return the digest of a file, or of all that is in a folder.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        return folder_digest(place) if place.is_dir() else digests([place])[0]
    except OSError as error:
        raise ArtifactError(f"{place} cannot be read ({error.strerror}).") from error


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
