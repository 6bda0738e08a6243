"""Runs one cell: looks every step up in the store, computes what is missing, and writes the run record."""

from __future__ import annotations

import logging
import shutil
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    SeedSet,
    SeedWriter,
    Segmentor,
    read_segmentor,
    write_segmentor,
)
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import ArtifactError, PluginError, disk_error
from wsss_bench.io.opened import DATA_FILES, OpenedFiles, roots
from wsss_bench.io.sealing import shut
from wsss_bench.methods.hooks import call_hook
from wsss_bench.runs.plan import Cell, Step, plugin_params
from wsss_bench.runs.progress import Observer
from wsss_bench.runs.provenance.facts import harness_digest
from wsss_bench.runs.provenance.meter import Meter
from wsss_bench.runs.scoring import score_labels, score_seeds, score_val
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.folders import StageFolder, Store

REFUSED = "refused.txt"
"""Names of the sealed files that a plugin tried to open; there is none where nothing was tried."""
RAW, CRF = "raw", "crf"


@dataclass(frozen=True)
class Settings:
    """What does not change a result: where and how it is computed."""

    device: str = "cpu"
    workers: int = 1
    visualizers: tuple[str, ...] = ("local",)
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("wsss_bench"))


@dataclass(frozen=True)
class Finished:
    """All steps of a cell, committed: their folders and commit records by step name."""

    cell: Cell
    folders: dict[str, StageFolder]
    commits: dict[str, dict[str, Any]]


