"""Predict another split with the segmentor of a finished run, for `export`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.errors import ArtifactError, DataError

if TYPE_CHECKING:
    from wsss_bench.contract.artifacts import LabelWriter, Segmentor
    from wsss_bench.contract.view import WeakView
    from wsss_bench.results.records import RunRecord


def predict_run(args: argparse.Namespace, leaderboards: Path) -> Path:
    """Predict ``args.split`` with the segmentor of run ``args.run``; returns the folder of masks, after CRF where the run has it.

    The folder is kept below the work dir, so an interrupted prediction is taken up where it stopped.

    Raises:
        DataError: there is no such run, or the dataset has no such split.
        ArtifactError: the run's segmentor is no longer in the store.
    """
    from wsss_bench.cli._flags import dataset_from_args
    from wsss_bench.cli.run import device
    from wsss_bench.contract.context import StageContext
    from wsss_bench.results.records import find_run
    from wsss_bench.toolbox.prediction import predict

    record = find_run(str(args.run), leaderboards)
    segmentor = stored_segmentor(args.work_dir, record)
    dataset = dataset_from_args(args)
    if tuple(dataset.classes) != record.classes:
        raise DataError(
            f"run {record.run_id!r} was trained for the classes of {record.dataset['name']}, not of {dataset.name}."
        )
    view = dataset.image_view(args.split)
    folder = args.work_dir / "export" / record.run_id / args.split
    raw, crf = _writers(folder, view, record, bool(segmentor.test.get("crf", True)))
    context = StageContext(
        seed=record.seed,
        device=device(args.device),
        params={},
        scratch=folder / "scratch",
        out_dir=folder,
        workers=args.workers,
        progress=_say,
    )
    predict(segmentor, view, raw, crf, context)
    raw.close()
    if crf is not None:
        crf.close()
    return (crf or raw).path


def _writers(
    folder: Path, view: WeakView, record: RunRecord, with_crf: bool
) -> tuple[LabelWriter, LabelWriter | None]:
    from wsss_bench.contract.artifacts import LabelWriter

    facts = {"run": record.run_id}
    raw = LabelWriter(folder / "raw", view, "export", facts, tags=False)
    crf = (
        LabelWriter(folder / "crf", view, "export", facts, tags=False)
        if with_crf
        else None
    )
    return raw, crf


def stored_segmentor(work_dir: Path, record: RunRecord) -> Segmentor:
    """The segmentor of the run's last round, from the store; raises `ArtifactError` where it was deleted."""
    from wsss_bench.contract.artifacts import SEGMENTOR, read_segmentor

    steps = sorted(
        (name for name in record.keys if name.partition(".")[0] == "segment"),
        key=_round,
    )
    if not steps:
        raise ArtifactError(
            f"run {record.run_id!r} trained no segmentor, so there is nothing to predict with."
        )
    folder = work_dir / "store" / "segment" / record.keys[steps[-1]][:16] / "out"
    if not (folder / SEGMENTOR).is_file():
        raise ArtifactError(
            f"the segmentor of run {record.run_id!r} is not in {work_dir}/store. Run the recipe again, or name its --work-dir."
        )
    return read_segmentor(folder)


def _round(step: str) -> int:
    return int(step.partition(".")[2] or 1)


def _say(what: str, done: int, total: int) -> None:
    if done == total or done % max(1, total // 10) == 0:
        print(f"predict: {what} {done}/{total}", file=sys.stderr, flush=True)
