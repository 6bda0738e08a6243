"""Which key of a score file means which class: the forms that this field's repositories write.

Mask ids have the background at 0. Files count the foreground classes from 0 (IRN, PSA), or keep a background at key 0
and class k at key k (SIPE, the CRF outputs of PSA, SEAM and EPS); some have a background among the keys without a map
for it (PuzzleCAM), or a map of it without a key (AMN). A wrong guess scores perfect maps near zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError
from wsss_bench.exchange.stored import KEYED, OWN, Stored, unreadable

NO_MAPS = np.zeros((0, 1, 1), np.float32)


@dataclass(frozen=True)
class Form:
    """How the files of one folder are read.

    Attributes:
        layout: one of the layouts of `wsss_bench.exchange.stored`.
        array: the name of the array that is scored; empty in files of one map per class.
        first: the mask id that key 0 stands for: 1 where keys count the foreground classes from 0, 0 where key k is
            class k and key 0 the background.
        extra: how many maps a file has more than keys: 0; 1 for a background map without a key, which comes first; -1
            for a background key without a map, which comes first too.
        background: whether there are background maps. They are left out: thresholds are swept instead.
        others: further arrays that could be scored.
    """

    layout: str
    array: str
    first: int
    extra: int = 0
    background: bool = False
    others: tuple[str, ...] = ()

    def describe(self, classes: Sequence[str]) -> str:
        """Return what the form is, in one line: ``IRN dict, keys 0-based (key 0 is 'cat'), array high_res``."""
        parts = [self.layout]
        if self.layout != OWN:
            parts.append(self._counted(classes))
        if self.extra < 0:
            parts.append("no map of the background")
        if self.background:
            parts.append("background maps left out (thresholds stand in for them)")
        if self.array and self.layout == KEYED:
            parts.append(f"array {self.array}")
        said = ", ".join(parts)
        if not self.others:
            return said
        return f"{said} (also there: {', '.join(self.others)}; --array chooses)"

    def _counted(self, classes: Sequence[str]) -> str:
        if self.first == 1:
            return f"keys 0-based (key 0 is {classes[1]!r})"
        there = self.background or self.extra < 0
        where = "key 0 is the background" if there else "no key 0"
        return f"keys 1-based ({where}, key 1 is {classes[1]!r})"

    def read(self, stored: Stored) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """Return mask ids ``int64 [K]`` and maps ``[K, h, w]`` of one file, background left out.

        Raises:
            ArtifactError: the file has another layout or other arrays than the folder, or ids and maps that do not fit.
        """
        if stored.layout != self.layout:
            what = (
                f"{stored.path} is {stored.layout!r}, other files are {self.layout!r}."
            )
            raise ArtifactError(f"{what} Keep files of one form in a folder.")
        maps = self._maps(stored)
        try:
            check_maps(stored.keys, maps, self.extra)
        except ValueError as error:
            raise unreadable(stored.path, self._held(stored), error) from error
        # Without classes there may be keys or maps of the background alone.
        keys = stored.keys[max(0, -self.extra) :]
        maps = maps[max(0, self.extra) :]
        kept = keys + self.first != 0
        if not kept.any():
            return keys[kept], NO_MAPS
        return keys[kept] + self.first, maps[kept]

    def _maps(self, stored: Stored) -> NDArray[Any]:
        if self.array in stored.arrays:
            return stored.arrays[self.array]
        # An image without classes need not have the array; the background's key may be there.
        if not len(stored.keys) or (self.extra < 0 and len(stored.keys) == 1):
            return NO_MAPS
        held = ", ".join(stored.arrays)
        what = f"{stored.path} has no array {self.array!r}; it holds {held}."
        raise ArtifactError(f"{what} Keep files of one form in a folder.")

    def _held(self, stored: Stored) -> list[str]:
        if stored.layout == KEYED:
            return ["keys", *stored.arrays]
        if stored.layout == OWN:
            return ["class_ids", *stored.arrays]
        return list(map(str, stored.keys.tolist()))


def extra_maps(stored: Stored, array: str) -> int:
    """Return how many maps a file has more than keys: -1, 0 or 1.

    Raises:
        ArtifactError: they differ by more, or the one key too many is not the background's.
    """
    maps = stored.arrays.get(array, NO_MAPS)
    extra = len(maps) - len(stored.keys)
    try:
        # Mask ids have no background among them.
        if stored.layout == OWN or extra not in (-1, 0, 1):
            extra = 0
        check_maps(stored.keys, maps, extra)
    except ValueError as error:
        raise unreadable(stored.path, ["keys", *stored.arrays], error) from error
    return extra


def check_maps(keys: NDArray[np.int64], maps: NDArray[Any], extra: int) -> None:
    """Raise `ValueError` where keys and maps do not fit, or the maps are no planes of real numbers."""
    shape = list(np.shape(maps))
    odd_key = extra < 0 and (not len(keys) or keys[0] != 0)
    # A file without classes may hold nothing at all.
    nothing = not len(keys) and not any(shape[:1])
    fits = len(shape) == 3 and shape[0] == len(keys) + extra
    if not nothing and (odd_key or not fits):
        raise ValueError(f"{len(keys)} class ids, scores of shape {shape}")
    numeric = np.issubdtype(maps.dtype, np.number) or maps.dtype == bool
    if not numeric or np.iscomplexobj(maps):
        raise ValueError(f"scores are {maps.dtype}")
