from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import make_context, make_view
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from wsss_bench.contract.context import StageContext
from wsss_bench.engine.loading import Augment, TrainingSet
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.registry import register
from wsss_bench.engine.runner_hooks import GroupedOptimizer
from wsss_bench.engine.training import (
    iterations,
    load_weights,
    seeded,
    train,
    training_config,
)
from wsss_bench.errors import ArtifactError, RecipeError

OPTIONS = {
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "batch": 2,
    "new_mult": 10.0,
}


class Noisy(LinearCamHead):
    """A head with dropout and a loss that a test may replace."""

    def loss(
        self, features: torch.Tensor, targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return super().loss(
            nn.functional.dropout(features, 0.5, self.training), targets
        )


class Broken(LinearCamHead):
    """A loss that is not a number."""

    def loss(
        self, features: torch.Tensor, targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        return {"loss_cls": super().loss(features, targets)["loss_cls"] * math.nan}


def prepared(
    folder: Path,
    total: int = 8,
    head: type[LinearCamHead] = Noisy,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    register()
    view = make_view(folder / "images", 5)
    model = seeded(
        lambda: MultiLabelClassifier({"type": "TinyBackbone", "width": 4}, head(16, 2)),
        seed,
        "model",
    )
    data = TrainingSet(view, Augment("resize_long", 16, (16, 24)), seed)
    return {
        **training_config({**OPTIONS, **options}, total, ("head.",)),
        "model": model,
        "data": data,
        "batch": 2,
    }


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)


def same(a: Path, b: Path) -> bool:
    first, second = weights_of(a), weights_of(b)
    return list(first) == list(second) and all(
        torch.equal(first[k], second[k]) for k in first
    )


class Stop(RuntimeError):
    pass


def stopping(at: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if done == at:
            raise Stop

    return progress


def stopping_first(at: int) -> Callable[[str, int, int], None]:
    """Stops in the first iteration, which must be number `at`."""

    def progress(what: str, done: int, total: int) -> None:
        assert done == at
        raise Stop

    return progress


def counting(seen: list[int]) -> Callable[[str, int, int], None]:
    return lambda what, done, total: seen.append(done)


def test_length_is_counted_as_irn_counts() -> None:
    assert iterations({"iterations": 0, "epochs": 5, "batch": 16}, 10_582) == 3_305
    assert iterations({"iterations": 7, "epochs": 5, "batch": 16}, 10_582) == 7
    assert iterations({"iterations": 0, "epochs": 2, "batch": 16}, 3) == 2


def groups(scheme: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """(multiple of the base rate, decay) of every parameter of a little network."""
    register()
    net = nn.ModuleDict(
        {
            "backbone": nn.Conv2d(3, 4, 1),
            "head": nn.Conv2d(4, 2, 1),
            "frozen": nn.Linear(2, 2),
        }
    )
    net["frozen"].requires_grad_(False)
    wrapper = training_config(
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch": 2, **scheme},
        4,
        ("head.",),
    )
    config = dict(wrapper["optim_wrapper"])
    config.pop("constructor")
    paramwise = config.pop("paramwise_cfg")
    optimizer = GroupedOptimizer(config, paramwise)(net).optimizer
    names = {id(p): n for n, p in net.named_parameters()}
    return {
        names[id(p)]: (round(g["lr"] / 0.1, 6), g["weight_decay"])
        for g in optimizer.param_groups
        for p in g["params"]
    }


def test_caffes_four_groups() -> None:
    found = groups({"new_mult": 10.0, "bias_mult": 2.0, "bias_decay": False})
    assert found == {
        "backbone.weight": (1, 5e-4),
        "backbone.bias": (2, 0),
        "head.weight": (10, 5e-4),
        "head.bias": (20, 0),
    }


def test_without_a_scheme_all_learn_alike_and_frozen_parameters_are_left_out() -> None:
    found = groups({})
    assert set(found.values()) == {(1, 5e-4)}
    assert len(found) == 4


def test_fast_prefixes_multiply_on_top() -> None:
    register()
    net = nn.ModuleDict(
        {
            "head": nn.ModuleDict(
                {
                    "words": nn.Linear(2, 2, bias=False),
                    "other": nn.Linear(2, 2, bias=False),
                }
            )
        }
    )
    config = dict(
        training_config({**OPTIONS, "lr": 0.1}, 4, ("head.",), {"head.words": 3.0})[
            "optim_wrapper"
        ]
    )
    config.pop("constructor")
    paramwise = config.pop("paramwise_cfg")
    found = sorted(
        round(g["lr"], 6)
        for g in GroupedOptimizer(config, paramwise)(net).optimizer.param_groups
    )
    assert found == [1.0, 3.0]


def rates(params: dict[str, Any], total: int, steps: list[int]) -> list[float]:
    """Learning rates in force at some iterations."""
    register()
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], params["lr"])
    config = training_config({**OPTIONS, **params}, total, ())
    schedulers = [
        PARAM_SCHEDULERS.build({**s, "optimizer": optimizer})
        for s in config["param_scheduler"]
    ]
    found = []
    for _ in range(max(steps) + 1):
        found.append(optimizer.param_groups[0]["lr"])
        for scheduler in schedulers:
            scheduler.step()
    return [found[s] for s in steps]


def test_poly_rates_are_those_of_irns_log() -> None:
    # card: 0.09727 at step 100 and 0.072302 at 1,000
    found = rates({"lr": 0.1}, 3_305, [0, 100, 1_000, 3_304])
    assert found[:3] == pytest.approx([0.1, 0.09727, 0.072302], abs=1e-6, rel=5e-5)
    assert found[3] == pytest.approx(0.1 * (1 / 3_305) ** 0.9)
    assert rates({"lr": 0.1, "power": 1.0}, 100, [50])[0] == pytest.approx(0.05)


def test_a_warm_up_multiplies_the_schedule() -> None:
    found = rates({"lr": 1.0, "warmup": 3}, 10, list(range(6)))
    plain = rates({"lr": 1.0}, 10, list(range(6)))
    assert found == pytest.approx(
        [p * f for p, f in zip(plain, [0.25, 0.5, 0.75, 1, 1, 1], strict=True)]
    )


def test_step_and_constant_schedules() -> None:
    step = {"lr": 1e-3, "schedule": "step", "step_every": 20, "step_factor": 0.1}
    assert rates(step, 60, [0, 19, 20, 39, 40, 59]) == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5]
    )
    assert rates({"lr": 0.5, "schedule": "constant"}, 60, [0, 59]) == [0.5, 0.5]


