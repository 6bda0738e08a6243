"""The gallery of a run on the embedded data: a few images with what each stage made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.contract.artifacts import LabelSet, Seed
from wsss_bench.io.files import read_json
from wsss_bench.io.images import write_mask
from wsss_bench.runs.pipeline import CRF, RAW, Finished, load_result
from wsss_bench.runs.scoring import SUMMARY
from wsss_bench.runs.source import Source

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GALLERY = "gallery"
GALLERY_IMAGES = 3
"""Images per split (train: seeds and labels; val: predictions) in the gallery of `shapes` runs."""


def write_gallery(finished: Finished, source: Source, folder: Path) -> None:
    """Write ``<id>_{image,truth,seeds,labels,prediction}.png`` of a few images, spread over the scored lists.

    Training images have seeds and labels, validation images a prediction (with CRF where there is one).
    """
    results = {}
    for step in finished.cell.steps:
        results[step.name] = load_result(step, finished.folders[step.name])
    _write_train(finished, results, source, folder)
    if "predict" in results:
        predictions = results["predict"]
        _write_val(predictions.get(CRF, predictions[RAW]), source, folder)


def _write_train(
    finished: Finished, results: Mapping[str, Any], source: Source, folder: Path
) -> None:
    refined = finished.cell.last("refine")
    threshold = _gallery_threshold(finished)
    for image_id in _spread(source.scored):
        maps = {"truth": source.seeds_masks[image_id]}
        if refined is not None:
            maps["labels"] = results[refined.name][image_id]
        if "localize" in results:
            seed = results["localize"][image_id]
            maps["seeds"] = _seed_map(seed, threshold)
        image = source.train.by_id(image_id)
        _write_maps(folder, image_id, image.path, maps)


def _write_val(shown: LabelSet, source: Source, folder: Path) -> None:
    for image_id in _spread(shown.ids):
        truth = source.val_masks[image_id]
        maps = {"truth": truth, "prediction": shown[image_id]}
        image = source.val.by_id(image_id)
        _write_maps(folder, image_id, image.path, maps)


def _gallery_threshold(finished: Finished) -> float:
    """Return the method's own threshold where it declares one, else the oracle's."""
    if "score_seeds" not in finished.folders:
        return 0.0
    summary = read_json(finished.folders["score_seeds"].out / SUMMARY)
    return float(summary.get("fixed", summary["best"]))


def _seed_map(seed: Seed, threshold: float) -> NDArray[np.uint8]:
    """Return mask ids ``uint8 [H, W]``: the strongest class where it exceeds the threshold, else background."""
    import numpy as np

    # A photograph may carry no label at all, and an empty stack has no maximum.
    if not len(seed.class_ids):
        return np.zeros(seed.size, np.uint8)
    scores = seed.upsampled()
    strongest = seed.class_ids[scores.argmax(0)]
    found = np.where(scores.max(0) > threshold, strongest, 0)
    return found.astype(np.uint8)


def _spread(ids: Sequence[str]) -> list[str]:
    step = max(1, len(ids) // GALLERY_IMAGES)
    spread = ids[::step]
    return list(spread[:GALLERY_IMAGES])


def _write_maps(
    folder: Path, image_id: str, image: Path, maps: Mapping[str, Any]
) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    # A PNG, so that the gallery shows the very pixels that the masks lie on.
    with Image.open(image) as handle:
        handle.convert("RGB").save(folder / f"{image_id}_image.png")
    for name, array in maps.items():
        write_mask(folder / f"{image_id}_{name}.png", array)
