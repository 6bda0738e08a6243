"""What a training was handed: a kept one that was handed another setting is refused, and what does not count."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_fakes import make_context, make_view
from torch import nn

from wsss_bench.contract.context import Training
from wsss_bench.engine.handed import HANDED, differences, handed, plain
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.mixing import FMix, ManifoldMixup, ManifoldMixupLoss, Mixup
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import seeded, train, training_config
from wsss_bench.errors import RecipeError

OPTIONS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4, "batch": 2}


class Thresholded(LinearCamHead):
    """A head with a setting that is no tensor."""

    def __init__(self, channels: int, classes: int, threshold: float) -> None:
        super().__init__(channels, classes)
        self.threshold = threshold


@dataclasses.dataclass
class Kept:
    """Trainings that outlive their stage, as the harness keeps them."""

    folder: Path
    trained: list[str] = dataclasses.field(default_factory=list)

    @contextmanager
    def open(self, name: str) -> Iterator[Training]:
        out, scratch = self.folder / name, self.folder / f"{name}.scratch"
        done = out.exists()
        out.mkdir(parents=True, exist_ok=True)
        scratch.mkdir(parents=True, exist_ok=True)
        if not done:
            self.trained.append(name)
        yield Training(scratch, out, done)


def prepared(
    folder: Path,
    threshold: float = 0.3,
    mixer: Any = None,
    flip: bool = True,
    head: Callable[[], nn.Module] | None = None,
    **options: Any,
) -> dict[str, Any]:
    register()
    view = make_view(folder / "images", 4)
    backbone = {"type": "TinyBackbone", "width": 4}

    def build() -> MultiLabelClassifier:
        made = Thresholded(16, 2, threshold) if head is None else head()
        return MultiLabelClassifier(backbone, made)

    data = TrainingSet(view, Augment("warp", 16, flip=flip), 0, mixer=mixer)
    config = training_config({**OPTIONS, **options}, 2, ("head.",))
    return {**config, "model": seeded(build, 0, "model"), "data": data, "batch": 2}


def test_a_kept_training_that_was_handed_another_setting_is_refused(
    tmp_path: Path,
) -> None:
    ctx = make_context(tmp_path, trainings=Kept(tmp_path / "kept"))
    train(prepared(tmp_path), ctx, "classifier")
    with pytest.raises(RecipeError) as caught:
        train(prepared(tmp_path, threshold=0.5), ctx, "classifier")
    message = str(caught.value)
    assert "training 'classifier'" in message
    assert "model.head.threshold: 0.3 -> 0.5" in message
    assert "must not depend on a test setting" in message
    assert "test_settings" in message
    assert "ctx.training_params" in message


def test_the_same_training_is_handed_on(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept")
    ctx = make_context(tmp_path / "a", trainings=kept)
    first = train(prepared(tmp_path), ctx, "classifier")
    stamp = first.stat().st_mtime_ns
    # Another stage's scratch and results, as with another test setting.
    ctx = make_context(tmp_path / "b", {"flip": False}, trainings=kept)
    assert train(prepared(tmp_path), ctx, "classifier") == first
    assert first.stat().st_mtime_ns == stamp
    assert kept.trained == ["classifier"]


def test_weights_of_unknown_origin_are_taken(tmp_path: Path) -> None:
    """A training of an earlier version left no description; its key in the store has to do."""
    ctx = make_context(tmp_path, trainings=Kept(tmp_path / "kept"))
    first = train(prepared(tmp_path), ctx)
    (first.parent / HANDED).unlink()
    assert train(prepared(tmp_path, threshold=0.5), ctx) == first


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lr": 0.1}, "optimizer.optimizer.lr: 0.05 -> 0.1"),
        ({"schedule": "constant"}, "schedule: "),
        ({"flip": False}, "data.augment.flip: True -> False"),
        ({"mixer": Mixup(0.5)}, "data.mixer: "),
        ({"head": partial(LinearCamHead, 16, 2)}, "model.head.class: "),
        ({"head": partial(Thresholded, 16, 3, 0.3)}, "model.tensors: "),
    ],
)
def test_what_decides_a_training_counts(
    change: dict[str, Any], place: str, tmp_path: Path
) -> None:
    before = json.loads(json.dumps(handed(prepared(tmp_path))))
    now = json.loads(json.dumps(handed(prepared(tmp_path, **change))))
    changed = differences(before, now)
    assert any(line.startswith(place) for line in changed), changed


def test_frozen_parameters_count(tmp_path: Path) -> None:
    config = prepared(tmp_path)
    before = handed(config)
    config["model"].head.classifier.weight.requires_grad_(False)
    assert differences(before, handed(config))[0].startswith("model.tensors: ")


def described(source: str, tmp_path: Path) -> dict[str, Any]:
    """What is handed over with a head whose class is made of `source`."""
    names: dict[str, Any] = {"nn": nn, "LinearCamHead": LinearCamHead}
    exec(compile(source, "head.py", "exec"), {"__name__": "own.head"} | names, names)
    return handed(prepared(tmp_path, head=partial(names["Head"], 16, 2)))


def test_a_change_of_comments_does_not_count(tmp_path: Path) -> None:
    body = "class Head(LinearCamHead):\n    def scores(self, features):\n"
    one = described(body + "        return features.mean()\n", tmp_path)
    comment = "        # In words: the mean.\n        return features.mean()\n"
    assert described(body + comment, tmp_path) == one


def test_attributes_of_library_modules_are_left_out(tmp_path: Path) -> None:
    config = prepared(tmp_path)
    before = handed(config)
    # What another version of a library may add to its modules.
    config["model"].head.classifier.of_a_new_version = "yes"
    assert handed(config) == before
    config["model"].head.threshold = 0.9
    assert handed(config) != before
    told = {name for name in before["model"] if name != "tensors"}
    assert told == {".", "normalize", "backbone", "head"}


def test_mixers_and_augmentation_count_field_by_field(tmp_path: Path) -> None:
    def of(mixer: Any) -> dict[str, Any]:
        return handed(prepared(tmp_path, mixer=mixer))["data"]

    one = of(FMix(0.5, 1.0))
    assert one["mixer"]["class"] == "wsss_bench.engine.mixing.FMix"
    assert one["augment"]["crop"] == 16
    assert differences(one, of(FMix(0.5, 2.0))) == ["mixer.alpha: 1.0 -> 2.0"]
    assert differences(one, of(FMix(0.5, 1.0))) == []
    assert differences(of(ManifoldMixup()), of(Mixup()))[-1].startswith("mixer.class")


def test_targets_count(tmp_path: Path) -> None:
    def of(value: float) -> dict[str, Any]:
        config = prepared(tmp_path)
        names = [image.id for image in config["data"].view]
        given = np.array([1, value, 0], np.float32)
        config["data"].targets = dict.fromkeys(names, given)
        return handed(config)

    assert of(0.5) == of(0.5)
    assert len(differences(of(0.5), of(0.25))) == 4


def test_values_become_plain() -> None:
    class Own:
        pass

    given = {
        1: (1, 2.5, None),
        "set": {"b", "a"},
        "function": np.sum,
        "object": Own(),
        "part": partial(round, ndigits=2),
        "array": np.arange(3),
    }
    found = plain(given)
    assert json.loads(json.dumps(found)) == found
    assert found["1"] == [1, 2.5, None]
    assert found["set"] == ["a", "b"]
    assert found["function"] == "numpy.sum"
    assert found["object"].endswith("Own")
    assert found["part"] == {
        "function": "builtins.round",
        "given": [[], {"ndigits": 2}],
    }
    assert found["array"] != plain(np.arange(4))


def test_a_tensor_counts_by_its_kind_alone() -> None:
    """Tensors that learn are told by name and shape; their values differ before and after the training."""
    assert plain(torch.zeros(2)) == plain(torch.ones(3)) == "torch.Tensor"


def test_the_layers_of_manifold_mixup_count() -> None:
    one, two = plain(ManifoldMixupLoss((0, 1))), plain(ManifoldMixupLoss((0, 2)))
    assert differences(one, two) == ["layers: [0, 1] -> [0, 2]"]


def test_what_other_code_was_handed_is_not_compared(tmp_path: Path) -> None:
    class Other(Kept):
        @contextmanager
        def open(self, name: str) -> Iterator[Training]:
            with super().open(name) as training:
                yield dataclasses.replace(training, same_code=False)

    def context(trainings: Kept) -> Any:
        return make_context(tmp_path, trainings=trainings)

    kept = tmp_path / "kept"
    weights = train(prepared(tmp_path), context(Kept(kept)), "net")
    told = json.loads((kept / "net" / HANDED).read_text())
    told["data"]["class"] = "place_that_the_class_has_left"
    (kept / "net" / HANDED).write_text(json.dumps(told))
    with pytest.raises(RecipeError, match="place_that_the_class_has_left"):
        train(prepared(tmp_path), context(Kept(kept)), "net")
    assert train(prepared(tmp_path), context(Other(kept)), "net") == weights
