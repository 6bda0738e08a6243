from __future__ import annotations

import math

import pytest
import torch

from wsss_bench.toolbox import losses

H = [[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]


def maps(cells: list[list[float]], batch: int = 1) -> torch.Tensor:
    """Cells x classes to [batch, C, 2, 2], in double."""
    grid = torch.tensor(cells, dtype=torch.float64).T.reshape(1, -1, 2, 2)
    return grid.repeat(batch, 1, 1, 1)


def seeds() -> torch.Tensor:
    return maps([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_balanced_seeding_matches_the_hand_computed_value_and_gradient():
    logits = maps(H).log().requires_grad_()
    loss = losses.balanced_seed_loss(logits.softmax(1), seeds())
    assert loss.item() == pytest.approx(0.790425, abs=1e-6)
    loss.backward()
    gradient = logits.grad[0].flatten(1).T
    assert gradient[0].tolist() == pytest.approx([-0.15, 0.10, 0.05])
    assert gradient[2].tolist() == pytest.approx([0.2, -0.3, 0.1])
    assert gradient[3].tolist() == pytest.approx([0, 0, 0])


def test_secs_seeding_has_one_joint_normaliser():
    found = losses.seed_loss(maps(H), seeds()).item()
    assert found == pytest.approx(0.408058, abs=1e-6)
    found = losses.seed_loss(maps(H, 3), seeds().repeat(3, 1, 1, 1).bool()).item()
    assert found == pytest.approx(0.408058, abs=1e-6)


def test_cue_maps_become_one_hot_channels():
    labels = torch.tensor([[[0, 1], [255, 2]]], dtype=torch.uint8)
    found = losses.one_hot_cues(labels, 3).tolist()
    assert found == [[[[1, 0], [0, 0]], [[0, 1], [0, 0]], [[0, 0], [0, 1]]]]


@pytest.mark.parametrize("loss", [losses.balanced_seed_loss, losses.seed_loss])
def test_no_cue_means_no_loss_and_no_gradient_even_at_probability_zero(loss):
    probs = maps([[0, 1, 0]] * 4).requires_grad_()
    value = loss(probs, torch.zeros(1, 3, 2, 2))
    value.backward()
    assert value.item() == 0
    assert torch.equal(probs.grad, torch.zeros_like(probs))


def test_a_side_without_cues_contributes_nothing():
    only_fg = seeds()
    only_fg[:, 0] = 0
    found = losses.balanced_seed_loss(maps(H), only_fg).item()
    assert found == pytest.approx(0.356675, abs=1e-6)
    only_bg = seeds()
    only_bg[:, 1:] = 0
    found = losses.balanced_seed_loss(maps(H), only_bg).item()
    assert found == pytest.approx(0.433750, abs=1e-6)


def test_images_of_a_batch_are_normalised_one_by_one():
    both = torch.cat([seeds(), torch.zeros_like(seeds())])
    found = losses.balanced_seed_loss(maps(H, 2), both).item()
    assert found == pytest.approx(0.790425 / 2, abs=1e-6)


def test_foreground_classes_share_one_normaliser():
    cues = maps([[0, 1, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]])
    expected = -(math.log(0.2) + math.log(0.1) + math.log(0.7)) / 3
    assert losses.balanced_seed_loss(maps(H), cues).item() == pytest.approx(expected)


def test_maps_on_different_grids_are_refused():
    with pytest.raises(ValueError, match="Resize cues"):
        losses.balanced_seed_loss(maps(H), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("decay", "pooled"), [(0.0, 0.9), (0.5, 0.66), (1.0, 0.45), (0.996, 0.451303)]
)
def test_rank_pooling_goes_from_maximum_to_mean(decay, pooled):
    plane = torch.tensor([[0.1, 0.9], [0.5, 0.3]], dtype=torch.float64)
    found = losses.global_weighted_rank_pooling(plane, decay).item()
    assert found == pytest.approx(pooled, abs=1e-6)


def expansion_case() -> torch.Tensor:
    a, b = [0.9, 0.5, 0.3, 0.1], [0.05, 0.2, 0.1, 0.05]
    return maps([[1 - x - y, x, y] for x, y in zip(a, b, strict=True)])


def test_expansion_matches_the_hand_computed_value():
    loss = losses.expansion_loss(
        expansion_case(), torch.tensor([[1, 1, 0]]), d_fg=0.5, d_bg=0.5
    )
    assert loss.item() == pytest.approx(1.059238, abs=1e-6)
    found = losses.expansion_loss(
        expansion_case(), torch.tensor([[0, 1, 0]]), 0.5, 0.5
    ).item()
    assert found == pytest.approx(1.059238, abs=1e-6)


@pytest.mark.parametrize("present", [[1, 0, 0], [1, 1, 1]])
def test_expansion_without_tags_or_without_absent_classes_is_finite(present):
    probs = expansion_case().requires_grad_()
    loss = losses.expansion_loss(probs, torch.tensor([present]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(probs.grad).all()


def boundary_q() -> torch.Tensor:
    return maps([[0.9, 0.05, 0.05], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])


@pytest.mark.parametrize("clip", [None, (0.05, 20.0)])
def test_boundary_loss_is_the_mean_divergence(clip):
    probs = maps(H).requires_grad_()
    q = boundary_q().requires_grad_()
    loss = losses.boundary_loss(probs, q, clip)
    assert loss.item() == pytest.approx(0.039930, abs=1e-6)
    loss.backward()
    assert q.grad is None
    found = probs.grad[0, :, 0, 0].tolist()
    assert found == pytest.approx([-0.9 / 0.7 / 4, -0.05 / 0.2 / 4, -0.05 / 0.1 / 4])


def test_boundary_clip_bounds_the_ratio():
    probs, q = maps([[0.999, 0.0005, 0.0005]] * 4), maps([[0.05, 0.9, 0.05]] * 4)
    assert losses.boundary_loss(probs, q).item() == pytest.approx(2.6962, abs=1e-4)
    found = losses.boundary_loss(probs, q, None).item()
    assert found == pytest.approx(6.8265, abs=1e-4)


@pytest.mark.parametrize("clip", [None, (0.05, 20.0)])
def test_boundary_loss_survives_zeros(clip):
    probs = maps([[1.0, 0.0, 0.0]] * 4).requires_grad_()
    loss = losses.boundary_loss(probs, maps([[1.0, 0.0, 0.0]] * 4), clip)
    loss.backward()
    assert loss.item() == 0
    assert torch.isfinite(probs.grad).all()


@pytest.mark.parametrize(("channels", "largest"), [(21, 0.9980), (81, 0.9921)])
def test_floored_softmax_keeps_every_class_alive(channels, largest):
    logits = torch.zeros(1, channels, 1, 1)
    logits[0, 3] = 1000
    probs = losses.floored_softmax(logits)
    assert probs.sum().item() == pytest.approx(1, abs=1e-6)
    assert probs.max().item() == pytest.approx(largest, abs=5e-5)
    assert probs.min().item() == pytest.approx(1e-4 / (1 + channels * 1e-4), rel=1e-4)


def test_balanced_cross_entropy_weighs_both_sides_equally_and_skips_ignored_pixels():
    logits = maps(H).log().requires_grad_()
    labels = torch.tensor([[[0, 0], [1, 255]]], dtype=torch.uint8)
    loss = losses.balanced_cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(0.790425, abs=1e-6)
    loss.backward()
    assert logits.grad[0, :, 1, 1].tolist() == [0, 0, 0]
    assert logits.grad[0, :, 0, 0].tolist() == pytest.approx([-0.15, 0.10, 0.05])


def test_balanced_cross_entropy_of_nothing_is_zero():
    logits = maps(H).log()
    unknown = torch.full((1, 2, 2), 255)
    assert losses.balanced_cross_entropy(logits, unknown).item() == 0
    zeros = torch.full((1, 2, 2), 0)
    assert losses.balanced_cross_entropy(logits, zeros, ignore=0).item() == 0


def test_balanced_cross_entropy_refuses_another_grid():
    with pytest.raises(ValueError, match="grid"):
        losses.balanced_cross_entropy(maps(H), torch.zeros(1, 4, 4, dtype=torch.uint8))