class CellFailed(Exception):
    """Carries the step at which a cell stopped; the error is its cause."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__(step.name)


class StageBusy(Exception):
    """Another process computes the step that is due, and the runner was told not to wait."""


class CellRunner:
    """Runs the steps of one cell in order.

    `broken` holds the stages (by key) that failed in this process and why; cells that share one fail at once, instead of
    after the same hours again. It is never written to the store. An impatient runner raises `StageBusy` instead of waiting
    for another process.
    """

    def __init__(
        self,
        cell: Cell,
        source: Source,
        store: Store,
        settings: Settings,
        observer: Observer | None = None,
        broken: dict[str, Exception] | None = None,
        *,
        patient: bool = True,
    ) -> None:
        self.cell, self.source, self.store, self.settings = (
            cell,
            source,
            store,
            settings,
        )
        self.observer = observer or Observer()
        self._broken = {} if broken is None else broken
        self._patient = patient
        self._results: dict[str, Any] = {}

    def run(self) -> Finished:
        """Compute what is missing and return everything.

        Raises:
            CellFailed: a step raised; what was finished before stays finished, what was half done is continued next time.
            StageBusy: only where the runner is impatient.
        """
        folders, commits = {}, {}
        for step in self.cell.steps:
            folder = self.store.folder(step.spec)
            if step.spec.key in self._broken:
                raise CellFailed(step) from self._broken[step.spec.key]
            try:
                commits[step.name] = self._step(step, folder)
                self._results[step.name] = load_result(step, folder)
            except StageBusy:
                raise
            except Exception as caught:
                error = disk_error(caught, step.name) or caught
                self._broken[step.spec.key] = error
                self.settings.log.error(
                    "%s failed:\n%s",
                    step.name,
                    "".join(traceback.format_exception(error)),
                )
                raise CellFailed(step) from error
            folders[step.name] = folder
        return Finished(self.cell, folders, commits)

    def _step(self, step: Step, folder: StageFolder) -> dict[str, Any]:
        record = folder.commit_record()
        cached = record is not None
        if record is None:
            with folder.lock(lambda: self._wait(step)):
                record = folder.commit_record()
                cached = record is not None
                if record is None:
                    record = self._compute(step, folder)
        elif (
            not step.stage.startswith("score")
            and record.get("code") != harness_digest()
        ):
            self.observer.note(
                f"{self.cell.label}: {step.name} was computed by other code of the engine or toolbox and is reused."
            )
        if (
            folder.scratch.exists()
        ):  # its process was killed between the commit and the cleaning
            folder.clean()
        self.observer.step_done(
            self.cell, step, float(record.get("seconds", 0)), cached
        )
        return record

    def _wait(self, step: Step) -> None:
        if not self._patient:
            raise StageBusy(step.name)
        self.observer.step_waiting(self.cell, step)

    def _compute(self, step: Step, folder: StageFolder) -> dict[str, Any]:
        self.observer.step_started(self.cell, step)
        self.settings.log.info(
            "%s starts in %s/%s", step.name, step.stage, step.spec.key[:16]
        )
        if lost := folder.lost_seconds():
            folder.add_attempt({"seconds": lost})
        folder.begin()
        meter, opened = (
            Meter(self.settings.device),
            OpenedFiles(folder.path / DATA_FILES, roots(self.source.dataset)),
        )
        try:
            with meter, opened:
                # An earlier process may have died between the work and the commit.
                if not folder.whole():
                    self._work(step)(step, folder)
                    folder.list_files()
        except BaseException:
            # On a full disk this fails too, and must not hide the reason.
            with suppress(ArtifactError):
                folder.add_attempt(meter.facts)
            raise
        spent = folder.add_attempt(meter.facts)
        facts = {
            "opened": opened.summary(),
            "code": harness_digest(),
            "device": self.settings.device,
        }
        return folder.commit({**spent, **facts})

    def _work(self, step: Step) -> Callable[[Step, StageFolder], None]:
        return {
            "localize": self._localize,
            "refine": self._refine,
            "segment": self._segment,
            "score_seeds": self._score_seeds,
            "score_labels": self._score_labels,
            "predict": self._predict,
            "score_val": self._score_val,
        }[step.stage]

    def _context(self, step: Step, folder: StageFolder) -> StageContext:
        masks = None
        if step.method is not None and "masks" in step.method.card.supervision:
            masks = self.source.train_masks.__getitem__
        return StageContext(
            seed=self.cell.seed,
            device=self.settings.device,
            params=plugin_params(step.params) if step.params else {},
            scratch=folder.scratch,
            out_dir=folder.out,
            round=step.round,
            workers=self.settings.workers,
            progress=lambda what, done, total: self.observer.step_progress(
                self.cell, step, what, done, total
            ),
            log=self.settings.log,
            masks=masks,
            visualizers=self.settings.visualizers,
        )

    def _input(self, step: Step, role: str) -> Any:
        return self._results[step.inputs[role]] if role in step.inputs else None

    def _localize(self, step: Step, folder: StageFolder) -> None:
        out = SeedWriter(folder.out, self.source.train, _who(step), _facts(step))
        result = self._call(
            step,
            folder,
            view=self.source.train,
            out=out,
            ctx=self._context(step, folder),
        )
        _check_result(step, result, SeedSet, out)

    def _refine(self, step: Step, folder: StageFolder) -> None:
        ctx = self._context(step, folder)
        # True masks may hold classes that the tags leave out (VOC's "difficult" objects).
        out = LabelWriter(
            folder.out,
            self.source.train,
            _who(step),
            _facts(step),
            tags=ctx.masks is None,
        )
        seeds, previous = self._input(step, "seeds"), self._input(step, "previous")
        result = self._call(
            step,
            folder,
            view=self.source.train,
            seeds=seeds,
            previous=previous,
            out=out,
            ctx=ctx,
        )
        _check_result(step, result, LabelSet, out)

    def _segment(self, step: Step, folder: StageFolder) -> None:
        inputs = {
            role: self._input(step, role) for role in ("labels", "seeds", "previous")
        }
        result = self._call(
            step,
            folder,
            view=self.source.train,
            ctx=self._context(step, folder),
            **inputs,
        )
        if not isinstance(result, Segmentor):
            raise PluginError(
                _owner(step),
                "segment",
                f"returned {type(result).__name__}.",
                "Return ctx.segmentor(config, checkpoint).",
            )
        keep_result(result, folder)

    def _call(self, step: Step, folder: StageFolder, **arguments: Any) -> Any:
        assert step.method is not None
        with self._shut(folder, _who(step), step.method.card.supervision):
            return call_hook(step.method.plugin, step.stage, step.method.who, arguments)

    def _shut(
        self, folder: StageFolder, who: str, supervision: tuple[str, ...]
    ) -> AbstractContextManager[None]:
        """While a plugin's code runs, the masks (and whatever else its card does not declare) cannot be opened."""
        return shut(self.source.sealed(supervision), folder.path / REFUSED, who)

    def _score_seeds(self, step: Step, folder: StageFolder) -> None:
        threshold = step.spec.parts["threshold"]
        score_seeds(
            self._input(step, "seeds"),
            self.source,
            threshold,
            folder.out,
            self._context(step, folder).progress,
        )

    def _score_labels(self, step: Step, folder: StageFolder) -> None:
        score_labels(
            self._input(step, "labels"),
            self.source,
            folder.out,
            self._context(step, folder).progress,
        )

    def _predict(self, step: Step, folder: StageFolder) -> None:
        view, segmentor = self.source.val, self._input(step, "segmentor")
        out = LabelWriter(folder.out / RAW, view, "predict", _facts(step), tags=False)
        out_crf = None
        if segmentor.test.get("crf", True):
            out_crf = LabelWriter(
                folder.out / CRF, view, "predict with CRF", _facts(step), tags=False
            )
        # The network may be the plugin's own code; to predict it needs no mask, whatever it was trained on.
        owner = self.cell.resolved.methods["segment"].who
        with self._shut(folder, f"{owner}: prediction", ()):
            predict_images(segmentor, view, out, out_crf, self._context(step, folder))
        out.close()
        if out_crf is not None:
            out_crf.close()

    def _score_val(self, step: Step, folder: StageFolder) -> None:
        score_val(
            self._input(step, "predictions"),
            self.source,
            folder.out,
            self._context(step, folder).progress,
        )


