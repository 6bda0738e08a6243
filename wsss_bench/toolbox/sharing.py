"""Arrays for worker processes through memory that both sides map, instead of through a pipe.

The memory is anonymous: it has no name that a kill could leave behind, and counts towards no limit of a shared folder.
The process that made it holds it open until the job is done; the other side opens it through the descriptor's place in
``/proc``, and sees a private copy that it may change. Where a system offers no such thing, arrays go through the pipe.
"""

from __future__ import annotations

import mmap
import os
import pickle
from dataclasses import dataclass
from typing import Any

WORTH_IT = 64 * 1024
"""Bytes of arrays below which a pipe is as fast."""


@dataclass(frozen=True)
class Packed:
    """A pickled thing whose arrays lie in shared memory; can be sent to another process while `Sent` holds it."""

    content: bytes
    process: int = 0
    descriptor: int = -1
    sizes: tuple[int, ...] = ()

    def load(self) -> Any:
        """Return the thing; its arrays are private copies, made page by page when they are written to."""
        if self.descriptor < 0:
            return pickle.loads(self.content)
        place = f"/proc/{self.process}/fd/{self.descriptor}"
        handle = os.open(place, os.O_RDWR)
        try:
            total = sum(map(_padded, self.sizes))
            memory = mmap.mmap(handle, total, flags=mmap.MAP_PRIVATE)
        finally:
            os.close(handle)
        whole, start = memoryview(memory), 0
        parts = []
        for size in self.sizes:
            parts.append(whole[start : start + size])
            start += _padded(size)
        return pickle.loads(self.content, buffers=parts)


class Sent:
    """Holds the shared memory of one job until `close`.

    Attributes:
        packed: what goes to the other process.
        size: bytes of shared memory.
    """

    def __init__(self, thing: Any) -> None:
        buffers: list[pickle.PickleBuffer] = []
        content = pickle.dumps(thing, 5, buffer_callback=buffers.append)
        raw = [buffer.raw() for buffer in buffers]
        self.size = sum(part.nbytes for part in raw)
        self._handle = _memory(raw) if self.size >= WORTH_IT else -1
        if self._handle < 0:
            self.packed = Packed(pickle.dumps(thing, 5) if raw else content)
            self.size = 0
            return
        sizes = tuple(part.nbytes for part in raw)
        self.packed = Packed(content, os.getpid(), self._handle, sizes)

    def close(self) -> None:
        """Give the memory back."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _padded(size: int) -> int:
    # Arrays begin at whole cache lines, as NumPy lays them out itself.
    return -(-size // 64) * 64


def _memory(parts: list[memoryview]) -> int:
    """Return a descriptor of anonymous memory that holds `parts`, or -1 where there is no such memory."""
    if not hasattr(os, "memfd_create") or not os.path.isdir("/proc/self/fd"):
        return -1
    total = sum(_padded(part.nbytes) for part in parts)
    try:
        handle = os.memfd_create("wsss-bench")
    except OSError:
        return -1
    try:
        # Room first: memory that is not there is an error here, where it can be helped, and no killed process later.
        os.posix_fallocate(handle, 0, total)
        start = 0
        for part in parts:
            _write(handle, part, start)
            start += _padded(part.nbytes)
    except OSError:
        os.close(handle)
        return -1
    return handle


def _write(handle: int, part: memoryview, start: int) -> None:
    done = 0
    while done < part.nbytes:
        done += os.pwrite(handle, part[done:], start + done)
