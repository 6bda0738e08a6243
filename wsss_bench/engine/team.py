"""Processes that share trainings: one leads, and works as if it were alone; the others wait for its trainings.

The leader sends a training as it was handed over, model and data, so that nobody but the leader runs a method's other
code, and nobody but the leader writes. What they say to each other lies in a `torch.distributed` store; tensors go
through a process group that lives as long as one training. A process that fails closes its connections, which ends the
reductions that the others wait in.

Keys of the store, for training n: ``job/n`` (a backend, or `END`), ``here/n/rank``, ``ready/n/rank``, ``failed/n``.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist

from wsss_bench.engine.watch import watching
from wsss_bench.errors import ArtifactError, RecipeError, WsssError
from wsss_bench.io import opened, sealing

END = "end"
LEADER = "leader"

POLL = 0.05
"""Seconds between two looks at the store."""

LONGEST = timedelta(minutes=30)
"""How long a reduction waits for a process that lives: for its photographs, or for the leader's checkpoint."""

GRACE = 5.0
"""Seconds in which a process that failed says why."""

START = 600.0
"""Seconds in which a new process must have imported everything."""


class Task(Protocol):
    """A training that can be sent."""

    name: str

    def follow(self) -> None:
        """Take part in it."""


class Others(Protocol):
    """The processes that follow, once they were started."""

    store: Any

    def gone(self) -> str:
        """Return what is known of one that has ended, "" while all live."""

    def end(self) -> None:
        """Let all of them end."""

    def replaceable(self) -> bool:
        """Return whether others can be recruited in their place."""


@dataclass
class Team:
    """The processes that train together, as the leader sees them.

    Attributes:
        world: how many they are, with the leader.
        recruit: starts the others, or finds those that a launcher started; called when the first training begins.
        plugins: files of methods that the others must have loaded to know a training's classes.
    """

    world: int
    recruit: Callable[[], Others]
    plugins: tuple[Path, ...] = ()
    _others: Others | None = None
    _number: int = 0
    _log: logging.Logger = field(
        default_factory=lambda: logging.getLogger("wsss_bench")
    )

    @contextmanager
    def training(self, task: Task, device: str) -> Iterator[None]:
        """Let the others follow `task` while the block takes part in it here.

        Raises:
            RecipeError: it cannot be sent to another process.
            ArtifactError, RuntimeError: another process failed; what the block itself raises is raised as it is.
        """
        backend = "nccl" if device.startswith("cuda") else "gloo"
        content = _packed(task, self.plugins)
        if self._others is None:
            self._others = self.recruit()
        store = self._others.store
        self._number += 1
        number = self._number
        store.set(f"job/{number}", backend)
        self._await("here", number, task.name)
        with _group(store, number, 0, self.world, backend):
            try:
                dist.broadcast_object_list([content], src=0)
                self._await("ready", number, task.name)
                yield
                dist.barrier()
            except BaseException as error:
                reason = self._reason(error, number, task.name)
                # From now on the others know that what they meet is not their fault.
                _note_failure(store, number, {"rank": LEADER})
                self._leave(backend)
                if reason is not error:
                    raise reason from error
                raise

    def _leave(self, backend: str) -> None:
        """After a failure, end those that may wait for ever in what failed; a later training has others."""
        # The error's frames keep a group of gloo alive, and its connections open; one of nccl is aborted.
        if (
            backend == "gloo"
            and self._others is not None
            and self._others.replaceable()
        ):
            self._others.end()
            self._others, self._number = None, 0

    def _await(self, word: str, number: int, who: str) -> None:
        """Wait until all others have said `word`, or one of them has failed."""
        assert self._others is not None
        store = self._others.store
        deadline = time.monotonic() + START
        keys = [f"{word}/{number}/{rank}" for rank in range(1, self.world)]
        while not store.check(keys):
            if failure := _failure(store, number):
                raise self._told(failure, who)
            if gone := self._others.gone():
                raise ArtifactError(f"{who}: {gone}")
            if time.monotonic() > deadline:
                what = (
                    f"not all of {self.world} processes were there after {START:.0f} s."
                )
                raise ArtifactError(f"{who}: {what} See what their launcher says.")
            time.sleep(POLL)

    def _reason(self, error: BaseException, number: int, who: str) -> BaseException:
        """Return the failure of another process that `error` comes from, or `error`."""
        # A connection that was closed is a RuntimeError; nothing else has to do with others.
        if not isinstance(error, RuntimeError) or self._others is None:
            return error
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if failure := _failure(self._others.store, number):
                return self._told(failure, who)
            if gone := self._others.gone():
                return ArtifactError(f"{who}: {gone}")
            time.sleep(POLL)
        return error

    def _told(self, failure: dict[str, Any], who: str) -> Exception:
        rank, what = failure["rank"], failure["what"]
        self._log.error("process %s of %s:\n%s", rank, who, failure["trace"])
        message = f"{who}: process {rank} of {self.world} failed: {what}"
        return ArtifactError(message) if failure["expected"] else RuntimeError(message)

    def close(self) -> None:
        """Let the others end; a later training would start them anew."""
        if self._others is None:
            return
        with suppress(RuntimeError):
            self._others.store.set(f"job/{self._number + 1}", END)
        self._others.end()
        self._others, self._number = None, 0


