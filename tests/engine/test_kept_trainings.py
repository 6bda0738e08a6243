"""A training that the store keeps is handed on only to who would train the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_fakes import make_context, make_view
from torch import nn

from wsss_bench.contract.context import StageContext, Training
from wsss_bench.engine.handed import HANDED, differences, handed, plain
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.logged import LOSSES
from wsss_bench.engine.mixing import Mixup
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.registry import register
from wsss_bench.engine.training import seeded, train, training_config
from wsss_bench.errors import RecipeError
from wsss_bench.io.files import read_json

OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "batch": 2}


class Keep:
    """Keeps trainings in one folder, like the store, whatever stage asks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def open(self, name: str) -> Iterator[Training]:
        scratch, out = self.folder / name / "scratch", self.folder / name / "out"
        scratch.mkdir(parents=True, exist_ok=True)
        out.mkdir(exist_ok=True)
        yield Training(scratch, out, (out / "weights.pth").exists())


class Head(LinearCamHead):
    """A head with a setting of its own."""

    def __init__(self, margin: float = 0.0, scale: float = 1.0) -> None:
        super().__init__(16, 2)
        self.margin = margin
        self.classifier.weight.data *= scale


def prepared(
    folder: Path,
    head: dict[str, Any] | None = None,
    total: int = 2,
    seed: int = 0,
    mixer: Any = None,
    **options: Any,
) -> dict[str, Any]:
    register()
    view = make_view(folder / "images", 4)

    def build() -> MultiLabelClassifier:
        backbone = {"type": "TinyBackbone", "width": 4}
        return MultiLabelClassifier(backbone, Head(**(head or {})))

    config = training_config({**OPTIONS, **options}, total, ("head.",))
    data = TrainingSet(view, Augment("warp", 16), 0, mixer=mixer)
    model = seeded(build, seed, "model")
    return {**config, "model": model, "data": data, "batch": 2}


def keeping(folder: Path, **changes: Any) -> StageContext:
    return make_context(folder, trainings=Keep(folder / "store"), **changes)


def test_a_kept_training_serves_every_stage(tmp_path: Path) -> None:
    seen: list[int] = []
    first = train(prepared(tmp_path), keeping(tmp_path / "a"))
    ctx = make_context(tmp_path / "b", trainings=Keep(tmp_path / "a" / "store"))
    ctx.progress = lambda what, done, total: seen.append(done)
    assert train(prepared(tmp_path), ctx) == first
    assert seen == []
    assert first == tmp_path / "a/store/train/out/weights.pth"
    assert sorted(file.name for file in first.parent.iterdir()) == [
        LOSSES,
        HANDED,
        "weights.pth",
    ]
    scratch = tmp_path / "a/store/train/scratch"
    assert list(scratch.glob("iter_*.pth")) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": {"margin": 0.5}}, r"model\.head\.margin: 0\.0 -> 0\.5"),
        ({"head": {"scale": 2.0}}, r"start\.head: 0\.\d+ -> 0\.\d+"),
        ({"lr": 0.2}, r"optimizer\.optimizer\.lr: 0\.1 -> 0\.2"),
        ({"total": 3}, r"length\.max_iters: 2 -> 3"),
        ({"mixer": Mixup()}, r"data\.mixer"),
    ],
)
def test_a_training_that_was_handed_something_else_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    ctx = keeping(tmp_path)
    train(prepared(tmp_path), ctx)
    with pytest.raises(RecipeError, match=message) as refused:
        train(prepared(tmp_path, **changes), ctx)
    assert "test_settings" in str(refused.value)
    # The training itself is as it was: who asks for it in the right way gets it.
    train(prepared(tmp_path), ctx)


def test_a_network_that_was_not_seeded_is_told_apart(tmp_path: Path) -> None:
    ctx = keeping(tmp_path)
    train(prepared(tmp_path), ctx)
    with pytest.raises(RecipeError, match="build the network with `seeded`"):
        train(prepared(tmp_path, seed=5), ctx)
    with pytest.raises(RecipeError) as refused:
        train(prepared(tmp_path, lr=0.2), ctx)
    assert "seeded" not in str(refused.value)


def test_the_last_bits_of_initial_weights_do_not_count(tmp_path: Path) -> None:
    ctx = keeping(tmp_path)
    first = train(prepared(tmp_path), ctx)
    config = prepared(tmp_path)
    for parameter in config["model"].parameters():
        parameter.data *= 1 + 1e-6
    assert train(config, ctx) == first


def test_what_is_not_kept_may_start_anywhere(tmp_path: Path) -> None:
    """A teacher's weights, say: drawn by a plugin as the process's generator stands."""
    config = prepared(tmp_path)
    config["model"].objective = nn.Linear(2, 2)
    config["drop"] = ("objective.",)
    told = handed(config)["start"]
    assert set(told) == {"backbone", "head"}
    assert all(value > 0 for value in told.values())


def test_an_interrupted_training_is_not_continued_with_other_settings(
    tmp_path: Path,
) -> None:
    class Stop(RuntimeError):
        pass

    def stop(what: str, done: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(prepared(tmp_path), keeping(tmp_path, progress=stop))
    with pytest.raises(RecipeError, match=r"lr: 0\.1 -> 0\.2"):
        train(prepared(tmp_path, lr=0.2), keeping(tmp_path))


def test_what_was_handed_is_written_as_plain_json(tmp_path: Path) -> None:
    ctx = keeping(tmp_path)
    weights = train(prepared(tmp_path, {"margin": 0.25}, mixer=Mixup(0.5)), ctx)
    told = read_json(weights.parent / HANDED)
    assert told["batch"] == 2
    assert told["images"] == 4
    assert told["length"]["max_iters"] == 2
    assert told["model"]["head"]["margin"] == 0.25
    assert told["data"]["augment"]["crop"] == 16
    assert told["data"]["mixer"]["probability"] == 0.5
    # Nothing of it is an address in memory.
    assert "0x" not in (weights.parent / HANDED).read_text()


def test_arrays_count_by_their_content() -> None:
    one, other = np.arange(4.0), np.arange(4.0)
    assert plain({"targets": one}) == plain({"targets": other})
    other[2] = 7
    assert plain({"targets": one}) != plain({"targets": other})


def test_differences_name_their_place() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == [
        "a.c: 2 -> 3"
    ]
    assert differences({"a": 1}, {"b": 1}) == ["a: 1 -> None", "b: None -> 1"]
    assert differences({"start": {"x": 1.0}}, {"start": {"x": 1.0 + 1e-6}}) == []
    assert differences({"lr": 1.0}, {"lr": 1.0 + 1e-6}) != []
