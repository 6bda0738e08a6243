"""Which data files a stage opened for reading: noted by an audit hook, so that a record says what its numbers rest on.

The hook sees every open that goes through Python: in this process, in its forks (data loaders), and in the worker processes of
`toolbox.parallel`. It does not see a library that opens files in C, such as OpenCV's own reader, nor programs that a plugin
starts. Each file is noted once per process, as one short line; the rest is a string comparison per open.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

DATA_FILES = "data_files.txt"
"""The list in a stage's folder: a path below the data root a line, as a JSON text, in the order of first opening."""

_VARIABLE = "WSSS_BENCH_OPENED"
_installed = False


class OpenedFiles:
    """Notes in `log` what is opened for reading below `roots` while the block runs; an interrupted attempt's lines are kept.

    Blocks do not nest: the innermost takes the notes.
    """

    def __init__(self, log: Path, roots: Iterable[Path]) -> None:
        places = {
            os.fspath(place)
            for root in roots
            for place in (root, root.absolute(), root.resolve())
        }
        self.prefixes = tuple(
            sorted(
                (place.rstrip(os.sep) + os.sep for place in places),
                key=len,
                reverse=True,
            )
        )
        self.log, self._seen = log, set[str]()
        self._before: OpenedFiles | None = None
        self._handle = -1

    def __enter__(self) -> OpenedFiles:
        global _current
        _install()
        self._before, _current = _current, self
        os.environ[_VARIABLE] = os.pathsep.join(
            [str(self.log.absolute()), *self.prefixes]
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _current
        _current = self._before
        os.environ.pop(_VARIABLE, None)
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def note(self, path: str) -> None:
        """Write the path down if it lies below a root and is new."""
        prefix = next(
            (prefix for prefix in self.prefixes if path.startswith(prefix)), None
        )
        if prefix is None or path in self._seen:
            return
        self._seen.add(path)
        with suppress(
            OSError
        ):  # a full disk fails the stage itself; a note must not decide where
            if self._handle < 0:
                self._handle = os.open(
                    self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
                )
                # A kill may have cut the last line of an earlier attempt; the next one must not be glued to it.
                os.write(self._handle, b"\n")
            os.write(self._handle, json.dumps(path[len(prefix) :]).encode() + b"\n")

    def summary(self) -> dict[str, Any]:
        """``files`` (how many), ``folders`` (how many in each), ``sha256`` (of the sorted list); what was noted so far."""
        return summary(self.log)


_current: OpenedFiles | None = None


def summary(log: Path) -> dict[str, Any]:
    """The summary of a list that `OpenedFiles` wrote; of an empty one where there is none."""
    try:
        lines = log.read_text().splitlines()
    except FileNotFoundError:
        lines = []
    names = sorted({name for line in lines if (name := _name(line))})
    folders = Counter(name.rpartition("/")[0] or "." for name in names)
    digest = hashlib.sha256(
        "\n".join(names).encode(errors="surrogateescape")
    ).hexdigest()
    return {
        "files": len(names),
        "folders": dict(sorted(folders.items())),
        "sha256": digest,
    }


def _name(line: str) -> str:
    """The name on a line of the list, "" for a blank one or one that was cut."""
    try:
        name = json.loads(line)
    except ValueError:
        return ""
    return name if isinstance(name, str) else ""


def follow() -> None:
    """Take notes in a worker process for the stage of the process that started it; does nothing where none is noted."""
    global _current
    text = os.environ.get(_VARIABLE)
    if not text:
        return
    log, *prefixes = text.split(os.pathsep)
    _current = OpenedFiles(Path(log), [Path(prefix) for prefix in prefixes])
    _install()


def _install() -> None:
    global _installed
    if (
        not _installed
    ):  # an audit hook stays for good, so there is one, which asks who takes the notes
        sys.addaudithook(_watch)
        _installed = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or _current is None or len(arguments) != 3:
        return
    path, _, flags = arguments
    if (
        isinstance(path, str | bytes | os.PathLike)
        and isinstance(flags, int)
        and not flags & (os.O_WRONLY | os.O_RDWR)
    ):
        _current.note(os.fsdecode(path))


def roots(dataset: Any) -> list[Path]:
    """The folders a dataset's files lie in: its root, and the cache of rasterised masks where that is elsewhere."""
    return [
        Path(place)
        for place in (getattr(dataset, "root", None), getattr(dataset, "cache", None))
        if place is not None
    ]


def record(commits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a run record keeps of the stages' commits; stages of an older version have nothing noted."""
    return {
        name: commit["opened"] for name, commit in commits.items() if "opened" in commit
    }
