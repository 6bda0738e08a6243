"""Mixers: what each makes of two samples, that its draws depend on (seed, epoch, image) alone, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import make_labels, make_view

from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.mixing import (
    CutMix,
    FMix,
    ManifoldMixup,
    ManifoldMixupLoss,
    Mixup,
    Sample,
    region,
    square,
)
from wsss_bench.errors import RecipeError
from wsss_bench.rng import generator

FIRST = Sample(
    np.full((8, 8, 3), 100, np.float32), None, np.array([1, 1, 0], np.float32)
)
SECOND = Sample(np.zeros((8, 8, 3), np.float32), None, np.array([1, 0, 1], np.float32))


def other(rng: np.random.Generator) -> Sample:
    rng.random()
    return SECOND


def labelled(sample: Sample, value: int) -> Sample:
    return Sample(sample.pixels, np.full((8, 8), value, np.uint8), sample.tags)


class Known:
    """A generator whose beta draws are known."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.real = np.random.default_rng(0)

    def beta(self, *_: float) -> float:
        return self.weight

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def fixed(weight: float) -> Any:
    return Known(weight)


def test_mixup_blends_pixels_and_tags_by_the_same_weight() -> None:
    mixed = Mixup()(FIRST, other, fixed(0.25))
    assert np.allclose(mixed.pixels, 25)
    np.testing.assert_allclose(mixed.tags, [1, 0.25, 0.75])


def test_mixup_draws_its_weight_from_a_beta_distribution() -> None:
    weights = []
    for seed in range(400):
        mixed = Mixup(alpha=0.2)(FIRST, other, generator(seed, "mixup"))
        weights.append(float(mixed.tags[1]))
    # Beta(0.2, 0.2) has mean 1/2 and variance 1 / (4 · 1.4); most of its mass is at the ends.
    assert abs(np.mean(weights) - 0.5) < 0.06
    assert abs(np.var(weights) - 1 / (4 * 1.4)) < 0.02


def test_the_region_of_fmix_has_the_share_that_was_asked_for() -> None:
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        mask = region(40, 60, share, 3.0, generator(1, "fmix", share))
        assert mask.sum() == round(share * 40 * 60)


def test_the_region_of_fmix_is_of_low_frequency() -> None:
    """Neighbours agree far more often than in white noise, and the more so the faster amplitudes fall."""

    def disagreement(decay: float) -> float:
        found = []
        for seed in range(10):
            mask = region(64, 64, 0.5, decay, generator(seed, "fmix"))
            found.append((mask[:, 1:] != mask[:, :-1]).mean())
        return float(np.mean(found))

    white, usual, smooth = (disagreement(decay) for decay in (0.0, 3.0, 5.0))
    assert abs(white - 0.5) < 0.03
    assert usual < 0.1
    assert smooth < usual


def test_fmix_weights_tags_by_the_shares_that_are_there() -> None:
    mixed = FMix()(FIRST, other, fixed(0.37))
    kept = round(0.37 * 64)
    assert (mixed.pixels == 100).sum() == 3 * kept
    np.testing.assert_allclose(mixed.tags, [1, kept / 64, 1 - kept / 64])


def test_fmix_cuts_label_maps_along_the_same_border() -> None:
    draw = lambda rng: labelled(SECOND, 2)  # noqa: E731
    mixed = FMix()(labelled(FIRST, 1), draw, fixed(0.5))
    assert mixed.label is not None
    np.testing.assert_array_equal(mixed.label == 1, mixed.pixels[:, :, 0] == 100)
    assert mixed.tags.tolist() == [1, 1, 1]


def test_the_square_of_cutmix_has_a_quarter_to_half_of_the_area() -> None:
    areas = []
    for seed in range(200):
        rows, columns = square(100, generator(seed, "square"))
        assert rows.stop <= 100
        assert columns.stop <= 100
        assert rows.start >= 0
        areas.append((rows.stop - rows.start) * (columns.stop - columns.start) / 1e4)
    assert 0.24 <= min(areas) < 0.28
    assert 0.47 < max(areas) <= 0.51


