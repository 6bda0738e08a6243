"""The gallery of a run on the embedded data: a few images with what each stage made of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wsss_bench.contract.artifacts import LabelSet, SeedSet
from wsss_bench.io.files import read_json
from wsss_bench.io.images import write_mask
from wsss_bench.runs.pipeline import Finished, load_result
from wsss_bench.runs.scoring import SUMMARY
from wsss_bench.runs.source import Source

GALLERY = "gallery"
GALLERY_IMAGES = 3
"""Images per split (train: seeds and labels; val: predictions) in the gallery of `shapes` runs."""


def write_gallery(finished: Finished, source: Source, folder: Path) -> None:
    """PNGs ``<id>_{image,truth,seeds,labels,prediction}.png`` of a few images, spread over the scored lists.

    Training images have seeds and labels, validation images a prediction (with CRF where there is one).
    """
    results = {
        name: load_result(finished.cell.step(name), stage)
        for name, stage in finished.folders.items()
    }  # type: ignore[arg-type]
    refined = finished.cell.last("refine")
    threshold = _gallery_threshold(finished)
    for image_id in _spread(source.scored):
        maps = {"truth": source.seeds_masks[image_id]}
        if refined is not None:
            maps["labels"] = results[refined.name][image_id]
        if "localize" in results:
            maps["seeds"] = _seed_map(results["localize"], image_id, threshold)
        _write_maps(folder, image_id, source.train.by_id(image_id).path, maps)
    if "predict" not in results:
        return
    predictions = results["predict"]
    shown: LabelSet = predictions.get("crf", predictions["raw"])
    for image_id in _spread(shown.ids):
        maps = {"truth": source.val_masks[image_id], "prediction": shown[image_id]}
        _write_maps(folder, image_id, source.val.by_id(image_id).path, maps)


def _gallery_threshold(finished: Finished) -> float:
    if "score_seeds" not in finished.folders:
        return 0.0
    summary = read_json(finished.folders["score_seeds"].out / SUMMARY)
    return float(summary.get("fixed", summary["best"]))


def _seed_map(seeds: SeedSet, image_id: str, threshold: float) -> Any:
    import numpy as np

    seed = seeds[image_id]
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = seed.upsampled()
    return np.where(
        scores.max(0) > threshold, seed.class_ids[scores.argmax(0)], 0
    ).astype(np.uint8)


def _spread(ids: Sequence[str]) -> list[str]:
    step = max(1, len(ids) // GALLERY_IMAGES)
    return list(ids[::step][:GALLERY_IMAGES])


def _write_maps(folder: Path, image_id: str, image: Path, maps: dict[str, Any]) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(image) as handle:
        handle.convert("RGB").save(folder / f"{image_id}_image.png")
    for name, array in maps.items():
        write_mask(folder / f"{image_id}_{name}.png", array)
