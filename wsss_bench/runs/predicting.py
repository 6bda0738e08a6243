"""Predict another split with the segmentor of a finished run, for `export`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.io.files import canonical
from wsss_bench.methods.modules import HARNESS
from wsss_bench.runs.gathered import DIGITS
from wsss_bench.runs.progress import Say, Tenths, silent
from wsss_bench.runs.request import (
    STORE,
    DatasetRequest,
    open_requested,
    resolve_device,
    store_of,
)
from wsss_bench.runs.store.explain import module_changes

if TYPE_CHECKING:
    from wsss_bench.contract.artifacts import LabelWriter, Segmentor
    from wsss_bench.contract.view import WeakView
    from wsss_bench.results.records import RunRecord


@dataclass(frozen=True)
class PredictionRequest:
    """Which run predicts which images, and where.

    Attributes:
        run: a run id, a recipe, or the folder of a record.
        boards: where the run records lie.
        split: the split to predict.
        dataset: the data it is of.
        work_dir: the work dir of the run; the masks go below its ``export``.
        plugins: Python files of methods, for a run whose segmentor has a network of such a file.
        device, workers: as in `wsss_bench.runs.request.RunRequest`.
    """

    run: str
    boards: Path
    split: str
    dataset: DatasetRequest = field(default_factory=DatasetRequest)
    work_dir: Path = Path("work_dirs")
    device: str = "auto"
    workers: int = 1
    plugins: tuple[Path, ...] = ()


def predict_run(request: PredictionRequest, say: Say = silent) -> Path:
    """Predict a split and return the folder of masks, after CRF where the run has it; `say` hears how far it is.

    The folder is kept below the work dir, so an interrupted prediction is taken up where it stopped; other images of
    the same names, or other code, have a folder of their own. `say` also hears where the code is not that of the run.

    Raises:
        DataError: there is no such run, or the dataset has no such split, or other classes.
        ArtifactError: the run's segmentor is no longer in the store.
        RecipeError: its network is made of parts of a plugin that is not there.
        PluginError: a file of `request.plugins` cannot be loaded.
    """
    from wsss_bench.contract.context import StageContext
    from wsss_bench.methods.catalog import load_file
    from wsss_bench.results.records import find_run
    from wsss_bench.toolbox.prediction import predict

    record = find_run(request.run, request.boards)
    # Importing them registers their networks; installed plugins are found by the names that the segmentor keeps.
    for path in request.plugins:
        load_file(path)
    segmentor = stored_segmentor(request.work_dir, record)
    view = _view(request, record, say)
    code = _code(segmentor, request.plugins)
    for line in _changes(record, code):
        say(
            f"warning: code: {line} since the run; predictions may not be those of its network"
        )
    name = f"{request.split}-{_digest(view, code)}"
    folder = request.work_dir / "export" / record.run_id / name
    # A segmentor that does not say predicts with CRF; "" says that it does not.
    with_crf = bool(segmentor.test.get("crf", True))
    raw, crf = _writers(folder, view, record, with_crf)
    context = StageContext(
        seed=record.seed,
        device=resolve_device(request.device),
        params={},
        scratch=folder / "scratch",
        out_dir=folder,
        workers=request.workers,
        progress=Tenths("predict", say),
    )
    predict(segmentor, view, raw, crf, context)
    raw.close()
    if crf is not None:
        crf.close()
    return (crf or raw).path


def _code(segmentor: Segmentor, plugins: Sequence[Path]) -> dict[str, str]:
    """Return the digests of what predicts, by module: the harness, and the plugin that the network is of."""
    from wsss_bench.methods.catalog import Catalog
    from wsss_bench.runs.provenance.code import check_loaded, step_closure

    closure = step_closure("predict")
    check_loaded(closure)
    owner = str(segmentor.plugin.get("name", ""))
    catalog = Catalog(local=plugins)
    if owner in catalog.names():
        code = catalog.load(owner).code
        if code is not None:
            closure = closure.joined(code.of())
    return closure.modules


def _changes(record: RunRecord, code: Mapping[str, str]) -> list[str]:
    """Name the modules of the plugin that are not as they were; records of an older version do not hold any."""
    then = {name: record.modules[name] for name in code if name in record.modules}
    own = {name: code[name][:DIGITS] for name in then if not _of_harness(name)}
    return module_changes({name: then[name] for name in own}, own)


def _of_harness(module: str) -> bool:
    return module.partition(".")[0] == HARNESS


def _digest(view: WeakView, code: Mapping[str, str]) -> str:
    text = canonical([dict(view.parts), dict(code)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _view(request: PredictionRequest, record: RunRecord, say: Say) -> WeakView:
    dataset = open_requested(request.dataset, say)
    if tuple(dataset.classes) != record.classes:
        trained = f"was trained for the classes of {record.dataset['name']}"
        raise DataError(f"run {record.run_id!r} {trained}, not of {dataset.name}.")
    return dataset.image_view(request.split)


def _writers(
    folder: Path, view: WeakView, record: RunRecord, with_crf: bool
) -> tuple[LabelWriter, LabelWriter | None]:
    from wsss_bench.contract.artifacts import LabelWriter

    facts = {"run": record.run_id}
    raw = LabelWriter(folder / "raw", view, "export", facts, tags=False)
    if not with_crf:
        return raw, None
    return raw, LabelWriter(folder / "crf", view, "export", facts, tags=False)


def stored_segmentor(work_dir: Path, record: RunRecord) -> Segmentor:
    """Return the segmentor of the run's last round, from the store, with the test settings that the run predicted with.

    Raises:
        ArtifactError: the run has none, or it was deleted.
    """
    from wsss_bench.contract.artifacts import SEGMENTOR, read_segmentor
    from wsss_bench.runs.stage import in_force

    names = [name for name in record.keys if name.partition(".")[0] == "segment"]
    if not names:
        what = f"run {record.run_id!r} trained no segmentor"
        raise ArtifactError(f"{what}, so there is nothing to predict with.")
    # The plugin may be gone by now, so the folder is found by the key in the record alone.
    key = record.keys[max(names, key=_round)]
    folder = work_dir / STORE / "segment" / key[:16] / "out"
    if not (folder / SEGMENTOR).is_file():
        what = f"the segmentor of run {record.run_id!r} is not in {work_dir / STORE}."
        raise ArtifactError(f"{what} Run the recipe again, or name its --work-dir.")
    return in_force(read_segmentor(folder), _test_settings(work_dir, record))


def _test_settings(work_dir: Path, record: RunRecord) -> Mapping[str, Any]:
    """Return the settings that the run's ``predict`` step laid over the segmentor's own."""
    key = record.keys.get("predict")
    if key is None:
        return {}
    folder = work_dir / STORE / "predict" / key[:16]
    found: Mapping[str, Any] = (
        store_of(work_dir).read(folder).spec.parts.get("test", {})
    )
    return found


def _round(step: str) -> int:
    """Return 2 for ``segment.2``, 1 for ``segment``."""
    return int(step.partition(".")[2] or 1)