def test_manifold_mixup_hands_the_partner_on(tmp_path: Path) -> None:
    view = make_view(tmp_path, 4)
    data = TrainingSet(view, Augment("warp", 24), 0, mixer=ManifoldMixup())
    item = data[2]
    assert item["partner"].shape == item["inputs"].shape == (3, 24, 24)
    assert item["partner_tags"].shape == item["tags"].shape
    assert item["weight"].shape == ()
    assert 0 <= float(item["weight"]) <= 1
    alone = TrainingSet(view, Augment("warp", 24), 0, mixer=ManifoldMixup(0.0))
    assert float(alone[2]["weight"]) == 1


def test_manifold_mixup_blends_features_of_the_drawn_layer() -> None:
    """With layers that double their input, blending before or after them is the same; the loss sees the blend."""

    class Model:
        class head:
            @staticmethod
            def loss(
                features: torch.Tensor, tags: torch.Tensor
            ) -> dict[str, torch.Tensor]:
                return {"loss": features.mean() + 10 * tags.sum()}

        def until(self, images: torch.Tensor, stages: int) -> torch.Tensor:
            return images * 2**stages

        def onwards(self, maps: torch.Tensor, stages: int) -> torch.Tensor:
            return maps * 2 ** (2 - stages)

    batch = {
        "inputs": torch.ones(1, 3, 2, 2),
        "partner": torch.zeros(1, 3, 2, 2),
        "tags": torch.tensor([[1.0, 1.0, 0.0]]),
        "partner_tags": torch.tensor([[1.0, 0.0, 0.0]]),
        "weight": torch.tensor([0.25]),
    }
    for layer in (0, 1, 2):
        losses = ManifoldMixupLoss((layer,))(Model(), batch)
        assert losses["loss"].item() == pytest.approx(0.25 * 4 + 10 * 0.25)


@pytest.mark.parametrize("mixer", [Mixup(0.5), FMix(0.5), ManifoldMixup(0.5)])
def test_draws_depend_on_seed_epoch_and_image_alone(mixer: Any, tmp_path: Path) -> None:
    view = make_view(tmp_path, 5)
    data = TrainingSet(view, Augment("warp", 16), 7, mixer=mixer)
    forward = [data[n] for n in range(10)]
    backward = [data[n] for n in reversed(range(10))][::-1]
    for one, two in zip(forward, backward, strict=True):
        assert all(torch.equal(one[key], two[key]) for key in one)
    again = TrainingSet(view, Augment("warp", 16), 8, mixer=mixer)
    assert any(
        not torch.equal(again[n]["inputs"], forward[n]["inputs"]) for n in range(10)
    )


def test_the_crop_is_the_same_with_and_without_a_mixer(tmp_path: Path) -> None:
    view = make_view(tmp_path, 3)
    plain = TrainingSet(view, Augment("warp", 16), 7)
    mixed = TrainingSet(view, Augment("warp", 16), 7, mixer=ManifoldMixup())
    assert all(torch.equal(plain[n]["inputs"], mixed[n]["inputs"]) for n in range(6))


def test_targets_replace_the_tags(tmp_path: Path) -> None:
    view = make_view(tmp_path, 2)
    targets = {image.id: np.array([1, 0.5, 0, 0, 0.25], np.float32) for image in view}
    data = TrainingSet(view, Augment("warp", 16), 7, targets=targets)
    assert data[1]["tags"].tolist() == [1, 0.5, 0, 0, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(1.5), "mixup is 1.5, but it is a probability"),
        (lambda: FMix(-0.1), "fmix is -0.1, but it is a probability"),
        (lambda: CutMix(2.0), "cutmix is 2.0, but it is a probability"),
        (lambda: Mixup(1.0, 0.0), "mixup: alpha is 0.0, it must be above 0"),
        (lambda: ManifoldMixup(1.0, -1.0), "manifold: alpha is -1.0"),
    ],
)
def test_numbers_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make()


def test_label_maps_cannot_be_blended(tmp_path: Path) -> None:
    view = make_view(tmp_path, 2)
    for mixer in (Mixup(), ManifoldMixup()):
        with pytest.raises(RecipeError, match="use cutmix or fmix for a segmentor"):
            TrainingSet(view, Augment("warp", 16), 0, make_labels(view), mixer=mixer)
