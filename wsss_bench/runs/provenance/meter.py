"""Time and memory of a block."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType


class Meter:
    """Measures wall time and peak memory of a block: ``seconds``, ``peak_mb`` (resident, sampled), ``peak_gpu_mb``.

    Attributes:
        facts: the three, once the block has ended.
        peak_mb: the resident peak seen so far, in MiB; may be read inside the block.
    """

    def __init__(self, device: str = "cpu", interval: float = 0.2) -> None:
        self._device, self._interval = device, interval
        self._stop = threading.Event()
        self.peak_mb = 0.0
        self.facts: dict[str, float] = {}

    def __enter__(self) -> Meter:
        self._start = time.monotonic()
        self._reset_gpu()
        # The system keeps the peak of a process's whole life; of one block, only looking again and again can tell it.
        self._thread = threading.Thread(
            target=self._sample, name="wsss-bench-meter", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, resident_mb())
        self.facts = {
            "seconds": round(time.monotonic() - self._start, 3),
            "peak_mb": round(self.peak_mb, 1),
            **self._gpu(),
        }

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            self.peak_mb = max(self.peak_mb, resident_mb())

    def _on_gpu(self) -> bool:
        # Whoever has not imported torch has used no GPU, and importing it here would take seconds.
        return self._device.startswith("cuda") and "torch" in sys.modules

    def _reset_gpu(self) -> None:
        if self._on_gpu():
            sys.modules["torch"].cuda.reset_peak_memory_stats(self._device)

    def _gpu(self) -> dict[str, float]:
        if not self._on_gpu():
            return {}
        peak = sys.modules["torch"].cuda.max_memory_allocated(self._device)
        return {"peak_gpu_mb": round(peak / 2**20, 1)}


def resident_mb() -> float:
    """Return the memory this process holds now, in MiB (its maximum so far where the system does not say)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    except (OSError, IndexError, ValueError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
