"""Keeps plugin code from opening the sealed masks: accesses are refused, and what was tried is remembered.

Every open that goes through Python is seen, in this process, in its forks, and in the pool of `toolbox.parallel`. A
library that opens files in C passes unseen, and so does a program that a plugin starts; the conformance kit, which
also has the kernel's help (`io.landlock`), finds both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.errors import LeakError
from wsss_bench.io.audit import Access, subscribe, unsubscribe

_RULE = "A method may look at the images and their labels in `view`, nothing else."


@dataclass(frozen=True)
class Seal:
    """What is shut, for whom; can be sent to another process.

    Attributes:
        paths: real paths of files and folders.
        log: what was tried is appended to this file, one name a line, so that an error that is swallowed shows all
            the same.
        who: how messages begin; "" for none.
    """

    paths: tuple[str, ...]
    log: str
    who: str = ""

    def refuse(self, path: str) -> None:
        """Note the attempt and raise `LeakError` if the real path `path` lies in what is shut."""
        for sealed in self.paths:
            if path == sealed or path.startswith(sealed + os.sep):
                name = os.path.relpath(path, os.path.dirname(sealed))
                self._note(name)
                raise self.error(name)

    def _note(self, name: str) -> None:
        # Processes of a pool share the log: one write to a file opened for appending is not torn by another's.
        handle = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(handle, f"{name}\n".encode())
        os.close(handle)

    def error(self, name: str) -> LeakError:
        """Return the error for one name in the log."""
        annotation = name.endswith((".json", ".xml"))
        kind = "a sealed annotation" if annotation else "a sealed mask"
        prefix = f"{self.who}: " if self.who else ""
        return LeakError(f"{prefix}{name} is {kind}. {_RULE}")


_armed: tuple[Seal, ...] = ()


def armed() -> tuple[Seal, ...]:
    """Return the seals in force, for a process that is started now and must keep them: pass them to `arm` there."""
    return _armed


def arm(*seals: Seal) -> None:
    """From now on, in this process and its forks, opening or listing what `seals` shut raises `LeakError`."""
    _put_in_force((*_armed, *seals))


def rearm(seals: Sequence[Seal]) -> None:
    """Keep `seals` from now on, and none of those before: a worker process works for one stage after another."""
    if tuple(seals) != _armed:
        _put_in_force(tuple(seals))


@contextmanager
def keeping(seals: Sequence[Seal]) -> Iterator[None]:
    """Keep the seals of another process while the block works for it, besides those in force here."""
    before = armed()
    arm(*seals)
    try:
        yield
    finally:
        _put_in_force(before)


def refuse_reading(folder: Path, log: Path) -> None:
    """From now on, in this process and its forks, opening or listing anything in `folder` raises `LeakError`.

    What was tried is appended to `log`, so that a plugin that swallows the error is found all the same. Cannot be
    undone.
    """
    arm(Seal((os.path.realpath(folder),), str(log)))


def _put_in_force(seals: tuple[Seal, ...]) -> None:
    global _armed
    _armed = seals
    # Whoever listens pays for every open of the process: listen only while something is shut.
    if seals:
        subscribe(_refuse)
    else:
        unsubscribe(_refuse)


def _refuse(access: Access) -> None:
    for seal in _armed:
        seal.refuse(access.real_path)


@contextmanager
def shut(paths: Sequence[Path], log: Path, who: str) -> Iterator[None]:
    """Shut `paths` while a plugin's code runs.

    Raises:
        LeakError: naming `who` and the file, where the body (or a process of its pool) tried to open one, whatever it
            then did about the refusal.
    """
    seal = Seal(tuple(os.path.realpath(path) for path in paths), str(log), who)
    log.unlink(missing_ok=True)
    before = armed()
    arm(seal)
    try:
        yield
    except Exception as error:
        _raise_tried(seal, error)
        raise
    finally:
        _put_in_force(before)
    _raise_tried(seal, None)


def _raise_tried(seal: Seal, cause: Exception | None) -> None:
    """Raise the error for the first attempt in the log, unless `cause` is that very error."""
    with suppress(FileNotFoundError):
        tried = Path(seal.log).read_text().splitlines()
        if not tried:
            return
        error = seal.error(tried[0])
        # The refusal itself may have come through all of the plugin's code: it is raised on, and not once more about
        # itself.
        if isinstance(cause, LeakError) and str(cause) == str(error):
            return
        raise error from cause
