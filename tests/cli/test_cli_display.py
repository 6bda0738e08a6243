from __future__ import annotations

import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from wsss_bench.cli._display import LiveDisplay
from wsss_bench.runs import progress as _display
from wsss_bench.runs.progress import Clock, Observer, PlainDisplay, duration
from wsss_bench.runs.provenance.facts import command, portable, versions
from wsss_bench.runs.provenance.meter import Meter


def cells() -> list[Any]:
    steps = tuple(
        SimpleNamespace(name=name, method=None) for name in ("localize", "refine")
    )
    return [
        SimpleNamespace(
            id=f"c{n}", label=f"alpha seed {n}", dataset="tiny", steps=steps
        )
        for n in range(2)
    ]


def play(display: Observer) -> None:
    one, two = cells()
    localize, refine = one.steps
    display.cell_started(one)
    display.step_started(one, localize)
    display.step_progress(one, localize, "images", 1, 4)
    display.step_progress(one, localize, "images", 3, 4)
    display.step_done(one, localize, 75.0, False)
    display.step_waiting(one, refine)
    display.cell_failed(one, refine, ValueError("no [bold]luck[/bold]"))
    display.step_done(two, localize, 75.0, True)
    display.note("one more thing")
    display.close()


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_display, "_QUIET_SECONDS", 0.0)
    stream = io.StringIO()
    play(PlainDisplay(stream))
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[alpha seed 0] localize: started"
    assert lines[1] == "[alpha seed 0] localize: images 1/4"
    assert lines[2].startswith("[alpha seed 0] localize: images 3/4, 0 s left")
    assert lines[3:] == [
        "[alpha seed 0] localize: done in 1 min 15 s",
        "[alpha seed 0] refine: another process computes it, waiting",
        "[alpha seed 0] refine: FAILED: no [bold]luck[/bold]",
        "[alpha seed 1] localize: cached",
        "one more thing",
    ]


def test_plain_lines_are_rare_while_a_step_goes_on() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    one, _ = cells()
    display.step_started(one, one.steps[0])
    for number in range(1000):
        display.step_progress(one, one.steps[0], "images", number, 1000)
    assert len(stream.getvalue().splitlines()) == 1


def test_live_table_shows_every_cell_and_step() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system=None)
    play(LiveDisplay(cells(), console))
    out = stream.getvalue()
    assert "alpha seed 0: refine: no [bold]luck[/bold]" in out
    last = out[out.rindex("cell") :]
    assert [word in last for word in ("1 min 15 s", "failed", "cached", "to do")] == [
        True
    ] * 4


def test_time_left_follows_the_pace_since_this_process_began() -> None:
    clock = Clock()
    assert clock.left("images", 100, 200, now=0.0) is None
    assert clock.left("images", 110, 200, now=5.0) == pytest.approx(45.0)
    assert clock.left("epoch 1/5", 1, 10, now=6.0) is None
    assert clock.left("epoch 2/5", 3, 10, now=8.0) == pytest.approx(7.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_portable_cuts_paths_of_this_machine() -> None:
    value = {
        "weights": "/home/me/w.pth",
        "k": [Path("/a/b.py"), "x=/c/d", "cam/irn/_", "../rel/e.py", 3, None],
    }
    assert portable(value) == {
        "weights": "w.pth",
        "k": ["b.py", "x=d", "cam/irn/_", "../rel/e.py", 3, None],
    }
    recipes = "cam[lr=0.1,weights=/x/y.pth,s=['/a/b/c','d']]/irn/_,-/a/b"
    assert portable(recipes) == "cam[lr=0.1,weights=y.pth,s=['c','d']]/irn/_,-/a/b"
    assert command(["run", "--methods", "cam[weights=/x/y.pth]"]) == [
        "wsss-bench",
        "run",
        "--methods",
        "cam[weights=y.pth]",
    ]


def test_versions_name_what_can_change_a_number() -> None:
    assert {"python", "wsss-bench", "torch", "numpy", "onedl-mmsegmentation"} <= set(
        versions()
    )


def test_the_meter_measures_time_and_the_peak_of_the_block() -> None:
    with Meter(interval=0.01) as small:
        sum(range(10**5))
    with Meter(interval=0.01) as large:
        block = bytearray(b"x" * (200 * 2**20))
        # On a busy machine the sampling thread may wait long for its turn: the block stays until it was seen,
        # or for 30 s.
        deadline = time.monotonic() + 30
        while large.peak_mb < small.peak_mb + 150 and time.monotonic() < deadline:
            time.sleep(0.01)
        del block
    assert large.facts["peak_mb"] > small.facts["peak_mb"] + 150
    assert 0 <= small.facts["seconds"] < 5
