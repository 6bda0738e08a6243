"""Runs the command line in processes of their own, and ends them or takes their disk away at a chosen change to it.

Every file that is opened for writing, renamed, deleted, made or cut below the work dir is an event with a number; the
same command meets the same events in the same order. Between two events the disk does not change, so a kill before
each event, and one with the file that was just opened cut short, leave everything that a kill can leave.

As a program this is a server: one JSON job (or a list of jobs that start together) per line of stdin, one answer per
line of stdout. It forks a process per job, with everything imported already; the process leads a group of its own.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

from run_fakes import Patch, TinyDataset, install

PLUGIN = """
import os
import numpy as np
from wsss_bench import MethodCard, Seed, Segmentor, hookimpl
from wsss_bench.artifacts import write_atomic
from wsss_bench.toolbox.parallel import per_image


def note(line):
    with open(os.environ["FAKE_LOG"], "a") as handle:
        handle.write(line + "\\n")


def label(job):
    image_id, seed, threshold = job
    note(f"refine image {image_id}")
    scores = seed.upsampled()
    return np.where(scores.max(0) > threshold, seed.class_ids[scores.argmax(0)], 0).astype(np.uint8)


class Method:
    @hookimpl
    def method_card(self):
        defaults = {
            "localize": {"gain": 1.0, "threshold": 0.3},
            "refine": {"threshold": 0.5},
            "segment": {"iterations": 3},
        }
        stages = ("localize", "refine", "segment")
        return MethodCard(name=NAME, version="1", stages=stages, recipe="_/_/_", defaults=defaults)

    @hookimpl
    def localize(self, view, out, ctx):
        note(f"{NAME} localize")
        for image in view:
            if not out.done(image.id):
                note(f"localize image {image.id}")
                pixels = image.read()
                planes = [pixels[:, :, c % 3] / 255.0 for c in image.present]
                scores = np.stack(planes).astype(np.float32) * ctx.params["gain"]
                out.write(image.id, Seed(np.array(image.present), np.clip(scores, 0, 1), pixels.shape[:2]))
        return out.close()

    @hookimpl
    def refine(self, view, seeds, out, ctx):
        note(f"{NAME} refine")
        return per_image(label, view, out, ctx, lambda image: (image.id, seeds[image.id], ctx.params["threshold"]))

    @hookimpl
    def segment(self, view, labels, seeds, previous, ctx):
        note(f"{NAME} segment")
        weights, config = ctx.scratch / "checkpoint", ctx.scratch / "config.py"
        lines = weights.read_text().splitlines() if weights.exists() else []
        while len(lines) < ctx.params["iterations"]:
            note(f"segment image {len(lines)}")
            lines.append(f"{NAME} {ctx.seed} {len(lines)}")
            write_atomic(weights, lambda handle: handle.write("\\n".join(lines).encode()))
        config.write_text("model = 1")
        return Segmentor(config, weights, {"scales": [1.0], "crf": "tiny"}, {"backbone": "none", "network": "tiny"})


