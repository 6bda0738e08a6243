"""Affinities of pixel pairs, learnt: their losses for AffinityNet (psa, CVPR 2018) and IRNet (CVPR 2019), and the random walk's input.

Released code gathers every pair (IRNet: every cell on the way between two) through index lists, gigabytes per batch. Here one
neighbour offset at a time is a shifted slice of the map, and loss and gradient are summed in the same sweep: what is kept
is one gradient of the map's size. On a CPU the sweeps are compiled and visit labelled pairs only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.random_walk import Affinity, half_disc, path_cells

BALANCE = (0.25, 0.25, 0.5)
"""Weights of background pairs, foreground pairs and pairs of different classes (psa's and IRNet's weightings are equal)."""

FLOOR = 1e-5
"""Added inside logarithms and to the numbers of pairs, as the released code does."""

BORDERS = ("psa", "full")

Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Window:
    """All pairs of one offset: where the first cells lie, and the second ones `dy` rows below and `dx` columns to the right."""

    dy: int
    dx: int
    rows: slice
    columns: slice

    def shifted(self, y: int, x: int) -> Slices:
        """The first cells moved by (y, x)."""
        return slice(self.rows.start + y, self.rows.stop + y), slice(
            self.columns.start + x, self.columns.stop + x
        )

    @property
    def first(self) -> Slices:
        """The first cells of the pairs."""
        return self.rows, self.columns

    @property
    def second(self) -> Slices:
        """Their partners."""
        return self.shifted(self.dy, self.dx)


@cache
def pair_windows(
    size: tuple[int, int], radius: int, border: str = "full"
) -> tuple[Window, ...]:
    """The pairs of a grid by offset, in `half_disc`'s order; offsets without any pair are left out.

    Args:
        size: (h, w) of the grid.
        radius: pairs closer than this.
        border: "full": every pair inside the grid. "psa": only first cells whose whole half disc is inside, as both releases
            train and psa also infers; cells near the border then have few partners or none.

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
            rows, columns = slice(0, h - reach), slice(reach, w - reach)
        else:
            rows, columns = slice(0, h - dy), slice(max(-dx, 0), w - max(dx, 0))
        if rows.stop > 0 and columns.stop > columns.start:
            found.append(Window(dy, dx, rows, columns))
    return tuple(found)


