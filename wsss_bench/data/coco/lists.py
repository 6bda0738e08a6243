"""Lists of images as other repositories have them for COCO: full names, twelve digits, or bare numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from wsss_bench.data.coco.index import CocoImage
from wsss_bench.data.coco.layout import YEARS, full_id, number_of
from wsss_bench.data.lists import read_ids
from wsss_bench.errors import DataError


def read_list(
    path: Path, split: str, year: str, images: Iterable[CocoImage] | None
) -> tuple[str, ...]:
    """Return the ids of a list under the names that COCO's own annotations give the images.

    So the same images have the same ids whichever layout they are read from, and their results compare.

    Args:
        path: the list.
        split: which of COCO's splits it is of, ``"train"`` or ``"val"``.
        year: of the splits.
        images: those of the annotations, where there are such.

    Raises:
        DataError: the list cannot be read, names an image twice (under two names), an image of another split, or one
            that the annotations lack.
    """
    known = None if images is None else _by_number(images)
    found: dict[str, str] = {}
    for name in read_ids(path):
        image_id = _image_id(path, name, split, year, known)
        if image_id in found:
            what = f"list {path}: {found[image_id]!r} and {name!r} are one image."
            raise DataError(f"{what} Remove one of them.")
        found[image_id] = name
    return tuple(found)


def _by_number(images: Iterable[CocoImage]) -> dict[int | str, str]:
    """Return the id of every image by its number, or by its name where that has none."""
    found: dict[int | str, str] = {}
    for image in images:
        number = number_of(image.id)
        found[number[0] if number else image.id] = image.id
    return found


def _image_id(
    path: Path,
    name: str,
    split: str,
    year: str,
    known: Mapping[int | str, str] | None,
) -> str:
    number = number_of(name)
    told = number[1] if number else ""
    # In 2017 photographs of both splits of 2014 were mixed, and old names tell nothing.
    if year == YEARS[0] and told not in ("", split):
        what = f"list {path} is of {split}, and names an image of {told} ({name!r})."
        raise DataError(f"{what} Are two lists exchanged? Name each by its split.")
    if known is None:
        return full_id(split, year, number[0]) if number else name
    image_id = known.get(number[0] if number else name)
    if image_id is None:
        what = f"list {path} names {name!r}, which the annotations of {split}{year} do not hold."
        fix = f"Use lists of the splits of {year}, or the annotations that belong to them."
        raise DataError(f"{what} {fix}")
    return image_id
