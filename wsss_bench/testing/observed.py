"""Runs one stage of one method as the pipeline would, counts what it does, may kill it, and looks at what came out."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    SeedSet,
    Segmentor,
    read_segmentor,
)
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import ArtifactError, LeakError, PluginError
from wsss_bench.methods.catalog import LoadedMethod
from wsss_bench.runs import stage as runner
from wsss_bench.runs.attempt import Attempt
from wsss_bench.runs.plan import key_params, without
from wsss_bench.runs.stage import Settings, StageCall
from wsss_bench.runs.store.folders import TRAINING, StageSpec, Store
from wsss_bench.runs.trainings import KeptTrainings
from wsss_bench.testing.events import Events, Kill
from wsss_bench.testing.outputs import (
    check_probabilities,
    digest,
    digests,
    label_problems,
    seed_problems,
)

SEED = 3


Facts = dict[str, Any]
"""What happened in a stage, as JSON can hold it."""


@dataclass(frozen=True)
class Stage:
    """One stage to run.

    Attributes:
        method, name: whose stage, and which (``refine.2`` is that of the second round).
        params: all parameters in force.
        view: the training images.
        folder: where its files go.
        seeds, labels, previous, previous_labels: folders of results that it is given.
        masks: a folder of masks, for a method whose card declares them.
        test_settings: names in `params` that trainings do not depend on.
        sealed: files and folders that its code must not open.
    """

    method: LoadedMethod
    name: str
    params: Mapping[str, Any]
    view: WeakView
    folder: Path
    seeds: Path | None = None
    labels: Path | None = None
    previous: Path | None = None
    previous_labels: Path | None = None
    masks: Path | None = None
    test_settings: tuple[str, ...] = ()
    sealed: tuple[Path, ...] = ()

    @property
    def hook(self) -> str:
        """``refine`` for ``refine.2``."""
        return self.name.partition(".")[0]

    @property
    def round(self) -> int:
        """2 for ``refine.2``."""
        return int(self.name.partition(".")[2] or 1)

    @property
    def store(self) -> Store:
        """Where the stage's trainings are kept."""
        return Store(self.folder / "store")

    def given(self) -> dict[str, Path]:
        """Return the folders of results that the stage is given, by role."""
        folders = {
            "seeds": self.seeds,
            "labels": self.labels,
            "previous": self.previous,
            "previous_labels": self.previous_labels,
        }
        found = {}
        for role, path in folders.items():
            if path is not None:
                found[role] = path
        return found


def run_stage(stage: Stage, kill: Kill | None = None) -> Facts:
    """Run the stage and return what happened, as JSON-ready facts.

    Returns:
        ``ok, check, message`` (which check a failure belongs to), ``events, seconds, touched`` (inputs that changed),
        ``trainings`` (of each one that the store keeps, the number of events before and after it) and ``files``
        (digest by name of everything in the stage's folder of results, and of what its trainings left).
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
    touched = [name for name in sorted(before) if now.get(name) != before[name]]
    files = digests(stage.folder / "out")
    # A training that is not repeatable shows in its own files even where the maps come out alike.
    files.update(_learnt(stage))
    return {
        "ok": not check,
        "check": check,
        "message": message,
        "events": events.count,
        "seconds": time.monotonic() - start,
        "touched": touched,
        "trainings": events.trainings,
        "files": files,
    }


_READERS: Mapping[str, Callable[[Path], Any]] = {
    "seeds": SeedSet,
    "labels": LabelSet,
    "previous": read_segmentor,
    "previous_labels": LabelSet,
}


def _run(stage: Stage, events: Events) -> None:
    inputs = {}
    for role, path in stage.given().items():
        inputs[role] = _READERS[role](path)
    masks = None
    if stage.masks is not None:
        masks = _mask_reader(stage.masks, stage.view.num_classes)
    call = StageCall(
        stage.method,
        stage.hook,
        stage.params,
        stage.view,
        stage.folder,
        seed=SEED,
        round=stage.round,
        inputs=inputs,
        test_settings=stage.test_settings,
        masks=masks,
        sealed=stage.sealed,
        trainings=_trainings(stage, events),
        settings=Settings(log=logging.getLogger("wsss_bench.check")),
        progress=events.note,
        prepare=events.count_writes,
    )
    _check_items(stage, runner.run_stage(call))


def _trainings(stage: Stage, events: Events) -> KeptTrainings | None:
    """Keep the trainings of a stage where a run would keep them, in a store of the stage's own."""
    trained = without(stage.params, stage.test_settings)
    if len(trained) == len(stage.params):
        return None
    parts = {"of": stage.name, "params": key_params(trained)}
    folder = stage.store.folder(StageSpec(stage.hook, parts))
    attempt = Attempt(folder, stage.store, "cpu", ())
    return KeptTrainings(stage.store, parts, attempt, watch=events.watch)


