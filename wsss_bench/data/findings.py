"""What a look at a dataset's files found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.contract.view import IGNORE
from wsss_bench.data.base import LEVELS, Finding
from wsss_bench.data.masks import RESTORE
from wsss_bench.errors import DataError
from wsss_bench.io.images import read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


SHOWN = 10
"""Findings of one sort that are listed one by one; the rest are counted."""


class Notebook:
    """Collects findings; of each sort the first `SHOWN` are kept and the others counted."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._sorts: Counter[tuple[str, str]] = Counter()

    def note(
        self,
        sort: str,
        level: str,
        what: str,
        where: str | Path,
        fix: str = "",
    ) -> None:
        """Add a finding; `sort` groups findings that differ in the file only."""
        # A broken disk makes a hundred thousand findings, and the one that explains them must still be seen.
        self._sorts[sort, level] += 1
        if self._sorts[sort, level] <= SHOWN:
            finding = Finding(level, what, str(where), fix)
            self._kept.append(finding)

    def error(self, sort: str, error: Exception, where: str | Path) -> None:
        """Add an exception as a finding of level error."""
        self.note(sort, "error", str(error), where)

    def add(self, findings: Iterable[Finding]) -> None:
        """Take over what another look has found."""
        self._kept += findings

    def findings(self) -> list[Finding]:
        """Return everything noted, errors first."""
        found = list(self._kept)
        for (sort, level), count in self._sorts.items():
            if count > SHOWN:
                what = f"{count - SHOWN} more of the same sort: {sort}"
                found.append(Finding(level, what, "-"))
        return sorted(found, key=lambda finding: LEVELS.index(finding.level))


def check_image(book: Notebook, path: Path) -> tuple[int, int] | None:
    """Decode one photograph; return its (height, width), or None after noting what is wrong with it."""
    try:
        if path.stat().st_size == 0:
            what = "the image file is empty (0 bytes)."
            book.note("empty image", "error", what, path, RESTORE)
            return None
        height, width = read_image(path).shape[:2]
    except OSError:
        what = "the image is listed, but not on disk."
        book.note("missing image", "error", what, path, RESTORE)
        return None
    except DataError as error:
        book.error("unreadable image", error, path)
        return None
    return height, width


def values_in(mask: NDArray[np.uint8]) -> frozenset[int]:
    """Return all values that occur in a mask ``uint8 [H, W]``."""
    import numpy as np

    # Counting beats sorting: `np.unique` takes ten times as long on a photograph's mask.
    counts = np.bincount(mask.ravel(), minlength=256)
    return frozenset(np.flatnonzero(counts).tolist())


def present_in(mask: NDArray[np.uint8]) -> set[int]:
    """Return the foreground classes that occur in a mask ``uint8 [H, W]``."""
    return set(values_in(mask)) - {0, IGNORE}
