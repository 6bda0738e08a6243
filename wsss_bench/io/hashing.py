"""Digests of files by content, remembered for as long as nothing can have changed the file.

A digest is kept with the file's size, its two time stamps and its inode. Time stamps of content can be restored
(``cp -p``, ``rsync -t``); that of the inode (``ctime``) cannot, so a file that was replaced in any way is read again. A
file that changed less than `RACY` before it was read is read again next time: its stamps may be too coarse to show a
change that came after.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import file_digest, write_atomic
from wsss_bench.io.paths import user_cache

RACY = 2 * 10**9
"""Nanoseconds for which a file that was just changed is not trusted to show a further change in its time stamps."""

FOLDER = "hashes"
"""The folder in the user's cache where digests are kept, one file for each folder of hashed files."""

Progress = Callable[[str, int, int], None]
"""Called as ``progress(what, done, total)``."""

_Entry = tuple[int, int, int, int, str]
"""Size, modification time, change time, inode and digest of a file."""

_THREADS = 8


@dataclass
class _Folder:
    """What is remembered of the files in one folder."""

    store: Path
    files: dict[str, _Entry] = field(default_factory=dict)
    changed: bool = False


@dataclass
class Memory:
    """Digests of files, in memory and in the user's cache.

    Attributes:
        keep: write what was read into the cache, for other processes.
        trust: believe what other processes have kept there.
    """

    keep: bool = True
    trust: bool = True
    _folders: dict[str, _Folder] = field(default_factory=dict)

    def digests(
        self, paths: Sequence[Path], progress: Progress | None = None
    ) -> list[str]:
        """Return the SHA-256 of each file's content in hex, in order; links are followed.

        Args:
            paths: the files; any number of folders, any number of times the same file.
            progress: told how many of the files that had to be read are done.

        Raises:
            FileNotFoundError: a file is not there.
            ArtifactError: a file is there and cannot be read.
        """
        found: dict[Path, str] = {}
        due: dict[Path, os.stat_result] = {}
        now = time.time_ns()
        for path in dict.fromkeys(paths):
            stat = path.stat()
            known = self._folder(path).files.get(path.name)
            if known is not None and known[:4] == _signature(stat):
                found[path] = known[4]
            else:
                due[path] = stat
        if due:
            found |= self._read(due, now, progress)
            self._save()
        return [found[path] for path in paths]

    def _folder(self, path: Path) -> _Folder:
        name = os.fspath(path.parent)
        if name not in self._folders:
            real = os.path.realpath(name)
            short = hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
            store = user_cache() / FOLDER / f"{short}.json"
            files = _load(store) if self.trust else {}
            self._folders[name] = _Folder(store, files)
        return self._folders[name]

    def _read(
        self,
        due: dict[Path, os.stat_result],
        now: int,
        progress: Progress | None,
    ) -> dict[Path, str]:
        """Hash what is due; `now` is when its stamps were looked at."""
        found = {}
        for done, (path, digest) in enumerate(_hash_all(list(due)), 1):
            found[path] = digest
            stat = due[path]
            # It may have been written while it was read; then it is not to be remembered.
            settled = _signature(path.stat()) == _signature(stat)
            if settled and now - _last_change(stat) > RACY:
                folder = self._folder(path)
                folder.files[path.name] = (*_signature(stat), digest)
                folder.changed = True
            if progress is not None:
                progress("reading files for their digests", done, len(due))
        return found

    def _save(self) -> None:
        for folder in self._folders.values():
            if not (folder.changed and self.keep):
                continue
            folder.changed = False
            # Another process may have added its own; what both have is the same, or is found out to be old.
            files = {**_load(folder.store), **folder.files}
            # A cache that cannot be written costs time and nothing else.
            with suppress(ArtifactError):
                write_atomic(folder.store, partial(_write, files))


def _write(files: dict[str, _Entry], handle: IO[bytes]) -> None:
    handle.write(json.dumps(files).encode())


def _signature(stat: os.stat_result) -> tuple[int, int, int, int]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _last_change(stat: os.stat_result) -> int:
    return max(stat.st_mtime_ns, stat.st_ctime_ns)


def _load(store: Path) -> dict[str, _Entry]:
    """Return what was kept for a folder; nothing where it cannot be understood."""
    try:
        entries = json.loads(store.read_bytes())
        found = {}
        for name, entry in entries.items():
            size, modified, changed, inode, digest = entry
            found[str(name)] = (size, modified, changed, inode, digest)
        return found
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _hash_all(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Yield every file with its digest; many at once, since the interpreter's lock is free meanwhile."""
    if len(paths) < 2 * _THREADS:
        for path in paths:
            yield path, file_digest(path)
        return
    threads = min(_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        yield from zip(paths, pool.map(file_digest, paths), strict=True)


_MEMORY: ContextVar[Memory | None] = ContextVar("wsss_bench_hashes", default=None)
_shared = Memory()


def digests(paths: Sequence[Path], progress: Progress | None = None) -> list[str]:
    """Return the SHA-256 of each file's content, as `Memory.digests` of the memory in force; see `remembering`."""
    memory = _MEMORY.get() or _shared
    return memory.digests(paths, progress)


@contextmanager
def remembering(*, keep: bool = True, rehash: bool = False) -> Iterator[Memory]:
    """Say for the block what digests rest on.

    Args:
        keep: whether what is read is kept in the user's cache; False for what must leave no trace.
        rehash: whether every file is read again, whatever was kept.
    """
    global _shared
    memory = Memory(keep, trust=not rehash)
    # What was read again is the truth from now on, in this process too.
    if rehash:
        _shared = memory
    token = _MEMORY.set(memory)
    try:
        yield memory
    finally:
        _MEMORY.reset(token)


def folder_digest(folder: Path) -> str:
    """Return one digest over the names and contents of all files below `folder`; hidden files and folders left out.

    Raises:
        ArtifactError: a file cannot be read.
    """
    paths = _files_below(folder)
    digest = hashlib.sha256()
    for path, content in zip(paths, digests(paths), strict=True):
        name = path.relative_to(folder).as_posix()
        digest.update(f"{name}\0{content}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files_below(folder: Path) -> list[Path]:
    found: list[Path] = []
    seen = set()
    # Links to folders are followed: a folder of links to other places is a usual way to save space.
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        # A link may lead back to where it lies.
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = _shown(folders)
        found += [Path(place, name) for name in _shown(names)]
    return [path for path in found if path.is_file()]


def _shown(names: Iterable[str]) -> list[str]:
    """Return the names of what is not hidden, sorted."""
    return sorted(name for name in names if not name.startswith("."))
