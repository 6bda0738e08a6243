"""Runs one cell: looks every step up in the store, computes what is missing, and commits it."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    SeedSet,
    Segmentor,
    read_segmentor,
)
from wsss_bench.contract.context import Progress, StageContext
from wsss_bench.contract.view import WeakView
from wsss_bench.errors import ArtifactError, disk_error
from wsss_bench.io.opened import roots
from wsss_bench.io.sealing import shut
from wsss_bench.methods.code import note_loaded
from wsss_bench.runs.attempt import Attempt
from wsss_bench.runs.plan import Cell, Step
from wsss_bench.runs.progress import Observer
from wsss_bench.runs.provenance.code import harness_digest
from wsss_bench.runs.scoring import (
    notes_of,
    score_labels,
    score_seeds,
    score_val,
)
from wsss_bench.runs.source import Source
from wsss_bench.runs.stage import REFUSED, Settings, StageCall, in_force, run_stage
from wsss_bench.runs.store.folders import StageFolder, Store
from wsss_bench.runs.store.imports import LateImports, watch_for
from wsss_bench.runs.trainings import KeptTrainings, StageBusy

Record = dict[str, Any]
"""What a folder's ``commit.json`` holds."""

GPUS = "gpus"
"""Says in a commit how many processes shared the stage's trainings, where they were several."""

RAW, CRF = "raw", "crf"
"""Folders of predictions without and with CRF."""


@dataclass(frozen=True)
class Finished:
    """All steps of a cell, committed: their folders and commit records by step name."""

    cell: Cell
    folders: dict[str, StageFolder]
    commits: dict[str, Record]


