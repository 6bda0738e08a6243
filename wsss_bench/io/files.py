"""Files that are written whole or not at all, JSON, and digests."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wsss_bench.errors import ArtifactError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The earliest date that a zip archive can hold.
EPOCH = (1980, 1, 1, 0, 0, 0)

TEMPORARY = ".tmp-"
"""How the names of files begin while they are being written; a killed process leaves such files behind."""


def write_atomic(
    path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = False
) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    A reader sees the old file or the new one, never half of one. `durable` also flushes it to the disk first.

    Raises:
        ArtifactError: the folder is read-only or the disk is full; the old file is untouched.
    """
    # Beside `path`, for a rename is atomic within one file system only.
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle_id, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        with os.fdopen(handle_id, "wb") as handle:
            write(handle)
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        # `mkstemp` lets nobody else read the file; stores are shared between users.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        what = f"cannot write {path}: {error.strerror or error}."
        fix = "Free some space or choose another --work-dir."
        raise ArtifactError(f"{what} {fix}") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def drop_leftovers(folder: Path, pattern: str = "**") -> None:
    """Delete what killed writers left half written below `folder`.

    Only for a process that holds the folder alone: what another one is writing looks the same.
    """
    for path in folder.glob(f"{pattern}/{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def write_json(path: Path, payload: object) -> None:
    """Write `payload` as sorted, indented JSON, atomically and durably."""
    # NaN is no JSON: other programs could not read the file.
    text = json.dumps(
        payload, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    content = f"{text}\n".encode()
    write_atomic(path, lambda handle: handle.write(content), durable=True)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; raises `ArtifactError` naming it when it is missing or malformed."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        fix = "Delete its folder and run the command again."
        raise ArtifactError(f"{path} cannot be read ({error}). {fix}") from error


def inside(folder: Path, name: object) -> Path:
    """Return ``folder / name`` for a name that was read from a file.

    Raises:
        ArtifactError: the name leads out of the folder, by ``..`` or absolutely, or is no name at all.
    """
    named = isinstance(name, str) and name != "" and "\0" not in name
    # Compared as text and not as real paths: the folder, or a file in it, may well be a link to another place.
    if named and _normal(folder / str(name)).is_relative_to(_normal(folder)):
        return folder / str(name)
    fix = "Delete the folder and run the command again."
    raise ArtifactError(f"{folder} names {name!r}, which lies outside. {fix}")


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def save_arrays(handle: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an ``.npz`` that `numpy.load` reads; the same arrays give the same bytes.

    `numpy.savez_compressed` would store the time of writing with each array.
    """
    import numpy as np

    # A fast level: most arrays here are nearly all zeros, which every level squeezes.
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            array = np.ascontiguousarray(arrays[name])
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def canonical(payload: object) -> str:
    """Return `payload` as JSON with sorted keys and no spaces: one text for equal values.

    Tuples become lists; raises `TypeError` for a path or any other object.
    """
    return json.dumps(
        payload,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content in hex; raises `ArtifactError` when it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}).") from error


def _flush(path: Path) -> None:
    """Put a file's content on the disk, so that a commit never outlives what it commits, even in a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
