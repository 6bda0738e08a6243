"""What a run needs of ``instances_*2014.json``: images, sizes and labels, checked once and kept small."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from wsss_bench.errors import ArtifactError, DataError

_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
CATEGORY_IDS = tuple(k for k in range(1, 91) if k not in _GAPS)
"""COCO's category ids of the 80 classes; mask id k is the k-th of them."""

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck,
boat, traffic light, fire hydrant, stop sign, parking meter, bench, bird, cat,
dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle,
wine glass, cup, fork, knife, spoon, bowl, banana, apple,
sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake,
chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink,
refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""

COCO_CLASSES = ("background", *map(str.strip, _NAMES.split(",")))
"""Class names by mask id, in the order of their category ids."""

MASK_IDS: Mapping[int, int] = {
    category: k for k, category in enumerate(CATEGORY_IDS, 1)
}
"""Mask id by category id."""

INDEX_VERSION = 2
"""Of the file that keeps the images, and the digests of masks made for them; the first had no digests."""
LARGEST = 20_000
"""Pixels a side; larger sizes are typing errors, and painting them would fill the memory."""
RESTORE = "Restore it from the archive annotations_trainval of its year."

Content = Mapping[str, Any]
"""The annotation file, or one entry of a list in it."""

Keys = Mapping[str, type]
"""What each entry of a list must have, and of what type."""