class CellFailed(Exception):
    """Carries the step at which a cell stopped; the error is its cause."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__(step.name)


class CellRunner:
    """Runs the steps of one cell in order.

    `broken` holds the stages (by key) that failed in this process and why; cells that share one fail at once, instead
    of after the same hours again. It is never written to the store. An impatient runner raises `StageBusy` instead of
    waiting for another process.
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
        self.cell, self.source = cell, source
        self.store, self.settings = store, settings
        self.observer = observer or Observer()
        self._broken = {} if broken is None else broken
        self._patient = patient
        self._results: dict[str, Any] = {}

    def run(self) -> Finished:
        """Compute what is missing and return everything.

        Raises:
            CellFailed: a step raised; what was finished before stays finished, what was half done is continued next
                time.
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
                raise CellFailed(step) from self._failed(step, caught)
            folders[step.name] = folder
        return Finished(self.cell, folders, commits)

    def _failed(self, step: Step, caught: Exception) -> Exception:
        error = disk_error(caught, step.name) or caught
        self._broken[step.spec.key] = error
        trace = "".join(traceback.format_exception(error))
        self.settings.log.error("%s failed:\n%s", step.name, trace)
        return error

    def _step(self, step: Step, folder: StageFolder) -> Record:
        record = folder.commit_record()
        cached = record is not None
        if record is None:
            with folder.lock(lambda: self._wait(step)):
                # Whoever held the lock may have finished the step meanwhile.
                record = folder.commit_record()
                cached = record is not None
                if record is None:
                    record = self._compute(step, folder)
        # Its process may have been killed between the commit and the cleaning.
        if folder.scratch.exists():
            folder.clean()
        seconds = float(record.get("seconds", 0))
        self.observer.step_done(self.cell, step, seconds, cached)
        if step.stage.startswith("score"):
            for note in notes_of(folder.out):
                self._note(note)
        return record

    def _note(self, line: str) -> None:
        self.observer.note(f"{self.cell.label}: {line}")

    def _wait(self, step: Step) -> None:
        if not self._patient:
            raise StageBusy(step.name)
        self.observer.step_waiting(self.cell, step)

    def _compute(self, step: Step, folder: StageFolder) -> Record:
        self.observer.step_started(self.cell, step)
        where = f"{step.stage}/{step.spec.key[:16]}"
        self.settings.log.info("%s starts in %s", step.name, where)
        places = roots(self.source.dataset)
        facts: Record = {"code": harness_digest(step.closure)}
        team = self.settings.ranks
        if team is not None and step.method is not None:
            facts[GPUS] = team.world
        attempt = Attempt(folder, self.store, self.settings.device, places, facts)
        with attempt.open() as whole:
            if not whole:
                self._watched(step, folder, attempt)
        return attempt.commit()

    def _watched(self, step: Step, folder: StageFolder, attempt: Attempt) -> None:
        """Work, and note what turns out to be imported besides what the key holds."""
        code = step.method.code if step.method else None
        watch = watch_for(step.closure, code)
        began = time.time_ns()
        with watch.open():
            self._work(step, folder, attempt)
        if code is not None:
            note_loaded(code.walk, began)
        # What is looked at again here the stage did not read.
        with attempt.elsewhere():
            self._check_data(step, folder)
        # Before the commit: a stage that is finished has its notes.
        LateImports(self.store.root).note(step.spec.key, watch.found())

    def _check_data(self, step: Step, folder: StageFolder) -> None:
        """Raise `ArtifactError` where files of the dataset changed under the stage: its key tells of others."""
        changed = self.source.changed()
        if not changed:
            return
        # What was made of both is neither's.
        folder.discard()
        where = f"{self.source.dataset.name}: {', '.join(changed)}"
        what = f"{where} changed while {step.name} was computed, which is discarded."
        raise ArtifactError(f"{what} Leave the data alone and run the command again.")

    def _work(self, step: Step, folder: StageFolder, attempt: Attempt) -> None:
        if step.method is not None:
            run_stage(self._call(step, folder, attempt))
            return
        own = {
            "score_seeds": self._score_seeds,
            "score_labels": self._score_labels,
            "predict": self._predict,
            "score_val": self._score_val,
        }
        own[step.stage](step, folder)

    def _call(
        self,
        step: Step,
        folder: StageFolder,
        attempt: Attempt,
    ) -> StageCall:
        method = step.method
        assert method is not None
        supervision = method.card.supervision
        masks = None
        if "masks" in supervision:
            masks = self.source.train_masks.__getitem__
        inputs = {}
        for role in step.inputs:
            inputs[role] = self._input(step, role)
        return StageCall(
            method,
            step.stage,
            step.handed,
            self.source.train,
            folder.path,
            seed=self.cell.seed,
            round=step.round,
            inputs=inputs,
            test_settings=step.test_settings,
            masks=masks,
            sealed=self.source.sealed(supervision),
            facts={"key": step.spec.key, "by": method.who},
            trainings=self._trainings(step, attempt),
            settings=self.settings,
            progress=self._progress(step),
        )

    def _trainings(self, step: Step, attempt: Attempt) -> KeptTrainings | None:
        # Without test settings no other stage could share a training, so it lives and dies with the stage.
        if step.training is None:
            return None
        return KeptTrainings(
            self.store,
            step.training,
            attempt,
            self._broken,
            wait=lambda: self._wait(step),
        )

    def _progress(self, step: Step) -> Progress:
        def report(what: str, done: int, total: int) -> None:
            self.observer.step_progress(self.cell, step, what, done, total)

        return report

    def _input(self, step: Step, role: str) -> Any:
        return self._results[step.inputs[role]]

    def _score_seeds(self, step: Step, folder: StageFolder) -> None:
        seeds = self._input(step, "seeds")
        threshold = step.spec.parts["threshold"]
        progress = self._progress(step)
        score_seeds(seeds, self.source, threshold, folder.out, progress)

    def _score_labels(self, step: Step, folder: StageFolder) -> None:
        labels = self._input(step, "labels")
        progress = self._progress(step)
        score_labels(labels, self.source, folder.out, progress)

    def _score_val(self, step: Step, folder: StageFolder) -> None:
        predictions = self._input(step, "predictions")
        progress = self._progress(step)
        score_val(predictions, self.source, folder.out, progress)

    def _predict(self, step: Step, folder: StageFolder) -> None:
        segmentor = in_force(self._input(step, "segmentor"), step.test)
        view = self.source.val
        facts = {"key": step.spec.key, "by": "wsss-bench"}
        # Predictions know no image-level labels, so any class may stand anywhere.
        writer = partial(LabelWriter, view=view, facts=facts, tags=False)
        out = writer(folder.out / RAW, who="predict")
        out_crf = None
        if segmentor.test.get("crf", True):
            out_crf = writer(folder.out / CRF, who="predict with CRF")
        # The network may be the plugin's own code; to predict it needs no mask, whatever it was trained on.
        owner = self.cell.resolved.methods["segment"].who
        sealed = self.source.sealed(())
        with shut(sealed, folder.path / REFUSED, f"{owner}: prediction"):
            context = self._context(step, folder)
            predict_images(segmentor, view, out, out_crf, context)
        out.close()
        if out_crf is not None:
            out_crf.close()

    def _context(self, step: Step, folder: StageFolder) -> StageContext:
        return StageContext(
            seed=self.cell.seed,
            device=self.settings.device,
            params={},
            scratch=folder.scratch,
            out_dir=folder.out,
            workers=self.settings.workers,
            progress=self._progress(step),
            log=self.settings.log,
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
    """Return what a committed step hands on.

    That is a `SeedSet`, a `LabelSet`, a `Segmentor`, predictions by name (`RAW`, `CRF`), or the folder of scores.
    """
    if step.stage == "localize":
        return SeedSet(folder.out)
    if step.stage == "refine":
        return LabelSet(folder.out)
    if step.stage == "segment":
        return read_segmentor(folder.out)
    if step.stage == "predict":
        return _predictions(folder.out)
    return folder.out


def _predictions(out: Path) -> dict[str, LabelSet]:
    found = {}
    for name in (RAW, CRF):
        # A method may predict without a CRF.
        if (out / name).is_dir():
            found[name] = LabelSet(out / name)
    return found