def serve(
    store: Any, rank: int, world: int, load: Callable[[Sequence[Path]], None]
) -> None:
    """Take part in the leader's trainings until it is done, or gone.

    Args:
        store: what the processes share.
        rank: the number of this process, from 1.
        world: how many there are.
        load: loads methods from files, so that what is sent can be unpacked.
    """
    number = 1
    # The store lies in the leader's process, or in that of their launcher: without it there is nobody to follow.
    with suppress(dist.DistNetworkError, dist.DistStoreError):
        while (backend := _next(store, number)) != END:
            _take_part(store, number, rank, world, backend, load)
            number += 1


def _next(store: Any, number: int) -> str:
    while not store.check([f"job/{number}"]):
        time.sleep(POLL)
    return str(store.get(f"job/{number}").decode())


def _take_part(
    store: Any,
    number: int,
    rank: int,
    world: int,
    backend: str,
    load: Callable[[Sequence[Path]], None],
) -> None:
    store.set(f"here/{number}/{rank}", "")
    try:
        with _group(store, number, rank, world, backend):
            try:
                content = [b""]
                dist.broadcast_object_list(content, src=0)
                with _unpacked(content[0], load) as task:
                    store.set(f"ready/{number}/{rank}", "")
                    task.follow()
                dist.barrier()
            except Exception as error:
                # Before the connections are closed: whoever notices that asks why.
                _note_failure(store, number, _about(error, rank))
                raise
    except Exception as error:
        # Where the leader failed, this is known there; the next training may be another one's.
        _note_failure(store, number, _about(error, rank))
        failure = _failure(store, number) or {}
        if backend == "gloo" and failure.get("rank") == rank:
            # Its connections would stay open with what still refers to them, and the leader would wait for ever.
            os._exit(1)


def _about(error: Exception, rank: int) -> dict[str, Any]:
    expected = isinstance(error, WsssError)
    what = str(error) if expected else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return {"rank": rank, "what": what, "expected": expected, "trace": trace}


def _note_failure(store: Any, number: int, about: dict[str, Any]) -> None:
    # The first one is the cause, all others are what follows from it.
    with suppress(RuntimeError):
        store.compare_set(f"failed/{number}", "", json.dumps(about))


def _failure(store: Any, number: int) -> dict[str, Any] | None:
    if not store.check([f"failed/{number}"]):
        return None
    found: dict[str, Any] = json.loads(store.get(f"failed/{number}"))
    return found


@contextmanager
def _group(
    store: Any, number: int, rank: int, world: int, backend: str
) -> Iterator[None]:
    """Be in the process group of one training."""
    kind = backend
    if backend == "nccl":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        # Objects go through memory, tensors of a GPU from GPU to GPU.
        kind = "cpu:gloo,cuda:nccl"
    own = dist.PrefixStore(f"group/{number}", store)
    dist.init_process_group(
        kind, store=own, rank=rank, world_size=world, timeout=LONGEST
    )
    try:
        with watching(lambda: _failure(store, number) is not None, backend):
            yield
    finally:
        dist.destroy_process_group()


def _packed(task: Task, plugins: tuple[Path, ...]) -> bytes:
    """Return a training, and what a process must know to unpack it."""
    # Methods hand over functions and classes that were made inside a hook, which `pickle` alone does not take.
    import cloudpickle

    try:
        body = cloudpickle.dumps(task)
    except Exception as error:  # each library refuses in its own words
        what = f"the training cannot be sent to another process ({error})."
        fix = "Keep open files, locks and the like out of model, objective and data, or train on one GPU."
        raise RecipeError(f"{task.name}: {what} {fix}") from error
    head = {
        "path": list(sys.path),
        "plugins": [str(path.absolute()) for path in plugins],
        "seals": sealing.armed(),
        "notes": opened.notes(),
    }
    whole = io.BytesIO()
    pickle.dump(head, whole)
    whole.write(body)
    return whole.getvalue()


@contextmanager
def _unpacked(content: bytes, load: Callable[[Sequence[Path]], None]) -> Iterator[Any]:
    """Lend the training in a message, under the seals of the process that sent it, with files noted as there."""
    whole = io.BytesIO(content)
    head = pickle.load(whole)
    for place in head["path"]:
        if place not in sys.path:
            sys.path.append(place)
    load([Path(path) for path in head["plugins"]])
    with ExitStack() as stack:
        stack.enter_context(sealing.keeping(head["seals"]))
        stack.enter_context(opened.noting(head["notes"]))
        yield pickle.load(whole)
