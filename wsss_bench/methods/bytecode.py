"""Compiled modules that Python takes for fresh and that are not.

Python compares a source file's time stamp and size with those it had when it was compiled. An editor or a copy can
restore the one and keep the other (``cp -p``, ``rsync -t``); Python then runs the old code, and a result would bear the
digest of the new.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_HEADER = 16
"""Bytes before the code in a compiled module: magic number, flags, time stamp, size."""


def drop_stale(files: Iterable[Path]) -> None:
    """Delete the compiled form of those source files whose code it no longer is; Python makes it again.

    Raises:
        PermissionError: one cannot be deleted.
    """
    for file in files:
        if is_stale(file):
            compiled = importlib.util.cache_from_source(str(file))
            Path(compiled).unlink(missing_ok=True)


def is_stale(file: Path) -> bool:
    """Return whether Python would run, for a source file, compiled code of another content."""
    compiled = Path(importlib.util.cache_from_source(str(file)))
    try:
        there, source = compiled.stat(), file.stat()
        # Compiled after the last change of any kind: it is of this content.
        if there.st_ctime_ns > source.st_ctime_ns:
            return False
        content = compiled.read_bytes()
    except OSError:
        return False
    if not _is_taken_for_fresh(content, source):
        return False
    # A copied environment looks like this too, and is whole: only the code itself can tell.
    with suppress(ValueError, EOFError, TypeError, SyntaxError, OSError):
        known = marshal.loads(content[_HEADER:])
        now = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
        return bool(known != now)
    return True


def _is_taken_for_fresh(content: bytes, source: os.stat_result) -> bool:
    """Return what Python makes of the header of a compiled module."""
    if content[:4] != importlib.util.MAGIC_NUMBER:
        return False
    flags, modified, size = (
        int.from_bytes(content[start : start + 4], "little") for start in (4, 8, 12)
    )
    # Compiled modules that go by a digest of the source are compared by Python itself, or by nobody.
    if flags:
        return False
    stamp = int(source.st_mtime) & 0xFFFFFFFF
    return modified == stamp and size == source.st_size & 0xFFFFFFFF