def _learnt(stage: Stage) -> dict[str, str]:
    """Return the digest of every file that the kept trainings of a stage left, by training and name."""
    found = {}
    for path in stage.store.folders():
        folder = stage.store.read(path)
        if folder.spec.stage == TRAINING and folder.commit_record():
            name = folder.spec.parts["name"]
            for file, content in digests(folder.out).items():
                found[f"training {name}: {file}"] = content
    return found


def _check_items(stage: Stage, result: Any) -> None:
    """Read every item back from the disk: a plugin may have written some past the writer, which checks."""
    problems: list[str] = []
    if isinstance(result, SeedSet):
        problems = seed_problems(result, stage.view)
    elif isinstance(result, LabelSet):
        problems = label_problems(result, stage.view, tags=stage.masks is None)
    if problems:
        more = f" And {len(problems) - 1} more images." if len(problems) > 1 else ""
        raise ArtifactError(f"{stage.method.who}: {stage.hook}: {problems[0]}{more}")


def predict_val(
    segment_out: Path,
    view: WeakView,
    folder: Path,
    test: Mapping[str, Any],
) -> Facts:
    """Predict `view` with the segmentor in `segment_out`; the same facts as `run_stage`, failures under ``outputs``.

    `test` overrules the segmentor's own prediction settings, as in a run.
    """
    start, check, message = time.monotonic(), "", ""
    try:
        segmentor = runner.in_force(read_segmentor(segment_out), test)
        _predict(segmentor, view, folder / "out")
    except Exception as error:
        check, message = "outputs", f"the segmentor cannot predict: {_explain(error)}"
    return {
        "ok": not check,
        "check": check,
        "message": message,
        "events": 0,
        "seconds": time.monotonic() - start,
        "touched": [],
        "trainings": [],
        "files": digests(folder / "out"),
    }


def _predict(segmentor: Segmentor, view: WeakView, folder: Path) -> None:
    import numpy as np

    from wsss_bench.engine.inference import TestSettings, predict_probabilities
    from wsss_bench.engine.segmentor import load_segmentor

    model = load_segmentor(segmentor, "cpu")
    settings = TestSettings.of(segmentor.test)
    out = LabelWriter(folder, view, "segment: prediction", tags=False)
    for image in view:
        q = predict_probabilities(model, image.read(), settings, "cpu")
        check_probabilities(q, image.id, view.num_classes)
        label = q.argmax(0).astype(np.uint8)
        out.write(image.id, label)
    out.close()


def read_previous(out: Path | None) -> Segmentor | None:
    """Return the segmentor that a stage left in its folder of results, or None for None."""
    return None if out is None else read_segmentor(out)


def _inputs(stage: Stage) -> dict[str, object]:
    """Return everything that a stage may look at and must leave alone."""
    view = stage.view
    found: dict[str, object] = {}
    for image in view:
        found[f"image {image.id}"] = (image.labels, digest(image.path))
    ids = tuple(image.id for image in view)
    found["view"] = (
        view.dataset,
        view.split,
        view.classes,
        ids,
    )
    for role, folder in stage.given().items():
        found[role] = digests(folder)
    return found


def _mask_reader(folder: Path, num_classes: int) -> Callable[[str], Any]:
    from wsss_bench.data.masks import read_mask

    return lambda image_id: read_mask(folder / f"{image_id}.png", None, num_classes)


def _blame(error: Exception) -> str:
    """Return the check that a failure belongs to."""
    seen: BaseException | None = error
    # A plugin may wrap the refusal into an error of its own.
    while seen is not None:
        if isinstance(seen, LeakError):
            return "sealed masks"
        seen = seen.__cause__ or seen.__context__
    return "outputs" if isinstance(error, ArtifactError) else "runs"


_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STANDARD_LIBRARY = os.path.dirname(os.__file__)


def _explain(error: Exception) -> str:
    """Return the message, and where in the author's own code it came from."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PluginError | ArtifactError | LeakError):
        text = str(error)
    source = error.__cause__ or error
    frames = traceback.extract_tb(source.__traceback__)
    # The author can only change their own lines; where the harness noticed says nothing to them.
    own = [frame for frame in frames if _is_authors(frame.filename)]
    if not own:
        return text
    last = own[-1]
    file = os.path.basename(last.filename)
    return f"{text} ({file}, line {last.lineno})"


def _is_authors(filename: str) -> bool:
    if filename.startswith((_PACKAGE, _STANDARD_LIBRARY)):
        return False
    return "site-packages" not in filename
