"""Embedded photographs with CAMs of known faults, for tests of methods that learn affinities from CAMs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from engine_fakes import make_context, make_view, stage_params
from PIL import Image

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    Seed,
    SeedSet,
    SeedWriter,
)
from wsss_bench.contract.view import WeakView
from wsss_bench.data.shapes.dataset import ShapesDataset
from wsss_bench.rng import generator
from wsss_bench.toolbox.labels import labels_from_seed


def partial_cam(
    mask: np.ndarray, grid: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """What a classifier's map gets wrong: it fires on a part, fades over the rest, blurs over the edge."""
    ys, xs = np.nonzero(mask)
    centre = rng.integers(len(ys))
    rows, columns = np.indices(mask.shape)
    extent = max(np.ptp(ys), np.ptp(xs), 4)
    squared = (rows - ys[centre]) ** 2 + (columns - xs[centre]) ** 2
    part = mask * np.exp(-squared / (2 * (0.2 * extent) ** 2))
    blurred = cv2.GaussianBlur(part.astype(np.float32), (0, 0), max(mask.shape) / 24)
    small = cv2.resize(blurred, grid[::-1], interpolation=cv2.INTER_AREA)
    return small / (small.max() + 1e-5)


def photographs(
    folder: Path, count: int, size: int = 64
) -> tuple[WeakView, SeedSet, dict[str, np.ndarray]]:
    """`count` images of `shapes`, partial CAMs of their classes at stride 4, and the masks."""
    data = ShapesDataset(
        folder / "data", "shapes", {"train": count, "val": 1, "size": size}
    )
    data.prepare()
    view = data.weak_view("train")
    out, masks = SeedWriter(folder / "seeds", view, "test"), {}
    for image in view:
        path = data.root / "SegmentationClass" / f"{image.id}.png"
        mask = np.asarray(Image.open(path))
        rng = generator("partial cam", image.id)
        cams = [
            partial_cam(mask == c, (size // 4, size // 4), rng) for c in image.present
        ]
        out.write(
            image.id,
            Seed(np.array(image.present, np.int64), np.stack(cams), (size, size)),
        )
        masks[image.id] = mask
    return view, out.close(), masks


def miou(
    label: Callable[[str], np.ndarray], masks: dict[str, np.ndarray], classes: int
) -> float:
    """Mean intersection over union in percent; 255 in a mask is left out."""
    counts = np.zeros((classes, classes))
    for image_id, mask in masks.items():
        known = mask != 255
        pairs = mask[known].astype(int) * classes + label(image_id)[known]
        counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hits = counts.diagonal()
    return float(100 * np.mean(hits / (counts.sum(0) + counts.sum(1) - hits)))


def best_threshold(seeds: SeedSet, masks: dict[str, np.ndarray], classes: int) -> float:
    """What the best constant threshold, chosen on the masks, makes of the CAMs."""
    return max(
        miou(lambda i, t=t: labels_from_seed(seeds[i], t), masks, classes)  # type: ignore[misc]
        for t in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
    )


def blocks(folder: Path, count: int = 4, tags: Any = None) -> tuple[WeakView, SeedSet]:
    """The squares of `engine_fakes.make_view` and block-shaped CAMs inside them, 8 × 10 cells."""
    view = make_view(folder / "images", count, tags=tags)
    out = SeedWriter(folder / "seeds", view, "test")
    for image in view:
        scores = np.zeros((len(image.present), 8, 10), np.float32)
        scores[:, 2:6, 2:5] = 1
        out.write(image.id, Seed(np.array(image.present, np.int64), scores, (32, 40)))
    return view, out.close()


def refined(
    plugin: Any,
    view: WeakView,
    seeds: SeedSet,
    folder: Path,
    params: dict[str, Any],
    **changes: Any,
) -> LabelSet:
    """Run a plugin's refine stage in `folder`."""
    writer = LabelWriter(folder / "labels", view, "test")
    return plugin.refine(
        view=view, seeds=seeds, out=writer, ctx=make_context(folder, params, **changes)
    )


SHORT = {"crop": 32, "batch": 2, "iterations": 3, "steps": 16}


def check_it_repeats_and_resumes(
    plugin: Any, maths: Any, name: str, folder: Path, monkeypatch: Any, **changes: Any
) -> None:
    """Twice the same bytes; and interrupted while labelling, nothing is trained or put through a CRF a second time."""
    view, seeds = blocks(folder, 4, tags=lambda n: () if n == 3 else (1 + n % 2,))
    params = stage_params(name, "refine", **SHORT, **changes)
    first, second = (
        refined(plugin, view, seeds, folder / run, params) for run in ("a", "b")
    )
    assert all(np.array_equal(first[i], second[i]) for i in first.ids)
    assert (first["im3"] == 0).all()
    weights = [
        torch.load(folder / run / "scratch" / name / "weights.pth", weights_only=True)
        for run in ("a", "b")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    monkeypatch.setattr(maths, "dense_crf", None)
    monkeypatch.setattr("mmengine.runner.Runner.train", None)
    before = first["im1"].copy()
    (folder / "a" / "labels" / "items" / "im1.png").unlink()
    again = refined(plugin, view, seeds, folder / "a", params)
    assert np.array_equal(again["im1"], before)


def before_and_after(
    plugin: Any, name: str, folder: Path, **changes: Any
) -> tuple[float, float]:
    """mIoU of the best threshold on the CAMs of 24 photographs, and of the labels that the method makes of them."""
    view, seeds, masks = photographs(folder, 24, 192)
    # 256 steps on a grid of 94 × 125 cells reach as far, in parts of the image, as 64 on one of 48 × 48.
    params = stage_params(
        name, "refine", crop=96, batch=8, iterations=150, steps=64, **changes
    )
    labels = refined(plugin, view, seeds, folder, params)
    return best_threshold(seeds, masks, view.num_classes), miou(
        labels.__getitem__, masks, view.num_classes
    )
