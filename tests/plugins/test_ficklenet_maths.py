from __future__ import annotations

import pytest
import torch

from wsss_plugins.ficklenet import maths

X = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=torch.float64)
ONES = torch.ones(1, 1, 3, 3, dtype=torch.float64)


def case(
    seed: int,
    b: int = 2,
    k: int = 5,
    c: int = 3,
    h: int = 7,
    w: int = 6,
    s: int = 5,
    p: float = 0.7,
) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(b, k, h, w, generator=generator, dtype=torch.float64)
    weight = torch.randn(c, k, s, s, generator=generator, dtype=torch.float64)
    return x, weight, maths.centre_preserving_mask(generator, b, h, w, s, p).double()


def window_loop(
    x: torch.Tensor, weight: torch.Tensor, mask: torch.Tensor
) -> torch.Tensor:
    """The definition, cell by cell."""
    b, _, h, w = x.shape
    c, _, s, _ = weight.shape
    r = (s - 1) // 2
    padded = torch.nn.functional.pad(x, (r, r, r, r))
    out = x.new_zeros(b, c, h, w)
    for n in range(b):
        for i in range(h):
            for j in range(w):
                kept = mask[n, :, i, j].view(s, s)
                window = padded[n, :, i : i + s, j : j + s] * kept
                out[n, :, i, j] = (weight * window).sum(dim=(1, 2, 3))
    return out


def test_expansion_lays_windows_side_by_side():
    rows = ["000000", "012120", "034340", "012120", "034340", "000000"]
    found = maths.expand(X, 3)[0, 0].long().tolist()
    assert found == [list(map(int, row)) for row in rows]


def test_hand_computed_scores_of_three_masks():
    y = maths.project(X, ONES)
    everything = maths.deterministic_mask(1, 2, 2, 3).double()
    assert maths.stochastic_scores(y, everything)[0, 0].tolist() == [[10, 10], [10, 10]]
    centres = torch.zeros(1, 9, 2, 2, dtype=torch.float64)
    centres[:, 4] = 1
    assert maths.stochastic_scores(y, centres)[0, 0].tolist() == [[1, 2], [3, 4]]
    # Positions (0,0), (2,2) and (1,3) of the expanded plane: two in the window of cell
    # (0,0), one in that of cell (0,1).
    more = centres.clone()
    more[0, 0, 0, 0] = more[0, 8, 0, 0] = more[0, 3, 0, 1] = 1
    found = maths.mask_plane(more, 3)[0, 0].nonzero().tolist()
    assert found == [
        [0, 0],
        [1, 1],
        [1, 3],
        [1, 4],
        [2, 2],
        [4, 1],
        [4, 4],
    ]
    assert maths.stochastic_scores(y, more)[0, 0].tolist() == [[5, 3], [3, 4]]


@pytest.mark.parametrize(
    ("seed", "s", "h", "w"), [(0, 5, 7, 6), (1, 9, 4, 3), (2, 1, 3, 3), (3, 3, 1, 8)]
)
def test_projection_first_equals_the_paper_and_the_definition(seed, s, h, w):
    x, weight, mask = case(seed, s=s, h=h, w=w)
    naive = window_loop(x, weight, mask)
    assert torch.allclose(maths.expanded_scores(x, weight, mask), naive, atol=1e-12)
    found = maths.stochastic_scores(maths.project(x, weight), mask)
    assert torch.allclose(found, naive, atol=1e-12)


def test_single_precision_agrees_to_a_millionth():
    x, weight, mask = (t.float() for t in case(4, k=64, h=21, w=21, s=9, p=0.9))
    naive = maths.expanded_scores(x, weight, mask)
    fast = maths.stochastic_scores(maths.project(x, weight), mask)
    assert (fast - naive).abs().max() <= 1e-6 * naive.abs().max()


