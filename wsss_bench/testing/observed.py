"""Runs one stage of one method as the pipeline would, counts what it does, may kill it, and looks at what came out."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    SeedSet,
    SeedWriter,
    Segmentor,
)
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import IGNORE, WeakView
from wsss_bench.errors import ArtifactError, LeakError, PluginError
from wsss_bench.io.images import image_size
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.methods.hooks import call_hook

if TYPE_CHECKING:
    from wsss_bench.runs.store.folders import StageFolder

SEED = 3


@dataclass(frozen=True)
class Kill:
    """When a stage kills its own process (SIGKILL): at event number `event`, or `after` seconds where it has no events."""

    event: int = 0
    after: float = 0.0


class Events:
    """Counts progress reports and writes, the moments at which a stage may be killed."""

    def __init__(self, kill: Kill | None) -> None:
        self.count, self._kill = 0, kill
        if kill is not None and not kill.event:
            threading.Thread(
                target=self._later, args=(kill.after,), daemon=True
            ).start()

    def note(self, *_: object) -> None:
        """One more; the last thing this process does if it is the one to die at."""
        self.count += 1
        if self._kill is not None and self.count == self._kill.event:
            os.kill(os.getpid(), signal.SIGKILL)

    def _later(self, seconds: float) -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, noted before it is called."""

        def call(*arguments: Any, **named: Any) -> Any:
            self.note()
            return function(*arguments, **named)

        return call


@dataclass(frozen=True)
class Stage:
    """One stage to run: the method, its parameters, its inputs, and where its files go."""

    method: LoadedMethod
    name: str
    params: Mapping[str, Any]
    view: WeakView
    folder: Path
    seeds: Path | None = None
    labels: Path | None = None
    previous: Path | None = None
    masks: Path | None = None

    @property
    def hook(self) -> str:
        """``refine`` for ``refine.2``."""
        return self.name.partition(".")[0]

    @property
    def round(self) -> int:
        """2 for ``refine.2``."""
        return int(self.name.partition(".")[2] or 1)


def run_stage(stage: Stage, kill: Kill | None = None) -> dict[str, Any]:
    """Run the stage and return what happened, as JSON-ready facts.

    Returns:
        ``ok, check, message`` (which check a failure belongs to), ``events, seconds, touched`` (inputs that changed) and
        ``files`` (digest by name of everything in the stage's folder of results).
    """
    events, start = Events(kill), time.monotonic()
    (stage.folder / "out").mkdir(parents=True, exist_ok=True)
    (stage.folder / "scratch").mkdir(exist_ok=True)
    before = _inputs(stage)
    check, message = "", ""
    try:
        _run(stage, events)
    except Exception as error:
        check, message = _blame(error), _explain(error)
    now = _inputs(stage)
    touched = sorted(name for name in before if now.get(name) != before[name])
    return {
        "ok": not check,
        "check": check,
        "message": message,
        "events": events.count,
        "seconds": time.monotonic() - start,
        "touched": touched,
        "files": digests(stage.folder / "out"),
    }


def _run(stage: Stage, events: Events) -> None:
    who = f"{stage.method.who}: {stage.hook}"
    out: Any = None
    masks = (
        None
        if stage.masks is None
        else _mask_reader(stage.masks, stage.view.num_classes)
    )
    ctx = StageContext(
        seed=SEED,
        device="cpu",
        params=dict(stage.params),
        scratch=stage.folder / "scratch",
        out_dir=stage.folder / "out",
        round=stage.round,
        workers=1,
        progress=events.note,
        log=logging.getLogger("wsss_bench.check"),
        masks=masks,
    )
    arguments: dict[str, Any] = {"view": stage.view, "ctx": ctx}
    if stage.hook == "localize":
        out = SeedWriter(ctx.out_dir, stage.view, who)
    else:
        arguments["seeds"] = SeedSet(stage.seeds) if stage.seeds else None
        arguments["previous"] = read_previous(stage.previous)
    if stage.hook == "refine":
        out = LabelWriter(ctx.out_dir, stage.view, who, tags=masks is None)
    if stage.hook == "segment":
        arguments["labels"] = LabelSet(stage.labels) if stage.labels else None
    if out is not None:
        out.write = events.counted(out.write)  # type: ignore[method-assign]
        arguments["out"] = out
    result = call_hook(stage.method.plugin, stage.hook, stage.method.who, arguments)
    _check_result(stage, result, out)


def _check_result(stage: Stage, result: Any, out: Any) -> None:
    kind: Any = {"localize": SeedSet, "refine": LabelSet, "segment": Segmentor}[
        stage.hook
    ]
    fix = (
        "Return ctx.segmentor(config, checkpoint)."
        if out is None
        else "Write every image to `out` and return out.close()."
    )
    if not isinstance(result, kind) or (out is not None and result.path != out.path):
        raise PluginError(
            stage.method.who,
            stage.hook,
            f"returned {type(result).__name__}, not its own {kind.__name__}.",
            fix,
        )
    problems: list[str] = []
    if isinstance(result, Segmentor):
        from wsss_bench.runs.pipeline import keep_result

        keep_result(
            result, cast("StageFolder", SimpleNamespace(out=stage.folder / "out"))
        )
    elif isinstance(result, SeedSet):
        problems = seed_problems(result, stage.view)
    else:
        problems = label_problems(result, stage.view, tags=stage.masks is None)
    if problems:
        more = f" And {len(problems) - 1} more images." if len(problems) > 1 else ""
        raise ArtifactError(f"{stage.method.who}: {stage.hook}: {problems[0]}{more}")


