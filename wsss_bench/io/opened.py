"""Which data files a stage opened for reading, so that a record says what its numbers rest on.

Every open that goes through Python is seen: in this process, in its forks (data loaders), and in the worker processes
of `toolbox.parallel`. Not seen is a library that opens files in C, such as OpenCV's own reader, nor a program that a
plugin starts. Each file is noted once per process, as one short line; the rest is a string comparison per open.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from wsss_bench.io.audit import Access, subscribe, unsubscribe

DATA_FILES = "data_files.txt"
"""The list in a stage's folder: a path below the data root a line, as a JSON text, in the order of first opening."""

_VARIABLE = "WSSS_BENCH_OPENED"


class OpenedFiles:
    """Notes in `log` what is opened for reading below `roots` while the block runs.

    Lines of an interrupted attempt are kept. Where blocks lie in one another, the innermost alone takes the notes.
    """

    def __init__(self, log: Path, roots: Iterable[Path]) -> None:
        self.prefixes = _prefixes(roots)
        self.log = log
        self._seen: set[str] = set()
        self._before: OpenedFiles | None = None
        self._handle = -1

    def __enter__(self) -> OpenedFiles:
        self._before = _current
        _let_note(self)
        # Forks inherit it, and `notes` reads it for worker processes.
        words = [str(self.log.absolute()), *self.prefixes]
        os.environ[_VARIABLE] = os.pathsep.join(words)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _let_note(self._before)
        os.environ.pop(_VARIABLE, None)
        self.close()

    def close(self) -> None:
        """Close the list; what is noted afterwards opens it again."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def note(self, path: str) -> None:
        """Write the path down if it lies below a root and is new."""
        # Links are not followed: a list of names below the root must not depend on where a machine keeps its
        # photographs.
        prefix = next(filter(path.startswith, self.prefixes), None)
        if prefix is None or path in self._seen:
            return
        self._seen.add(path)
        line = json.dumps(path.removeprefix(prefix))
        # A full disk fails the stage itself; a note must not decide where.
        with suppress(OSError):
            self._write(line)

    def _write(self, line: str) -> None:
        if self._handle < 0:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._handle = os.open(self.log, flags, 0o644)
            # A kill may have cut the last line of an earlier attempt; the next one must not be glued to it.
            os.write(self._handle, b"\n")
        os.write(self._handle, line.encode() + b"\n")

    def summary(self) -> dict[str, Any]:
        """Return what was noted so far.

        ``files`` says how many files there are, ``folders`` how many in each folder, ``sha256`` is of the sorted list.
        """
        return summary(self.log)


_current: OpenedFiles | None = None


def _prefixes(roots: Iterable[Path]) -> tuple[str, ...]:
    """Return the ways to write `roots`, each with a separator at its end, the longest first."""
    places: set[str] = set()
    for root in roots:
        places.update(map(os.fspath, (root, root.absolute(), root.resolve())))
    # The longest first: of two roots that lie in one another, the inner one names the file.
    prefixes = (place.rstrip(os.sep) + os.sep for place in places)
    return tuple(sorted(prefixes, key=len, reverse=True))


def summary(log: Path) -> dict[str, Any]:
    """Return the summary of a list that `OpenedFiles` wrote; of an empty one where there is none."""
    try:
        lines = log.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    # Each process writes a list of its own into the file, so a name may stand there several times.
    names = sorted({name for line in lines if (name := _name(line))})
    folders = Counter(name.rpartition("/")[0] or "." for name in names)
    listed = "\n".join(names).encode(errors="surrogateescape")
    return {
        "files": len(names),
        "folders": dict(sorted(folders.items())),
        "sha256": hashlib.sha256(listed).hexdigest(),
    }


def _name(line: str) -> str:
    """Return the name on a line of the list, "" for a blank one or one that was cut."""
    try:
        name = json.loads(line)
    except ValueError:
        return ""
    return name if isinstance(name, str) else ""


_follows = ""


def follow(words: str) -> None:
    """Take notes in a worker process for the stage whose `notes` gave `words`, and for no other from now on."""
    global _follows
    if words == _follows:
        return
    if _current is not None:
        _current.close()
    _follows = words
    if not words:
        _let_note(None)
        return
    log, *prefixes = words.split(os.pathsep)
    _let_note(OpenedFiles(Path(log), map(Path, prefixes)))


def notes() -> str:
    """Return where this process takes notes, for `noting` in another one; "" where it takes none."""
    return os.environ.get(_VARIABLE, "")


@contextmanager
def noting(where: str) -> Iterator[None]:
    """Take notes in the block for the stage of another process, which `notes` there tells of."""
    if not where:
        yield
        return
    log, *prefixes = where.split(os.pathsep)
    with OpenedFiles(Path(log), map(Path, prefixes)):
        yield


def _let_note(notes: OpenedFiles | None) -> None:
    """Let `notes` take the notes from now on; None ends it."""
    global _current
    _current = notes
    if notes is None:
        unsubscribe(_listen)
    else:
        subscribe(_listen)


def _listen(access: Access) -> None:
    if _current is not None and access.reads:
        _current.note(access.path)


def roots(dataset: Any) -> list[Path]:
    """Return the folders of a dataset's files: its root, and the cache of rasterised masks where that is elsewhere."""
    places = (getattr(dataset, "root", None), getattr(dataset, "cache", None))
    return [Path(place) for place in places if place is not None]


def record(commits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a run record keeps of the stages' commits; stages of an older version have nothing noted."""
    return {
        name: commit["opened"] for name, commit in commits.items() if "opened" in commit
    }
