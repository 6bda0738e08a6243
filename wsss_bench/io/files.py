"""Files that are written whole or not at all, JSON, and digests."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError

TEMPORARY = ".tmp-"
"""What the names of files begin with that are being written; a killed process leaves them behind."""


def write_atomic(
    path: Path, write: Callable[[IO[bytes]], object], *, durable: bool = False
) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it over `path`.

    A reader sees the old file or the new one, never half of one. `durable` also flushes it to the disk first.

    Raises:
        ArtifactError: the folder is read-only or the disk is full; the old file is untouched.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle_id, temporary = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY)
        with os.fdopen(handle_id, "wb") as handle:
            write(handle)
            handle.flush()
            if durable:
                os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ArtifactError(
            f"cannot write {path}: {error.strerror or error}. Free some space or choose another --work-dir."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def drop_leftovers(folder: Path, pattern: str = "**") -> None:
    """Delete what killed writers left half written below `folder`; only for a process that holds the folder alone."""
    for path in folder.glob(f"{pattern}/{TEMPORARY}*"):
        path.unlink(missing_ok=True)


def write_json(path: Path, payload: object) -> None:
    """Write `payload` as sorted, indented JSON, atomically and durably."""
    text = (
        json.dumps(
            payload, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
        )
        + "\n"
    )
    write_atomic(path, lambda handle: handle.write(text.encode()), durable=True)


def read_json(path: Path) -> Any:
    """Read a JSON file; raises `ArtifactError` naming it when it is missing or malformed."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} cannot be read ({error}). Delete its folder and run the command again."
        ) from error


def inside(folder: Path, name: object) -> Path:
    """``folder / name``; raises `ArtifactError` for a name (out of a file) that leads out of the folder, by ``..`` or absolutely."""
    if (
        not isinstance(name, str)
        or not name
        or "\0" in name
        or not _normal(folder / name).is_relative_to(_normal(folder))
    ):
        raise ArtifactError(
            f"{folder} names {name!r}, which lies outside. Delete the folder and run the command again."
        )
    return folder / name


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def save_arrays(handle: IO[bytes], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Like `numpy.savez_compressed`, with fixed time stamps, so the same arrays give the same bytes."""
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(arrays):
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w") as member:
                np.lib.format.write_array(
                    member, np.ascontiguousarray(arrays[name]), allow_pickle=False
                )


def canonical(payload: object) -> str:
    """JSON with sorted keys and no spaces; tuples become lists, paths and other objects are refused with `TypeError`."""
    return json.dumps(
        payload,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content; raises `ArtifactError` when it cannot be read."""
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
