"""One writer at a time in a folder that many processes share."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsss_bench.errors import ArtifactError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` (made if missing) against other processes, waiting until they have let it go.

    The lock is on the folder itself and leaves no file.

    Raises:
        ArtifactError: the folder cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        message = f"cannot open folder {folder}: {error.strerror}. Choose another one."
        raise ArtifactError(message) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        # Closing lets the lock go; so does the kernel when the process is killed, and nothing stale is left behind.
        os.close(handle)
