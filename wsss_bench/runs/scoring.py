"""The harness's own stages: seeds, labels and predictions against the sealed masks, as counts kept with the run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import LabelSet, SeedSet
from wsss_bench.io.files import read_json, write_json
from wsss_bench.runs.remarks import remarks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wsss_bench.contract.context import Progress
    from wsss_bench.data.masks import SealedMasks
    from wsss_bench.evaluate import ThresholdCurve
    from wsss_bench.runs.source import Source

SUMMARY = "summary.json"
CURVE = "curve.npz"

NOTES = "notes"
"""In a summary: sentences about the score; see `wsss_bench.runs.remarks`."""

VAL_COUNTS = {"raw": "val", "crf": "val_crf"}
"""What the counts of predictions are called, by the predictions' name."""


def score_seeds(
    seeds: SeedSet,
    source: Source,
    fixed: float | None,
    out: Path,
    progress: Progress,
) -> None:
    """Score seeds at every background threshold on the seeds split.

    Writes ``curve.npz``, ``seeds_best.npz`` (the oracle: best threshold in hindsight), ``seeds_fixed.npz`` (the
    threshold `fixed` that the recipe declares, if any) and ``summary.json``.
    """
    curve = _curve(seeds, source, _thresholds(fixed), progress)
    best, miou = curve.best()
    curve.save(out / CURVE)
    oracle = curve.counts(best)
    oracle.save(out / "seeds_best.npz")
    summary: dict[str, Any] = {
        "best": best,
        "best_miou": miou,
        "counts": ["seeds_best"],
        NOTES: remarks("seeds_best", oracle),
    }
    if fixed is not None:
        counts = curve.counts(fixed)
        counts.save(out / "seeds_fixed.npz")
        summary["fixed"] = fixed
        summary["fixed_miou"] = counts.miou()
        summary["counts"].append("seeds_fixed")
        summary[NOTES] += remarks("seeds_fixed", counts)
    write_json(out / SUMMARY, summary)


def _thresholds(fixed: float | None) -> NDArray[np.float64]:
    """Return the thresholds that are tried: the usual grid, and `fixed` where it lies between."""
    import numpy as np

    from wsss_bench.evaluate.curves import DEFAULT_THRESHOLDS

    grid = DEFAULT_THRESHOLDS
    # Two thresholds a rounding error apart would be one point of the curve twice.
    if fixed is None or (np.abs(grid - fixed) < 1e-6).any():
        return grid
    return np.sort(np.append(grid, fixed))


def _curve(
    seeds: SeedSet,
    source: Source,
    grid: NDArray[np.float64],
    progress: Progress,
) -> ThresholdCurve:
    from wsss_bench.evaluate import CurveBuilder

    builder = CurveBuilder(source.dataset.classes, grid)
    for number, image_id in enumerate(source.scored, start=1):
        seed, truth = seeds[image_id], source.seeds_masks[image_id]
        builder.add(image_id, seed.class_ids, seed.upsampled(), truth)
        progress("images", number, len(source.scored))
    return builder.result()


def score_labels(
    labels: LabelSet,
    source: Source,
    out: Path,
    progress: Progress,
) -> None:
    """Score pseudo-labels on the seeds split; writes ``labels.npz`` and ``summary.json``."""
    classes = source.dataset.classes
    counts = _count(labels, source.scored, source.seeds_masks, classes, progress)
    counts.save(out / "labels.npz")
    summary = {
        "counts": ["labels"],
        "miou": counts.miou(),
        # Labels may leave pixels out, which makes their score look worse than what a network learns from them.
        "coverage": counts.coverage(),
        NOTES: remarks("labels", counts),
    }
    write_json(out / SUMMARY, summary)


def score_val(
    predictions: Mapping[str, LabelSet],
    source: Source,
    out: Path,
    progress: Progress,
) -> None:
    """Score predictions without and with CRF; writes ``val.npz``, ``val_crf.npz`` and ``summary.json``."""
    summary: dict[str, Any] = {"counts": [], NOTES: []}
    classes = source.dataset.classes
    for kind, labels in predictions.items():
        name = VAL_COUNTS[kind]
        counts = _count(labels, labels.ids, source.val_masks, classes, progress)
        counts.save(out / f"{name}.npz")
        summary["counts"].append(name)
        summary[f"{name}_miou"] = counts.miou()
        summary[NOTES] += remarks(name, counts)
    write_json(out / SUMMARY, summary)


def _count(
    labels: LabelSet,
    ids: Iterable[str],
    masks: SealedMasks,
    classes: tuple[str, ...],
    progress: Progress,
) -> Any:
    from wsss_bench.evaluate import CountsBuilder

    builder = CountsBuilder(classes)
    wanted = list(ids)
    for number, image_id in enumerate(wanted, start=1):
        builder.add(image_id, labels[image_id], masks[image_id])
        progress("images", number, len(wanted))
    return builder.result()


def notes_of(out: Path) -> list[str]:
    """Return the sentences in the summary of a scored stage; none in one of an older version.

    Raises:
        ArtifactError: the summary is missing or unreadable.
    """
    found: list[str] = read_json(out / SUMMARY).get(NOTES, [])
    return found
