"""Ending a run: with all that it started, within seconds, at any moment; and going on from there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wsss_bench.runs.stopping import descendants

STUBBORN = """
import subprocess, sys, time
from wsss_bench.runs.stopping import interruptible
child = "import subprocess, time; subprocess.Popen(['sleep', '99']); time.sleep(99)"
subprocess.Popen([sys.executable, "-c", child])
with interruptible(hard=True):
    ready = "ready"
    while True:
        try:
            if ready:
                print(ready, flush=True)
            ready = ""
            time.sleep(99)
        except KeyboardInterrupt:
            print("told", flush=True)
"""

POLITE = """
import sys, time
from wsss_bench.runs.stopping import interruptible
with interruptible(hard=len(sys.argv) > 1):
    try:
        print("ready", flush=True)
        time.sleep(99)
    except KeyboardInterrupt:
        print("told", flush=True)
with interruptible(hard=len(sys.argv) > 1):
    pass
time.sleep(0.1)
sys.exit(7)
"""


def start(script: str, *words: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_does_not_listen_is_ended_with_all_that_it_started(
    number: signal.Signals,
) -> None:
    with start(STUBBORN) as process:
        deadline = time.monotonic() + 20
        # Its child, and the child's.
        while len(descendants(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        started = descendants(process.pid)
        assert len(started) >= 2
        began = time.monotonic()
        process.send_signal(number)
        # Its output ends when nobody holds it any more.
        shown = process.communicate(timeout=30)[0]
        assert time.monotonic() - began < 5
    assert shown == "told\n"
    assert process.returncode == 128 + number
    assert not [
        pid for pid in started if Path(f"/proc/{pid}").exists() and running(pid)
    ]


def running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_second_signal_ends_it_at_once() -> None:
    with start(STUBBORN) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert time.monotonic() - began < 2
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("words", [(), ("hard",)], ids=["soft", "hard"])
def test_a_process_that_listens_ends_as_it_likes(words: tuple[str, ...]) -> None:
    with start(POLITE, *words) as process:
        process.send_signal(signal.SIGTERM)
        shown = process.communicate(timeout=30)[0]
    assert shown == "told\n"
    assert process.returncode == 7


def test_a_child_of_a_child_counts_and_a_strangers_does_not() -> None:
    with subprocess.Popen(["sleep", "30"]) as mine:
        assert mine.pid in descendants(os.getpid())
        assert os.getpid() not in descendants(os.getpid())
        assert descendants(mine.pid) == []
        mine.kill()


def command(place: Path, work: str) -> list[str]:
    return [
        *(sys.executable, "-m", "wsss_bench", "run"),
        *("--methods", "cam/densecrf/deeplab", "--profile", "check"),
        *("--data-option", "train=60", "--data-option", "val=50"),
        *("--data-root", str(place / "data"), "--work-dir", str(place / work)),
        *("--workers", "2", "--device", "cpu"),
    ]


def counts_of(work: Path) -> dict[str, bytes]:
    found = sorted(work.glob("leaderboards/runs/*/*/*.npz"))
    assert found
    return {str(path.relative_to(work)): path.read_bytes() for path in found}


def output(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[0]


def begin(place: Path, work: str) -> subprocess.Popen[str]:
    # Standard error too: whoever reads it must see its end.
    return subprocess.Popen(
        command(place, work),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_a_run_ends_within_five_seconds_at_any_moment_and_goes_on(
    tmp_path: Path,
) -> None:
    with begin(tmp_path, "whole") as whole:
        began = time.monotonic()
        shown = output(whole)
        took = time.monotonic() - began
    assert whole.returncode == 0, shown
    rng = random.Random(0)
    for _ in range(12):
        with begin(tmp_path, "stopped") as process:
            time.sleep(rng.uniform(0.5, took))
            started = descendants(process.pid)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            shown = output(process)
            assert time.monotonic() - began < 5
        # Before it has set handlers, and after its last word, the signal ends a process by itself.
        assert process.returncode in (0, 130, 143, -signal.SIGTERM), shown
        assert not list(filter(running, started))
    with begin(tmp_path, "stopped") as process:
        shown = output(process)
    assert process.returncode == 0, shown
    assert counts_of(tmp_path / "stopped") == counts_of(tmp_path / "whole")
