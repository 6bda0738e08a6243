"""Image-level labels from the devkit's ``ImageSets/Main``: a list for each class, with -1, 0 or 1 behind every id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsss_bench.data.labels.common import HOW_TO_LABEL, Labels
from wsss_bench.data.lists import read_flags
from wsss_bench.errors import DataError

PARTS = ("trainval", "train", "val")
"""Lists of a class, best first: the first holds what the others do."""


class MainLabels:
    """Labels from ``<class>_trainval.txt``, or ``<class>_train.txt`` and ``<class>_val.txt``.

    1 says that an image shows the class, -1 that it does not, and 0 that it shows "difficult" objects only; these count
    as they do in `XmlLabels`.

    Args:
        folder: ``ImageSets/Main`` of the devkit.
        classes: class names by mask id, background first.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.classes = classes

    def read(self, ids: Sequence[str]) -> Labels:
        """Return the labels of `ids`.

        Raises:
            DataError: a class has no list, a list cannot be read, or none of them holds an image.
        """
        if not self.folder.is_dir():
            what = f"{self.folder} does not exist, so it tells no labels."
            raise DataError(f"{what} {HOW_TO_LABEL}")
        present: dict[str, list[int]] = {image_id: [] for image_id in ids}
        for mask_id, name in enumerate(self.classes):
            if mask_id == 0:
                continue
            flags = self._flags(name, ids)
            for image_id in ids:
                if flags[image_id] >= 0:
                    present[image_id].append(mask_id)
        return {image_id: tuple(found) for image_id, found in present.items()}

    def _flags(self, name: str, ids: Sequence[str]) -> dict[str, int]:
        """Return the number behind each id in the lists of a class."""
        flags: dict[str, int] = {}
        files = [self.folder / f"{name}_{part}.txt" for part in PARTS]
        there = [path for path in files if path.is_file()]
        if not there:
            what = f"{self.folder} lacks {files[0].name} (and {files[1].name})."
            fix = "Restore ImageSets/Main from the original archive."
            raise DataError(f"{what} {fix}")
        for path in there:
            flags |= read_flags(path)
            # The official lists have ten thousand lines each: no more are read than needed.
            if all(image_id in flags for image_id in ids):
                return flags
        missing = [image_id for image_id in ids if image_id not in flags]
        which = f"{len(missing)} of {len(ids)} images (first: {missing[0]!r})"
        names = ", ".join(path.name for path in there)
        what = f"{self.folder}: {names} has no line for {which}."
        raise DataError(f"{what} Use labels that cover the split. {HOW_TO_LABEL}")
