"""Is a result better than no method at all?

Seeds are compared with the same score everywhere for every tagged class, labels and predictions with background
everywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wsss_bench.testing.report import FAIL, PASS, SKIP, WARN, Check

if TYPE_CHECKING:
    from wsss_bench.testing.sandbox import Sandbox


def baseline(
    stage: str,
    folder: Path,
    sandbox: Sandbox,
    *,
    full: bool,
    trained: bool,
) -> Check:
    """Compare what `stage` left under `folder` with the trivial answer.

    Args:
        stage: a hook, or ``refine.2`` for that of the second round.
        folder: the folder of a worker's pass, with one folder per stage.
        sandbox: the data, with the truth.
        full: the data have their usual size, so a method that is no better has failed.
        trained: the result hangs on a training; on the small data a training is too short for that to count.
    """
    kind = stage.partition(".")[0]
    predicted = folder / "predict" / "out"
    if kind == "segment" and ("." in stage or not predicted.is_dir()):
        why = "only the last round is predicted with."
        return Check("baseline", stage, SKIP, why)
    if kind == "segment":
        own, trivial = _labels_score(predicted, sandbox, "val")
    elif kind == "localize":
        own, trivial = _seeds_score(folder / stage / "out", sandbox)
    else:
        own, trivial = _labels_score(folder / stage / "out", sandbox, "train")
    values = f"mIoU {100 * own:.1f}, trivial {100 * trivial:.1f}"
    if own > trivial:
        return Check("baseline", stage, PASS, values)
    if trained and not full:
        why = "eight iterations are too few to tell. Run it with --full (minutes)."
        return Check("baseline", stage, SKIP, f"{values}; {why}")
    what = f"{values}: {stage} is no better than {_TRIVIAL[kind]}."
    return Check("baseline", stage, FAIL, what)


_TRIVIAL = {
    "localize": "the same score everywhere (at its best threshold)",
    "refine": "background everywhere",
    "segment": "background everywhere",
}


def classes(stage: str, folder: Path, *, full: bool, trained: bool) -> Check:
    """Look whether labels, or predictions, hold more than one value.

    Args:
        stage, folder, full, trained: as in `baseline`.
    """
    from wsss_bench.contract.artifacts import LabelSet

    kind = stage.partition(".")[0]
    out = folder / ("predict" if kind == "segment" else stage) / "out"
    if kind == "localize":
        return Check("classes", stage, SKIP, "it makes scores, and no labels.")
    if kind == "segment" and ("." in stage or not out.is_dir()):
        return Check("classes", stage, SKIP, "only the last round is predicted with.")
    found: set[int] = set()
    for _, label in LabelSet(out):
        found.update(np.unique(label).tolist())
    if len(found) > 1:
        return Check("classes", stage, PASS)
    if trained and not full:
        why = "one class only; eight iterations are too few to tell. Run it with --full (minutes)."
        return Check("classes", stage, SKIP, why)
    what = f"{stage} gives every pixel of every image the value {found.pop()}"
    fix = "Look at its thresholds, losses and class ids"
    return Check("classes", stage, WARN, f"{what}. {fix}.")


def _seeds_score(out: Path, sandbox: Sandbox) -> tuple[float, float]:
    """Return the mIoU of the seeds at their best threshold, and that of scores of one half everywhere."""
    from wsss_bench.contract.artifacts import SeedSet
    from wsss_bench.evaluate import CurveBuilder

    masks = sandbox.dataset.masks("train")
    classes = sandbox.dataset.classes
    own, flat = CurveBuilder(classes), CurveBuilder(classes)
    for image_id, seed in SeedSet(out):
        scores, truth = seed.upsampled(), masks[image_id]
        # The image's labels are given, so even a guess gets the classes right: only where they are counts.
        guess = np.full_like(scores, 0.5)
        own.add(image_id, seed.class_ids, scores, truth)
        flat.add(image_id, seed.class_ids, guess, truth)
    _, reached = own.result().best()
    _, trivial = flat.result().best()
    return reached, trivial


def _labels_score(out: Path, sandbox: Sandbox, split: str) -> tuple[float, float]:
    """Return the mIoU of label maps, and that of background everywhere."""
    from wsss_bench.contract.artifacts import LabelSet
    from wsss_bench.evaluate import CountsBuilder

    masks: Any = sandbox.dataset.masks(split)
    classes = sandbox.dataset.classes
    own, nothing = CountsBuilder(classes), CountsBuilder(classes)
    for image_id, label in LabelSet(out):
        truth = masks[image_id]
        own.add(image_id, label, truth)
        nothing.add(image_id, np.zeros_like(label), truth)
    reached, trivial = own.result(), nothing.result()
    return reached.miou(), trivial.miou()
