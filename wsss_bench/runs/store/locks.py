"""Locks of stage folders: held by the process that computes, released by the kernel when it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from wsss_bench.errors import ArtifactError

OnWait = Callable[[], None]
"""Called before waiting for another process; an exception that it raises ends the waiting."""


def held(lock_file: Path) -> bool:
    """Return whether a living process holds the lock; never creates the file."""
    try:
        with lock_file.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def acquire(path: Path, on_wait: OnWait) -> IO[bytes]:
    """Open (and create) a lock file, hold it, and return its handle; closing the handle releases the lock.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    while True:
        handle = _open(path)
        try:
            _lock(handle, on_wait)
        except BaseException:
            handle.close()
            raise
        # Whoever held it may have removed the stage and this file with it; then the lock is on nothing.
        if _same_file(handle, path):
            return handle
        handle.close()


def _open(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as error:
        what = f"cannot write {path}: {error.strerror}."
        raise ArtifactError(f"{what} Choose another --work-dir.") from error


def _lock(handle: IO[bytes], on_wait: OnWait) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(handle, fcntl.LOCK_EX)


def _same_file(handle: IO[bytes], path: Path) -> bool:
    try:
        ours = os.fstat(handle.fileno())
        return os.path.samestat(ours, path.stat())
    except FileNotFoundError:
        return False
