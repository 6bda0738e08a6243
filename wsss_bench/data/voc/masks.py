"""From which folder the mask of an image is read: the devkit's, the augmented list's, or one that the user names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsss_bench.data.files import MASKS, FolderIndex
from wsss_bench.errors import DataError

DEVKIT, AUGMENTED = "SegmentationClass", "SegmentationClassAug"
"""Folders of masks: the devkit's own, and those of the augmented training list."""


class MaskFolders:
    """The folders of masks of one root.

    Args:
        root: the folder that holds them.
        chosen: the one that all masks are read from, where the user names one.
    """

    def __init__(self, root: Path, chosen: Path | None = None) -> None:
        self.root = root
        self.chosen = chosen
        self._indices = {
            name: FolderIndex(root / name, MASKS) for name in (DEVKIT, AUGMENTED)
        }
        if chosen is not None:
            self._indices = {chosen.name: FolderIndex(chosen, MASKS)}

    def path(self, image_id: str, augmented: bool) -> Path:
        """Return the file of one mask, whether it exists or not.

        Args:
            image_id: the image's id.
            augmented: whether the split is an augmented training list, whose masks are SBD's as far as there are such.
        """
        order = self._order(augmented)
        for index in order:
            path = index.find(image_id)
            if path is not None:
                return path
        # Nowhere: the message names the folder where it should be, as far as that exists.
        there = [index for index in order if index.stems]
        return (there or order)[0].default(image_id)

    def holds(self, path: Path) -> bool:
        """Return whether a mask was there when its folder was listed."""
        index = self._indices[path.parent.name]
        return path.stem in index.stems

    def only_augmented(self, image_id: str) -> Path | None:
        """Return the mask of an image that has one in the augmented folder alone; None for all others.

        Such masks have no ignored border, so what is scored on them compares with nothing published.
        """
        if self.chosen is not None or image_id in self._indices[DEVKIT].stems:
            return None
        return self._indices[AUGMENTED].find(image_id)

    def _order(self, augmented: bool) -> list[FolderIndex]:
        """Return the folders to look in, best first."""
        if self.chosen is not None:
            return list(self._indices.values())
        if augmented:
            return [self._indices[AUGMENTED], self._indices[DEVKIT]]
        return [self._indices[DEVKIT]]


def choose_folder(root: Path, options: Mapping[str, object], where: str) -> Path | None:
    """Return the folder that the option `masks` names, in the root or elsewhere; None where it is not given.

    Raises:
        DataError: there is no such folder.
    """
    choice = options.get("masks")
    if choice is None:
        return None
    given = Path(str(choice)).expanduser()
    for folder in (root / given, given):
        if folder.is_dir():
            return folder
    what = f"{where}: masks={choice}: there is no such folder in {root}."
    raise DataError(f"{what} Name {DEVKIT}, {AUGMENTED}, or a folder of PNGs.")
