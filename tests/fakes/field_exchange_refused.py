"""Score files that fit nothing, or several things: refused, with what was seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from exchange_fakes import (
    CLASSES,
    LAST,
    SIZE,
    crf,
    keys,
    labels,
    maps_of,
    refused,
    seeds,
    stacked,
    truth,
    write,
)
from field_case import FieldCase
from PIL import Image

CASES: list[FieldCase] = []


def add(
    tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase("scores", tried, gives, check, reader))


def other_classes(tmp_path: Path) -> None:
    masks = truth()
    # Labels of another dataset, or the files of another split.
    writer = lambda m: {(k + 2) % LAST: v for k, v in m.items()}  # noqa: E731
    write(tmp_path, writer, masks)
    refused(
        lambda: seeds(tmp_path, masks),
        "cannot be told",
        "0 of 12 images have the right classes if keys are read counted from 0",
        "2007_000000.npy has keys [3], the image shows classes [1]",
        "belongs to this dataset and split",
    )


add(
    "keys that fit the images under no reading",
    "refused: counts under each reading, an example",
    other_classes,
)


def mixed(tmp_path: Path) -> None:
    masks = truth()
    ids = list(masks)
    halves = [{i: masks[i] for i in ids[start::2]} for start in (0, 1)]
    for half, base in zip(halves, (0, 1), strict=True):
        for image_id, mask in half.items():
            maps = maps_of(mask)
            stored: Any = {"keys": keys(maps, base), "high_res": stacked(maps)}
            np.save(tmp_path / f"{image_id}.npy", stored, allow_pickle=True)
    refused(lambda: seeds(tmp_path, masks), "cannot be told", "6 of 12 images")
    # And files of two layouts.
    np.save(tmp_path / f"{ids[1]}.npy", crf(maps_of(masks[ids[1]])), allow_pickle=True)
    refused(lambda: seeds(tmp_path, masks), f"{ids[1]}.npy", "one form in a folder")


add(
    "half of the files 0-based, half 1-based; two layouts",
    "refused: never guessed per image",
    mixed,
)


def plain_from_zero(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        maps = maps_of(mask)
        np.savez(tmp_path / image_id, class_ids=keys(maps), scores=stacked(maps))
    refused(lambda: seeds(tmp_path, masks), "one too low", "the first class is 1")


add("own .npz with class_ids from 0", "refused: one too low", plain_from_zero)


def logits(tmp_path: Path) -> None:
    masks = truth()
    writer = lambda m: {k - 1: 12 * v - 4 for k, v in m.items()}  # noqa: E731
    write(tmp_path, writer, masks)
    refused(lambda: seeds(tmp_path, masks), "must lie in [0, 1], found [-4, 8]")


add("logits instead of maps", "refused: range named", logits)


def all_channels(tmp_path: Path) -> None:
    masks = truth(count=2)
    shape = (1, len(CLASSES), *SIZE)
    write(tmp_path, lambda m: {"msc_seg": np.zeros(shape, np.float32)}, masks)
    refused(lambda: seeds(tmp_path, masks), "holds ['msc_seg']", "expected class_ids")


add(
    "logits of a segmentor: msc_seg [1, classes, h, w]",
    "refused: names held and names expected",
    all_channels,
    "rulixiang/ToCo",
)


def per_class(tmp_path: Path) -> None:
    masks = truth()
    for image_id, mask in masks.items():
        for k, plane in maps_of(mask).items():
            image = (255 * plane).astype(np.uint8)
            Image.fromarray(image).save(tmp_path / f"{image_id}_{k - 1}.png")
    refused(
        lambda: labels(tmp_path, masks),
        "12 of 12 images have no .png file",
        "one heat map per class",
        "class_ids and scores",
    )


add(
    "one grey heat map per class: ID_3.png",
    "refused: what they are, how to pack them",
    per_class,
    "PengtaoJiang/OAA-PyTorch",
)