def seed_problems(seeds: SeedSet, view: WeakView) -> list[str]:
    """What is wrong with seeds on disk, however they came there: one sentence or more per image."""
    found = []
    for image in view:
        seed = seeds[image.id]
        wrong = seed.problems(image.labels)
        if tuple(seed.size) != image_size(image.path):
            wrong.append(
                f"size is {tuple(seed.size)}, the photograph's is {image_size(image.path)}."
            )
        if wrong:
            found.append(f"image {image.id!r}: {' '.join(wrong)}")
    return found


def label_problems(labels: LabelSet, view: WeakView, *, tags: bool = True) -> list[str]:
    """What is wrong with label maps on disk: size, or classes that the image (or, without `tags`, the data) does not have."""
    import numpy as np

    found = []
    for image in view:
        label = labels[image.id]
        allowed = {
            0,
            IGNORE,
            *(
                image.labels
                if tags and image.labels is not None
                else range(view.num_classes)
            ),
        }
        foreign = sorted(set(np.unique(label).tolist()) - allowed)
        if label.shape != image_size(image.path):
            found.append(
                f"image {image.id!r}: a label must have size {image_size(image.path)}, not {label.shape}."
            )
        elif foreign:
            found.append(
                f"image {image.id!r}: values {foreign} are not allowed; use {sorted(allowed)}."
            )
    return found


def predict_val(segment_out: Path, view: WeakView, folder: Path) -> dict[str, Any]:
    """Predict `view` with the segmentor kept in `segment_out`; the same facts as `run_stage`, failures under ``outputs``."""
    import numpy as np

    from wsss_bench.engine.inference import TestSettings, predict_probabilities
    from wsss_bench.engine.segmentor import load_segmentor

    start, check, message = time.monotonic(), "", ""
    try:
        segmentor = read_previous(segment_out)
        assert segmentor is not None
        model = load_segmentor(segmentor, "cpu")
        out = LabelWriter(folder / "out", view, "segment: prediction", tags=False)
        for image in view:
            q = predict_probabilities(
                model, image.read(), TestSettings.of(segmentor.test), "cpu"
            )
            if q.shape[0] != view.num_classes or not np.isfinite(q).all():
                what = f"image {image.id!r}: the segmentor gives {q.shape[0]} classes, finite: {bool(np.isfinite(q).all())};"
                raise ArtifactError(
                    f"segment: {what} {view.num_classes} finite ones are needed."
                )
            out.write(image.id, q.argmax(0).astype(np.uint8))
        out.close()
    except Exception as error:
        check, message = "outputs", f"the segmentor cannot predict: {_explain(error)}"
    return {
        "ok": not check,
        "check": check,
        "message": message,
        "events": 0,
        "seconds": time.monotonic() - start,
        "touched": [],
        "files": digests(folder / "out"),
    }


def read_previous(out: Path | None) -> Segmentor | None:
    """The segmentor that a stage left in its folder of results."""
    if out is None:
        return None
    from wsss_bench.io.files import read_json

    facts = read_json(out / "segmentor.json")
    return Segmentor(
        out / facts["config"], out / facts["checkpoint"], facts["test"], facts["facts"]
    )


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` by relative name; leftovers of a killed write do not count."""
    files = sorted(
        p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".tmp-")
    )
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
    }


def _inputs(stage: Stage) -> dict[str, object]:
    """Everything a stage may look at and must leave alone."""
    view = stage.view
    found: dict[str, object] = {
        f"image {i.id}": (i.labels, _digest(i.path)) for i in view
    }
    found["view"] = (view.dataset, view.split, view.classes, tuple(i.id for i in view))
    for name, folder in (
        ("seeds", stage.seeds),
        ("labels", stage.labels),
        ("previous", stage.previous),
    ):
        if folder is not None:
            found[name] = digests(folder)
    return found


def _digest(path: Path) -> str:
    return (
        hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    )


def _mask_reader(folder: Path, num_classes: int) -> Callable[[str], Any]:
    from wsss_bench.data.masks import read_mask

    return lambda image_id: read_mask(folder / f"{image_id}.png", None, num_classes)


def _blame(error: Exception) -> str:
    """The check a failure belongs to."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, LeakError):
            return "sealed masks"
        seen = seen.__cause__ or seen.__context__
    return "outputs" if isinstance(error, ArtifactError) else "runs"


def _explain(error: Exception) -> str:
    """The message, and where in the author's own code it came from."""
    source = error.__cause__ or error
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    frames = [
        f
        for f in traceback.extract_tb(source.__traceback__)
        if not f.filename.startswith(own)
    ]
    frames = [
        f
        for f in frames
        if "site-packages" not in f.filename
        and not f.filename.startswith(os.path.dirname(os.__file__))
    ]
    text = (
        str(error)
        if isinstance(error, PluginError | ArtifactError | LeakError)
        else f"{type(error).__name__}: {error}"
    )
    return (
        f"{text} ({os.path.basename(frames[-1].filename)}, line {frames[-1].lineno})"
        if frames
        else text
    )
