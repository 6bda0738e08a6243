"""`StageContext` without a harness around it, and the card."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from wsss_bench import MethodCard
from wsss_bench.contract import hookspecs
from wsss_bench.contract.context import StageContext
from wsss_bench.contract.names import STAGES
from wsss_bench.errors import ArtifactError


def context(folder: Path, **more: Any) -> StageContext:
    params = {"lr": 0.1, "scales": [1.0], "flip": True}
    return StageContext(3, "cpu", params, folder / "scratch", folder / "out", **more)


def test_trainings_may_look_at_all_but_the_test_settings(tmp_path: Path) -> None:
    ctx = context(tmp_path, test_settings=("scales", "flip", "not_there"))
    assert ctx.training_params == {"lr": 0.1}
    assert set(ctx.params) == {"lr", "scales", "flip"}
    assert context(tmp_path).training_params == ctx.params


def test_a_training_is_finished_when_its_block_ends_well(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    with suppress(RuntimeError), ctx.training("net") as training:
        (training.scratch / "checkpoint").write_text("1")
        raise RuntimeError
    with ctx.training("net") as training:
        assert not training.done
        assert (training.scratch / "checkpoint").read_text() == "1"
    with ctx.training("net") as training:
        assert training.done
    with ctx.training("other") as training:
        assert not training.done


def test_a_kept_file_is_a_copy_under_the_results(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    net = tmp_path / "net.pth"
    net.write_text("weights")
    assert ctx.keep(net) == tmp_path / "out" / "kept" / "net.pth"
    other = ctx.keep(net, "deep/other.pth")
    net.write_text("changed")
    assert other.read_text() == "weights"
    assert ctx.keep(net).read_text() == "changed"
    with pytest.raises(ArtifactError, match="there is no file"):
        ctx.keep(tmp_path / "missing")
    with pytest.raises(ArtifactError, match="lies outside"):
        ctx.keep(net, "../net.pth")


def test_a_context_without_a_trainer_says_where_to_find_one(tmp_path: Path) -> None:
    ctx = context(tmp_path)
    for call in (lambda: ctx.train({}), lambda: ctx.segmentor({}, tmp_path)):
        with pytest.raises(
            ArtifactError, match=r"without a trainer.*toolbox\.training"
        ):
            call()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a b"}, "must consist of letters"),
        ({"name": ""}, "must consist of letters"),
        ({"version": ""}, "version is empty"),
        ({"stages": ()}, "name at least one of localize, refine, segment"),
        ({"stages": ("localise",)}, "unknown stage 'localise'"),
        ({"supervision": ("guess",)}, "unknown supervision 'guess'"),
        ({"recipe": "_/_"}, "must have three slots"),
        ({"contract": 2}, "Upgrade wsss-bench"),
    ],
)
def test_a_card_that_is_not_complete_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    facts: dict[str, Any] = {"name": "x", "version": "1", "stages": ("refine",)}
    assert MethodCard(**facts).problems() == []
    with pytest.raises(ValueError, match=message):
        MethodCard(**{**facts, **changes})


def test_there_is_a_hook_for_every_stage() -> None:
    for stage in STAGES:
        assert hasattr(hookspecs, stage)
