from __future__ import annotations

import math

import pytest
import torch

from wsss_plugins.vwe import maths

WORDS = torch.eye(2, dtype=torch.float64)
CELLS = torch.tensor([[3.0, 1.0], [4.0, 0.0]], dtype=torch.float64).reshape(
    1, 2, 1, 2
)  # two cells: (3, 4) and (1, 0)


def test_words_are_assigned_by_cosine_without_temperature():
    p = maths.assign_words(CELLS, WORDS)
    assert p[0, :, 0, 0].tolist() == pytest.approx([0.450166, 0.549834], abs=1e-6)
    assert p[0, :, 0, 1].tolist() == pytest.approx([0.731059, 0.268941], abs=1e-6)
    assert torch.allclose(p, maths.assign_words(7 * CELLS, WORDS / 3))


def test_the_assignment_is_almost_flat_for_many_words():
    words = torch.eye(256, dtype=torch.float64)
    found = maths.assign_words(words[:1].reshape(1, 256, 1, 1), words).max().item()
    assert found == pytest.approx(0.0105, abs=5e-5)


def test_word_labels_say_which_words_are_best_somewhere():
    p = maths.assign_words(CELLS, WORDS)
    assert maths.word_labels(p).tolist() == [[1, 1]]
    assert maths.word_labels(p[..., 1:]).tolist() == [[1, 0]]
    both = torch.cat([p[..., 1:], p[..., :1]])
    assert maths.word_labels(both).tolist() == [[1, 0], [0, 1]]


def test_histograms_as_mean_and_as_sum():
    p = maths.assign_words(CELLS, WORDS)
    found = maths.word_histogram(p, "mean")[0].tolist()
    assert found == pytest.approx([0.590613, 0.409388], abs=1e-6)
    found = maths.word_histogram(p, "sum")[0].tolist()
    assert found == pytest.approx([1.181225, 0.818775], abs=1e-6)
    with pytest.raises(ValueError, match="mode"):
        maths.word_histogram(p, "max")


def ramp(size: int) -> torch.Tensor:
    return torch.arange(1.0, size * size + 1).reshape(1, 1, size, size)


def test_pooling_adds_local_maxima_to_the_average():
    assert maths.hspp(ramp(4)).item() == pytest.approx(10.5)
    assert maths.hspp(ramp(4), mode="floor").item() == pytest.approx(10.5)


def test_the_released_windows_differ_where_the_grid_does_not_divide():
    assert maths.hspp(ramp(5), mode="floor").item() == pytest.approx(15.4)
    assert maths.hspp(ramp(5), mode="adaptive").item() == pytest.approx(17.2)


def test_pooling_weights_sum_to_one():
    found = maths.hspp(torch.full((2, 3, 8, 8), 4.0), gamma=5.0, levels=(1, 4))
    assert torch.allclose(found, torch.tensor(4.0))


def test_pooling_is_translation_equivariant_in_value_so_grad_cam_equals_cam():
    """Weights of each channel sum to 1, hence the mean gradient times the cell count is the classifier weight."""
    features = torch.randn(
        1, 5, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).requires_grad_()
    weight = torch.randn(
        5, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )
    (maths.hspp(features)[0] @ weight).backward()
    assert torch.allclose(features.grad.sum(dim=(2, 3))[0], weight)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"mode": "max"}, "mode"), ({"levels": (1, 5)}, "4x4 cells")],
)
def test_impossible_pooling_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        maths.hspp(ramp(4), **kwargs)


def test_word_cam_is_the_word_classifier_applied_per_cell():
    p = maths.assign_words(CELLS, WORDS)
    weight = torch.tensor([[1.0, -1.0], [0.0, 2.0]], dtype=torch.float64)
    maps = maths.word_cam(p, weight)
    found = maps[0, 0, 0].tolist()
    assert found == pytest.approx([0.450166 - 0.549834, 0.731059 - 0.268941], abs=1e-6)
    assert torch.allclose(
        maps.sum(dim=(2, 3)), maths.word_histogram(p, "sum") @ weight.T
    )


def test_fusion_takes_the_larger_after_each_map_is_normalised():
    image = torch.tensor([[[[0.0, 2.0, 4.0]]]])
    words = torch.tensor([[[[0.3, -0.1, 0.1]]]])
    found = maths.fuse_max(image, words)[0, 0, 0].tolist()
    assert found == pytest.approx([1, 0.5, 1], abs=1e-4)
    found = maths.normalise_maps(image)[0, 0, 0].tolist()
    assert found == pytest.approx([0, 0.49999875, 0.9999975])
    assert maths.fuse_max(-image, -words.abs()).abs().max() == 0


def test_decorrelation_of_two_parallel_words():
    rows = torch.tensor([[1.0, -1.0], [2.0, 0.0]], dtype=torch.float64)
    assert maths.decorrelation_loss(rows).item() == pytest.approx(0.585786, abs=1e-6)
    orthogonal = torch.tensor(
        [[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]], dtype=torch.float64
    )
    assert maths.decorrelation_loss(orthogonal).item() == pytest.approx(0, abs=1e-12)


def test_the_codebook_loss_trains_the_codebook_and_not_the_features():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 3, 3, generator=generator).requires_grad_()
    codebook = torch.randn(4, 6, generator=generator).requires_grad_()
    head = torch.randn(5, 4, generator=generator).requires_grad_()
    histogram = maths.word_histogram(maths.assign_words(features.detach(), codebook))
    torch.nn.functional.multilabel_soft_margin_loss(
        histogram @ head.T, torch.ones(2, 5)
    ).backward()
    assert features.grad is None
    assert codebook.grad.abs().max() > 0
    assert head.grad.abs().max() > 0


def test_word_labels_carry_no_gradient():
    features = CELLS.clone().requires_grad_()
    assert not maths.word_labels(maths.assign_words(features, WORDS)).requires_grad


def test_the_memory_bank_moves_used_words_only():
    codebook = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    before = codebook.clone()
    p = maths.assign_words(CELLS, codebook)
    moved = maths.update_codebook(codebook, CELLS, p, rate=0.1)
    assert moved.tolist() == [[1.0, 0.0], pytest.approx([0.3, 1.3]), [-1.0, -1.0]]
    assert torch.equal(codebook, before)
    assert math.isclose(moved[1, 0].item(), 0.1 * 3)
