"""VOC's classes and its lists of image ids."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.errors import DataError

_NAMES = """
aeroplane    bicycle  bird   boat       bottle
bus          car      cat    chair      cow
diningtable  dog      horse  motorbike  person
pottedplant  sheep    sofa   train      tvmonitor
"""

VOC_CLASSES = ("background", *_NAMES.split())
"""Class names by mask id."""

HOW = (
    "Get it with: wsss-bench data prepare --dataset voc2012 --data-root ROOT --download, "
    "or unpack VOCtrainval_11-May-2012.tar of the PASCAL VOC 2012 challenge there."
)

OFFICIAL_COUNTS = {
    "train": 1464,
    "train_aug": 10582,
    "trainaug": 10582,
    "val": 1449,
    "test": 1456,
}
"""Sizes of the official lists; `train_aug` is SBD's list without the images of VOC val."""

ALIASES = {"train_aug": "trainaug", "trainaug": "train_aug"}
"""Both spellings of the augmented list are in circulation; either finds the other."""

_SUFFIXES = (".jpg", ".png", ".jpeg")


def read_ids(path: Path) -> tuple[str, ...]:
    """Return the image ids of a list file, in order.

    One id a line; CRLF, blank lines and a byte-order mark are tolerated; the two-column form of the augmented lists in
    circulation (``/JPEGImages/x.jpg /SegmentationClassAug/x.png``) is understood.

    Raises:
        DataError: the list is missing, empty, names an id twice, or pairs an image with another image's mask.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"list {path} cannot be read ({error}).") from error
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"list {path}, line {number}"
        image_id = _read_line(line, where)
        if image_id in seen:
            first = f"(first in line {seen[image_id]})"
            what = f"id {image_id!r} is listed twice {first}."
            raise DataError(f"{where}: {what} Remove one.")
        seen[image_id] = number
    if not seen:
        raise DataError(f"list {path} is empty. Restore it from the original archive.")
    return tuple(seen)


def _read_line(line: str, where: str) -> str:
    words = line.split()
    # More columns than one are paths, or, in lists of single classes, whether the image shows it.
    stems = {words[0]}
    if "/" in line:
        stems = set(map(_stem, words[:2]))
    if len(stems) != 1:
        what = f"image and mask differ in name ({line.strip()!r})."
        raise DataError(f"{where}: {what} Correct the line.")
    image_id = stems.pop()
    # An id becomes part of file names, which must stay in their folder.
    if not image_id.isprintable() or "/" in image_id or image_id.startswith("."):
        what = f"{image_id!r} is no image id."
        raise DataError(f"{where}: {what} Restore the list, or correct the line.")
    return image_id


def _stem(word: str) -> str:
    name = word.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if name.endswith(_SUFFIXES) else name