def predict_images(
    segmentor: Segmentor,
    view: WeakView,
    out: LabelWriter,
    out_crf: LabelWriter | None,
    ctx: StageContext,
) -> None:
    """`wsss_bench.toolbox.prediction.predict`, imported when it is needed: it brings torch along."""
    from wsss_bench.toolbox.prediction import predict

    predict(segmentor, view, out, out_crf, ctx)


def load_result(step: Step, folder: StageFolder) -> Any:
    """What a committed step hands on: a `SeedSet`, `LabelSet`, `Segmentor`, predictions by name, or the folder of scores."""
    if step.stage == "localize":
        return SeedSet(folder.out)
    if step.stage == "refine":
        return LabelSet(folder.out)
    if step.stage == "segment":
        return read_segmentor(folder.out)
    if step.stage == "predict":
        return {
            name: LabelSet(folder.out / name)
            for name in (RAW, CRF)
            if (folder.out / name).is_dir()
        }
    return folder.out


def keep_result(segmentor: Segmentor, folder: StageFolder) -> None:
    """Bring a segmentor's files into the stage's folder, where they are not yet, and describe them in ``segmentor.json``."""
    kept: dict[str, Any] = {}
    for role, path, default in (
        ("config", segmentor.config, "config.py"),
        ("checkpoint", segmentor.checkpoint, "weights.pth"),
    ):
        path = Path(path)
        if not path.is_file():
            raise ArtifactError(
                f"segment: the {role} {path} does not exist. Return ctx.segmentor(config, checkpoint)."
            )
        if not path.resolve().is_relative_to(folder.out.resolve()):
            path = Path(shutil.copyfile(path, folder.out / default))
        kept[role] = path
    write_segmentor(replace(segmentor, **kept), folder.out)


def _owner(step: Step) -> str:
    return step.method.who if step.method else "wsss-bench"


def _who(step: Step) -> str:
    return f"{_owner(step)}: {step.stage}"


def _facts(step: Step) -> dict[str, Any]:
    return {"key": step.spec.key, "by": _owner(step)}


def _check_result(
    step: Step, result: Any, kind: type[SeedSet] | type[LabelSet], out: Any
) -> None:
    if not isinstance(result, kind) or result.path != out.path:
        what = f"returned {type(result).__name__}" + (
            " of another folder." if isinstance(result, kind) else "."
        )
        raise PluginError(
            _owner(step),
            step.stage,
            what,
            "Write every image to `out` and return out.close().",
        )
