"""The one audit hook of a process, and who listens to it.

Python announces every file it is about to open or list. `subscribe` lets a function hear of it: `io.sealing` refuses
some of these accesses, `io.opened` notes others. Not announced are libraries that open files in C, such as OpenCV's
own reader, and programs that a plugin starts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

# Events of Python's audit table whose first argument is a path that is opened, listed, entered, moved or linked to.
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
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class Access:
    """One access to the file system that is about to happen.

    Attributes:
        event: its name in Python's audit table: ``open``, ``os.listdir``, ….
        path: the path as it was passed, perhaps relative.
        flags: what `os.open` is called with; None for other events, and where Python does not say.
    """

    event: str
    path: str
    flags: int | None

    @property
    def reads(self) -> bool:
        """Return whether a file is opened for reading alone."""
        if self.event != "open" or self.flags is None:
            return False
        return not self.flags & _WRITING

    @cached_property
    def real_path(self) -> str:
        """Return the absolute path with all links followed."""
        # Resolving asks the kernel about every folder on the way, so it is done when the first listener wants it, and
        # once.
        return os.path.realpath(self.path)


Listener = Callable[[Access], None]

_listeners: tuple[Listener, ...] = ()
_installed = False


def subscribe(listener: Listener) -> None:
    """Call `listener` before every access from now on, in this process and its forks, after those subscribed earlier.

    What a listener raises reaches the code that wanted the access, which then does not happen; later listeners do not
    hear of it. Subscribing twice is subscribing once.
    """
    global _installed, _listeners
    if listener not in _listeners:
        _listeners += (listener,)
    # Python cannot take an audit hook out again, so there is one, which asks each time who listens.
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def unsubscribe(listener: Listener) -> None:
    """Call `listener` no more; does nothing if it was not subscribed."""
    global _listeners
    _listeners = tuple(other for other in _listeners if other != listener)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Python calls this for every import, compile and attribute event too: the cheapest questions come first.
    if not _listeners or event not in _EVENTS or not arguments:
        return
    place = arguments[0]
    # A file may also be opened by its descriptor, whose path was announced when the descriptor was made.
    if not isinstance(place, str | bytes | os.PathLike):
        return
    access = Access(event, os.fsdecode(place), _flags(arguments))
    for listener in _listeners:
        listener(access)


def _flags(arguments: tuple[Any, ...]) -> int | None:
    if len(arguments) != 3 or not isinstance(arguments[2], int):
        return None
    flags: int = arguments[2]
    return flags
