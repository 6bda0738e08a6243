"""Ends reductions that wait for a process which has failed.

gloo notices by itself that a connection was closed. NCCL waits on the GPU, where no error reaches it; a thread aborts
its process group.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist

EVERY = 1.0
"""Seconds between two looks."""

GRACE = 5.0
"""Seconds that the process gets to end by itself."""


@contextmanager
def watching(failed: Callable[[], bool], backend: str) -> Iterator[None]:
    """Abort the process group if `failed` is true, or cannot be asked, and the block goes on all the same."""
    if backend != "nccl":
        yield
        return
    left = threading.Event()
    thread = threading.Thread(
        target=_watch, args=(failed, left), name="wsss-bench-ranks", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def _watch(failed: Callable[[], bool], left: threading.Event) -> None:
    while not left.wait(EVERY):
        if _asked(failed):
            if not left.wait(GRACE):
                abort()
            return


def _asked(failed: Callable[[], bool]) -> bool:
    try:
        return failed()
    except RuntimeError:
        # The store is gone, and the leader with it.
        return True


def abort() -> None:
    """End everything that waits in the process group."""
    with suppress(RuntimeError, ValueError):
        dist.distributed_c10d._abort_process_group()
