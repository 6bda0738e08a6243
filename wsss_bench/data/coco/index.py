"""What a run needs of ``instances_*2014.json``: images, sizes and labels, checked once and kept small."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsss_bench.errors import DataError

_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = tuple(k for k in range(1, 91) if k not in _GAPS)
"""COCO's category ids of the 80 classes; mask id k is the k-th of them."""

COCO_CLASSES = (
    "background",
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck"),
    *(
        "boat",
        "traffic light",
        "fire hydrant",
        "stop sign",
        "parking meter",
        "bench",
        "bird",
        "cat",
    ),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"),
    *(
        "backpack",
        "umbrella",
        "handbag",
        "tie",
        "suitcase",
        "frisbee",
        "skis",
        "snowboard",
    ),
    *(
        "sports ball",
        "kite",
        "baseball bat",
        "baseball glove",
        "skateboard",
        "surfboard",
        "tennis racket",
        "bottle",
    ),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake"),
    *(
        "chair",
        "couch",
        "potted plant",
        "bed",
        "dining table",
        "toilet",
        "tv",
        "laptop",
    ),
    *(
        "mouse",
        "remote",
        "keyboard",
        "cell phone",
        "microwave",
        "oven",
        "toaster",
        "sink",
    ),
    *(
        "refrigerator",
        "book",
        "clock",
        "vase",
        "scissors",
        "teddy bear",
        "hair drier",
        "toothbrush",
    ),
)
MASK_IDS: Mapping[int, int] = {
    category: k for k, category in enumerate(CATEGORY_IDS, 1)
}
INDEX_VERSION = 1
LARGEST = 20_000
"""Pixels a side; larger sizes are typing errors, and painting them would fill the memory."""
RESTORE = "Restore it from annotations_trainval2014.zip."


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of the annotation file; `id` is the file's stem, `tagged` whether any annotation names it."""

    id: str
    file_name: str
    height: int
    width: int
    labels: tuple[int, ...]

    @property
    def tagged(self) -> bool:
        """Whether it carries at least one annotation."""
        return bool(self.labels)


def digest(path: Path) -> str:
    """Twelve hex digits of the file's SHA-256; raises `DataError` when it cannot be read."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()[:12]
    except OSError as error:
        raise DataError(
            f"annotations {path} cannot be read ({error.strerror or error}). {RESTORE}"
        ) from error


def read_annotations(path: Path) -> dict[str, Any]:
    """The parsed annotation file, its three lists checked for the keys that are used.

    Raises:
        DataError: the file is missing, no JSON, or an entry lacks a key; names the entry's id.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(
            f"annotations {path} cannot be read ({error}). {RESTORE}"
        ) from error
    if not isinstance(data, dict):
        raise DataError(
            f"annotations {path} must be a JSON object, not a {type(data).__name__}. {RESTORE}"
        )
    _require(
        path, data, "images", {"id": int, "file_name": str, "height": int, "width": int}
    )
    _require(
        path,
        data,
        "annotations",
        {"id": int, "image_id": int, "category_id": int, "segmentation": object},
    )
    _require(path, data, "categories", {"id": int, "name": str})
    _check_sizes(path, data["images"])
    _check_categories(path, data["categories"])
    return data


def _require(
    path: Path,
    data: Mapping[str, Any],
    section: str,
    keys: Mapping[str, type | tuple[type, ...]],
) -> None:
    if not isinstance(data.get(section), list):
        raise DataError(
            f"annotations {path} has no list {section!r}; instances_*2014.json is needed. {RESTORE}"
        )
    for number, entry in enumerate(data[section]):
        if not isinstance(entry, dict) or not keys.keys() <= entry.keys():
            lacking = (
                sorted(keys.keys() - set(entry))
                if isinstance(entry, dict)
                else sorted(keys)
            )
            what = f"has no {', '.join(map(repr, lacking))}"
        else:
            wrong = [
                key
                for key, kind in keys.items()
                if not isinstance(entry[key], kind) or isinstance(entry[key], bool)
            ]
            what = (
                f"has a wrong {wrong[0]!r}: {str(entry[wrong[0]])[:60]!r}"
                if wrong
                else ""
            )
        if what:
            who = (
                f"id {entry['id']}"
                if isinstance(entry, dict) and "id" in entry
                else f"number {number}"
            )
            raise DataError(
                f"annotations {path}: {section[:-1]} {who} {what}. {RESTORE}"
            )


def _check_sizes(path: Path, images: Iterable[Mapping[str, Any]]) -> None:
    for image in images:
        if not (0 < image["height"] <= LARGEST and 0 < image["width"] <= LARGEST):
            size = f"{image['height']}x{image['width']}"
            raise DataError(
                f"annotations {path}: image id {image['id']} has size {size}, 1 to {LARGEST} is possible. {RESTORE}"
            )


def _check_categories(path: Path, categories: Iterable[Mapping[str, Any]]) -> None:
    for category in categories:
        mask_id = MASK_IDS.get(category["id"])
        if mask_id is None or COCO_CLASSES[mask_id] != category["name"]:
            raise DataError(
                f"annotations {path}: category id {category['id']} ({category['name']!r}) is none of COCO's 80. "
                "Use instances_*2014.json, not a stuff, panoptic or home-made file."
            )


def index_images(path: Path, data: Mapping[str, Any]) -> tuple[CocoImage, ...]:
    """The images in the order of their ids, with labels from the annotations.

    A class counts as soon as one annotation names it, crowds included: so the field's lists do. Its pixels may then all be
    ignored (255) or hidden behind others.

    Raises:
        DataError: an annotation names an image or category that the file does not hold, or two images share a name.
    """
    labels: dict[int, set[int]] = {image["id"]: set() for image in data["images"]}
    for annotation in data["annotations"]:
        if (
            annotation["image_id"] not in labels
            or annotation["category_id"] not in MASK_IDS
        ):
            what = "image_id" if annotation["image_id"] not in labels else "category_id"
            raise DataError(
                f"annotations {path}: annotation id {annotation['id']}: unknown {what} {annotation[what]}. {RESTORE}"
            )
        labels[annotation["image_id"]].add(MASK_IDS[annotation["category_id"]])
    found: dict[str, CocoImage] = {}
    for image in sorted(data["images"], key=lambda entry: entry["id"]):
        name = str(image["file_name"])
        stem = Path(name).stem
        if stem in found or name != Path(name).name or not name.isprintable():
            raise DataError(
                f"annotations {path}: image id {image['id']}: file name {name!r} is not unique and plain. {RESTORE}"
            )
        found[stem] = CocoImage(
            stem,
            name,
            int(image["height"]),
            int(image["width"]),
            tuple(sorted(labels[image["id"]])),
        )
    return tuple(found.values())


def by_image(data: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The annotations of each image, by file stem."""
    stems = {image["id"]: Path(image["file_name"]).stem for image in data["images"]}
    groups: dict[str, list[Mapping[str, Any]]] = {stem: [] for stem in stems.values()}
    for annotation in data["annotations"]:
        groups[stems[annotation["image_id"]]].append(annotation)
    return groups
