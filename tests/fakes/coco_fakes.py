"""Small COCO roots in the layouts that repositories of this field use: four photographs, two of each split."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsss_bench.data.coco.index import CATEGORY_IDS, COCO_CLASSES, MASK_IDS

HEIGHT, WIDTH = 6, 8
SPLITS = {"train": (5, 7), "val": (9, 12)}
"""COCO's numbers of the photographs."""

CLASSES = {5: (1,), 7: (18, 80), 9: (2,), 12: (66,)}
"""Mask ids in each photograph; categories 1, 20 and 90, 2, and 76."""

CATEGORY = {mask_id: category for category, mask_id in MASK_IDS.items()}

Name = Callable[[str, int], str]
"""From split and number to the stem of a file."""


def full(split: str, number: int) -> str:
    """The name of 2014."""
    return f"COCO_{split}2014_{number:012d}"


def digits(split: str, number: int) -> str:
    """The name of 2017."""
    return f"{number:012d}"


def bare(split: str, number: int) -> str:
    """What `coco2voc` names files by."""
    return str(number)


def boxes(number: int) -> Iterable[tuple[int, slice]]:
    """The classes of a photograph, each with the columns it covers."""
    for place, mask_id in enumerate(CLASSES[number]):
        yield mask_id, slice(1 + 3 * place, 3 + 3 * place)


def draw_mask(number: int, value: Callable[[int], int] = int, ground: int = 0) -> Any:
    """The mask of a photograph, every class drawn as ``value(class)``."""
    mask = np.full((HEIGHT, WIDTH), ground, np.uint8)
    for mask_id, columns in boxes(number):
        mask[1:4, columns] = value(mask_id)
    return mask


def write_photographs(
    folder: Path, split: str, name: Name = full, suffix: str = ".jpg"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in SPLITS[split]:
        image = Image.new("RGB", (WIDTH, HEIGHT), (number, 40, 90))
        kind = "PNG" if suffix.lower() == ".png" else "JPEG"
        image.save(folder / f"{name(split, number)}{suffix}", kind)


def write_masks(
    folder: Path,
    split: str,
    name: Name = full,
    draw: Callable[[int], Any] = draw_mask,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in SPLITS[split]:
        mask = Image.fromarray(draw(number), "L")
        mask.save(folder / f"{name(split, number)}.png")


def write_list(path: Path, split: str, name: Name = full, line: str = "{}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [line.format(name(split, number)) for number in SPLITS[split]]
    path.write_text("\n".join(names) + "\n")


def onehot(number: int) -> Any:
    row = np.zeros(80, np.float32)
    row[[mask_id - 1 for mask_id in CLASSES[number]]] = 1
    return row


def write_labels(
    path: Path, key: Callable[[str, int], Any], splits: Sequence[str] = ("train",)
) -> None:
    """Write a pickled dictionary of one-hot rows, as `numpy.save` leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = {}
    for split in splits:
        rows |= {key(split, number): onehot(number) for number in SPLITS[split]}
    np.save(path, np.array(rows, dtype=object), allow_pickle=True)


def annotations(
    split: str, name: Name = full, number_as: Callable[[int], Any] = int
) -> dict[str, Any]:
    """The content of an annotation file; numbers as `number_as` makes them."""
    images = []
    found = []
    for number in SPLITS[split]:
        images.append(
            {
                "id": number_as(number),
                "file_name": f"{name(split, number)}.jpg",
                "height": number_as(HEIGHT),
                "width": number_as(WIDTH),
            }
        )
        for mask_id, columns in boxes(number):
            left, right = columns.start, columns.stop
            found.append(
                {
                    "id": number_as(len(found) + 1),
                    "image_id": number_as(number),
                    "category_id": number_as(CATEGORY[mask_id]),
                    "segmentation": [[left, 1, right, 1, right, 4, left, 4]],
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": number_as(category), "name": COCO_CLASSES[MASK_IDS[category]]}
        for category in CATEGORY_IDS
    ]
    return {"images": images, "annotations": found, "categories": categories}


def write_annotations(
    root: Path,
    year: str = "2014",
    folder: str = "annotations",
    **how: Any,
) -> None:
    for split in SPLITS:
        content: Mapping[str, Any] = annotations(split, **how)
        path = root / folder / f"instances_{split}{year}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


def usual(root: Path) -> Path:
    """COCO 2014 as its archives unpack; return `root`."""
    for split in SPLITS:
        write_photographs(root / f"{split}2014", split)
    write_annotations(root)
    return root
