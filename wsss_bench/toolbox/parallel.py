"""Per-image work as a stage: parallel over images, resumable, with progress."""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import chain, islice
from multiprocessing import parent_process, popen_spawn_posix, spawn
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any, TypeVar

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.errors import ArtifactError
from wsss_bench.io.opened import follow
from wsss_bench.io.sealing import arm, armed

T = TypeVar("T")
R = TypeVar("R")

# Below this many items, starting processes costs more than it saves.
_MIN_FOR_POOL = 48

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

_MAIN = ("init_main_from_name", "init_main_from_path")
"""Keys by which `multiprocessing` tells a new process to import the main module."""

_LAUNCHING = threading.Lock()


def imap(
    fn: Callable[[T], R], items: Iterable[T], workers: int, total: int
) -> Iterator[R]:
    """Yield ``fn`` of every item, in any order, from `workers` processes (from this one where there is little to do).

    `fn` and the items must be picklable. At most ``4 × workers`` items are in flight, so memory stays flat.
    The processes never import the main module: a script without an ``if __name__ == "__main__"`` guard runs once.
    What the main module itself defines (a notebook's function) therefore runs in this process, which the log says.
    The processes end with this one, however it ends.

    Raises:
        ArtifactError: a process died. An exception in `fn` propagates; either ends the pool.
    """
    if workers < 2 or total < _MIN_FOR_POOL:
        yield from map(fn, items)
        return
    stream = iter(items)
    first = list(islice(stream, 1))
    stream = chain(first, stream)
    if _defined_in_main(fn, *first):
        log = logging.getLogger("wsss_bench")
        what = (
            "a function or class of the main module cannot be sent to worker processes"
        )
        remedy = "Put it into a module of its own to use all cores"
        log.warning("%s: working on images one by one. %s.", what, remedy)
        yield from map(fn, stream)
        return
    yield from _from_pool(fn, stream, workers)


def _from_pool(fn: Callable[[T], R], items: Iterator[T], workers: int) -> Iterator[R]:
    with _one_thread_each():
        pool = ProcessPoolExecutor(
            workers, mp_context=_Context(), initializer=_start, initargs=armed()
        )
        try:
            yield from _stream(pool, fn, items, 4 * workers)
        except BrokenProcessPool as error:
            what = "a worker process died: it was killed, or the memory ran out."
            kept = "Every image that was written stays"
            fix = "run the command again, with fewer --workers where memory is short."
            raise ArtifactError(f"{what} {kept}; {fix}") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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


def _defined_in_main(*things: object) -> bool:
    """Return whether a worker would need the main module to unpickle `things`."""
    try:
        # A name is pickled as module and attribute, so the module stands there in plain letters. The same letters
        # within data mean a slower run and no wrong one.
        return b"__main__" in pickle.dumps(things)
    except Exception as error:
        # What cannot be pickled at all is the pool's to refuse, but a notebook's lambda can still run here.
        return "__main__" in str(error)


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


def _start(*seal: Any) -> None:
    """Do what comes first in a worker process: watch its parent, keep its seals, note what is opened."""
    # The queues of a pool never tell a worker that its parent died; it would wait for ever.
    threading.Thread(
        target=_end_with_parent, name="wsss-bench-parent", daemon=True
    ).start()
    arm(*seal)
    follow()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _stream(
    pool: ProcessPoolExecutor, fn: Callable[[T], R], items: Iterator[T], depth: int
) -> Iterator[R]:
    pending: set[Future[R]] = set()
    exhausted = False
    while pending or not exhausted:
        while not exhausted and len(pending) < depth:
            try:
                pending.add(pool.submit(fn, next(items)))
            except StopIteration:
                exhausted = True
        if pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()


def per_image(
    fn: Callable[[Any], Any],
    view: WeakView,
    out: Any,
    ctx: StageContext,
    jobs: Callable[[Any], Any],
) -> Any:
    """Write ``fn(jobs(image))`` for every image of `view` that `out` does not have yet, then close `out`.

    Args:
        fn: a picklable function of one job that returns what `out` takes (a `Seed` or ``uint8 [H, W]``).
        view: the images.
        out: a `SeedWriter` or `LabelWriter`.
        ctx: for workers and progress.
        jobs: makes the (picklable) job of one `WeakImage`; called in this process.

    Returns:
        The finished `SeedSet` or `LabelSet`.
    """
    todo = [image for image in view if not out.done(image.id)]
    return from_jobs(fn, ((image, jobs(image)) for image in todo), view, out, ctx)


def from_jobs(
    fn: Callable[[Any], Any],
    jobs: Iterable[tuple[WeakImage, Any]],
    view: WeakView,
    out: Any,
    ctx: StageContext,
) -> Any:
    """Write ``fn(job)`` for every image and job of `jobs`, then close `out`; as `per_image`, for jobs made in batches.

    `jobs` holds the images that `out` does not have yet, in any order, each once.
    """
    done = sum(out.done(image.id) for image in view)
    keyed = ((image.id, job) for image, job in jobs)
    for image_id, result in imap(_Keyed(fn), keyed, ctx.workers, len(view) - done):
        out.write(image_id, result)
        done += 1
        ctx.progress("images", done, len(view))
    return out.close()


class _Keyed:
    """Carries the image id through the pool beside the result."""

    def __init__(self, fn: Callable[[Any], Any]) -> None:
        self.fn = fn

    def __call__(self, keyed: tuple[str, Any]) -> tuple[str, Any]:
        image_id, job = keyed
        return image_id, self.fn(job)