plugin = Method()
"""


def write_method(folder: Path, name: str) -> Path:
    """A method that resumes inside every stage and notes in $FAKE_LOG what it computes."""
    path = folder / f"{name}.py"
    path.write_text(f"NAME = {name!r}\n{PLUGIN}")
    return path


class FewImages(TinyDataset):
    """The tiny dataset with as many training images as asked for, and two to predict."""

    train = 3

    def _numbers(self, split: str) -> range:
        return range(self.train) if split == "train" else range(10, 12)

    def prepare(self, progress: Any = None) -> None:
        """Write the photographs."""
        from PIL import Image

        self.root.mkdir(parents=True, exist_ok=True)
        for number in {*range(self.train), 10, 11}:
            path = self.root / f"im{number:02d}.png"
            if not path.exists():
                Image.fromarray(self._pixels(number)).save(path)


# What a process of the server does -----------------------------------------------------------------------------------

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FOLDER_ARGUMENT = {
    "os.remove": 1,
    "os.rmdir": 1,
    "os.mkdir": 2,
    "os.chmod": 2,
    "os.rename": 2,
}


class Disk:
    """An audit hook that numbers the changes below `root` and acts at number `at`.

    `how`: ``count``; ``kill`` (before the change); ``torn`` (the file that the change before opened is cut, then kill);
    ``worker`` (kill the pool's processes instead); ``full``, ``readonly`` and ``limit`` (from here on writes are
    refused: no space, read-only, files longer than 64 bytes).
    """

    def __init__(self, root: Path, how: str = "count", at: int = -1) -> None:
        self.root, self.how, self.at = f"{os.path.realpath(root)}/", how, at
        self.events: list[dict[str, Any]] = []
        self._opened: str | None = None
        self._kept = 0

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See `sys.addaudithook`."""
        path = self._changed(event, arguments)
        if path is None:
            return
        number, opened, kept = len(self.events), self._opened, self._kept
        size = (
            os.path.getsize(opened)
            if opened is not None and os.path.isfile(opened)
            else 0
        )
        self.events.append(
            {"event": event, "path": path[len(self.root) :], "torn": size - kept}
        )
        self._opened, self._kept = (path, 0) if event == "open" else (None, 0)
        if event == "open" and arguments[2] & os.O_APPEND and os.path.isfile(path):
            self._kept = os.path.getsize(
                path
            )  # what was there before is not what a kill can cut
        if self.at >= 0 and number >= self.at:
            self._act(event, path, number, opened, kept)

    def _changed(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        """The path that an event is about to change, or None where it changes nothing below the root."""
        if event == "open":
            if not (
                isinstance(arguments[0], str | bytes | os.PathLike)
                and isinstance(arguments[2], int)
            ):
                return None
            if not arguments[2] & _WRITING or arguments[2] & os.O_DIRECTORY:
                return None
            folder = -1
        elif event in _FOLDER_ARGUMENT:
            folder = arguments[_FOLDER_ARGUMENT[event]]
        else:
            return None
        path = os.fsdecode(arguments[0])
        if folder >= 0:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        path = os.path.abspath(path)
        idle = (event == "os.mkdir" and os.path.isdir(path)) or (
            event != "os.mkdir" and event != "open" and not os.path.lexists(path)
        )
        return None if idle or not path.startswith(self.root) else path

    def _act(
        self, event: str, path: str, number: int, opened: str | None, kept: int
    ) -> None:
        if self.how == "full" and event in ("open", "os.mkdir"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if self.how == "readonly":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        if number > self.at:
            return
        if self.how == "limit":
            resource.setrlimit(
                resource.RLIMIT_FSIZE,
                (64, resource.getrlimit(resource.RLIMIT_FSIZE)[1]),
            )
        if self.how == "torn" and opened is not None:
            os.truncate(
                opened, kept + (os.path.getsize(opened) - kept) // 2 * (number % 2)
            )
        if self.how in ("kill", "torn", "worker"):
            self._kill()

    def _kill(self) -> None:
        from multiprocessing import active_children

        pool = [child.pid for child in active_children() if child.pid is not None]
        note = os.open(f"{self.root.rstrip('/')}.pool", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(note, json.dumps(pool).encode())
        os.close(note)
        for pid in pool if self.how == "worker" else [os.getpid()]:
            os.kill(pid, signal.SIGKILL)


def _install(job: dict[str, Any]) -> None:
    from wsss_bench.runs import attempt
    from wsss_bench.runs import request as _dataset
    from wsss_bench.runs.store.folders import StageFolder
    from wsss_bench.toolbox import parallel

    if job.get("fake", True):
        install(Patch(), Path(job["data"]))
        FewImages.train = job.get("images", FewImages.train)
        _dataset.open_requested = lambda *_: FewImages(Path(job["data"]))  # type: ignore[assignment,return-value]
    if job.get("pool"):
        parallel._MIN_FOR_POOL = 2
    if job.get("still", True):
        # Minutes and megabytes are columns of the boards and never the same twice; here the clock stands still.
        attempt.Meter = StillMeter  # type: ignore[assignment,misc]
        StageFolder.lost_seconds = lambda self: 0.0  # type: ignore[method-assign]


class StillMeter:
    """Measures nothing."""

    def __init__(self, device: str) -> None:
        self.facts = {"seconds": 0.0, "peak_mb": 1.0}

    def __enter__(self) -> StillMeter:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to stop."""


def _work(job: dict[str, Any]) -> int:
    place = Path(job["place"])
    os.setpgrp()
    os.chdir(place)
    os.environ["FAKE_LOG"] = str(place / "calls.log")
    _install(job)
    from wsss_bench.cli import main

    disk = Disk(place / "work", job.get("how", "count"), job.get("at", -1))
    sys.addaudithook(disk.hook)
    status = main(job["arguments"])
    disk.at = -1
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2
    )
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if job.get("report"):
        Path(job["report"]).write_text(
            json.dumps({"events": disk.events, "modules": list(sys.modules)})
        )
    return status


class Started:
    """A process that was forked for a job, and the pipes that take what it prints.

    No file takes it: the size of files can be limited in a job.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self._place = Path(job["place"])
        self._place.mkdir(parents=True, exist_ok=True)
        self._pipes = [os.pipe() for _ in range(2)]
        for reading, writing in self._pipes:
            os.set_blocking(reading, False)
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2**20)
        self._pid = os.fork()
        if not self._pid:
            for (_, writing), number in zip(self._pipes, (1, 2), strict=True):
                os.dup2(writing, number)
            _end(job)

    def wait(self) -> int:
        """The exit status; what was printed is in ``out.txt`` and ``err.txt`` of the job's place."""
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        for (reading, writing), name in zip(
            self._pipes, ("out.txt", "err.txt"), strict=True
        ):
            os.close(writing)
            printed = b""
            with suppress(
                BlockingIOError
            ):  # a process of its pool may still hold the other end
                while more := os.read(reading, 2**20):
                    printed += more
            os.close(reading)
            (self._place / name).write_bytes(printed)
        return status


def _end(job: dict[str, Any]) -> None:
    status = 99
    try:
        status = _work(job)
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
    os._exit(status)


def _warm(modules: Iterable[str]) -> None:
    """Import what the jobs will, once for all of them."""
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.runs.provenance.code import method_closure, step_closure
    from wsss_bench.runs.provenance.facts import versions

    for name in modules:
        if name.partition(".")[0] in (
            "wsss_bench",
            "numpy",
            "PIL",
            "pluggy",
            "rich",
            "logging",
            "torch",
            "mmengine",
            "mmseg",
            "scipy",
        ):
            try:
                import_module(name)
            except Exception:  # parts of large packages cannot be imported on their own; the job will import them
                continue
    versions()
    # What the sources of the harness import is read once here; a job would read it for itself.
    for step in ("predict", "score_seeds", "score_labels", "score_val"):
        step_closure(step)
    for name in Catalog().names():
        method = Catalog().load(name)
        for stage in method.card.stages:
            method_closure(method, stage)


def serve() -> None:
    """Answer jobs until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # some packages print when they are imported
    for line in sys.stdin:
        asked = json.loads(line)
        if "warm" in asked:
            _warm(asked["warm"])
            print("[0]", file=answers, flush=True)
            continue
        children = [Started(job) for job in asked["jobs"]]
        print(
            json.dumps([child.wait() for child in children]), file=answers, flush=True
        )


class Server:
    """The other end of `serve`."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=pipe,
            stdout=pipe,
            text=True,
            env=environment,
        )

    def _ask(self, message: dict[str, Any]) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(message), file=self._process.stdin, flush=True)
        answer: list[int] = json.loads(self._process.stdout.readline())
        return answer

    def run(self, *jobs: dict[str, Any]) -> list[int]:
        """Run the jobs at the same time; their exit statuses, negative for the signal that ended one."""
        return self._ask({"jobs": jobs})

    def warm(self, modules: Iterable[str]) -> None:
        """Let the server import `modules`."""
        self._ask({"warm": list(modules)})

    def close(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# What there is to kill -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Moment:
    """One kill: before event `at`, or (`how` is ``torn``) with the file that event ``at - 1`` opened cut short."""

    at: int
    how: str
    where: str


def moments(events: list[dict[str, Any]]) -> list[Moment]:
    """Every kill there is to try in a run that meets `events`."""
    found = []
    for number, event in enumerate(events):
        found.append(Moment(number, "kill", where(event["path"])))
        if event["torn"]:
            found.append(Moment(number, "torn", where(events[number - 1]["path"])))
    return found


_ROOMS = {"out": "artifact", "scratch": "checkpoints"}


def where(path: str) -> str:
    """What a path below the work dir belongs to, as the table in docs/robustness.md calls it."""
    parts = PurePath(path).parts
    if parts[0] == "store" and len(parts) > 1:
        return f"{parts[1]}: {_ROOMS.get(parts[3] if len(parts) > 3 else '', 'commit')}"
    if parts[0] == "leaderboards":
        return "run record" if len(parts) > 1 and parts[1] == "runs" else "leaderboard"
    return {"cells": "cell file", "logs": "log"}.get(parts[0], "work dir")


def sample(every: list[Moment], step: int) -> list[Moment]:
    """Of each place and kind the first, the last, and every `step`-th moment between."""
    groups: dict[tuple[str, str], list[Moment]] = {}
    for moment in every:
        groups.setdefault((moment.where, moment.how), []).append(moment)
    chosen = {
        moment
        for group in groups.values()
        for moment in [group[0], group[-1], *group[step // 2 :: step]]
    }
    return sorted(chosen, key=lambda moment: (moment.at, moment.how))


def table(every: list[Moment]) -> str:
    """The Markdown table of the sweep, by place."""
    counted = Counter((moment.where, moment.how) for moment in every)
    places = list(dict.fromkeys(moment.where for moment in every))
    lines = [
        "| while it writes | kills before a change | kills inside a write |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {place} | {counted[place, 'kill']} | {counted[place, 'torn']} |"
        for place in places
    ]
    totals = [
        sum(n for (_, how), n in counted.items() if how == kind)
        for kind in ("kill", "torn")
    ]
    return "\n".join([*lines, f"| all | {totals[0]} | {totals[1]} |"]) + "\n"


if __name__ == "__main__":
    serve()