def pair_kinds(labels: Tensor, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Which pairs are both background, both of one foreground class, of different classes; pairs with a 255 are none of them.

    Args:
        labels: ``uint8 [B, h, w]``, 0 background, 255 unknown.
        window: one offset's pairs.

    Returns:
        Three ``bool [B, n, m]`` over the window.
    """
    one, two = labels[(..., *window.first)], labels[(..., *window.second)]
    same, known = one == two, one != IGNORE
    background = one == 0
    return (
        same & background,
        same & known & ~background,
        ~same & known & (two != IGNORE),
    )


def count_pairs(labels: Tensor, windows: tuple[Window, ...]) -> Tensor:
    """``float [3]``: how many pairs of each kind there are."""
    total = torch.zeros(3, dtype=torch.int64, device=labels.device)
    for window in windows:
        total += torch.stack([kind.sum() for kind in pair_kinds(labels, window)])
    return total.float()


def pair_terms(
    affinity: Tensor, kinds: tuple[Tensor, Tensor, Tensor], counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Share of some pairs in the balanced loss ``¼ mean_bg(-ln a) + ¼ mean_fg(-ln a) + ½ mean_neg(-ln(1 - a))``, and its slope.

    Args:
        affinity: ``float [...]`` in [0, 1].
        kinds: three masks of that shape, see `pair_kinds`.
        counts: ``float [3]``, all pairs of each kind in the batch.

    Returns:
        The three weighted terms ``[3]``, and d loss / d affinity.
    """
    near, apart = affinity + FLOOR, 1 + FLOOR - affinity
    weight = torch.tensor(BALANCE, device=affinity.device, dtype=affinity.dtype) / (
        counts.to(affinity.dtype) + FLOOR
    )
    bg, fg, neg = (kind.to(affinity.dtype) for kind in kinds)
    like = near.log()
    terms = (
        -torch.stack([(bg * like).sum(), (fg * like).sum(), (neg * apart.log()).sum()])
        * weight
    )
    return terms, weight[2] * neg / apart - (weight[0] * bg + weight[1] * fg) / near


def boundary_affinity_loss(
    boundary: Tensor, labels: Tensor, radius: int, border: str = "psa"
) -> tuple[Tensor, Tensor]:
    """IRNet's affinity loss (section 4.2): a pair's affinity is 1 minus the strongest boundary on the way between its cells.

    Args:
        boundary: ``float [B, h, w]`` probabilities.
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this (IRNet 10).
        border: see `pair_windows`.

    Returns:
        The loss, and its three terms without gradient (background, foreground, different classes).
    """
    windows = pair_windows((boundary.shape[1], boundary.shape[2]), radius, border)
    return _swept(
        boundary.float(), lambda values: _boundary_sweep(values, labels, windows)
    )


def feature_affinity_loss(
    features: Tensor, labels: Tensor, radius: int, border: str = "psa"
) -> tuple[Tensor, Tensor]:
    """AffinityNet's loss: a pair's affinity is ``exp(-mean |f_i - f_j|)`` over channels.

    Args:
        features: ``float [B, C, h, w]``.
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this (psa 5).
        border: see `pair_windows`.

    Returns:
        As `boundary_affinity_loss`.
    """
    windows = pair_windows((features.shape[2], features.shape[3]), radius, border)
    return _swept(
        features.float(), lambda values: _feature_sweep(values, labels, windows)
    )


def displacement_loss(
    displacement: Tensor, labels: Tensor, radius: int, border: str = "psa"
) -> tuple[Tensor, Tensor]:
    """IRNet's displacement loss: cells of one object point to one centroid, background is not displaced.

    ``½ mean_fg |D_i - D_j - (j - i)| + ½ mean_bg |D_i - D_j|`` over pairs and both components.

    Args:
        displacement: ``float [B, 2, h, w]`` (rows, columns).
        labels: ``uint8 [B, h, w]``, 255 = unknown.
        radius: pairs closer than this.
        border: see `pair_windows`.

    Returns:
        The loss, and its two terms without gradient (foreground, background).
    """
    windows = pair_windows(
        (displacement.shape[2], displacement.shape[3]), radius, border
    )
    return _swept(
        displacement.float(),
        lambda values: _displacement_sweep(values, labels, windows),
    )


def affinity_from_features(
    features: Tensor, radius: int = 5, border: str = "full"
) -> Affinity:
    """``exp(-mean |f_i - f_j|)`` of all pairs of a grid, for `random_walk.propagate`.

    The mean over channels is the released code's; with the paper's sum every affinity would be the C-th power.

    Args:
        features: ``float [C, h, w]``.
        radius: pairs closer than this.
        border: see `pair_windows`; pairs it leaves out get affinity 0.
    """
    size = (features.shape[1], features.shape[2])
    offsets = half_disc(radius)
    planes = np.zeros((len(offsets), *size), np.float32)
    place = {tuple(offset): index for index, offset in enumerate(offsets.tolist())}
    values = features.detach().float().permute(1, 2, 0).contiguous()
    for window in pair_windows(size, radius, border):
        apart = (values[window.first] - values[window.second]).abs_().mean(-1)
        planes[(place[window.dy, window.dx], *window.first)] = (
            torch.exp(-apart).cpu().numpy()
        )
    return Affinity(offsets, planes)


Sweep = Callable[[Tensor], tuple[Tensor, Tensor]]


class _Swept(torch.autograd.Function):
    """The sum of a sweep's terms, whose gradient the sweep has already summed."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
        terms, gradient = sweep(values)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(terms)
        return terms.sum(), terms

    @staticmethod
    def backward(ctx: Any, outer: Tensor, _terms: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (gradient,) = ctx.saved_tensors
        return gradient * outer, None


def _swept(values: Tensor, sweep: Sweep) -> tuple[Tensor, Tensor]:
    total, terms = _Swept.apply(values, sweep)
    return total, terms


def _compiled(values: Tensor) -> Any:
    """The compiled sweeps where they can serve, else None."""
    if values.device.type != "cpu":
        return None
    try:
        from wsss_bench.toolbox.kernels import affinity as _affinity_numba
    except ImportError:
        return None
    return _affinity_numba


def _table(windows: tuple[Window, ...]) -> NDArray[np.int64]:
    rows = [
        (w.dy, w.dx, w.rows.start, w.rows.stop, w.columns.start, w.columns.stop)
        for w in windows
    ]
    return np.array(rows, np.int64).reshape(-1, 6)


def _ways(
    windows: tuple[Window, ...], width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat shifts of the cells on the way of each offset, one after the other, and where each offset's begin."""
    ways = [
        [y * width + x for y, x in path_cells(window.dy, window.dx)]
        for window in windows
    ]
    return np.array([shift for way in ways for shift in way], np.int64), np.cumsum(
        [0, *map(len, ways)]
    )


def _weights(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array(BALANCE) / (counts + FLOOR)


def _boundary_sweep(
    values: Tensor, labels: Tensor, windows: tuple[Window, ...]
) -> tuple[Tensor, Tensor]:
    compiled = _compiled(values)
    if compiled is not None:
        table, known = _table(windows), labels.contiguous().numpy()
        flat = values.detach().contiguous().numpy().reshape(len(known), -1)
        ways = _ways(windows, values.shape[2])
        weights = _weights(compiled.count(known, table))
        terms, gradient = compiled.boundary_sweep(
            flat, known, table, *ways, weights, FLOOR
        )
        return torch.from_numpy(terms).float(), torch.from_numpy(gradient).view(
            values.shape
        )
    counts = count_pairs(labels, windows)
    terms, gradient = values.new_zeros(3), torch.zeros_like(values)
    for window in windows:
        places = [
            (slice(None), *window.shifted(y, x))
            for y, x in path_cells(window.dy, window.dx)
        ]
        worst = reduce(torch.maximum, [values[place] for place in places])
        part, slope = pair_terms(1 - worst, pair_kinds(labels, window), counts)
        terms += part
        for place in places:  # the strongest boundary on the way takes the whole gradient; the first one among equals
            hit = values[place] == worst
            gradient[place] -= slope * hit
            slope = slope.masked_fill_(hit, 0)
    return terms, gradient


def _feature_sweep(
    values: Tensor, labels: Tensor, windows: tuple[Window, ...]
) -> tuple[Tensor, Tensor]:
    inner = (
        values.detach().permute(0, 2, 3, 1).contiguous()
    )  # channels innermost: their mean runs over neighbours in memory
    compiled = _compiled(values)
    if compiled is not None:
        table, known = _table(windows), labels.contiguous().numpy()
        sums, slopes = compiled.feature_sweep(
            inner.numpy(), known, table, _weights(compiled.count(known, table)), FLOOR
        )
        return torch.from_numpy(sums).float(), torch.from_numpy(slopes).permute(
            0, 3, 1, 2
        )
    counts = count_pairs(labels, windows)
    terms, gradient = values.new_zeros(3), torch.zeros_like(inner)
    for window in windows:
        one, two = (slice(None), *window.first), (slice(None), *window.second)
        apart = inner[one] - inner[two]
        affinity = torch.exp(-apart.abs().mean(-1))
        part, slope = pair_terms(affinity, pair_kinds(labels, window), counts)
        terms += part
        pull = apart.sign_().mul_((-slope * affinity / values.shape[1])[..., None])
        gradient[one] += pull
        gradient[two] -= pull
    return terms, gradient.permute(0, 3, 1, 2)


def _displacement_sweep(
    values: Tensor, labels: Tensor, windows: tuple[Window, ...]
) -> tuple[Tensor, Tensor]:
    bg_count, fg_count, _ = count_pairs(labels, windows)
    weights = 0.5 / (2 * fg_count + FLOOR), 0.5 / (2 * bg_count + FLOOR)
    terms, gradient = values.new_zeros(2), torch.zeros_like(values)
    for window in windows:
        one, two = (
            (slice(None), slice(None), *window.first),
            (slice(None), slice(None), *window.second),
        )
        background, foreground, _ = pair_kinds(labels, window)
        apart = values[one] - values[two]
        step = values.new_tensor([window.dy, window.dx])[:, None, None]
        pull = torch.zeros_like(apart)
        for index, (kind, error) in enumerate(
            ((foreground, apart - step), (background, apart))
        ):
            chosen = kind[:, None] * weights[index]
            terms[index] += (error.abs() * chosen).sum()
            pull += error.sign() * chosen
        gradient[one] += pull
        gradient[two] -= pull
    return terms, gradient
