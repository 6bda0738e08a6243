"""What the readers of image-level labels share: the form of their result, and finding an image among other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from wsss_bench.data.lists import stem_of
from wsss_bench.errors import DataError

Labels = Mapping[str, tuple[int, ...]]
"""Class ids in each image, sorted, background left out; by image id."""

HOW_TO_LABEL = (
    "Image-level labels come from a file (--labels FILE: a CSV with the header id,<class names> and 0/1 cells, or a "
    "cls_labels.npy as other repositories ship it), from a file of that name in the root, from the devkit's "
    "Annotations/*.xml or ImageSets/Main (--labels main), or, where you decide so, from --labels masks."
)

T = TypeVar("T")

_DIGITS = 20
"""Digits of the longest number that is taken for an image's."""


def plain(name: str) -> str:
    """Return a class name by which it is found again in other sources."""
    # They differ in spaces, slashes and capitals only ("tv/monitor", "potted plant").
    return "".join(filter(str.isalnum, name.lower()))


def known_classes(classes: Sequence[str]) -> dict[str, int]:
    """Return the mask id of each foreground class by its plain name."""
    return {plain(name): k for k, name in enumerate(classes) if k}


def number_of(name: str) -> int | None:
    """Return the number by which an image is known elsewhere; None for a name without one.

    2007000032 for VOC's ``2007_000032``, which ``numpy.loadtxt`` and Python read as one integer; 9 for COCO's
    ``COCO_train2014_000000000009``.
    """
    digits = name.replace("_", "")
    last = name.rpartition("_")[2]
    for candidate in (digits, last):
        if _is_number(candidate):
            return int(candidate)
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


@dataclass
class Entries(Generic[T]):
    """What a file holds for each image, found by the image's id, its file name, or its number.

    Attributes:
        what: the file, for messages ("label table cls_labels.csv").
    """

    what: str
    _named: dict[str, T] = field(default_factory=dict)
    _numbered: dict[int, T] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._named) + len(self._numbered)

    def add(self, key: str | int, value: T) -> bool:
        """Add an entry; return whether there was none of that name or number."""
        if isinstance(key, str):
            stem = stem_of(key)
            # A number written as text stands for the number; zeros in front say nothing.
            if not _is_number(stem):
                fresh = stem not in self._named
                self._named.setdefault(stem, value)
                return fresh
            key = int(stem)
        fresh = key not in self._numbered
        self._numbered.setdefault(key, value)
        return fresh

    def choose(self, ids: Iterable[str]) -> dict[str, T]:
        """Return the entry of every id.

        Raises:
            DataError: an image has none, or two images would share one that is known by its number.
        """
        found: dict[str, T] = {}
        missing = []
        numbers: dict[int, str] = {}
        for image_id in ids:
            if image_id in self._named:
                found[image_id] = self._named[image_id]
                continue
            number = number_of(image_id)
            if number is None or number not in self._numbered:
                missing.append(image_id)
                continue
            if number in numbers:
                both = f"{numbers[number]!r} and {image_id!r} are both {number}"
                fix = "Use a file whose entries are named like the images."
                raise DataError(f"{self.what}: {both} there. {fix}")
            numbers[number] = image_id
            found[image_id] = self._numbered[number]
        if missing:
            raise self._lacks(missing, len(found) + len(missing))
        return found

    def _lacks(self, missing: Sequence[str], count: int) -> DataError:
        which = f"{len(missing)} of {count} images (first: {missing[0]!r})"
        what = f"{self.what} has no row for {which}."
        return DataError(f"{what} Use a table that covers the split.")


def unreadable(path: Path, error: Exception) -> DataError:
    """Return the error for a label file that cannot be read."""
    return DataError(f"label table {path} cannot be read ({error}). {HOW_TO_LABEL}")
