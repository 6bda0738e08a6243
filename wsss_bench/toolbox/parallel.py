"""Per-image work as a stage: parallel over images, resumable, with progress."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.toolbox.pool import InThreads, close_pool, from_processes, stream

__all__ = ["close_pool", "from_jobs", "imap", "in_threads", "per_image"]

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_MIN_FOR_POOL = 48
"""Below this many items, starting processes costs more than it saves."""

FEW_CORES = 4
"""Up to this many workers, a function that lets other threads run is run by threads: no start, no copies. With more,
what it does in Python itself would make the threads wait for each other."""

_FREE = "lets_threads_run"


def in_threads(fn: F) -> F:
    """Mark a function whose time goes into compiled code that lets other threads run (a CRF, a walk, OpenCV)."""
    setattr(fn, _FREE, True)
    return fn


def _lets_threads_run(fn: Any) -> bool:
    while not getattr(fn, _FREE, False):
        if not isinstance(fn, partial | _Keyed):
            return False
        fn = fn.func if isinstance(fn, partial) else fn.fn
    return True


def imap(
    fn: Callable[[T], R], items: Iterable[T], workers: int, total: int
) -> Iterator[R]:
    """Yield ``fn`` of every item, in any order, from `workers` processes (from this one where there is little to do).

    `fn` and the items must be picklable. At most ``4 × workers`` items are in flight, so memory stays flat; while there
    is room the next item is taken, whether or not results are ready. Large arrays go through shared memory. The
    processes are those of the run: started with the first work, used by every later call, ended by `close_pool` or with
    this process, however it ends. A function marked by `in_threads` runs in threads where cores are few.

    The processes never import the main module: a script without an ``if __name__ == "__main__"`` guard runs once.
    What the main module itself defines (a notebook's function) therefore runs in this process, which the log says.

    Raises:
        ArtifactError: a process died. An exception in `fn` propagates and ends what is in flight.
    """
    if workers >= 2 and workers <= FEW_CORES and total > 1 and _lets_threads_run(fn):
        yield from _from_threads(fn, iter(items), workers)
        return
    if workers < 2 or total < _MIN_FOR_POOL:
        yield from map(fn, items)
        return
    whole = iter(items)
    first = list(islice(whole, 1))
    whole = chain(first, whole)
    if _defined_in_main(fn, *first):
        log = logging.getLogger("wsss_bench")
        what = (
            "a function or class of the main module cannot be sent to worker processes"
        )
        remedy = "Put it into a module of its own to use all cores"
        log.warning("%s: working on images one by one. %s.", what, remedy)
        yield from map(fn, whole)
        return
    yield from from_processes(fn, whole, workers)


def _from_threads(
    fn: Callable[[T], R], items: Iterator[T], workers: int
) -> Iterator[R]:
    with ThreadPoolExecutor(workers, "wsss-bench-work") as executor:
        yield from stream(InThreads(executor, fn), items, 4 * workers)


def _defined_in_main(*things: object) -> bool:
    """Return whether a worker would need the main module to unpickle `things`."""
    try:
        # A name is pickled as module and attribute, so the module stands there in plain letters. The same letters
        # within data mean a slower run and no wrong one.
        return b"__main__" in pickle.dumps(things)
    except Exception as error:
        # What cannot be pickled at all is the pool's to refuse, but a notebook's lambda can still run here.
        return "__main__" in str(error)


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