def test_gradcam_equals_feature_times_gradient_of_the_pooled_score():
    x, weight, mask = case(5)
    x.requires_grad_()
    fast = maths.elementwise_gradcam(maths.project(x.detach(), weight), mask)
    for c in range(weight.shape[0]):
        pooled = maths.expanded_scores(x, weight, mask)[:, c].mean(dim=(1, 2)).sum()
        (gradient,) = torch.autograd.grad(pooled, x)
        expected = (x.detach() * gradient).sum(1).relu()
        assert torch.allclose(fast[:, c], expected, atol=1e-12)


def test_contributions_sum_to_the_pooled_score():
    x, weight, mask = case(6)
    y = maths.project(x, weight)
    pooled = window_loop(x, weight, mask).mean(dim=(2, 3))
    found = maths.contributions(y, mask).sum(dim=(2, 3))
    assert torch.allclose(found, pooled, atol=1e-12)
    assert torch.allclose(maths.pooled_scores(x, weight, mask), pooled, atol=1e-12)


def test_the_training_shortcut_has_the_gradients_of_the_paper_path():
    x, weight, mask = case(7)
    x.requires_grad_()
    weight.requires_grad_()
    target = torch.rand(
        2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).round()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    slow = torch.autograd.grad(
        loss(maths.expanded_scores(x, weight, mask).mean(dim=(2, 3)), target),
        (x, weight),
    )
    fast = torch.autograd.grad(
        loss(maths.pooled_scores(x, weight, mask), target), (x, weight)
    )
    middle = torch.autograd.grad(
        loss(
            maths.stochastic_scores(maths.project(x, weight), mask).mean(dim=(2, 3)),
            target,
        ),
        (x, weight),
    )
    for a, b, c in zip(slow, fast, middle, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
        assert torch.allclose(a, c, atol=1e-12)


def test_masks_keep_centres_drop_at_the_rate_and_follow_the_generator():
    mask = maths.centre_preserving_mask(
        torch.Generator().manual_seed(0), 4, 20, 20, 9, 0.9
    )
    assert set(mask.unique().tolist()) == {0, 1}
    assert mask[:, 40].min() == 1
    others = torch.cat([mask[:, :40], mask[:, 41:]], dim=1)
    assert others.mean().item() == pytest.approx(0.1, abs=0.005)
    again = maths.centre_preserving_mask(
        torch.Generator().manual_seed(0), 4, 20, 20, 9, 0.9
    )
    other = maths.centre_preserving_mask(
        torch.Generator().manual_seed(1), 4, 20, 20, 9, 0.9
    )
    assert torch.equal(mask, again)
    assert not torch.equal(mask, other)


def test_extreme_rates_are_centres_only_and_everything():
    generator = torch.Generator().manual_seed(0)
    assert maths.centre_preserving_mask(generator, 1, 3, 4, 5, 1.0).sum() == 12
    found = maths.centre_preserving_mask(generator, 1, 3, 4, 5, 0.0)
    expected = maths.deterministic_mask(1, 3, 4, 5)
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("s", "p", "message"), [(4, 0.5, "odd"), (3, 1.5, "rate")])
def test_impossible_masks_are_refused(s, p, message):
    with pytest.raises(ValueError, match=message):
        maths.centre_preserving_mask(torch.Generator(), 1, 2, 2, s, p)


