"""Small run records for the tests of boards: real counts of random masks, so that nothing is hard-coded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wsss_bench.evaluate import CountsBuilder, CurveBuilder
from wsss_bench.io.images import write_mask
from wsss_bench.results.records import RunRecord, save_record

CLASSES = ("background", "cat", "dog", "boat")


def truth(index: int) -> np.ndarray:
    rng = np.random.default_rng(1000 + index)
    mask = np.zeros((24, 32), np.uint8)
    for klass in rng.choice([1, 2, 3], size=2, replace=False):
        top, left = rng.integers(0, 16), rng.integers(0, 20)
        mask[top : top + 8, left : left + 12] = klass
    mask[0] = 255
    return mask


def noisy(mask: np.ndarray, error: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wrong = rng.random(mask.shape) < error
    clean = np.where(mask == 255, 0, mask)
    return np.where(wrong, rng.integers(0, 4, mask.shape), clean).astype(np.uint8)


def add_run(
    folder: Path,
    recipe: str,
    *,
    seed: int = 0,
    error: float = 0.3,
    images: int = 30,
    first: int = 0,
    redrawn: int = 0,
    gallery: bool = False,
    **changes: Any,
) -> RunRecord:
    """Write one run with counts of every kind below `folder` and return its record.

    It is scored on `images` images from the `first` on, against other masks for the first `redrawn` of them.
    """
    run_id = changes.pop("run_id", f"{recipe.replace('/', '-')}-{seed}")
    dataset = described(images) | changes.pop("dataset", {})
    place = folder / "runs" / dataset["name"] / run_id
    masks = scored_masks(images, first, redrawn)
    write_counts(place, dataset["classes"], seed, error, masks)
    settings = recorded(recipe, seed) | {"run_id": run_id, "dataset": dataset}
    record = RunRecord(**(settings | changes))
    save_record(folder, record)
    if gallery:
        write_gallery(place / "gallery", error, seed)
    return record


def described(images: int) -> dict[str, Any]:
    """A dataset as records describe it."""
    return {
        "name": "shapes",
        "kind": "shapes",
        "splits": {"train": "train", "seeds": "train", "val": "val"},
        "sizes": {"train": 40, "seeds": images, "val": images},
        "classes": list(CLASSES),
        "fingerprint": "f00d",
    }


def recorded(recipe: str, seed: int) -> dict[str, Any]:
    """The fields of a record that do not depend on what was scored."""
    localize, _, rest = recipe.partition("/")
    card = {
        "name": localize,
        "version": "1",
        "paper": "Somebody, A paper, 2018",
        "notes": "",
    }
    scored = ("seeds_best", "seeds_fixed", "labels", "val", "val_crf")
    return {
        "recipe": recipe,
        "picks": {
            "localize": localize,
            "refine": rest or "densecrf",
            "segment": "deeplab",
        },
        "seed": seed,
        "profile": "quick",
        "columns": {
            "supervision": "image labels",
            "extra_data": "-",
            "backbone": "MobileNetV2",
            "segmentor": "DeepLabV3+",
            "pretraining": "ImageNet",
            "crf": "labels",
            "multi_scale": "no",
            "rounds": 1,
        },
        "cards": {"localize": card},
        "thresholds": {"fixed": 0.3},
        "counts": {name: f"{name}.npz" for name in scored},
        "curve": "curve.npz",
        "cost": {
            "localize": {"seconds": 60.0, "peak_mb": 900.0},
            "segment": {"seconds": 120.0, "peak_mb": 1200.0},
        },
        "finished": f"2026-01-01T00:00:{seed:02d}",
    }


def scored_masks(
    images: int, first: int = 0, redrawn: int = 0
) -> dict[int, np.ndarray]:
    """The truth by the index of the image; that of the first `redrawn` is another one."""
    return {
        index: truth(index + (500 if index < first + redrawn else 0))
        for index in range(first, first + images)
    }


def write_counts(
    place: Path,
    classes: list[str],
    seed: int,
    error: float,
    masks: dict[int, np.ndarray],
) -> None:
    """Score noisy seeds, labels and predictions against the truth; labels and predictions get better step by step."""
    curve = CurveBuilder(classes)
    builders = {name: CountsBuilder(classes) for name in ("labels", "val", "val_crf")}
    for index, mask in masks.items():
        image_id = f"img{index:03d}"
        scores = noisy_scores(mask, error, [seed, index, int(error * 1000)])
        curve.add(image_id, np.array([1, 2, 3]), scores, mask)
        for k, (name, builder) in enumerate(builders.items()):
            label = noisy(mask, error * (1 - 0.2 * k), seed * 1000 + index)
            if name == "labels":
                label[5] = 255  # pixels without a label, so that coverage is below 1
            builder.add(image_id, label, mask)
    found = curve.result()
    found.save(place / "curve.npz")
    found.counts(found.best()[0]).save(place / "seeds_best.npz")
    found.counts(0.3).save(place / "seeds_fixed.npz")
    for name, builder in builders.items():
        builder.result().save(place / f"{name}.npz")


def noisy_scores(mask: np.ndarray, error: float, seed: list[int]) -> np.ndarray:
    """Class scores ``float32 [3, H, W]`` in 0..1, high where the mask has the class."""
    rng = np.random.default_rng(seed)
    maps = []
    for klass in (1, 2, 3):
        noise = rng.random(mask.shape) * error
        maps.append((mask == klass) * (1 - error) + noise)
    return np.clip(np.stack(maps), 0, 1).astype(np.float32)


def write_gallery(folder: Path, error: float, seed: int) -> None:
    """Pictures as a run writes them: training images with seeds and labels, validation images with a prediction."""
    from PIL import Image

    folder.mkdir()
    for index in range(4):
        mask, name = truth(index), f"img{index:03d}"
        rng = np.random.default_rng(index)
        photo = np.clip(
            np.where(mask == 255, 0, mask)[..., None] * 50
            + rng.integers(0, 60, (*mask.shape, 3)),
            0,
            255,
        )
        Image.fromarray(photo.astype(np.uint8)).save(folder / f"{name}_image.png")
        write_mask(folder / f"{name}_truth.png", mask)
        for kind in ("seeds", "labels") if index < 2 else ("prediction",):
            write_mask(
                folder / f"{name}_{kind}.png", noisy(mask, error, seed * 1000 + index)
            )
