"""Losses that see the model: they replace the head's, learn along where they are modules, and are not kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch import Tensor, nn
from torch.nn import functional as F

from wsss_bench.engine.mixing import ManifoldMixup, ManifoldMixupLoss
from wsss_bench.engine.models import MultiLabelClassifier
from wsss_bench.errors import RecipeError
from wsss_bench.toolbox.classifier import build_classifier, linear_cam, train_classifier


class Stop(RuntimeError):
    pass


class Recorded:
    """Progress that stops at an iteration."""

    def __init__(self, stop: int = 0) -> None:
        self.stop = stop
        self.seen: list[int] = []

    def __call__(self, what: str, done: int, total: int) -> None:
        self.seen.append(done)
        if done == self.stop:
            raise Stop


def mirrored(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The loss of a view, and how far its maps are from those of its mirror."""
    features = model.features(batch["inputs"])
    twin = model.features(batch["inputs"].flip(3))
    losses = model.head.loss(features, batch["tags"][:, 1:])
    apart = (model.head.cam(features) - model.head.cam(twin).flip(3)).abs().mean()
    return {**losses, "loss_mirror": 0.1 * apart}


class Auxiliary(nn.Module):
    """A second classifier on the same features, with dropout, and a count that is no parameter."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(96, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features = model.features(batch["inputs"])
        tags = batch["tags"][:, 1:]
        self.calls += 1
        scores = self.head(F.dropout(features.mean((2, 3))))
        second = F.binary_cross_entropy_with_logits(scores, tags)
        # Grows with every call, so that a training that forgot the count would end elsewhere.
        return {**model.head.loss(features, tags), "loss_second": self.calls * second}


def trained(
    folder: Path,
    objective: Any,
    progress: Recorded | None = None,
    name: str = "classifier",
    **options: Any,
) -> MultiLabelClassifier:
    view = make_view(folder / "images", 5)
    ctx = make_context(folder, SMALL_CLASSIFIER, progress=progress or Recorded())
    torch.manual_seed(5)
    return train_classifier(view, ctx, objective=objective, name=name, **options)


def same(one: nn.Module, two: nn.Module) -> bool:
    first, second = one.state_dict(), two.state_dict()
    assert list(first) == list(second)
    return all(torch.equal(first[key], second[key]) for key in first)


def losses_of(model: Any, folder: Path) -> float:
    """The mean of the head's loss over the images, as they are."""
    total = 0.0
    for image in make_view(folder / "images", 5):
        pixels = torch.from_numpy(image.read()).permute(2, 0, 1)[None].float()
        tags = torch.zeros(1, 2)
        tags[0, image.present[0] - 1] = 1
        with torch.no_grad():
            losses = model.head.loss(model.features(pixels), tags)
        total += float(losses["loss_cls"])
    return total / 5


@pytest.mark.parametrize("make", [lambda: mirrored, Auxiliary])
def test_a_classifier_learns_by_an_objective(make: Any, tmp_path: Path) -> None:
    model = trained(tmp_path, make())
    untrained = build_classifier(SMALL_CLASSIFIER, 2).eval()
    assert losses_of(model, tmp_path) < 0.8 * losses_of(untrained, tmp_path)
    plain = trained(tmp_path / "plain", None)
    assert not same(model, plain)


def test_a_modules_parameters_learn_along(tmp_path: Path) -> None:
    objective = Auxiliary()
    before = objective.head.weight.detach().clone()
    trained(tmp_path, objective)
    assert float(objective.calls) == SMALL_CLASSIFIER["iterations"]
    assert not torch.equal(objective.head.weight, before)


def test_a_modules_parameters_count_as_new(tmp_path: Path) -> None:
    """Nothing new learns at a factor of 0, while the backbone does."""
    objective = Auxiliary()
    before = objective.head.weight.detach().clone()
    params = {**SMALL_CLASSIFIER, "new_mult": 0.0}
    slow = trained(tmp_path / "a", objective, params=params)
    assert torch.equal(objective.head.weight, before)
    slower = {**params, "lr": 0.01}
    assert not same(
        slow.backbone, trained(tmp_path / "b", None, params=slower).backbone
    )


@pytest.mark.parametrize("at", [3, 5, 8])
@pytest.mark.parametrize("make", [lambda: mirrored, Auxiliary])
def test_an_interruption_changes_nothing(make: Any, at: int, tmp_path: Path) -> None:
    def fresh() -> Any:
        torch.manual_seed(1)
        return make()

    whole, halves = fresh(), fresh()
    undisturbed = trained(tmp_path / "a", whole)
    with pytest.raises(Stop):
        trained(tmp_path / "b", halves, Recorded(at))
    progress = Recorded()
    again = fresh()
    resumed = trained(tmp_path / "b", again, progress)
    assert progress.seen[0] > 1
    assert same(undisturbed, resumed)
    if isinstance(again, nn.Module):
        assert same(whole, again)


@pytest.mark.parametrize("make", [lambda: mirrored, Auxiliary])
def test_an_objective_is_not_part_of_the_classifier(make: Any, tmp_path: Path) -> None:
    model = trained(tmp_path, make())
    assert model.objective is None
    (weights,) = (tmp_path / "scratch").rglob("weights.pth")
    kept = torch.load(weights, weights_only=True)
    assert not [key for key in kept if key.startswith("objective")]
    plain = build_classifier(SMALL_CLASSIFIER, 2)
    assert set(kept) == set(plain.state_dict())
    plain.load_state_dict(kept)
    pixels = torch.full((1, 3, 32, 32), 90.0)
    maps = linear_cam(plain.eval(), pixels, [0, 1])
    assert torch.equal(maps, linear_cam(model, pixels, [0, 1]))


def test_manifold_mixup_trains_a_classifier(tmp_path: Path) -> None:
    options = {"objective": ManifoldMixupLoss(), "mixer": ManifoldMixup()}
    model = trained(tmp_path / "a", **options)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())
    untrained = build_classifier(SMALL_CLASSIFIER, 2).eval()
    assert losses_of(model, tmp_path / "a") < losses_of(untrained, tmp_path / "a")
    assert same(model, trained(tmp_path / "b", **options))
    one_layer = {**options, "objective": ManifoldMixupLoss((0,))}
    assert not same(model, trained(tmp_path / "c", **one_layer))


def test_manifold_mixup_resumes(tmp_path: Path) -> None:
    options = {"objective": ManifoldMixupLoss(), "mixer": ManifoldMixup()}
    undisturbed = trained(tmp_path / "a", **options)
    with pytest.raises(Stop):
        trained(tmp_path / "b", progress=Recorded(6), **options)
    assert same(undisturbed, trained(tmp_path / "b", **options))


def test_without_partners_manifold_mixup_is_the_heads_own_loss(tmp_path: Path) -> None:
    """With probability 0 every weight is 1, so all that is left of blending is the loss on the image itself."""
    plain = trained(tmp_path / "a", None)
    options = {"objective": ManifoldMixupLoss((0,)), "mixer": ManifoldMixup(0.0)}
    alone = trained(tmp_path / "b", **options)
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(alone.state_dict()[key], value, rtol=1e-3, atol=1e-4)


def test_layers_that_a_backbone_does_not_have_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is an optional extra")
    params = {**SMALL_CLASSIFIER, "backbone": "timm/resnet18"}
    model = build_classifier(params, 2).eval()
    with pytest.raises(RecipeError, match="use layers 0 or 1"):
        model.backbone.run(torch.zeros(1, 3, 32, 32), 0, 2)
