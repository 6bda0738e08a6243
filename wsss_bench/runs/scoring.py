"""The harness's own stages: seeds, pseudo-labels and predictions against the sealed masks, as counts kept with the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import LabelSet, SeedSet
from wsss_bench.io.files import write_json

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks
    from wsss_bench.runs.source import Source

Progress = Callable[[str, int, int], None]

SUMMARY = "summary.json"
CURVE = "curve.npz"


def score_seeds(
    seeds: SeedSet, source: Source, fixed: float | None, out: Path, progress: Progress
) -> None:
    """Score seeds at every background threshold on the seeds split.

    Writes ``curve.npz``, ``seeds_best.npz`` (the oracle: best threshold in hindsight), ``seeds_fixed.npz`` (the threshold
    `fixed` that the recipe declares, if any) and ``summary.json``.
    """
    import numpy as np

    from wsss_bench.evaluate import CurveBuilder
    from wsss_bench.evaluate.curves import DEFAULT_THRESHOLDS

    grid = DEFAULT_THRESHOLDS
    if fixed is not None and not (np.abs(grid - fixed) < 1e-6).any():
        grid = np.sort(np.append(grid, fixed))
    builder = CurveBuilder(source.dataset.classes, grid)
    for number, image_id in enumerate(source.scored, start=1):
        seed = seeds[image_id]
        builder.add(
            image_id, seed.class_ids, seed.upsampled(), source.seeds_masks[image_id]
        )
        progress("images", number, len(source.scored))
    curve = builder.result()
    best, miou = curve.best()
    curve.save(out / CURVE)
    curve.counts(best).save(out / "seeds_best.npz")
    summary: dict[str, Any] = {
        "best": best,
        "best_miou": miou,
        "counts": ["seeds_best"],
    }
    if fixed is not None:
        counts = curve.counts(fixed)
        counts.save(out / "seeds_fixed.npz")
        summary = {
            **summary,
            "fixed": fixed,
            "fixed_miou": counts.miou(),
            "counts": ["seeds_best", "seeds_fixed"],
        }
    write_json(out / SUMMARY, summary)


def score_labels(
    labels: LabelSet, source: Source, out: Path, progress: Progress
) -> None:
    """Score pseudo-labels on the seeds split; writes ``labels.npz`` and ``summary.json``."""
    counts = _count(
        labels, source.scored, source.seeds_masks, source.dataset.classes, progress
    )
    counts.save(out / "labels.npz")
    write_json(
        out / SUMMARY,
        {"counts": ["labels"], "miou": counts.miou(), "coverage": counts.coverage()},
    )


def score_val(
    predictions: Mapping[str, LabelSet], source: Source, out: Path, progress: Progress
) -> None:
    """Score predictions without and with CRF; writes ``val.npz``, ``val_crf.npz`` and ``summary.json``."""
    summary: dict[str, Any] = {"counts": []}
    names = {"raw": "val", "crf": "val_crf"}
    for kind, labels in predictions.items():
        counts = _count(
            labels, labels.ids, source.val_masks, source.dataset.classes, progress
        )
        counts.save(out / f"{names[kind]}.npz")
        summary["counts"].append(names[kind])
        summary[f"{names[kind]}_miou"] = counts.miou()
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
