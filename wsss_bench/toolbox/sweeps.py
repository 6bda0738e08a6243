"""Sweeps over all pairs of cells, one neighbour offset at a time: a loss on affinities, and its gradient with it.

An offset is a shifted slice of the map. On a CPU the sweeps are compiled and visit labelled pairs only; elsewhere, and
without numba, they are tensor operations.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wsss_bench.engine.ranks import over_ranks, world
from wsss_bench.toolbox.arrays import Doubles, Integers
from wsss_bench.toolbox.pairs import Window, count_pairs, pair_kinds
from wsss_bench.toolbox.random_walk import path_cells

BALANCE = (0.25, 0.25, 0.5)
"""Weights of background pairs, foreground pairs and pairs of different classes; psa's and IRNet's are the same."""

FLOOR = 1e-5
"""Added inside logarithms and to the numbers of pairs, as the released code does."""

EVERY = slice(None)


def pair_terms(
    affinity: Tensor,
    kinds: tuple[Tensor, Tensor, Tensor],
    counts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the share of some pairs in the balanced loss, and its slope.

    The loss is ``¼ mean_bg(-ln a) + ¼ mean_fg(-ln a) + ½ mean_neg(-ln(1 - a))``.

    Args:
        affinity: ``float [...]`` in [0, 1].
        kinds: three masks of that shape, see `pair_kinds`.
        counts: ``float [3]``, all pairs of each kind in the batch.

    Returns:
        The three weighted terms ``[3]``, and d loss / d affinity.
    """
    near = affinity + FLOOR
    apart = 1 + FLOOR - affinity
    balance = affinity.new_tensor(BALANCE)
    weight = balance / (counts.to(affinity.dtype) + FLOOR)
    # Products with masks instead of selections: their sizes would have to be known, which
    # makes a GPU wait.
    bg, fg, neg = (kind.to(affinity.dtype) for kind in kinds)
    like = near.log()
    sums = [
        (bg * like).sum(),
        (fg * like).sum(),
        (neg * apart.log()).sum(),
    ]
    terms = -torch.stack(sums) * weight
    push = weight[2] * neg / apart
    pull = (weight[0] * bg + weight[1] * fg) / near
    return terms, push - pull


def _compiled(values: Tensor) -> Any:
    """Return the compiled sweeps where they can serve, else None."""
    if values.device.type != "cpu":
        return None
    try:
        from wsss_bench.toolbox.kernels import affinity
    except ImportError:
        return None
    return affinity


def _table(windows: tuple[Window, ...]) -> Integers:
    """Return windows as the compiled sweeps take them: ``int64 [P, 6]``."""
    table = np.empty((len(windows), 6), np.int64)
    for row, window in zip(table, windows, strict=True):
        row[:2] = window.dy, window.dx
        row[2:4] = window.rows.start, window.rows.stop
        row[4:] = window.columns.start, window.columns.stop
    return table


def _ways(
    windows: tuple[Window, ...],
    width: int,
) -> tuple[Integers, Integers]:
    """Return flat shifts of the cells on the way of each offset, one after the other, and where each offset's begin."""
    shifts: list[int] = []
    starts = [0]
    for window in windows:
        way = path_cells(window.dy, window.dx)
        shifts += [y * width + x for y, x in way]
        starts.append(len(shifts))
    return np.array(shifts, np.int64), np.array(starts, np.int64)


def _over_ranks(counts: Doubles) -> Doubles:
    """Return the mean of counts over all processes that share the batch."""
    if world() == 1:
        return counts
    return over_ranks(torch.from_numpy(counts)).double().numpy()


def _weights(counts: Doubles) -> Doubles:
    return np.array(BALANCE) / (counts + FLOOR)


def boundary_sweep(
    values: Tensor,
    labels: Tensor,
    windows: tuple[Window, ...],
) -> tuple[Tensor, Tensor]:
    """Return terms ``[3]`` and gradient ``[B, h, w]`` of the loss on boundaries."""
    compiled = _compiled(values)
    if compiled is not None:
        return _compiled_boundary_sweep(compiled, values, labels, windows)
    counts = over_ranks(count_pairs(labels, windows))
    terms = values.new_zeros(3)
    gradient = torch.zeros_like(values)
    for window in windows:
        way = path_cells(window.dy, window.dx)
        places = [(EVERY, *window.shifted(y, x)) for y, x in way]
        worst = reduce(torch.maximum, [values[place] for place in places])
        kinds = pair_kinds(labels, window)
        part, slope = pair_terms(1 - worst, kinds, counts)
        terms += part
        # The strongest boundary on the way takes the whole gradient; the first one among
        # equals, so that no two cells share it.
        for place in places:
            hit = values[place] == worst
            gradient[place] -= slope * hit
            slope = slope.masked_fill_(hit, 0)
    return terms, gradient