def test_momentum_is_the_one_asked_for() -> None:
    register()
    for asked in (1e-4, 0.9):
        config = dict(
            training_config({**OPTIONS, "momentum": asked}, 4, ())["optim_wrapper"]
        )
        config.pop("constructor")
        paramwise = config.pop("paramwise_cfg")
        optimizer = GroupedOptimizer(config, paramwise)(nn.Linear(2, 2)).optimizer
        assert {g["momentum"] for g in optimizer.param_groups} == {asked}
        assert {g["weight_decay"] for g in optimizer.param_groups} == {1e-4}


def test_adam_and_clipping_are_passed_on() -> None:
    wrapper = training_config({**OPTIONS, "optimizer": "Adam", "clip": 1.0}, 4, ())[
        "optim_wrapper"
    ]
    assert wrapper["optimizer"] == {"type": "Adam", "lr": 0.05, "weight_decay": 1e-4}
    assert wrapper["clip_grad"] == {"max_norm": 1.0}


@pytest.mark.parametrize("at", [3, 4, 5, 8])
def test_an_interrupted_training_ends_where_an_undisturbed_one_does(
    tmp_path: Path, at: int
) -> None:
    undisturbed = train(prepared(tmp_path / "a"), make_context(tmp_path / "a"))
    with pytest.raises(Stop):
        train(
            prepared(tmp_path / "b"),
            make_context(tmp_path / "b", progress=stopping(at)),
        )
    torch.rand(17)  # whatever a new process's generator may be at
    seen: list[int] = []
    resumed = train(
        prepared(tmp_path / "b"), make_context(tmp_path / "b", progress=counting(seen))
    )
    # checkpoints are written every ceil(8 / 4) iterations, after progress was reported
    assert seen[0] == (at - 1) // 2 * 2 + 1
    assert seen[-1] == 8
    assert same(undisturbed, resumed)
    assert sorted(p.name for p in resumed.parent.glob("*.pth")) == ["weights.pth"]


def test_a_moved_scratch_folder_resumes(tmp_path: Path) -> None:
    undisturbed = train(prepared(tmp_path / "a"), make_context(tmp_path / "a"))
    with pytest.raises(Stop):
        train(
            prepared(tmp_path / "b"), make_context(tmp_path / "b", progress=stopping(6))
        )
    (tmp_path / "b").rename(tmp_path / "c")
    seen: list[int] = []
    assert same(
        undisturbed,
        train(
            prepared(tmp_path / "c"),
            make_context(tmp_path / "c", progress=counting(seen)),
        ),
    )
    assert seen[0] == 5


@pytest.mark.parametrize("damage", ["cut", "gone"])
@pytest.mark.parametrize(
    ("damaged", "first"), [(("iter_4",), 3), (("iter_2", "iter_4"), 1)]
)
def test_an_unreadable_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, damage: str, damaged: tuple[str, ...], first: int
) -> None:
    undisturbed = train(prepared(tmp_path / "a"), make_context(tmp_path / "a"))
    with pytest.raises(Stop):
        train(
            prepared(tmp_path / "b"), make_context(tmp_path / "b", progress=stopping(6))
        )
    folder = tmp_path / "b/scratch/train"
    assert {p.stem for p in folder.glob("iter_*.pth")} == {"iter_2", "iter_4"}
    for name in damaged:
        checkpoint = folder / f"{name}.pth"
        if damage == "cut":
            checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
        else:
            checkpoint.unlink()
    seen: list[int] = []
    assert same(
        undisturbed,
        train(
            prepared(tmp_path / "b"),
            make_context(tmp_path / "b", progress=counting(seen)),
        ),
    )
    assert seen == list(range(first, 9))


