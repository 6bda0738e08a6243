"""Per-image work as a stage: parallel over images, resumable, with progress."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import ArtifactError
from wsss_bench.io.opened import follow
from wsss_bench.io.sealing import arm, armed

T = TypeVar("T")
R = TypeVar("R")

_MIN_FOR_POOL = 48  # below this many items, starting processes costs more than it saves
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def imap(
    fn: Callable[[T], R], items: Iterable[T], workers: int, total: int
) -> Iterator[R]:
    """``fn`` of every item, in any order, on `workers` processes (in this one where there is little to do).

    `fn` and the items must be picklable. At most ``4 × workers`` items are in flight, so memory stays flat.
    An exception in `fn` propagates and ends the pool, and so does the death of a process, as an `ArtifactError`. The
    processes end with this one, however it ends.
    """
    if workers < 2 or total < _MIN_FOR_POOL:
        yield from map(fn, items)
        return
    saved = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(
        dict.fromkeys(_THREADS, "1")
    )  # inherited by the workers: one thread each, parallel over images
    # spawn, not fork: the parent holds OpenMP threads, which do not survive a fork.
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=armed()
    )
    try:
        yield from _stream(pool, fn, iter(items), 4 * workers)
    except BrokenProcessPool as error:
        raise ArtifactError(
            "a worker process died: it was killed, or the memory ran out. Every image that was written stays; run the command "
            "again, with fewer --workers where memory is short."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(*seal: Any) -> None:
    """What a worker process does first: hear of its parent's death, which the pool's queues would never tell it, and seal."""
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
    """Make a per-image function a stage: ``out.write(id, fn(jobs(image)))`` for every image that is not done, then close.

    Args:
        fn: a picklable function of one job returning what `out` takes (a `Seed` or ``uint8 [H, W]``).
        view: the images.
        out: a `SeedWriter` or `LabelWriter`.
        ctx: for workers and progress.
        jobs: makes the (picklable) job of one `WeakImage`; called in this process.

    Returns:
        The finished `SeedSet` or `LabelSet`.
    """
    todo = [image for image in view if not out.done(image.id)]
    done = len(view) - len(todo)
    call = _Keyed(fn)
    for image_id, result in imap(
        call, ((image.id, jobs(image)) for image in todo), ctx.workers, len(todo)
    ):
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
