"""One training in two processes (gloo, CPU) against the same in one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_fakes import (
    SMALL_SEGMENTOR,
    make_context,
    make_labels,
    make_view,
    stage_params,
)
from torch import nn

from wsss_bench.contract.view import WeakView
from wsss_bench.engine.loading import Augment, ScheduleSampler, TrainingSet
from wsss_bench.engine.models import LinearCamHead, MultiLabelClassifier
from wsss_bench.engine.ranks import check_share, over_ranks, rank, world
from wsss_bench.engine.registry import register
from wsss_bench.engine.team import Team
from wsss_bench.engine.training import seeded, train, training_config
from wsss_bench.errors import ArtifactError, LeakError, RecipeError
from wsss_bench.io.opened import OpenedFiles, summary
from wsss_bench.io.sealing import shut
from wsss_bench.runs.ranks import Started
from wsss_bench.toolbox.segmentation import train_segmentor

OPTIONS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "batch": 4}


@pytest.fixture(scope="module")
def team() -> Iterator[Team]:
    found = Team(2, lambda: Started(2))
    yield found
    found.close()


def furthest(one: Path, two: Path) -> float:
    """The largest difference between the weights in two files."""
    a, b = (torch.load(path, weights_only=True) for path in (one, two))
    assert list(a) == list(b)
    return max(float((a[key].double() - b[key].double()).abs().max()) for key in a)


class Bent(LinearCamHead):
    """A head whose loss does not depend on the size of the batch, and is not the mean of those of its halves."""

    def loss(
        self, features: torch.Tensor, targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        wrong = (self.scores(features) - targets).square() * targets
        return {"loss_cls": wrong.sum() / over_ranks(targets.sum())}


def prepared(
    folder: Path,
    total: int = 20,
    head: type[nn.Module] = Bent,
    bn_eval: bool = True,
    view: WeakView | None = None,
    **more: Any,
) -> dict[str, Any]:
    register()
    # Some photographs have both classes, so that halves of a batch count differently.
    tags = lambda n: (1, 2) if n % 3 == 0 else (1 + n % 2,)  # noqa: E731
    view = view or make_view(folder / "images", 9, tags=tags)
    backbone = {"type": "TinyBackbone", "width": 4, "bn_eval": bn_eval}
    build = lambda: MultiLabelClassifier(backbone, head(16, 2), **more)  # noqa: E731
    return {
        **training_config(OPTIONS, total, ("head.",)),
        "model": seeded(build, 0, "model"),
        "data": TrainingSet(view, Augment("resize_long", 16, (16, 24)), 0),
        "batch": 4,
    }


class Stop(RuntimeError):
    pass


def test_processes_get_their_parts_of_the_same_batches() -> None:
    def first(sampler: ScheduleSampler, number: int) -> list[int]:
        stream = iter(sampler)
        return [next(stream) for _ in range(number)]

    alone = first(ScheduleSampler(5, 3), 24)
    parts = [ScheduleSampler(5, 3, 4, r, 2) for r in (0, 1)]
    one, two = (first(part, 12) for part in parts)
    assert len(set(alone)) == 24
    for batch in range(6):
        mine = slice(2 * batch, 2 * batch + 2)
        assert one[mine] + two[mine] == alone[4 * batch : 4 * batch + 4]
    # mmengine skips as many samples as its own process has had.
    parts[1].skip(6)
    assert first(parts[1], 6) == two[6:]


def test_a_process_alone_is_all_there_are() -> None:
    count = torch.tensor(3)
    assert (world(), rank()) == (1, 0)
    assert over_ranks(count) is count


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"x: a batch of 4 images .* by 3 .*multiple of 3"
    ):
        check_share(4, 3, "x")

    def nobody() -> Any:
        raise AssertionError("nobody is to be started")

    with pytest.raises(RecipeError, match="train: a batch of 4 images"):
        train(prepared(tmp_path), make_context(tmp_path, ranks=Team(3, nobody)))


@pytest.mark.parametrize("bn_eval", [True, False])
def test_a_classifier_is_that_of_one_process(
    tmp_path: Path, team: Team, bn_eval: bool
) -> None:
    alone = train(
        prepared(tmp_path / "a", bn_eval=bn_eval), make_context(tmp_path / "a")
    )
    shared = prepared(tmp_path / "b", bn_eval=bn_eval)
    together = train(shared, make_context(tmp_path / "b", ranks=team))
    assert furthest(alone, together) < 1e-5
    norms = [m for m in shared["model"].modules() if isinstance(m, nn.BatchNorm2d)]
    assert all("forward" not in vars(norm) for norm in norms)
    assert bn_eval or float(norms[0].running_mean.abs().max()) > 0
    # The table is of the whole batches, and the other process leaves nothing.
    tables = [tmp_path / x / "out/losses/train.csv" for x in "ab"]
    one, two = ([row.split(",") for row in t.read_text().splitlines()] for t in tables)
    assert one[0] == two[0]
    assert len(one) == len(two) == 21
    for mine, other in zip(one[1:], two[1:], strict=True):
        assert [float(x) for x in mine] == pytest.approx(
            [float(x) for x in other], rel=1e-4
        )
    scratch = tmp_path / "b/scratch/train"
    assert not list(scratch.glob("rank*"))
    assert not list(scratch.glob("iter_*"))


@pytest.mark.parametrize("loss", ["ce", "balanced", "network"])
def test_a_segmentor_is_that_of_one_process(
    tmp_path: Path, team: Team, loss: str
) -> None:
    # Processes draw apart, so nothing may be dropped where they are to agree.
    params = {
        **SMALL_SEGMENTOR,
        "loss": loss,
        "batch": 4,
        "iterations": 20,
        "dropout": 0.0,
        # At a higher rate the last digits of sums over other halves grow from step to step.
        "lr": 0.005,
    }
    found = []
    for name, ranks in (("a", None), ("b", team)):
        view = make_view(tmp_path / name / "images", 9)
        labels = make_labels(view)
        for number, label in enumerate(labels.values()):
            # Much of some images is not labelled, so that halves of a batch count differently.
            label[: 3 * number] = 0 if loss == "network" else 255
        ctx = make_context(tmp_path / name, params, ranks=ranks)
        found.append(train_segmentor(view, labels, ctx).checkpoint)
    # mmseg's own loss is a mean of means, and rounds otherwise.
    assert furthest(*found) < (5e-5 if loss == "network" else 1e-5)


def test_dsrgs_losses_are_those_of_one_process(tmp_path: Path, team: Team) -> None:
    from wsss_plugins.dsrg.loss import DsrgLoss

    params = stage_params("dsrg", "segment", batch=4, iterations=20, lr=0.001)
    params |= {"crop": 64, "network": "tiny", "weights": None, "dropout": 0.0}
    found = []
    for name, ranks in (("a", None), ("b", team)):
        view = make_view(tmp_path / name / "images", 8)
        labels = make_labels(view)
        for number, label in enumerate(labels.values()):
            label[label == 0] = 255
            label[:4, : 4 * number] = 0
        ctx = make_context(tmp_path / name, params, ranks=ranks)
        found.append(train_segmentor(view, labels, ctx, DsrgLoss(params)).checkpoint)
    assert furthest(*found) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("method", ["irn", "affinitynet"])
def test_trained_refiners_are_those_of_one_process(
    tmp_path: Path, team: Team, method: str
) -> None:
    # One step: norms over few cells make the last digits grow from one to the next.
    short = {"batch": 4, "iterations": 1, "epochs": 0, "crop": 64, "lr": 0.001}
    params = {**stage_params(f"cam/{method}/_", "refine"), **short}
    found = []
    for name, ranks in (("a", None), ("b", team)):
        view = make_view(tmp_path / name / "images", 8)
        labels = make_labels(view)
        for number, label in enumerate(labels.values()):
            label[: 2 * number] = 255
        ctx = make_context(tmp_path / name, params, ranks=ranks)
        if method == "irn":
            from wsss_plugins.irn.training import train_network as irn

            model: nn.Module = irn(view, labels, ctx)  # type: ignore[arg-type]
        else:
            from wsss_plugins.affinitynet.training import train_network as affinity

            model = affinity(view, labels, labels, ctx)  # type: ignore[arg-type]
        path = tmp_path / f"{name}.pth"
        torch.save(model.state_dict(), path)
        found.append(path)
    assert furthest(*found) < 1e-5


@pytest.mark.slow
def test_an_interrupted_training_ends_where_an_undisturbed_one_does(
    tmp_path: Path, team: Team
) -> None:
    def stopping(what: str, done: int, total: int) -> None:
        if done == 13:
            raise Stop

    whole = train(prepared(tmp_path / "a"), make_context(tmp_path / "a", ranks=team))
    with pytest.raises(Stop):
        train(
            prepared(tmp_path / "b"),
            make_context(tmp_path / "b", ranks=team, progress=stopping),
        )
    seen: list[int] = []
    ctx = make_context(
        tmp_path / "b", ranks=team, progress=lambda _, done, total: seen.append(done)
    )
    assert furthest(whole, train(prepared(tmp_path / "b"), ctx)) == 0
    assert seen == list(range(11, 21))
    # What two have begun one may end.
    with pytest.raises(Stop):
        train(
            prepared(tmp_path / "c"),
            make_context(tmp_path / "c", ranks=team, progress=stopping),
        )
    alone = train(prepared(tmp_path / "c"), make_context(tmp_path / "c"))
    assert furthest(whole, alone) < 1e-5


@dataclass
class OnlyThere:
    """An objective that does something in the other process, at its n-th call."""

    what: str
    at: int = 3
    where: str = ""
    calls: int = field(default=0)

    def __call__(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        self.calls += 1
        if rank() == 1 and self.calls == self.at:
            getattr(self, self.what)()
        features = model.features(batch["inputs"])
        losses: dict[str, torch.Tensor] = model.head.loss(
            features, batch["tags"][:, 1:]
        )
        return losses

    def fail(self) -> None:
        raise ValueError("a cosmic ray")

    def refuse(self) -> None:
        raise ArtifactError("x.png is damaged. Restore it.")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def peep(self) -> None:
        Path(self.where).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (
            "fail",
            RuntimeError,
            "train: process 1 of 2 failed: ValueError: a cosmic ray",
        ),
        ("refuse", ArtifactError, r"process 1 of 2 failed: x\.png is damaged"),
        ("die", ArtifactError, "train: process 1 of the training was ended by SIGKILL"),
    ],
)
def test_what_fails_in_another_process_ends_the_training_with_its_message(
    tmp_path: Path, what: str, error: type[Exception], message: str
) -> None:
    team = Team(2, lambda: Started(2))
    try:
        config = prepared(tmp_path / "a", objective=OnlyThere(what))
        start = time.monotonic()
        with pytest.raises(error, match=message):
            train(config, make_context(tmp_path / "a", ranks=team))
        assert time.monotonic() - start < 30
        if what == "fail":
            # The process is still there, and of use.
            train(prepared(tmp_path / "b", 2), make_context(tmp_path / "b", ranks=team))
    finally:
        start = time.monotonic()
        team.close()
        assert time.monotonic() - start < 5


@pytest.mark.slow
def test_seals_hold_in_all_processes_and_all_note_what_they_open(
    tmp_path: Path, team: Team
) -> None:
    view = make_view(tmp_path / "images", 9)
    secret = tmp_path / "masks/secret.png"
    secret.parent.mkdir()
    secret.touch()
    config = prepared(tmp_path, 8, view=view)
    ctx = make_context(tmp_path, ranks=team)
    with OpenedFiles(tmp_path / "noted", [tmp_path / "images"]):
        train(config, ctx, "first")
    # More than this process has had: 8 batches of 4, two by two.
    assert summary(tmp_path / "noted")["files"] == 9
    objective = OnlyThere("peep", where=str(secret))
    config = prepared(tmp_path, 8, view=view, objective=objective)
    with (
        pytest.raises(LeakError, match=r"mine: masks/secret\.png is a sealed mask"),
        shut([secret.parent], tmp_path / "log", "mine"),
    ):
        train(config, ctx, "second")


class Odd(nn.BatchNorm2d):
    """A batch norm that does more than normalise."""


@pytest.mark.slow
def test_a_batch_norm_that_is_not_known_is_refused(tmp_path: Path, team: Team) -> None:
    config = prepared(tmp_path, 2, bn_eval=False)
    config["model"].backbone.stages[1][1] = Odd(8)
    with pytest.raises(RecipeError, match=r"train: .*backbone\.stages\.1\.1 \(Odd\)"):
        train(config, make_context(tmp_path, ranks=team))


class Counting(nn.Module):
    """An objective with a statistic of its own part of the batch."""

    seen: torch.Tensor

    def __init__(self, *, together: bool) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))
        self.together = together

    def forward(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
        bright = batch["inputs"].mean()
        self.seen += over_ranks(bright) if self.together else bright
        features = model.features(batch["inputs"])
        losses: dict[str, torch.Tensor] = model.head.loss(
            features, batch["tags"][:, 1:]
        )
        return losses


@pytest.mark.slow
def test_a_statistic_that_moves_apart_is_refused(tmp_path: Path, team: Team) -> None:
    ctx = make_context(tmp_path, ranks=team)
    train(prepared(tmp_path, 2, objective=Counting(together=True)), ctx, "good")
    with pytest.raises(
        RecipeError, match=r"bad: objective\.seen has other values.*over_ranks"
    ):
        train(prepared(tmp_path, 2, objective=Counting(together=False)), ctx, "bad")


@pytest.mark.slow
def test_what_a_hook_makes_is_sent_and_what_cannot_be_sent_is_refused(
    tmp_path: Path, team: Team
) -> None:
    ctx = make_context(tmp_path, ranks=team, progress=lambda *_: handle.flush())
    weight = 0.5

    def halved(model: Any, batch: Any) -> dict[str, torch.Tensor]:
        assert ctx.seed == 0
        loss = model.head.loss(model.features(batch["inputs"]), batch["tags"][:, 1:])
        return {"loss": weight * loss["loss_cls"]}

    with (tmp_path / "open").open("w") as handle:
        train(prepared(tmp_path, 2, objective=halved), ctx, "good")
        config = prepared(tmp_path, 2)
        config["data"].handle = handle
        with pytest.raises(RecipeError, match=r"bad: .* cannot be sent .*open files"):
            train(config, ctx, "bad")


@pytest.mark.slow
def test_another_process_has_draws_of_its_own(tmp_path: Path, team: Team) -> None:
    class Drawing(nn.Module):
        def forward(self, model: Any, batch: Any) -> dict[str, torch.Tensor]:
            draw = torch.rand(())
            scores = model.head.scores(model.features(batch["inputs"]))
            # The mean over both processes is logged.
            return {"loss": scores.square().mean(), "draw": draw}

    drawn = {}
    for name, ranks in (("a", None), ("b", team)):
        config = prepared(tmp_path / name, 1, objective=Drawing())
        train(config, make_context(tmp_path / name, ranks=ranks))
        table = (tmp_path / name / "out/losses/train.csv").read_text().splitlines()
        drawn[name] = float(table[1].split(",")[table[0].split(",").index("draw")])
    assert drawn["a"] != pytest.approx(drawn["b"], abs=1e-3)
