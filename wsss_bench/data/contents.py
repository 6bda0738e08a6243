"""What the masks and labels of a split hold all together: whether anything can be scored, and learnt."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from wsss_bench.contract.view import IGNORE
from wsss_bench.data.findings import Notebook
from wsss_bench.data.masks import RESTORE

_BLANK = "Nothing can be scored on them. Restore the masks, or choose another split."
_BARE = "Every method that predicts background only would be perfect. Check that these are the masks of this split."
_ONE = "A classifier learns nothing from that. Check that the labels are those of all classes."


@dataclass
class Contents:
    """Counts over the masks of one split.

    Attributes:
        split: its name.
        masks: how many were read.
        blank: how many are 255 throughout.
        bare: how many show background and no class.
        bordered: how many hold a 255 beside other values.
    """

    split: str
    masks: int = 0
    blank: int = 0
    bare: int = 0
    bordered: int = 0

    def add(self, values: Collection[int]) -> None:
        """Count one mask by the values in it."""
        present = set(values)
        self.masks += 1
        self.blank += present <= {IGNORE}
        self.bare += present - {IGNORE} == {0}
        self.bordered += IGNORE in present and len(present) > 1

    def report(self, book: Notebook, scored: bool, warning: str = "") -> None:
        """Note what would make scores worthless.

        Args:
            book: where to.
            scored: whether results are scored on the split.
            warning: what to say where no mask has a border; empty where none is expected.
        """
        if not self.masks:
            return
        level = "error" if scored else "warning"
        if self.blank == self.masks:
            what = f"all {self.masks:,} masks are 255 throughout."
            book.note("blank", level, what, self.split, _BLANK)
        elif self.blank > self.masks / 2:
            what = f"{self.blank:,} of {self.masks:,} masks are 255 throughout."
            book.note("blank", "warning", what, self.split, RESTORE)
        if self.bare + self.blank == self.masks and self.bare:
            what = f"none of {self.masks:,} masks shows any class: all is background."
            book.note("bare", "warning", what, self.split, _BARE)
        if warning and not self.bordered and not self.blank:
            book.note("no border", "warning", warning, self.split)


def check_variety(
    book: Notebook, split: str, labels: Iterable[Collection[int]], classes: int
) -> None:
    """Note where all image-level labels of a training split are of one class although there are several."""
    named = [set(one) for one in labels if one]
    found = set().union(*named)
    # Of two or three images that is normal.
    if len(found) == 1 and classes > 2 and len(named) > 3:
        what = f"all {len(named):,} labelled images are of one class, {min(found)}."
        book.note("one class", "warning", what, split, _ONE)