_SECTIONS: Mapping[str, Keys] = {
    "images": {
        "id": int,
        "file_name": str,
        "height": int,
        "width": int,
    },
    "annotations": {
        "id": int,
        "image_id": int,
        "category_id": int,
        # A list of polygons or a run-length object; whoever paints it looks closer.
        "segmentation": object,
    },
    "categories": {"id": int, "name": str},
}


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of the annotation file.

    Attributes:
        id: the stem of its file.
        file_name: the file in its split's folder.
        height: in pixels.
        width: in pixels.
        labels: mask ids that some annotation names, sorted.
    """

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
    """Return the SHA-256 of an annotation file in hex, hashed once; raises `DataError` when it cannot be read."""
    # Numpy comes with it, which no help text needs.
    from wsss_bench.io.hashing import digests

    try:
        return digests([path])[0]
    except (OSError, ArtifactError) as error:
        raise _damaged(f"{path} cannot be read ({error}).") from error


def _damaged(what: str) -> DataError:
    return DataError(f"annotations {what} {RESTORE}")


def read_annotations(path: Path, expected: str = "") -> dict[str, Any]:
    """Return the parsed annotation file, its three lists checked for the keys that are used.

    Whole numbers that were written as text (``"139"``) or with a point (``139.0``), as exports from tables do, are
    integers in what is returned.

    Args:
        path: the file.
        expected: its SHA-256 in hex; empty to take it as it is.

    Raises:
        DataError: the file is missing, no JSON, not what was expected, or an entry lacks a key; names the entry's id.
    """
    try:
        content = path.read_bytes()
        if expected and hashlib.sha256(content).hexdigest() != expected:
            what = f"{path} was changed while it was in use. Run the command again."
            raise DataError(f"annotations {what}")
        data = json.loads(content)
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(f"{path} cannot be read ({error}).") from error
    if not isinstance(data, dict):
        raise _damaged(f"{path} must be a JSON object, not a {type(data).__name__}.")
    for section, keys in _SECTIONS.items():
        _check_section(path, data, section, keys)
    _check_sizes(path, data["images"])
    _check_categories(path, data["categories"])
    return data


def _check_section(path: Path, data: Content, section: str, keys: Keys) -> None:
    entries = data.get(section)
    if not isinstance(entries, list):
        what = f"has no list {section!r}; instances_*2014.json is needed."
        raise _damaged(f"{path} {what}")
    for number, entry in enumerate(entries):
        fault = _settle(entry, keys)
        if fault:
            known = isinstance(entry, dict) and "id" in entry
            who = f"id {entry['id']}" if known else f"number {number}"
            one = section.removesuffix("s")
            raise _damaged(f"{path}: {one} {who} {fault}.")


def _settle(entry: object, keys: Keys) -> str:
    """Make the whole numbers of one entry integers; return what is wrong with it, empty where nothing is."""
    fields: dict[str, Any] = entry if isinstance(entry, dict) else {}
    lacking = sorted(keys.keys() - fields.keys())
    if lacking:
        listed = ", ".join(map(repr, lacking))
        return f"has no {listed}"
    for key, kind in keys.items():
        given = fields[key]
        value = _whole(given) if kind is int else given
        if not isinstance(value, kind):
            shown = str(given)[:60]
            return f"has a wrong {key!r}: {shown!r}"
        fields[key] = value
    return ""


def _whole(value: object) -> int | None:
    """Return a whole number, however it was written; None for anything else."""
    # To Python, true is an integer.
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    # A 64-bit number has no more digits; Python refuses to read thousands of them.
    if isinstance(value, str) and len(value) < 20 and value.strip().isdecimal():
        return int(value)
    return None


def _check_sizes(path: Path, images: Iterable[Content]) -> None:
    for image in images:
        height = image["height"]
        width = image["width"]
        if min(height, width) < 1 or max(height, width) > LARGEST:
            what = f"image id {image['id']} has size {height}x{width}"
            raise _damaged(f"{path}: {what}, 1 to {LARGEST} is possible.")


def _check_categories(path: Path, categories: Iterable[Content]) -> None:
    for category in categories:
        mask_id = MASK_IDS.get(category["id"])
        if mask_id is None or COCO_CLASSES[mask_id] != category["name"]:
            who = f"category id {category['id']} ({category['name']!r})"
            fix = "Use instances_*2014.json, not a stuff, panoptic or home-made file."
            what = f"{who} is none of COCO's 80. {fix}"
            raise DataError(f"annotations {path}: {what}")


def index_images(path: Path, data: Content) -> tuple[CocoImage, ...]:
    """Return the images in the order of their ids, with labels from the annotations.

    A class counts as soon as one annotation names it, crowds included: so the field's lists do. Its pixels may then all
    be ignored (255) or hidden behind others.

    Raises:
        DataError: an annotation names an image or category that the file does not hold, or two images share a name.
    """
    labels = _labels(path, data)
    found: dict[str, CocoImage] = {}
    images = sorted(data["images"], key=itemgetter("id"))
    for image in images:
        name = image["file_name"]
        stem = Path(name).stem
        plain = name == Path(name).name and name.isprintable()
        # The stem becomes the id and names the mask's file, so it must neither leave the folder nor come twice.
        if stem in found or not plain:
            what = f"file name {name!r} is not unique and plain."
            raise _damaged(f"{path}: image id {image['id']}: {what}")
        present = sorted(labels[image["id"]])
        found[stem] = CocoImage(
            id=stem,
            file_name=name,
            height=image["height"],
            width=image["width"],
            labels=tuple(present),
        )
    return tuple(found.values())


def _labels(path: Path, data: Content) -> dict[int, set[int]]:
    """Return the mask ids that are named for each image id."""
    labels: dict[int, set[int]] = {}
    for image in data["images"]:
        labels[image["id"]] = set()
    known: Mapping[str, Mapping[int, object]] = {
        "image_id": labels,
        "category_id": MASK_IDS,
    }
    for annotation in data["annotations"]:
        for key, ids in known.items():
            if annotation[key] not in ids:
                who = f"annotation id {annotation['id']}"
                raise _damaged(f"{path}: {who}: unknown {key} {annotation[key]}.")
        mask_id = MASK_IDS[annotation["category_id"]]
        labels[annotation["image_id"]].add(mask_id)
    return labels


def by_image(data: Content) -> dict[str, list[Content]]:
    """Return the annotations of each image, by file stem."""
    stems: dict[int, str] = {}
    groups: dict[str, list[Content]] = {}
    for image in data["images"]:
        stem = Path(image["file_name"]).stem
        stems[image["id"]] = stem
        groups[stem] = []
    for annotation in data["annotations"]:
        stem = stems[annotation["image_id"]]
        groups[stem].append(annotation)
    return groups