def test_general_dropout_equals_dropping_units_of_the_expanded_map():
    x, weight, _ = case(8, s=3)
    b, k, h, w = x.shape
    x.requires_grad_()
    fast = maths.general_dropout(x, weight, torch.Generator().manual_seed(3), 0.5)
    generator = torch.Generator().manual_seed(3)
    kept = torch.stack(
        [
            (torch.rand(b, k, h, w, generator=generator) >= 0.5).double()
            for _ in range(9)
        ]
    )
    # kept[d] belongs to the cell that is read; bring it to the window that reads it, then onto the expanded plane.
    plane = torch.zeros(b, k, 3 * h, 3 * w, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            for d in range(9):
                qi, qj = i + d // 3 - 1, j + d % 3 - 1
                if 0 <= qi < h and 0 <= qj < w:
                    plane[:, :, 3 * i + d // 3, 3 * j + d % 3] = kept[d, :, :, qi, qj]
    scores = torch.nn.functional.conv2d(
        maths.expand(x, 3) * plane, weight, stride=3
    ).mean(dim=(2, 3))
    assert torch.allclose(fast.sum(dim=(2, 3)), scores, atol=1e-12)
    (gradient,) = torch.autograd.grad(scores[:, 1].sum(), x, retain_graph=True)
    assert torch.allclose(fast[:, 1], (x * gradient).sum(1), atol=1e-12)


def test_general_dropout_without_dropping_is_the_deterministic_variant():
    x, weight, _ = case(9)
    full = maths.contributions(
        maths.project(x, weight), maths.deterministic_mask(2, 7, 6, 5).double()
    )
    found = maths.general_dropout(x, weight, torch.Generator(), 0.0)
    assert torch.allclose(found, full, atol=1e-12)


def test_many_draws_share_one_projection_and_do_not_depend_on_the_chunk():
    x, weight, _ = case(10, b=1)
    y = maths.project(x, weight)
    maps = maths.draw_maps(y, torch.Generator().manual_seed(5), draws=7, p=0.7, chunk=3)
    wanted = maths.draw_maps(
        y, torch.Generator().manual_seed(5), draws=7, p=0.7, chunk=7
    )
    assert torch.equal(maps, wanted)
    generator = torch.Generator().manual_seed(5)
    first = maths.centre_preserving_mask(generator, 3, 7, 6, 5, 0.7).double()
    expected = maths.elementwise_gradcam(y, first[1:2])[0]
    assert torch.allclose(maps[1], expected / expected.amax(dim=(1, 2), keepdim=True))
    assert maps.shape == (7, 3, 7, 6)
    assert maps.amax(dim=(2, 3)).tolist() == [[1, 1, 1]] * 7
    assert not torch.equal(maps[0], maps[1])


def draws() -> torch.Tensor:
    a = [[0.9, 0.10, 0.36, 0.20], [0.2, 0.10, 0.10, 0.20]]
    b = [[0.1, 0.20, 0.50, 0.34], [0.1, 0.40, 0.10, 0.34]]
    return torch.tensor([[a[0], b[0]], [a[1], b[1]]]).reshape(2, 2, 2, 2)


def test_any_draw_may_fire_and_the_highest_mean_wins():
    result = maths.aggregate(draws(), 0.35)
    assert result.labels.tolist() == [[1, 2], [2, 255]]
    assert result.labels.dtype == torch.uint8
    assert result.mean[:, 1, 0].tolist() == pytest.approx([0.23, 0.30])
    found = maths.aggregate(draws(), 0.35, class_ids=[15, 4]).labels.tolist()
    assert found == [
        [15, 4],
        [4, 255],
    ]


def test_a_class_that_did_not_fire_cannot_win_by_its_mean():
    maps = torch.tensor([[0.5, 0.34], [0.0, 0.34]]).reshape(2, 2, 1, 1)
    assert maths.aggregate(maps).labels.item() == 1


def test_no_class_gives_no_label():
    assert maths.aggregate(torch.zeros(3, 0, 1, 2)).labels.tolist() == [[255, 255]]
    with pytest.raises(ValueError, match="one per channel"):
        maths.aggregate(draws(), class_ids=[1])


def test_empty_maps_stay_zero_when_normalised():
    maps = torch.stack([torch.zeros(2, 2), torch.tensor([[0.0, 4.0], [2.0, 1.0]])])
    found = maths.normalise_draws(maps).tolist()
    assert found == [
        [[0, 0], [0, 0]],
        [[0, 1], [0.5, 0.25]],
    ]
