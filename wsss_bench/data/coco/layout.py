"""Where in a root COCO's annotations, photographs, masks and lists lie, in every layout that is in circulation.

COCO unpacks to ``train2014/``; other repositories want it under ``images/`` or in VOC's style (``JPEGImages/train``),
with masks of their own in ``SegmentationClass/``. The photographs of 2014 and 2017 are the same ones, cut into other
splits and named ``COCO_train2014_000000000139.jpg`` or ``000000000139.jpg``; either name is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from wsss_bench.data.files import PHOTOGRAPHS, FolderIndex
from wsss_bench.data.places import find_folder
from wsss_bench.errors import DataError

HOW = (
    "Get it with: wsss-bench data prepare --dataset coco2014 --data-root ROOT --download, "
    "or unpack train2014.zip, val2014.zip and annotations_trainval2014.zip of MS COCO there."
)

PLACES = (
    ".",
    "coco2014",
    "coco",
    "COCO",
    "COCO2014",
    "MSCOCO",
    "mscoco",
    "coco14",
    "coco_2014",
    "coco2017",
    "COCO2017",
)
"""Where under a data root COCO may lie, best first."""

SPLITS = ("train", "val")
YEARS = ("2014", "2017")
"""Years of the splits, the one that the field publishes on first."""

_ANNOTATIONS = ("annotations", ".", "annotations/annotations")
_PARENTS = (".", "images", "JPEGImages")
_MASK_PARENTS = ("SegmentationClass", "coco_seg_anno", "masks")
_LISTS = ("{}", "{}_id", "{}14", "{}2014", "{}_coco", "{}_cls")
"""What the lists of a split are called: plainly, or as published code has them."""

_ID = re.compile(r"(?:COCO_(train|val)(20\d\d)_)?0*(\d{1,12})")


def find_root(root: Path | None, listed: bool) -> Path:
    """Return the folder under a data root that holds COCO.

    Args:
        root: the data root; None where the user named none.
        listed: whether the user names lists of his own, so that photographs in one folder will do.

    Raises:
        DataError: no root, or nothing of COCO under it.
    """
    markers = [*_ANNOTATIONS[:1], *_JSON]
    for split in SPLITS:
        markers += _photograph_places(split, YEARS)
    if listed:
        markers += _PARENTS[1:]
    if root is not None:
        folder = Path(root).expanduser()
        for candidate in PLACES:
            if any((folder / candidate / marker).exists() for marker in markers):
                return folder / candidate
    # Nothing there: it says where was looked, and how to come by the data.
    return find_folder("coco2014", root, PLACES, "annotations", HOW)


_JSON = tuple(f"instances_{split}{year}.json" for split in SPLITS for year in YEARS)


def _photograph_places(split: str, years: Iterable[str]) -> list[str]:
    """Return the folders for the photographs of one split, best first."""
    places = []
    for year in years:
        name = f"{split}{year}"
        places += [f"{parent}/{name}" for parent in _PARENTS]
        # An archive that was unpacked into a folder of its own name.
        places.append(f"{name}/{name}")
    # In VOC's style, with a folder for each split.
    return [*places, f"JPEGImages/{split}", f"images/{split}"]


def annotation_file(root: Path, split: str, year: str) -> Path:
    """Return ``instances_<split><year>.json`` where it lies, else where it should."""
    name = f"instances_{split}{year}.json"
    places = [root / folder / name for folder in _ANNOTATIONS]
    return next((path for path in places if path.is_file()), places[0])


def choose_year(root: Path, wanted: str | None) -> str:
    """Return the year whose splits are used: the wanted one, else the first that has annotations, else the first.

    Raises:
        DataError: the wanted year has no splits.
    """
    if wanted is not None:
        if wanted not in YEARS:
            what = f"coco2014: year={wanted!r} is none of {', '.join(YEARS)}."
            raise DataError(what)
        return wanted
    for year in YEARS:
        if any(annotation_file(root, split, year).is_file() for split in SPLITS):
            return year
    return YEARS[0]


def number_of(name: str) -> tuple[int, str] | None:
    """Return COCO's number in a file's stem, and the split that the name tells ("" for none); None for another name."""
    match = _ID.fullmatch(name)
    if match is None:
        return None
    split, year, digits = match.groups()
    # Only the names of 2014 tell the split.
    return int(digits), split if year == YEARS[0] else ""


def full_id(split: str, year: str, number: int) -> str:
    """Return the stem under which COCO itself ships a photograph."""
    if year == YEARS[0]:
        return f"COCO_{split}{year}_{number:012d}"
    return f"{number:012d}"


def stems(image_id: str) -> Iterator[str]:
    """Yield the stems under which files of an image are found: its id, and the names of 2014, 2017 and converters."""
    yield image_id
    known = number_of(image_id)
    if known is None:
        return
    number, _ = known
    for split in SPLITS:
        yield full_id(split, YEARS[0], number)
    yield full_id("", YEARS[1], number)
    # `coco2voc` and what was made with it name files by the bare number.
    yield str(number)


class Files:
    """The files of one split in the first of some folders that has them.

    Args:
        folders: best first; the first that exists is where a missing file is said to be missing.
        suffixes: of the files.
    """

    def __init__(self, folders: Sequence[Path], suffixes: Sequence[str]) -> None:
        there = [folder for folder in folders if folder.is_dir()]
        found = there or folders[:1]
        self._indices = [FolderIndex(folder, suffixes) for folder in found]
        self._found: dict[str, Path] = {}

    def find(self, image_id: str) -> Path | None:
        """Return the file of an image, or None; raises `DataError` where a folder has two files of one stem."""
        # A plan asks for each of 123,287 images half a dozen times.
        known = self._found.get(image_id)
        if known is None:
            known = self._indices[0].find(image_id) or self._look_up(image_id)
            if known is not None:
                self._found[image_id] = known
        return known

    def _look_up(self, image_id: str) -> Path | None:
        names = tuple(dict.fromkeys(stems(image_id)))
        for index in self._indices:
            for name in names:
                path = index.find(name)
                if path is not None:
                    return path
        return None

    def path(self, image_id: str) -> Path:
        """Return the file of an image, or where it should be."""
        return self.find(image_id) or self._indices[0].default(image_id)


def photographs(root: Path, split: str, year: str) -> Files:
    """Return the photographs of a split; those of the other year's folders count, for they are the same ones."""
    years = sorted(YEARS, key=lambda one: one != year)
    places = _photograph_places(split, years)
    # A photograph of val2014 may lie in train2017, and the other way round.
    other = next(one for one in SPLITS if one != split)
    places += _photograph_places(other, [one for one in YEARS if one != YEARS[0]])
    places += _PARENTS[1:]
    return Files([root / place for place in places], PHOTOGRAPHS)


def mask_places(root: Path) -> list[Path]:
    """Return the folders of masks that lie in a root."""
    found = [root / name for name in _MASK_PARENTS]
    return [folder for folder in found if folder.is_dir()]


def mask_folder(folder: Path, split: str, year: str) -> Path:
    """Return the folder for one split in a folder of masks: ``val2014``, ``val``, or the folder itself."""
    names = [f"{split}{year}", split]
    for other in YEARS:
        names.append(f"{split}{other}")
    return next((folder / one for one in names if (folder / one).is_dir()), folder)


def list_files(folder: Path) -> dict[str, Path]:
    """Return the lists in a folder by split: ``train`` and ``val``, and any other that begins so by its own name."""
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    found: dict[str, Path] = {}
    for split in SPLITS:
        names = [pattern.format(split) for pattern in _LISTS]
        chosen = next((name for name in names if name in files), None)
        if chosen is not None:
            found[split] = files.pop(chosen)
    for name, path in files.items():
        if name.startswith(SPLITS) and name not in found:
            found[name] = path
    return found


def split_of(name: str) -> str:
    """Return which of COCO's splits a list is of."""
    return next(split for split in SPLITS if name.startswith(split))
