"""Is a result better than no method at all?

Seeds are compared with the same score everywhere for every tagged class, labels and predictions with background
everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_bench.testing.report import FAIL, PASS, SKIP, Check

if TYPE_CHECKING:
    from wsss_bench.testing.sandbox import Sandbox


def baseline(
    stage: str, folder: Path, sandbox: Sandbox, *, full: bool, trained: bool
) -> Check:
    """Compare what `stage` left under `folder` with the trivial answer.

    Args:
        full: the data have their usual size, so a method that is no better has failed.
        trained: the result hangs on a training; on the small data a training is too short for that to count.
    """
    kind = stage.partition(".")[0]
    if kind == "segment":
        if not (folder / "predict" / "out").is_dir() or "." in stage:
            return Check(
                "baseline", stage, SKIP, "only the last round is predicted with."
            )
        own, trivial = _labels_score(folder / "predict" / "out", sandbox, "val")
    elif kind == "localize":
        own, trivial = _seeds_score(folder / stage / "out", sandbox)
    else:
        own, trivial = _labels_score(folder / stage / "out", sandbox, "train")
    values = f"mIoU {100 * own:.1f}, trivial {100 * trivial:.1f}"
    if own > trivial:
        return Check("baseline", stage, PASS, values)
    if trained and not full:
        return Check(
            "baseline",
            stage,
            SKIP,
            f"{values}; eight iterations are too few to tell. Run it with --full (minutes).",
        )
    return Check(
        "baseline",
        stage,
        FAIL,
        f"{values}: {stage} is no better than {_TRIVIAL[kind]}.",
    )


_TRIVIAL = {
    "localize": "the same score everywhere (at its best threshold)",
    "refine": "background everywhere",
    "segment": "background everywhere",
}


def _seeds_score(out: Path, sandbox: Sandbox) -> tuple[float, float]:
    """mIoU at the best threshold of the seeds, and of scores of one half everywhere."""
    from wsss_bench.contract.artifacts import SeedSet
    from wsss_bench.evaluate import CurveBuilder

    masks, classes = sandbox.dataset.masks("train"), sandbox.dataset.classes
    own, flat = CurveBuilder(classes), CurveBuilder(classes)
    for image_id, seed in SeedSet(out):
        scores, truth = seed.upsampled(), masks[image_id]
        own.add(image_id, seed.class_ids, scores, truth)
        flat.add(image_id, seed.class_ids, np.full_like(scores, 0.5), truth)
    return own.result().best()[1], flat.result().best()[1]


def _labels_score(out: Path, sandbox: Sandbox, split: str) -> tuple[float, float]:
    """mIoU of label maps, and of background everywhere."""
    from wsss_bench.contract.artifacts import LabelSet
    from wsss_bench.evaluate import CountsBuilder

    masks: Any = sandbox.dataset.masks(split)
    own, nothing = (
        CountsBuilder(sandbox.dataset.classes),
        CountsBuilder(sandbox.dataset.classes),
    )
    for image_id, label in LabelSet(out):
        own.add(image_id, label, masks[image_id])
        nothing.add(image_id, np.zeros_like(label), masks[image_id])
    return own.result().miou(), nothing.result().miou()
