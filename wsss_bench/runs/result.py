"""What a run leaves, for a script or a notebook: its cells, their numbers as tables, their maps as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import MANIFEST, LabelSet, SeedSet
from wsss_bench.errors import DataError, did_you_mean
from wsss_bench.io.files import read_json
from wsss_bench.results.records import (
    RECORD,
    RUNS,
    RunRecord,
    load_record,
    load_records,
)
from wsss_bench.runs.frames import as_html, facts_of, make_frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from wsss_bench.runs.plan import Cell
    from wsss_bench.runs.session import Finish, Session


@dataclass(frozen=True)
class CellResult:
    """One recipe with one seed, and how it ended.

    Attributes:
        id: names the cell over repetitions of the same command.
        recipe, seed, dataset, profile: what was run.
        classes: class names by mask id.
        run_id: names the result; None where the cell failed.
        error: why the cell failed; None where it did not.
        record: the file of its run record.
        folders: where its maps are, by ``"seeds"``, ``"labels"``, ``"prediction"`` and ``"prediction_crf"``.
    """

    id: str
    recipe: str
    seed: int
    dataset: str
    profile: str
    classes: tuple[str, ...]
    run_id: str | None
    error: str | None
    record: Path
    folders: Mapping[str, Path] = field(repr=False, default_factory=dict)

    def load(self) -> RunRecord | None:
        """Return the run record, or None where the cell failed."""
        # The file may be there all the same, from an earlier run with the same keys that did not fail.
        if self.run_id is None:
            return None
        return load_record(self.record)


Which = CellResult | str | int
"""A cell, its id, its recipe (where only one cell has it), or its place among the cells of the run."""


@dataclass(frozen=True)
class RunResult:
    """What a run leaves. Can be pickled; arrays and counts are read from the work dir when they are asked for.

    Attributes:
        cells: all cells, those that failed included.
        failed: why, by cell id; a recipe whose plugin is broken stands there under its own text.
        boards: the folder of records and tables.
        unbuilt: why the tables could not be built (two runs in the folder may not go together); else None.
    """

    cells: tuple[CellResult, ...]
    failed: Mapping[str, str]
    boards: Path
    unbuilt: str | None = None

    def frame(self, kind: str = "wide") -> pd.DataFrame:
        """Return the numbers as a pandas table, in percent.

        Args:
            kind: ``"wide"``: one row a cell with its mIoU at every stage; ``"long"``: one row for each cell, stage and
                class with its IoU.
        """
        return make_frame(map(_row, self.cells), kind)

    def cell(self, which: Which = 0) -> CellResult:
        """Return the cell that `which` names; see `Which`.

        Raises:
            DataError: there is none, or more than one.
        """
        if isinstance(which, CellResult):
            return which
        if isinstance(which, int):
            return self.cells[which]
        found = [one for one in self.cells if which in (one.id, one.recipe)]
        # A recipe with several seeds has several cells, and none of them is *the* result.
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(one.id for one in found)
            raise DataError(f"{which!r} was run {len(found)} times. Name one of: {ids}")
        names = {one.id for one in self.cells}
        names |= {one.recipe for one in self.cells}
        raise DataError(f"there is no cell {which!r}.{did_you_mean(which, names)}")

    def images(self, cell: Which = 0, what: str = "labels") -> tuple[str, ...]:
        """Return the ids of the images that have ``"seeds"``, ``"labels"``, a ``"prediction"`` or ``"prediction_crf"``.

        Raises:
            DataError: the cell has none of these.
        """
        manifest = read_json(_folder(self.cell(cell), what) / MANIFEST)
        return tuple(manifest["ids"])

    def seeds(self, cell: Which, image_id: str) -> dict[str, NDArray[np.float32]]:
        """Return the seeds of a training image: by class name, scores in [0, 1] as ``float32 [H, W]``."""
        which = self.cell(cell)
        seed = SeedSet(_folder(which, "seeds"))[image_id]
        scores = seed.upsampled()
        found = {}
        for number, score in zip(seed.class_ids.tolist(), scores, strict=True):
            found[which.classes[number]] = score
        return found

    def labels(self, cell: Which, image_id: str) -> NDArray[np.uint8]:
        """Return the pseudo-label of a training image, of the last round: mask ids as ``uint8 [H, W]``, 255 = none."""
        return _labels(self.cell(cell), "labels")[image_id]

    def prediction(
        self, cell: Which, image_id: str, crf: bool | None = None
    ) -> NDArray[np.uint8]:
        """Return the prediction for a validation image: mask ids as ``uint8 [H, W]``.

        Args:
            cell: which cell; see `cell`.
            image_id: which image.
            crf: after the CRF or before it; None: after it, where the recipe has one.

        Raises:
            DataError: the cell predicted nothing, or not after a CRF.
            ArtifactError: there is no such image.
        """
        which = self.cell(cell)
        # What counts is what a reader would show as the method's result, which is after the CRF.
        if crf is None:
            crf = "prediction_crf" in which.folders
        name = "prediction_crf" if crf else "prediction"
        return _labels(which, name)[image_id]

    def _repr_html_(self) -> str:
        """Return the wide table and the failures, as a notebook shows them."""
        notes = [f"failed: {cell}: {error}" for cell, error in self.failed.items()]
        if self.unbuilt:
            notes.append(self.unbuilt)
        title = f"Cells: {len(self.cells)}. Records and tables: {self.boards}"
        return as_html(self.frame(), title, notes)


@dataclass(frozen=True)
class Board:
    """The run records of a leaderboard folder.

    Attributes:
        folder: where the records lie.
        records: one a run, ordered by dataset and run id.
    """

    folder: Path
    records: tuple[RunRecord, ...]

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that have runs, by name."""
        names = [str(one.dataset["name"]) for one in self.records]
        return tuple(dict.fromkeys(names))

    def frame(self, kind: str = "wide", dataset: str | None = None) -> pd.DataFrame:
        """Return the numbers of all runs (or of one dataset's) as a pandas table, in percent.

        Args:
            kind: ``"wide"``: one row a run with its mIoU at every stage; ``"long"``: one row for each run, stage and
                class.
            dataset: only the runs on it.

        Raises:
            DataError: no run is on that dataset.
        """
        if dataset is not None and dataset not in self.datasets:
            hint = did_you_mean(dataset, self.datasets)
            raise DataError(f"{self.folder} has no run on {dataset!r}.{hint}")
        rows = []
        for record in self.records:
            if dataset in (None, record.dataset["name"]):
                rows.append((facts_of(record), record))
        return make_frame(rows, kind)

    def _repr_html_(self) -> str:
        """Return the wide table, as a notebook shows it."""
        return as_html(self.frame(), f"Runs in {self.folder}: {len(self.records)}")


