"""The worker processes of a run: started once, when the first work comes, and used by all stages.

Seals (`wsss_bench.io.sealing`) and notes of opened files (`wsss_bench.io.opened`) belong to a stage, not to a process:
they travel with every job, and end with it.
"""

from __future__ import annotations

import atexit
import os
import pickle
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process, popen_spawn_posix, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, Protocol, TypeVar

from wsss_bench.errors import ArtifactError
from wsss_bench.io import generation
from wsss_bench.io.opened import follow, notes
from wsss_bench.io.sealing import Seal, armed, rearm
from wsss_bench.toolbox.sharing import Packed, Sent

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 2**30
"""Bytes of shared memory that jobs in flight may hold; beyond it the next job waits for an earlier one."""

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_MAIN = ("init_main_from_name", "init_main_from_path")
"""Keys by which `multiprocessing` tells a new process to import the main module."""

_LAUNCHING = threading.Lock()


@dataclass(frozen=True)
class _State:
    """What the code of a stage may do, and who notes what it opens: in this process now, in a worker per job."""

    seals: tuple[Seal, ...]
    notes: str


@dataclass(frozen=True)
class _Pool:
    """The processes, and what they were started with."""

    executor: ProcessPoolExecutor
    identity: tuple[Any, ...]


_pool: _Pool | None = None
_inherited: list[_Pool] = []
_GUARD = threading.Lock()


def _identity(workers: int) -> tuple[Any, ...]:
    # Processes that were started before a module changed, or a path was added, are not what would be started now.
    return workers, os.getpid(), os.getcwd(), generation.count(), tuple(sys.path)


def _executor(workers: int) -> ProcessPoolExecutor:
    """Return the run's processes, started anew where they would no longer be the same."""
    global _pool
    identity = _identity(workers)
    with _GUARD:
        if _pool is not None and _pool.identity == identity:
            return _pool.executor
        _end(_pool)
        executor = ProcessPoolExecutor(
            workers, mp_context=_Context(), initializer=_start
        )
        _pool = _Pool(executor, identity)
        return executor


def close_pool() -> None:
    """End the worker processes at once, also those that compute; the next work starts new ones."""
    global _pool
    with _GUARD:
        ended, _pool = _pool, None
    _end(ended)


def _end(pool: _Pool | None) -> None:
    if pool is None:
        return
    if pool.identity[1] != os.getpid():
        # In a fork: the processes are the parent's, and so is what would stop them.
        _inherited.append(pool)
        return
    processes = list((getattr(pool.executor, "_processes", None) or {}).values())
    pool.executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(1)
        if process.is_alive():
            process.kill()


atexit.register(close_pool)


def from_processes(
    fn: Callable[[T], R], items: Iterator[T], workers: int
) -> Iterator[R]:
    """Yield ``fn`` of every item, in any order, from the run's processes; at most ``4 × workers`` are in flight.

    Raises:
        ArtifactError: a process died. An exception in `fn` propagates; the other processes stay.
    """
    state = _State(armed(), notes())
    try:
        jobs = _Sending(_executor(workers), fn, state)
        yield from stream(jobs, items, 4 * workers)
    except BrokenProcessPool as error:
        close_pool()
        what = "a worker process died: it was killed, or the memory ran out."
        kept = "Every image that was written stays"
        fix = "run the command again, with fewer --workers where memory is short."
        raise ArtifactError(f"{what} {kept}; {fix}") from error