def _compiled_boundary_sweep(
    compiled: Any,
    values: Tensor,
    labels: Tensor,
    windows: tuple[Window, ...],
) -> tuple[Tensor, Tensor]:
    table = _table(windows)
    known = labels.contiguous().numpy()
    flat = values.detach().flatten(1).contiguous().numpy()
    shifts, starts = _ways(windows, values.shape[2])
    weights = _weights(_over_ranks(compiled.count(known, table)))
    terms, gradient = compiled.boundary_sweep(
        flat,
        known,
        table,
        shifts,
        starts,
        weights,
        FLOOR,
    )
    slopes = torch.from_numpy(gradient).view(values.shape)
    return torch.from_numpy(terms).float(), slopes


def feature_sweep(
    values: Tensor,
    labels: Tensor,
    windows: tuple[Window, ...],
) -> tuple[Tensor, Tensor]:
    """Return terms ``[3]`` and gradient ``[B, C, h, w]`` of the loss on features."""
    # Channels innermost: their mean runs over neighbours in memory.
    inner = values.detach().permute(0, 2, 3, 1).contiguous()
    compiled = _compiled(values)
    if compiled is not None:
        return _compiled_feature_sweep(compiled, inner, labels, windows)
    counts = over_ranks(count_pairs(labels, windows))
    channels = values.shape[1]
    terms = values.new_zeros(3)
    gradient = torch.zeros_like(inner)
    for window in windows:
        one = (EVERY, *window.first)
        two = (EVERY, *window.second)
        apart = inner[one] - inner[two]
        affinity = torch.exp(-apart.abs().mean(-1))
        part, slope = pair_terms(affinity, pair_kinds(labels, window), counts)
        terms += part
        rate = -slope * affinity / channels
        # In place: `apart` is the largest array here, C planes per image.
        pull = apart.sign_().mul_(rate[..., None])
        gradient[one] += pull
        gradient[two] -= pull
    return terms, gradient.permute(0, 3, 1, 2)


def _compiled_feature_sweep(
    compiled: Any,
    inner: Tensor,
    labels: Tensor,
    windows: tuple[Window, ...],
) -> tuple[Tensor, Tensor]:
    table = _table(windows)
    known = labels.contiguous().numpy()
    weights = _weights(_over_ranks(compiled.count(known, table)))
    sums, slopes = compiled.feature_sweep(inner.numpy(), known, table, weights, FLOOR)
    gradient = torch.from_numpy(slopes).permute(0, 3, 1, 2)
    return torch.from_numpy(sums).float(), gradient


def displacement_sweep(
    values: Tensor,
    labels: Tensor,
    windows: tuple[Window, ...],
) -> tuple[Tensor, Tensor]:
    """Return terms ``[2]`` (foreground, background) and gradient ``[B, 2, h, w]`` of the loss on displacements."""
    bg_count, fg_count, _ = over_ranks(count_pairs(labels, windows))
    # Twice the pairs: the mean is over both components.
    fg_weight = 0.5 / (2 * fg_count + FLOOR)
    bg_weight = 0.5 / (2 * bg_count + FLOOR)
    terms = values.new_zeros(2)
    gradient = torch.zeros_like(values)
    for window in windows:
        one = (EVERY, EVERY, *window.first)
        two = (EVERY, EVERY, *window.second)
        background, foreground, _ = pair_kinds(labels, window)
        apart = values[one] - values[two]
        step = values.new_tensor([window.dy, window.dx])
        # Pointing to one centroid, the partner that lies `step` further needs less of it.
        astray = apart - step[:, None, None]
        fg_share = foreground[:, None] * fg_weight
        bg_share = background[:, None] * bg_weight
        terms[0] += (astray.abs() * fg_share).sum()
        terms[1] += (apart.abs() * bg_share).sum()
        pull = torch.zeros_like(apart)
        pull += astray.sign() * fg_share
        pull += apart.sign() * bg_share
        gradient[one] += pull
        gradient[two] -= pull
    return terms, gradient
