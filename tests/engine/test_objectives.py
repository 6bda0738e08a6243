"""Objectives: a loss that sees the model and the batch, learns along, is resumed, and is not kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch import nn

from wsss_bench.engine.mixing import ManifoldMixup, ManifoldMixupLoss, Mixup
from wsss_bench.toolbox.classifier import train_classifier
from wsss_bench.toolbox.training import LinearCamHead, seeded

PARAMS = {**SMALL_CLASSIFIER, "iterations": 6}


class Auxiliary(nn.Module):
    """A second head on the same features, and a count of the batches that it has seen."""

    batches: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(96, 2, 1)
        self.register_buffer("batches", torch.zeros(()))

    def forward(
        self, model: Any, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        assert batch["inputs"].max() > 100
        self.batches += 1
        features = model.features(batch["inputs"])
        scores = self.second(features).mean((2, 3))
        tags = batch["tags"][:, 1:]
        aside = nn.functional.binary_cross_entropy_with_logits(scores, tags)
        return {**model.head.loss(features, tags), "loss_second": aside}


class Stop(RuntimeError):
    pass


def stopping(at: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if done == at:
            raise Stop

    return progress


def trained(
    folder: Path, objective: Any = None, stop: int = 0, **options: Any
) -> dict[str, torch.Tensor]:
    view = make_view(folder / "images")
    changes = {"progress": stopping(stop)} if stop else {}
    ctx = make_context(folder, PARAMS, **changes)
    model = train_classifier(view, ctx, objective=objective, **options)
    assert model.objective is None
    return model.state_dict()


def equal(one: Mapping[str, torch.Tensor], two: Mapping[str, torch.Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[k], two[k]) for k in one)


def auxiliary() -> Auxiliary:
    made: Auxiliary = seeded(Auxiliary, 0, "auxiliary")
    return made


def test_the_heads_own_loss_as_an_objective_changes_nothing(tmp_path: Path) -> None:
    def own(model: Any, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        features = model.features(batch["inputs"])
        losses: dict[str, torch.Tensor] = model.head.loss(
            features, batch["tags"][:, 1:]
        )
        return losses

    assert equal(trained(tmp_path / "a"), trained(tmp_path / "b", own))


def test_an_objectives_parameters_learn_and_are_not_kept(tmp_path: Path) -> None:
    objective = auxiliary()
    before = objective.second.weight.detach().clone()
    state = trained(tmp_path, objective)
    assert not torch.equal(objective.second.weight, before)
    assert int(objective.batches) == 6
    assert not [key for key in state if key.startswith("objective")]
    kept = torch.load(tmp_path / "scratch/classifier/weights.pth", weights_only=True)
    assert set(kept) == set(state)


def test_an_objectives_state_is_resumed(tmp_path: Path) -> None:
    undisturbed = trained(tmp_path / "a", auxiliary())
    with pytest.raises(Stop):
        trained(tmp_path / "b", auxiliary(), stop=5)
    objective = auxiliary()
    resumed = trained(tmp_path / "b", objective)
    assert equal(undisturbed, resumed)
    # Four batches before the last checkpoint, two after it.
    assert int(objective.batches) == 6


def test_manifold_mixup_trains_and_resumes(tmp_path: Path) -> None:
    options = {"mixer": ManifoldMixup(), "objective": ManifoldMixupLoss((0, 2, 5))}
    undisturbed = trained(tmp_path / "a", **options)
    with pytest.raises(Stop):
        trained(tmp_path / "b", stop=5, **options)
    assert equal(undisturbed, trained(tmp_path / "b", **options))
    assert not equal(undisturbed, trained(tmp_path / "c"))


def test_mixup_reaches_the_network(tmp_path: Path) -> None:
    plain = trained(tmp_path / "a")
    assert not equal(plain, trained(tmp_path / "b", mixer=Mixup(1.0, 1.0)))
    assert equal(plain, trained(tmp_path / "c", mixer=Mixup(0.0)))


def test_targets_of_another_number_than_the_classes(tmp_path: Path) -> None:
    """Sub-categories: the head sees all but the first of the targets."""
    view = make_view(tmp_path / "images")
    targets = {}
    for number, image in enumerate(view):
        targets[image.id] = np.zeros(6, np.float32)
        targets[image.id][[0, 1 + number]] = 1
    seen = []

    class Wide(LinearCamHead):
        def __init__(self, channels: int, classes: int) -> None:
            super().__init__(channels, 5)

        def loss(
            self, features: torch.Tensor, given: torch.Tensor
        ) -> dict[str, torch.Tensor]:
            seen.append(given.sum(1).tolist())
            return super().loss(features, given)

    ctx = make_context(tmp_path, PARAMS)
    model = train_classifier(view, ctx, Wide, targets=targets)
    assert model.head.classifier.weight.shape[0] == 5
    assert seen == [[1, 1]] * 6
