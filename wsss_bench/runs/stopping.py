"""How a run ends when it is told to: politely first, and within seconds in any case, with all that it started.

Everything that a run writes is written whole or not at all, so a process may be ended anywhere: the same command goes
on from there.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 3.0
"""Seconds that a run has to end by itself once it was told to."""


@contextmanager
def interruptible(*, hard: bool = False) -> Iterator[None]:
    """Make SIGTERM raise `KeyboardInterrupt` in the block, as Ctrl-C does.

    Args:
        hard: a process that has not ended `PATIENCE` seconds after SIGTERM or Ctrl-C is ended, with everything that it
            started, and so it is at once by a second signal. For a process that is there for the run alone: a
            notebook would lose what it holds.
    """
    # Only the main thread may set handlers; a server that runs sessions in threads keeps its own.
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    watch = _Watch() if hard else None
    told = False

    def stop(number: int, frame: object) -> None:
        nonlocal told
        if told and hard:
            end_now(number)
        told = True
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if watch is not None:
            watch.close()
        signal.signal(signal.SIGTERM, old)


class _Watch:
    """Ends the process some seconds after a signal, whatever its main thread does then.

    Python runs handlers in the main thread, and only between two of its own instructions: a convolution or a wait in
    compiled code holds them off. What it does at once is to write the signal's number to a descriptor, and another
    thread can read that.
    """

    def __init__(self) -> None:
        self._ear, mouth = os.pipe()
        self._mouth = mouth
        os.set_blocking(mouth, False)
        self._before = signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
        self._told = threading.Event()
        threading.Thread(
            target=self._listen, name="wsss-bench-signals", daemon=True
        ).start()

    def _listen(self) -> None:
        while True:
            numbers = os.read(self._ear, 64)
            for number in numbers:
                if number not in (signal.SIGTERM, signal.SIGINT):
                    continue
                if self._told.is_set():
                    end_now(number)
                self._told.set()
                threading.Thread(target=_end_later, args=(number,), daemon=True).start()
            # The writing end was closed, or the block has ended.
            if not numbers or 0 in numbers:
                os.close(self._ear)
                return

    def close(self) -> None:
        """Listen no more, unless the process was told to end: what is still to do may hang as well."""
        if self._told.is_set():
            return
        signal.set_wakeup_fd(self._before)
        os.write(self._mouth, b"\0")
        os.close(self._mouth)


def _end_later(number: int) -> None:
    time.sleep(PATIENCE)
    end_now(number)


def end_now(number: int) -> None:
    """End this process and everything that it started, with the exit status of that signal."""
    end_descendants()
    os._exit(128 + number)


def end_descendants() -> None:
    """Kill every process that this one started, and theirs; does nothing where the system does not list processes."""
    # Twice: one that was just killed may have started another meanwhile.
    for _ in range(2):
        for pid in descendants(os.getpid()):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` started, those that they started, and so on."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for place in Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is looked at.
        with suppress(OSError, ValueError, IndexError):
            # The name stands in brackets and may hold anything, brackets too.
            after = place.read_text(errors="replace").rpartition(")")[2].split()
            children[int(after[1])].append(int(place.parent.name))
    found: list[int] = []
    rest = [pid]
    while rest:
        started = children[rest.pop()]
        found += started
        rest += started
    return found
