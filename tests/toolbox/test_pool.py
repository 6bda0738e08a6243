"""The worker processes of a run: one start, seals and notes per call, no leak, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from wsss_bench.errors import ArtifactError, LeakError
from wsss_bench.io import generation
from wsss_bench.io.opened import OpenedFiles
from wsss_bench.io.sealing import shut
from wsss_bench.toolbox import parallel, pool
from wsss_bench.toolbox.parallel import close_pool, imap, in_threads
from wsss_bench.toolbox.sharing import WORTH_IT, Sent


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(parallel, "_MIN_FOR_POOL", 2)
    close_pool()
    yield
    close_pool()


def whoami(number: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def read(path: Path) -> bytes:
    return path.read_bytes()


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


def die(number: int) -> int:
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def linger(number: int) -> int:
    time.sleep(60)
    return number


def loaded(name: str) -> bool:
    return name in sys.modules


def doubled(array: np.ndarray) -> np.ndarray:
    # In place: what a worker gets is its own.
    array *= 2
    return array[:1].copy()


def pids(fn: object = whoami) -> set[int]:
    return set(imap(fn, range(8), 2, 8))  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A child that ended and was not waited for is no process any more.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def test_a_second_call_finds_the_processes_of_the_first() -> None:
    first = pids()
    assert pids() == first
    assert os.getpid() not in first
    assert len(first) == 2


def test_an_error_or_a_caller_that_stops_leaves_the_processes_as_they_are() -> None:
    first = pids()
    with pytest.raises(ValueError, match="three"):
        list(imap(refuse_three, range(8), 2, 8))
    results = imap(whoami, range(100), 2, 100)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert pids() == first


def test_a_dead_process_is_told_and_replaced() -> None:
    with pytest.raises(ArtifactError, match="a worker process died"):
        list(imap(die, range(8), 2, 8))
    assert len(pids()) == 2


def test_a_seal_holds_in_processes_that_are_older_and_ends_with_its_stage(
    tmp_path: Path,
) -> None:
    (tmp_path / "masks").mkdir()
    mask = tmp_path / "masks" / "a.png"
    mask.write_bytes(b"mask")
    first = pids()
    with (
        pytest.raises(LeakError, match=r"nosy: masks/a\.png is a sealed mask"),
        shut([mask.parent], tmp_path / "log", "nosy"),
    ):
        list(imap(read, [mask] * 4, 2, 4))
    assert (tmp_path / "log").read_text().startswith("masks/a.png\n")
    assert list(imap(read, [mask] * 4, 2, 4)) == [b"mask"] * 4
    assert pids() == first


def test_notes_go_to_the_stage_at_work(tmp_path: Path) -> None:
    files = [tmp_path / "data" / f"{number}.txt" for number in range(8)]
    files[0].parent.mkdir()
    for path in files:
        path.write_bytes(b"x")
    pids()
    summaries = []
    for number, chosen in enumerate((files[:5], files[4:])):
        with OpenedFiles(tmp_path / f"log{number}", [tmp_path / "data"]) as notes:
            list(imap(read, chosen, 2, len(chosen)))
        summaries.append(notes.summary()["files"])
    # Nobody notes this.
    list(imap(read, files, 2, len(files)))
    assert summaries == [5, 4]
    assert (tmp_path / "log1").read_text().count("txt") == 4


def test_processes_are_started_anew_where_code_or_paths_have_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pids()
    generation.note_dropped()
    second = pids()
    assert not first & second
    module = tmp_path / "wsss_pool_helper.py"
    module.write_text("def ten(number):\n    return 10 * number\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from wsss_pool_helper import ten  # type: ignore[import-not-found]

    assert sorted(imap(ten, range(4), 2, 4)) == [0, 10, 20, 30]


def test_nothing_large_is_imported_by_workers_that_need_nothing_large() -> None:
    from wsss_bench.toolbox.crf import crf_of_job

    assert crf_of_job.__module__ == "wsss_bench.toolbox.crf"
    names = ["torch", "mmengine", "pandas"] * 3
    assert not any(imap(loaded, names, 2, len(names)))
    code = "import sys, wsss_bench.toolbox.crf; print(sorted(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "'numpy'" in shown
    assert not any(f"'{name}'" in shown for name in names)


def test_close_pool_ends_processes_that_compute() -> None:
    results = imap(linger, range(8), 2, 8)
    # The generator must run to start anything: from a thread, since it waits for results.
    import threading

    def consume() -> None:
        with pytest.raises((ArtifactError, RuntimeError)):
            list(results)

    consumer = threading.Thread(target=consume)
    consumer.start()
    deadline = time.monotonic() + 30
    while (
        pool._pool is None or len(pool._pool.executor._processes or {}) < 2
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pool._pool is not None
    children = list(pool._pool.executor._processes)
    time.sleep(0.5)
    began = time.monotonic()
    close_pool()
    consumer.join(10)
    assert not consumer.is_alive()
    assert time.monotonic() - began < 5
    assert not any(map(alive, children))


def test_arrays_travel_through_shared_memory_and_leave_nothing_behind() -> None:
    before = set(os.listdir("/proc/self/fd"))
    arrays = [np.full(WORTH_IT, number, np.float32) for number in range(10)]
    found = list(imap(doubled, arrays, 2, 10))
    assert sorted(float(one[0]) for one in found) == [2.0 * n for n in range(10)]
    # The caller's are as they were.
    assert [float(one[0]) for one in arrays] == [float(n) for n in range(10)]
    deadline = time.monotonic() + 5
    # The last job's is given back by another thread, a moment after its result came.
    while shared(before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not shared(before)


def shared(before: set[str]) -> list[str]:
    """The descriptors of shared memory that are open now and were not."""
    found = []
    for one in set(os.listdir("/proc/self/fd")) - before:
        with suppress(FileNotFoundError):
            if "memfd" in os.readlink(f"/proc/self/fd/{one}"):
                found.append(one)
    return found


def test_small_things_go_through_the_pipe_and_so_does_all_without_such_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = Sent({"a": np.arange(5)})
    assert small.packed.descriptor == -1
    assert small.packed.load()["a"].tolist() == [0, 1, 2, 3, 4]
    large = np.arange(WORTH_IT, dtype=np.int64)[:, None] * np.ones((1, 2), np.int64)
    shared = Sent(("x", large, large[::2]))
    assert shared.size >= large.nbytes
    name, whole, part = shared.packed.load()
    assert name == "x"
    assert np.array_equal(whole, large)
    assert np.array_equal(part, large[::2])
    shared.close()

    def refuse(*args: object) -> int:
        raise OSError("no room")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    piped = Sent(large)
    assert (piped.size, piped.packed.descriptor) == (0, -1)
    assert np.array_equal(piped.packed.load(), large)


def test_jobs_in_flight_hold_only_so_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "AT_ONCE", 5 * WORTH_IT)
    taken = 0
    most = 0
    seen = 0

    def items() -> Iterator[np.ndarray]:
        nonlocal taken, most
        for _ in range(30):
            taken += 1
            most = max(most, taken - seen)
            yield np.zeros(2 * WORTH_IT, np.uint8)

    for _ in imap(doubled, items(), 8, 30):
        seen += 1
    assert seen == 30
    # Two megabytes of jobs are under way, one is being sent, and results wait to be taken.
    assert most <= 12


@in_threads
def thread(number: int, more: int = 0) -> tuple[int, int]:
    return os.getpid(), number + more


def test_functions_that_let_threads_run_need_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = list(imap(partial(thread, more=1), range(20), 2, 20))
    assert {pid for pid, _ in found} == {os.getpid()}
    assert sorted(number for _, number in found) == list(range(1, 21))
    assert pool._pool is None
    # Where cores are many, Python itself would be in the way.
    many = list(imap(thread, range(20), parallel.FEW_CORES + 1, 20))
    assert os.getpid() not in {pid for pid, _ in many}


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "from wsss_bench.toolbox.parallel import imap\n"
        "from test_pool_jobs import slow\n"
        "for pid in imap(slow, range(99), 2, 99):\n"
        "    print(pid, flush=True)\n"
    )
    (tmp_path / "test_pool_jobs.py").write_text(
        "import os, time\ndef slow(number):\n    time.sleep(0.1)\n    return os.getpid()\n"
    )
    command = [sys.executable, str(script)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as parent:
        assert parent.stdout is not None
        children = {int(parent.stdout.readline()) for _ in range(4)}
        parent.kill()
        # Its output ends when the last process that holds it is gone.
        began = time.monotonic()
        parent.stdout.read()
        assert time.monotonic() - began < 5
    assert not any(map(alive, children))
