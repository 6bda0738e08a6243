"""What a classifier learns from: its head's loss by another way, blended samples, targets in place of tags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view
from torch import Tensor

from wsss_bench.engine.mixing import Mixup
from wsss_bench.toolbox.classifier import train_classifier
from wsss_bench.toolbox.training import LinearCamHead

PARAMS = {**SMALL_CLASSIFIER, "iterations": 6}


def trained(folder: Path, **options: Any) -> dict[str, Tensor]:
    view = make_view(folder / "images")
    ctx = make_context(folder, PARAMS)
    model = train_classifier(view, ctx, **options)
    return dict(model.state_dict())


def equal(one: Mapping[str, Tensor], two: Mapping[str, Tensor]) -> bool:
    return list(one) == list(two) and all(torch.equal(one[k], two[k]) for k in one)


def test_the_heads_own_loss_as_an_objective_changes_nothing(tmp_path: Path) -> None:
    def own(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        features = model.features(batch["inputs"])
        losses: dict[str, Tensor] = model.head.loss(features, batch["tags"][:, 1:])
        return losses

    assert equal(trained(tmp_path / "a"), trained(tmp_path / "b", objective=own))


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

        def loss(self, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
            seen.append(targets.sum(1).tolist())
            return super().loss(features, targets)

    ctx = make_context(tmp_path, PARAMS)
    model = train_classifier(view, ctx, Wide, targets=targets)
    assert model.head.classifier.weight.shape[0] == 5
    assert seen == [[1, 1]] * 6
