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
    title: str, variants: Sequence[Variant], rounds: int, per: float = 1.0
) -> None:
    """Print one table. The first variant is the reference; times are divided by `per`; ratio > 1 means faster than it."""
    results = {v.name: v.run() for v in variants}  # first calls compile and fill caches
    peaks = {v.name: _peak(v.run) for v in variants if not v.once}
    times: dict[str, list[float]] = {v.name: [] for v in variants}
    gc.disable()
    for turn in range(rounds):
        for variant in variants:
            if variant.once and turn:
                times[variant.name].append(times[variant.name][0])
                continue
            began = time.perf_counter()
            variant.run()
            times[variant.name].append(1e3 * (time.perf_counter() - began) / per)
    gc.enable()
    first = variants[0].name
    lines = [
        f"\n{title}",
        f"{'variant':44} {'ms':>9} {'(min-max)':>19} {'ratio':>8} {'peak MB':>8}  result",
    ]
    for variant in variants:
        mine = times[variant.name]
        ratio = statistics.median(
            a / b for a, b in zip(times[first], mine, strict=True)
        )
        spread = f"({min(mine):.4g}-{max(mine):.4g})"
        peak = (
            f"{peaks[variant.name]:.1f}" if peaks.get(variant.name) is not None else "-"
        )
        words = variant.check(results[first], results[variant.name])
        shown = variant.name + (" [once]" if variant.once else "")
        lines.append(
            f"{shown:44} {statistics.median(mine):9.4g} {spread:>19} {ratio:7.2f}x {peak:>8}  {words}"
        )
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def _peak(run: Callable[[], object]) -> float | None:
    """Growth of the resident set at its peak during `run`, in MB; None where the system does not say."""
    try:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = _field("VmRSS")
        run()
        return max(_field("VmHWM") - before, 0) / 1024
    except OSError:
        return None


def _field(name: str) -> int:
    return next(
        int(line.split()[1])
        for line in _STATUS.read_text().splitlines()
        if line.startswith(name + ":")
    )