def load_board(folder: str | Path) -> Board:
    """Return the run records below `folder`, which is what ``wsss-bench run`` calls its leaderboard folder.

    Raises:
        DataError: there is no record.
        ArtifactError: a record is unsound.
    """
    place = Path(folder)
    records = load_records(place)
    if not records:
        raise DataError(f"there are no runs under {place / RUNS}.")
    return Board(place, tuple(records))


def result_of(session: Session, finish: Finish) -> RunResult:
    """Return what a session that has run leaves."""
    cells = [_cell_result(session, cell, finish) for cell in session.cells]
    failed = dict(finish.failed)
    for recipe, error in session.refused.items():
        failed[recipe] = str(error)
    unbuilt = None if finish.unbuilt is None else str(finish.unbuilt)
    return RunResult(tuple(cells), failed, session.request.boards, unbuilt)


def _cell_result(session: Session, cell: Cell, finish: Finish) -> CellResult:
    error = finish.failed.get(cell.id)
    # Known without looking: the record of these stages, whoever computed them, lies nowhere else.
    runs = session.request.boards / RUNS
    record = runs / cell.dataset / cell.run_id / RECORD
    return CellResult(
        id=cell.id,
        recipe=str(cell.resolved.recipe),
        seed=cell.seed,
        dataset=cell.dataset,
        profile=cell.profile,
        classes=tuple(session.source.dataset.classes),
        run_id=None if error else cell.run_id,
        error=error,
        record=record,
        folders=dict(_folders(session, cell)),
    )


def _folders(session: Session, cell: Cell) -> Iterator[tuple[str, Path]]:
    """Yield the folders of maps that exist; a cell that failed late has those of its first stages."""
    from wsss_bench.runs.pipeline import CRF, RAW

    places = (
        ("localize", "seeds", "."),
        ("refine", "labels", "."),
        ("predict", "prediction", RAW),
        ("predict", "prediction_crf", CRF),
    )
    for stage, name, part in places:
        step = cell.last(stage)
        if step is None:
            continue
        folder = session.store.folder(step.spec)
        path = folder.out / part
        # A stage that stopped half-way has an ``out`` too, with no manifest in it.
        committed = folder.commit_record() is not None
        if committed and path.is_dir():
            yield name, path


def _row(cell: CellResult) -> tuple[Mapping[str, Any], RunRecord | None]:
    record = cell.load()
    known = {
        "dataset": cell.dataset,
        "recipe": cell.recipe,
        "seed": cell.seed,
        "profile": cell.profile,
    }
    facts = {"cell": cell.id, **(facts_of(record) if record else known)}
    facts["error"] = cell.error
    return facts, record


def _folder(cell: CellResult, name: str) -> Path:
    if name not in cell.folders:
        has = ", ".join(cell.folders) or "nothing"
        raise DataError(f"cell {cell.id} has no {name}, it has {has}.")
    return cell.folders[name]


def _labels(cell: CellResult, name: str) -> LabelSet:
    return LabelSet(_folder(cell, name))