def test_a_pointer_that_lags_behind_or_is_lost_does_not_lose_the_newest_checkpoint(
    tmp_path: Path,
) -> None:
    with pytest.raises(Stop):
        train(prepared(tmp_path), make_context(tmp_path, progress=stopping(6)))
    pointer = tmp_path / "scratch/train/last_checkpoint"
    for damage in (lambda: pointer.write_text("/elsewhere/iter_2.pth"), pointer.unlink):
        damage()
        # Were the older checkpoint taken, iteration 3 would come first and nothing would stop at 5 before it.
        with pytest.raises(Stop):
            train(
                prepared(tmp_path), make_context(tmp_path, progress=stopping_first(5))
            )


def test_a_finished_training_is_not_run_again(tmp_path: Path) -> None:
    ctx = make_context(tmp_path)
    first = train(prepared(tmp_path, 2), ctx)
    stamp = first.stat().st_mtime_ns
    seen: list[int] = []
    ctx = make_context(tmp_path, progress=counting(seen))
    assert train(prepared(tmp_path, 2), ctx) == first
    assert seen == []
    assert first.stat().st_mtime_ns == stamp


def test_two_trainings_in_one_process_do_not_disturb_each_other(tmp_path: Path) -> None:
    alone = train(prepared(tmp_path / "a"), make_context(tmp_path / "a"))
    train(
        prepared(tmp_path / "b", seed=3), make_context(tmp_path / "b", seed=3), "other"
    )
    again = train(prepared(tmp_path / "c"), make_context(tmp_path / "c"))
    assert same(alone, again)


def test_a_training_leaves_nothing_in_mmengines_registers(tmp_path: Path) -> None:
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.visualization import Visualizer

    register()
    before = [set(kind._instance_dict) for kind in (MMLogger, MessageHub, Visualizer)]
    train(prepared(tmp_path, 1), make_context(tmp_path))
    assert [
        set(kind._instance_dict) for kind in (MMLogger, MessageHub, Visualizer)
    ] == before


def test_another_seed_gives_another_network(tmp_path: Path) -> None:
    config = prepared(tmp_path / "a", 2)
    one = train(config, make_context(tmp_path / "a"))
    other = train(prepared(tmp_path / "b", 2), make_context(tmp_path / "b", seed=1))
    assert not same(one, other)  # same start, another order and other dropout


def test_bfloat16_trains_on_a_cpu(tmp_path: Path) -> None:
    full = train(prepared(tmp_path / "a", 1), make_context(tmp_path / "a"))
    half = train(prepared(tmp_path / "b", 1, amp="bf16"), make_context(tmp_path / "b"))
    assert not same(full, half)
    for key, value in weights_of(half).items():
        assert value.dtype == weights_of(full)[key].dtype
        assert torch.isfinite(value.float()).all()
        assert torch.allclose(value.float(), weights_of(full)[key].float(), atol=0.05)


def test_a_precision_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="bf16, fp16"):
        prepared(tmp_path, amp="fp8")
    with pytest.raises(RecipeError, match="GPU"):
        train(prepared(tmp_path, 1, amp="fp16"), make_context(tmp_path))


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(
        FloatingPointError,
        match=r"classifier: the loss is nan at iteration 1.*learning rate",
    ):
        train(prepared(tmp_path, head=Broken), make_context(tmp_path), "classifier")
    assert list((tmp_path / "scratch/classifier").glob("*.pth")) == []


def test_fewer_images_than_a_batch_are_refused(tmp_path: Path) -> None:
    config = {**prepared(tmp_path), "batch": 6}
    with pytest.raises(
        ArtifactError, match=r"train: 5 images do not fill one batch of 6.*batch="
    ):
        train(config, make_context(tmp_path))


def test_scalars_go_to_the_visualizers_that_were_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an optional extra")
    kinds = ("local", "tensorboard")
    logs = tmp_path / "logs"
    ctx: StageContext = make_context(tmp_path, visualizers=kinds, logs=logs)
    train(prepared(tmp_path, 20), ctx)
    # Nothing that is deleted with the checkpoints.
    assert not list((tmp_path / "scratch").rglob("events.out.tfevents.*"))
    assert list((logs / "train").rglob("events.out.tfevents.*"))
    (scalars,) = (logs / "train").rglob("scalars.json")
    assert '"loss"' in scalars.read_text()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    assert not load_weights(nn.Linear(2, 2), path).training
    with pytest.raises(ArtifactError, match=r"w\.pth cannot be loaded"):
        load_weights(nn.Linear(3, 2), path)
    path.write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"w\.pth cannot be loaded"):
        load_weights(nn.Linear(2, 2), path)


def test_seeding_a_build_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(4)
    before = torch.get_rng_state()
    a = seeded(lambda: nn.Linear(3, 3), 0, "head").weight
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(a, seeded(lambda: nn.Linear(3, 3), 0, "head").weight)
    assert not torch.equal(a, seeded(lambda: nn.Linear(3, 3), 0, "other").weight)
