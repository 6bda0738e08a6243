"""Keeps plugin code from opening the sealed masks: an audit hook that refuses, and remembers what was tried.

The hook sees every open that goes through Python, in this process, in its forks, and in the pool of `toolbox.parallel`. A
library that opens files in C passes it by, and so does a program that a plugin starts; the conformance kit, which also has
the kernel's help, finds both.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.errors import LeakError

_EVENTS = frozenset(
    {
        "open",
        "os.listdir",
        "os.scandir",
        "os.chdir",
        "os.rename",
        "os.link",
        "os.symlink",
    }
)


@dataclass(frozen=True)
class Seal:
    """What is shut, for whom; can be sent to another process.

    Attributes:
        paths: real paths of files and folders.
        log: what was tried is appended to this file, one name a line, so that an error that is swallowed shows all the same.
        who: how messages begin; "" for none.
    """

    paths: tuple[str, ...]
    log: str
    who: str = ""

    def refuse(self, path: str) -> None:
        """Note the attempt and raise `LeakError` if `path` lies in what is shut."""
        for sealed in self.paths:
            if path == sealed or path.startswith(sealed + os.sep):
                name = os.path.relpath(path, os.path.dirname(sealed))
                handle = os.open(
                    self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644
                )
                os.write(handle, f"{name}\n".encode())
                os.close(handle)
                raise self.error(name)

    def error(self, name: str) -> LeakError:
        """The error for one name in the log."""
        kind = (
            "a sealed annotation"
            if name.endswith((".json", ".xml"))
            else "a sealed mask"
        )
        rule = (
            "A method may look at the images and their labels in `view`, nothing else."
        )
        return LeakError(f"{self.who}{': ' * bool(self.who)}{name} is {kind}. {rule}")


_armed: tuple[Seal, ...] = ()
_installed = False


def armed() -> tuple[Seal, ...]:
    """The seals in force, for a process that is started now and must keep them: pass them to `arm` there."""
    return _armed


def arm(*seals: Seal) -> None:
    """From now on, in this process and its forks, opening or listing what `seals` shut raises `LeakError`."""
    global _armed, _installed
    _armed += seals
    if (
        seals and not _installed
    ):  # an audit hook stays for good, so there is one, which asks what is in force
        sys.addaudithook(_watch)
        _installed = True


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if (
        not _armed
        or event not in _EVENTS
        or not arguments
        or not isinstance(arguments[0], str | bytes | os.PathLike)
    ):
        return
    path = os.path.realpath(os.fsdecode(arguments[0]))
    for seal in _armed:
        seal.refuse(path)


@contextmanager
def shut(paths: Sequence[Path], log: Path, who: str) -> Iterator[None]:
    """Shut `paths` while a plugin's code runs.

    Raises:
        LeakError: naming `who` and the file, where the body (or a process of its pool) tried to open one, whatever it then
            did about the refusal.
    """
    global _armed
    seal = Seal(tuple(os.path.realpath(path) for path in paths), str(log), who)
    log.unlink(missing_ok=True)
    before = _armed
    arm(seal)
    try:
        yield
    except Exception as error:
        _raise_tried(seal, error)
        raise
    finally:
        _armed = before
    _raise_tried(seal, None)


def _raise_tried(seal: Seal, cause: Exception | None) -> None:
    with suppress(FileNotFoundError):
        tried = Path(seal.log).read_text().splitlines()
        if tried and not (
            isinstance(cause, LeakError) and str(cause) == str(seal.error(tried[0]))
        ):
            raise seal.error(tried[0]) from cause
