"""Pairs of neighbouring cells of a grid, one offset at a time, and what labels say of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.random_walk import half_disc

BORDERS = ("psa", "full")

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Window:
    """All pairs of one offset: second cells lie `dy` rows below and `dx` columns to the right of the first ones."""

    dy: int
    dx: int
    rows: slice
    columns: slice

    def shifted(self, y: int, x: int) -> Slices:
        """Return the first cells moved by (y, x)."""
        rows = slice(self.rows.start + y, self.rows.stop + y)
        columns = slice(self.columns.start + x, self.columns.stop + x)
        return rows, columns

    @property
    def first(self) -> Slices:
        """Return the first cells of the pairs."""
        return self.rows, self.columns

    @property
    def second(self) -> Slices:
        """Return their partners."""
        return self.shifted(self.dy, self.dx)


@cache
def pair_windows(
    size: tuple[int, int],
    radius: int,
    border: str = "full",
) -> tuple[Window, ...]:
    """Return the pairs of a grid by offset, in `half_disc`'s order; offsets without any pair are left out.

    Args:
        size: (h, w) of the grid.
        radius: pairs closer than this.
        border: "full": every pair inside the grid. "psa": only first cells whose whole half disc is inside, as both
            releases train and psa also infers; cells near the border then have few partners or none.

    Raises:
        RecipeError: another border.
    """
    if border not in BORDERS:
        raise RecipeError(
            f"border={border!r} is not known; use {' or '.join(BORDERS)}."
        )
    h, w = size
    reach = radius - 1
    found = []
    for dy, dx in half_disc(radius).tolist():
        if border == "psa":
            rows = slice(0, h - reach)
            columns = slice(reach, w - reach)
        else:
            rows = slice(0, h - dy)
            columns = slice(max(-dx, 0), w - max(dx, 0))
        if rows.stop > 0 and columns.stop > columns.start:
            found.append(Window(dy, dx, rows, columns))
    return tuple(found)


def pair_kinds(labels: Tensor, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Return which pairs are both background, both of one foreground class, of different classes.

    Pairs with a 255 are none of them.

    Args:
        labels: ``uint8 [B, h, w]``, 0 background, 255 unknown.
        window: one offset's pairs.

    Returns:
        Three ``bool [B, n, m]`` over the window.
    """
    one = labels[(..., *window.first)]
    two = labels[(..., *window.second)]
    same = one == two
    known = one != IGNORE
    background = one == 0
    # Where both are the same, one of them tells whether they are known.
    apart = ~same & known & (two != IGNORE)
    return same & background, same & known & ~background, apart


def count_pairs(labels: Tensor, windows: tuple[Window, ...]) -> Tensor:
    """Return how many pairs of each kind there are, ``float32 [3]``, in the order of `pair_kinds`."""
    # Counted as integers: float32 stops counting at 2^24, and a batch has more pairs.
    total = torch.zeros(3, dtype=torch.int64, device=labels.device)
    for window in windows:
        kinds = pair_kinds(labels, window)
        total += torch.stack([kind.sum() for kind in kinds])
    return total.float()