class _Sending:
    """Submits jobs with their arrays in shared memory, which is held until they are done."""

    def __init__(
        self, executor: Executor, fn: Callable[[Any], Any], state: _State
    ) -> None:
        self._executor, self._state = executor, state
        self._fn = Packed(pickle.dumps(fn, 5))
        self._lock = threading.Lock()
        self.held = 0

    def submit(self, item: Any) -> Future[Any]:
        """Run the function on one item."""
        sent = Sent(item)
        self._hold(sent.size)
        try:
            # The first job starts the processes.
            with _one_thread_each():
                job = self._state, self._fn, sent.packed
                future = self._executor.submit(_work, *job)
        except BaseException:
            self._release(sent)
            raise
        future.add_done_callback(lambda _: self._release(sent))
        return future

    def _hold(self, size: int) -> None:
        with self._lock:
            self.held += size

    def _release(self, sent: Sent) -> None:
        self._hold(-sent.size)
        sent.close()


class InThreads:
    """Submits jobs to threads of this process, for functions that let other threads run; nothing is copied."""

    held = 0

    def __init__(self, executor: Executor, fn: Callable[[Any], Any]) -> None:
        self._executor, self._fn = executor, fn

    def submit(self, item: Any) -> Future[Any]:
        """Run the function on one item."""
        return self._executor.submit(self._fn, item)


class Jobs(Protocol):
    """Takes jobs; `held` is how many bytes of shared memory those in flight hold."""

    held: int

    def submit(self, item: Any) -> Future[Any]:
        """Run the function on one item."""


def stream(jobs: Jobs, items: Iterator[Any], depth: int) -> Iterator[Any]:
    """Yield results as they come; whenever there is room the next item is taken, whether or not one is ready.

    Args:
        jobs: where items go.
        items: the items.
        depth: how many are in flight at most.
    """
    pending: deque[Future[Any]] = deque()
    try:
        for item in items:
            pending.append(jobs.submit(item))
            yield from _finished(pending)
            while pending and (len(pending) >= depth or jobs.held > AT_ONCE):
                wait(list(pending), return_when=FIRST_COMPLETED)
                yield from _finished(pending)
        while pending:
            wait(list(pending), return_when=FIRST_COMPLETED)
            yield from _finished(pending)
    finally:
        # Whoever stops early, or failed, leaves nothing for the next call to wait for.
        for future in pending:
            future.cancel()


def _finished(pending: deque[Future[Any]]) -> Iterator[Any]:
    """Take the finished jobs out of `pending` and yield their results."""
    for _ in range(len(pending)):
        future = pending.popleft()
        if future.done():
            yield future.result()
        else:
            pending.append(future)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start meanwhile compute with one thread: the work is parallel over images already."""
    saved = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


# ---- in a worker process


def _start() -> None:
    """Watch the parent: the queues of a pool never tell a worker that it died, and it would wait for ever."""
    threading.Thread(
        target=_end_with_parent, name="wsss-bench-parent", daemon=True
    ).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_last: tuple[Packed, Any] | None = None


def _work(state: _State, fn: Packed, item: Packed) -> Any:
    """Do one job under its stage's seals and notes."""
    global _last
    rearm(state.seals)
    follow(state.notes)
    # One function for thousands of items: it is loaded once.
    if _last is None or _last[0] != fn:
        _last = fn, fn.load()
    return _last[1](item.load())


class _Popen(popen_spawn_posix.Popen):
    """Starts a process that is not told of the main module."""

    def _launch(self, process_obj: Any) -> None:
        # Where the main module is a script without a guard, importing it would run it again, in every worker. Nothing
        # public leaves it out, so for this launch, on this thread, the preparation data go without it.
        launching = threading.get_ident()
        with _LAUNCHING:
            prepare = spawn.get_preparation_data

            def without_main(name: str) -> dict[str, Any]:
                data: dict[str, Any] = prepare(name)
                if threading.get_ident() != launching:
                    return data
                return {key: data[key] for key in data if key not in _MAIN}

            spawn.get_preparation_data = without_main
            launch: Any = super()
            try:
                launch._launch(process_obj)
            finally:
                spawn.get_preparation_data = prepare


class _Process(SpawnProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _Popen(process_obj)


class _Context(SpawnContext):
    """Starts processes afresh: the parent holds OpenMP threads, which do not survive a fork."""

    Process = _Process
