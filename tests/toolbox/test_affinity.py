"""Losses on pixel pairs against loops over all pairs, and the method cards' hand-computed values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from wsss_bench.errors import RecipeError
from wsss_bench.toolbox import sweeps
from wsss_bench.toolbox.affinity import (
    affinity_from_features,
    boundary_affinity_loss,
    displacement_loss,
    feature_affinity_loss,
)
from wsss_bench.toolbox.pairs import BORDERS, count_pairs, pair_kinds, pair_windows
from wsss_bench.toolbox.random_walk import (
    affinity_from_boundary,
    propagate,
    propagate_reference,
)
from wsss_bench.toolbox.sweeps import pair_terms

EPS = 1e-5


@pytest.fixture(params=["compiled", "sliced"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to sweep: numba's and torch's."""
    if request.param == "sliced":
        monkeypatch.setattr(sweeps, "_compiled", lambda values: None)
    else:
        assert sweeps._compiled(torch.zeros(1)) is not None
    return str(request.param)


def all_pairs(
    h: int, w: int, radius: int, border: str
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Every pair once, first cell above or left, cell by cell."""
    found, reach = [], radius - 1
    for y in range(h):
        for x in range(w):
            if border == "psa" and not (y + reach < h and reach <= x < w - reach):
                continue
            for v in range(h):
                for u in range(w):
                    dy, dx = v - y, u - x
                    if (dy, dx) > (0, 0) and dy * dy + dx * dx < radius * radius:
                        found.append(((y, x), (v, u)))
    return found


def on_the_way(a: tuple[int, int], b: tuple[int, int]) -> list[tuple[int, int]]:
    """Cells of the bounding rectangle nearer than 1 to the line through both."""
    dy, dx = b[0] - a[0], b[1] - a[1]
    ys = range(min(a[0], b[0]), max(a[0], b[0]) + 1)
    xs = range(min(a[1], b[1]), max(a[1], b[1]) + 1)
    return [
        (y, x)
        for y in ys
        for x in xs
        if abs(dy * (x - a[1]) - dx * (y - a[0])) / math.hypot(dy, dx) < 1
    ]


def balanced(affinities: list[Tensor], kinds: list[str]) -> Tensor:
    """The releases' three means."""
    total = torch.zeros(())
    for kind, share in (("bg", 0.25), ("fg", 0.25), ("neg", 0.5)):
        chosen = [a for a, k in zip(affinities, kinds, strict=True) if k == kind]
        logs = [
            -torch.log(1 + EPS - a) if kind == "neg" else -torch.log(a + EPS)
            for a in chosen
        ]
        total = total + share * (sum(logs, torch.zeros(())) / (len(chosen) + EPS))
    return total


def kind_of(one: int, two: int) -> str:
    if 255 in (one, two):
        return "none"
    return "neg" if one != two else "bg" if one == 0 else "fg"


def some_labels(size: tuple[int, int, int], seed: int = 0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.choice(np.array([0, 0, 3, 7, 255], np.uint8), size))


def kinds_of(labels: Tensor, pairs: list) -> list[str]:
    return [kind_of(int(grid[a]), int(grid[b])) for grid in labels for a, b in pairs]


def agree(fast: Tensor, slow: Tensor, value: Tensor) -> None:
    """Same loss and same gradient."""
    assert fast.item() == pytest.approx(slow.item(), rel=1e-5)
    (one,) = torch.autograd.grad(fast * 3, value, retain_graph=True)
    (two,) = torch.autograd.grad(slow * 3, value)
    assert one.abs().max() > 0
    assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("size", "radius"), [((7, 9), 4), ((3, 5), 2), ((6, 4), 3)])
