"""Files of a folder by their stem, whatever the suffix and its case."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from wsss_bench.errors import DataError

PHOTOGRAPHS = (".jpg", ".jpeg", ".png")
"""Suffixes of photographs, the usual one first."""

MASKS = (".png",)
"""Suffixes of masks. Pictures of masks as JPEG lie beside them in some folders, and are none."""


class FolderIndex:
    """The files of one folder that end in one of some suffixes, in small letters or capitals.

    The folder is listed once, at the first question: to ask for ten thousand files one by one takes minutes on a
    network drive.

    Args:
        folder: the folder; one that does not exist holds nothing.
        suffixes: with the dot, in small letters; the first is the one that messages name.
    """

    def __init__(self, folder: Path, suffixes: Sequence[str] = PHOTOGRAPHS) -> None:
        self.folder = folder
        self.suffixes = tuple(suffixes)

    def find(self, stem: str) -> Path | None:
        """Return the file of a stem, or None; raises `DataError` where there are two."""
        names = self._names.get(stem, ())
        if len(names) > 1:
            listed = " and ".join(map(repr, names))
            what = f"{self.folder} holds {listed}, of which one only can be meant."
            raise DataError(f"{what} Remove the other.")
        return self.folder / names[0] if names else None

    def default(self, stem: str) -> Path:
        """Return where the file of a stem would lie under the usual suffix, for messages."""
        return self.folder / f"{stem}{self.suffixes[0]}"

    @property
    def stems(self) -> Collection[str]:
        """The stems of all files there."""
        return self._names.keys()

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for name in self._listed():
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in self.suffixes:
                found[stem] = (*found.get(stem, ()), name)
        return found

    def _listed(self) -> list[str]:
        try:
            names = sorted(os.listdir(self.folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            what = f"{self.folder} cannot be listed ({error.strerror})."
            raise DataError(f"{what} Make it readable.") from error
        # File systems without room for a Mac's extra data get a hidden "._x.jpg" beside each "x.jpg".
        return [name for name in names if not name.startswith(".")]
