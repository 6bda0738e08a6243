"""Time variants of one computation side by side, in turn, in one process; print a table."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Variant:
    """One row: `run` is timed; `check` turns its result into a few words of comparison with the first row's result."""

    name: str
    run: Callable[[], object]
    check: Callable[[object, object], str] = lambda reference, result: ""
    once: bool = False
    """Too slow to repeat: timed in the first round only."""


def compare(
    title: str,
    variants: Sequence[Variant],
    rounds: int,
    per: float = 1.0,
) -> None:
    """Print one table; times are divided by `per`, and a ratio > 1 means faster than the first variant."""
    # First calls compile and fill caches.
    results = {v.name: v.run() for v in variants}
    peaks = {v.name: _peak(v.run) for v in variants if not v.once}
    times = _timed(variants, rounds, per)
    first = variants[0].name
    lines = [
        f"\n{title}",
        f"{'variant':44} {'ms':>9} {'(min-max)':>19} "
        f"{'ratio':>8} {'peak MB':>8}  result",
    ]
    for variant in variants:
        words = variant.check(results[first], results[variant.name])
        numbers = _numbers(times[first], times[variant.name])
        peak = peaks.get(variant.name)
        megabytes = "-" if peak is None else f"{peak:.1f}"
        shown = variant.name + (" [once]" if variant.once else "")
        lines.append(f"{shown:44} {numbers} {megabytes:>8}  {words}")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _timed(
    variants: Sequence[Variant], rounds: int, per: float
) -> dict[str, list[float]]:
    """Return the milliseconds of every round by variant."""
    times: dict[str, list[float]] = {v.name: [] for v in variants}
    gc.disable()
    # In turn, round after round: what else the machine does meets all variants alike.
    for turn in range(rounds):
        for variant in variants:
            mine = times[variant.name]
            if variant.once and turn:
                mine.append(mine[0])
                continue
            began = time.perf_counter()
            variant.run()
            took = time.perf_counter() - began
            mine.append(1e3 * took / per)
    gc.enable()
    return times


def _numbers(reference: list[float], mine: list[float]) -> str:
    """Return median, spread and ratio as a row shows them."""
    # The median of ratios within rounds, not the ratio of medians: a slow round slows both.
    ratios = [a / b for a, b in zip(reference, mine, strict=True)]
    spread = f"({min(mine):.4g}-{max(mine):.4g})"
    median = statistics.median(mine)
    return f"{median:9.4g} {spread:>19} {statistics.median(ratios):7.2f}x"


def _peak(run: Callable[[], object]) -> float | None:
    """Return the growth of the resident set at its peak during `run`, in MB; None where the system does not say."""
    try:
        gc.collect()
        # Freed memory that the allocator keeps would hide the growth.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        # 5 sets the peak back to the present size (man proc).
        Path("/proc/self/clear_refs").write_text("5")
        before = _field("VmRSS")
        run()
        return max(_field("VmHWM") - before, 0) / 1024
    except OSError:
        return None


def _field(name: str) -> int:
    """Return a field of this process's status, in kB."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise OSError(f"{_STATUS} has no {name}")