def test_the_boundary_loss_is_the_one_of_a_loop_over_pairs(
    backend: str, size: tuple[int, int], radius: int, border: str
) -> None:
    labels = some_labels((2, *size))
    edge = torch.rand(
        2, *size, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    pairs = all_pairs(*size, radius, border)
    ways = [on_the_way(a, b) for a, b in pairs]
    affinities = []
    for grid in edge:
        for way in ways:
            crossed = torch.stack([grid[cell] for cell in way])
            affinities.append(1 - crossed.max())
    total, terms = boundary_affinity_loss(edge, labels, radius, border)
    if not pairs:
        assert total.item() == 0
        return
    agree(total, balanced(affinities, kinds_of(labels, pairs)), edge)
    assert terms.sum().item() == pytest.approx(total.item())
    assert not terms.requires_grad


@pytest.mark.parametrize("border", BORDERS)
def test_the_feature_loss_is_the_one_of_a_loop_over_pairs(
    backend: str, border: str
) -> None:
    labels = some_labels((2, 8, 9), 3)
    features = torch.randn(
        2, 5, 8, 9, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    pairs = all_pairs(8, 9, 4, border)
    affinities = [
        torch.exp(-(f[:, a[0], a[1]] - f[:, b[0], b[1]]).abs().mean())
        for f in features
        for a, b in pairs
    ]
    agree(
        feature_affinity_loss(features, labels, 4, border)[0],
        balanced(affinities, kinds_of(labels, pairs)),
        features,
    )


@pytest.mark.parametrize("border", BORDERS)
def test_the_displacement_loss_is_the_one_of_a_loop_over_pairs(border: str) -> None:
    labels = some_labels((2, 7, 8), 4)
    field = torch.randn(
        2, 2, 7, 8, generator=torch.Generator().manual_seed(5)
    ).requires_grad_()
    pairs = all_pairs(7, 8, 3, border)
    sums = {"fg": torch.zeros(()), "bg": torch.zeros(())}
    kinds = kinds_of(labels, pairs)
    for (a, b), grid, kind in zip(
        pairs * 2, [g for g in field for _ in pairs], kinds, strict=True
    ):
        if kind in sums:
            step = (
                torch.tensor([b[0] - a[0], b[1] - a[1]])
                if kind == "fg"
                else torch.zeros(2)
            )
            sums[kind] = (
                sums[kind]
                + (grid[:, a[0], a[1]] - grid[:, b[0], b[1]] - step).abs().sum()
            )
    slow = sum(0.5 * sums[kind] / (2 * kinds.count(kind) + EPS) for kind in sums)
    agree(displacement_loss(field, labels, 3, border)[0], slow, field)


def test_the_cards_loss_on_three_pixels() -> None:
    labels = torch.tensor([[[3, 3, 0]]], dtype=torch.uint8)
    windows = pair_windows((1, 3), 3)
    found = {}
    for window in windows:
        kinds = pair_kinds(labels, window)
        found[window.dy, window.dx] = [kind[0, 0].tolist() for kind in kinds]
    assert found[0, 1] == [
        [False, False],
        [True, False],
        [False, True],
    ]  # (0, 1) are one object, (1, 2) are not
    assert found[0, 2] == [[False], [False], [True]]
    assert count_pairs(labels, windows).tolist() == [0, 1, 2]
    affinity = torch.tensor([0.9, 0.1, 0.2], requires_grad=True)
    kinds = tuple(
        torch.tensor(k, dtype=torch.bool) for k in ([0, 0, 0], [1, 0, 0], [0, 1, 1])
    )
    terms, slope = pair_terms(affinity, kinds, torch.tensor([0.0, 1.0, 2.0]))  # type: ignore[arg-type]
    assert terms.tolist() == pytest.approx([0, 0.105361 / 4, 0.164252 / 2], abs=2e-5)
    assert terms.sum().item() == pytest.approx(0.108466, abs=2e-5)
    assert torch.allclose(
        torch.autograd.grad(terms.sum(), affinity)[0], slope, atol=1e-6
    )


def test_an_unknown_cell_cancels_its_pairs() -> None:
    labels = torch.tensor([[[3, 255, 0]]], dtype=torch.uint8)
    assert count_pairs(labels, pair_windows((1, 3), 3)).tolist() == [0, 0, 1]
    found = count_pairs(
        torch.full((1, 4, 4), 255, dtype=torch.uint8), pair_windows((4, 4), 3)
    ).tolist()
    assert found == [0, 0, 0]


def test_a_batch_without_labels_has_no_loss_and_no_gradient(backend: str) -> None:
    labels = torch.full((1, 6, 6), 255, dtype=torch.uint8)
    edge = torch.rand(1, 6, 6).requires_grad_()
    total, _ = boundary_affinity_loss(edge, labels, 3, "full")
    assert total.item() == 0
    assert torch.autograd.grad(total, edge)[0].abs().max() == 0


def test_the_cards_displacements_towards_a_centroid_cost_nothing() -> None:
    labels = torch.full((1, 1, 4), 5, dtype=torch.uint8)
    field = torch.zeros(1, 2, 1, 4)
    field[0, 1, 0] = torch.tensor(
        [2.0, 1.0, 0.0, -1.0]
    )  # centroid (0, 2): D(0, 0) = (0, 2), D(0, 1) = (0, 1)
    assert displacement_loss(field, labels, 3, "full")[0].item() == 0
    found = displacement_loss(field * 0, labels, 2, "full")[0].item()
    assert found == pytest.approx(0.25, abs=1e-5)
    found = displacement_loss(field, labels * 0, 2, "full")[0].item()
    assert found == pytest.approx(0.25, abs=1e-5)


@pytest.mark.parametrize(
    ("radius", "side", "pairs"), [(5, 56, 84864), (10, 128, 1989680)]
)
def test_the_releases_number_of_pairs_per_crop(
    radius: int, side: int, pairs: int
) -> None:
    windows = pair_windows((side, side), radius, "psa")
    found = 0
    for window in windows:
        rows, columns = window.first
        found += (rows.stop - rows.start) * (columns.stop - columns.start)
    assert found == pairs
    assert len(windows) == {5: 34, 10: 152}[radius]


def test_psas_border_starves_the_frame_of_a_47_by_63_grid() -> None:
    features = torch.zeros(1, 47, 63)
    degree = {}
    for border in BORDERS:
        affinity = affinity_from_features(features, 5, border)
        total = affinity.planes.sum(0).copy()
        for (dy, dx), plane in zip(
            affinity.offsets.tolist(), affinity.planes, strict=True
        ):
            rows, columns = np.nonzero(plane)
            np.add.at(total, (rows + dy, columns + dx), 1)
        degree[border] = total
    found = 1 - degree["psa"].sum() / degree["full"].sum()
    assert found == pytest.approx(0.138, abs=5e-4)
    assert (degree["psa"] == 0).sum() == 10
    assert degree["psa"][23, :4].min() == 2
    assert degree["psa"][23, :4].max() == 13
    assert degree["psa"][46, 30] == 5
    assert degree["full"][46, 30] == 38
    assert degree["full"][23, 30] == 68


def test_planes_hold_exp_of_minus_the_mean_difference() -> None:
    features = torch.tensor([[[0.0, 1.0, 3.0]], [[0.0, -1.0, 0.0]]])
    affinity = affinity_from_features(features, 3)
    planes = {
        tuple(o): p[0].tolist()
        for o, p in zip(affinity.offsets.tolist(), affinity.planes, strict=True)
    }
    assert planes[0, 1] == pytest.approx([math.exp(-1), math.exp(-1.5), 0])
    assert planes[0, 2] == pytest.approx([math.exp(-1.5), 0, 0])
    assert planes[1, 0] == [0, 0, 0]


def test_two_cells_of_affinity_one_half_walk_as_on_the_card() -> None:
    features = torch.tensor([[[0.0, math.log(2)]]])
    affinity = affinity_from_features(features, 5)
    walked = propagate(
        np.array([[[1.0, 0.0]]], np.float32), affinity, beta=8, steps=256
    )
    assert walked[0, 0].tolist() == pytest.approx([0.567667, 0.432333], abs=2e-6)


def test_planes_from_features_and_from_a_boundary_feed_the_same_walk() -> None:
    wall = np.zeros((5, 7), np.float32)
    wall[:, 3] = 1
    sides = np.zeros((1, 5, 7), np.float32)
    sides[..., 3], sides[..., 4:] = 50, 100
    scores = np.random.default_rng(0).random((2, 5, 7)).astype(np.float32)
    apart = affinity_from_features(torch.from_numpy(sides), 4)
    found = propagate(scores, apart)
    expected = propagate_reference(scores, apart)
    assert np.allclose(found, expected, atol=1e-5)
    beside = [
        0,
        1,
        2,
        4,
        5,
        6,
    ]  # the wall's own cells are alike as features, and apart from each other as boundary
    walked = propagate(scores, affinity_from_boundary(wall, 4))
    assert np.allclose(
        propagate(scores, apart)[..., beside], walked[..., beside], atol=1e-5
    )


def test_an_unknown_border_is_refused() -> None:
    with pytest.raises(RecipeError, match="psa or full"):
        pair_windows((4, 4), 3, "none")
