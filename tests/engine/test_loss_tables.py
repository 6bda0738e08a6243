"""Losses and learning rates stay with what was trained: the same bytes, however often the training was interrupted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from engine_fakes import SMALL_CLASSIFIER, make_context, make_view

from wsss_bench.contract.context import StageContext, Training
from wsss_bench.engine.logged import LossTable, interval, read_losses
from wsss_bench.engine.training import train
from wsss_bench.errors import ArtifactError
from wsss_bench.toolbox.classifier import train_classifier


class Stop(RuntimeError):
    pass


def trained(folder: Path, total: int = 60, stop: int = 0, **changes: Any) -> Path:
    """Train a classifier, up to iteration `stop` if that is given; returns its table of losses."""

    def progress(what: str, done: int, all_in_all: int) -> None:
        if done == stop:
            raise Stop

    params = {**SMALL_CLASSIFIER, "iterations": total, "crop": 16, "resize": (16, 20)}
    ctx = make_context(folder, params, progress=progress, **changes)
    view = make_view(folder / "images")
    if stop:
        with pytest.raises(Stop):
            train_classifier(view, ctx)
    else:
        train_classifier(view, ctx)
    (table,) = (folder / "out" / "losses").glob("*.csv")
    return table


def test_a_row_stands_for_a_few_iterations() -> None:
    assert [interval(total) for total in (1, 8, 50, 51, 500, 1000, 30_000)] == [
        1,
        1,
        1,
        2,
        10,
        20,
        20,
    ]


def test_every_training_keeps_its_losses_and_rates(tmp_path: Path) -> None:
    table = trained(tmp_path)
    found = read_losses(table)
    assert list(found) == ["iteration", "lr", "loss", "loss_cls"]
    assert found["iteration"] == list(range(2, 61, 2))
    assert found["lr"][0] > found["lr"][-1] > 0
    assert found["loss"][0] > found["loss"][-1]
    # Nothing of the folder that is deleted, and nothing of the clock.
    assert table.is_relative_to(tmp_path / "out")
    assert "time" not in table.read_text()


@pytest.mark.parametrize("stop", [7, 20, 38, 59])
def test_an_interrupted_training_leaves_the_same_bytes(
    stop: int, tmp_path: Path
) -> None:
    undisturbed = trained(tmp_path / "a").read_bytes()
    part = trained(tmp_path / "b", stop=stop)
    # As if the process had been killed in the middle of the next row.
    with part.open("a") as handle:
        handle.write("58,0.0")
    assert trained(tmp_path / "b").read_bytes() == undisturbed


def test_a_training_that_begins_anew_drops_what_another_one_left(
    tmp_path: Path,
) -> None:
    table = tmp_path / "out" / "losses" / "classifier.csv"
    table.parent.mkdir(parents=True)
    table.write_text("iteration,lr,loss_other\n2,0.1,3\n")
    assert trained(tmp_path, total=4) == table
    assert list(read_losses(table)) == ["iteration", "lr", "loss", "loss_cls"]


class Kept:
    """One training kept beyond its stage."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self, name: str) -> Any:
        from contextlib import nullcontext

        for part in ("scratch", "out"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        training = Training(self.folder / "scratch", self.folder / "out", False)
        return nullcontext(training)


def test_a_kept_trainings_losses_are_kept_with_it(tmp_path: Path) -> None:
    params = {**SMALL_CLASSIFIER, "iterations": 4, "crop": 16, "resize": (16, 20)}
    ctx = make_context(tmp_path, params, trainings=Kept(tmp_path / "kept"))
    train_classifier(make_view(tmp_path / "images"), ctx)
    assert not (tmp_path / "out" / "losses").exists()
    (table,) = (tmp_path / "kept" / "out" / "losses").glob("*.csv")
    assert read_losses(table)["iteration"] == [1, 2, 3, 4]


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    ctx: StageContext = make_context(tmp_path, SMALL_CLASSIFIER)
    with pytest.raises(ArtifactError, match="lies outside"):
        train(_config(tmp_path), ctx, "../../elsewhere")


def _config(folder: Path) -> dict[str, Any]:
    from wsss_bench.toolbox.training import (
        Augment,
        LinearCamHead,
        MultiLabelClassifier,
        TrainingSet,
        training_config,
    )

    head = LinearCamHead(16, 2)
    model = MultiLabelClassifier({"type": "TinyBackbone", "width": 4}, head)
    data = TrainingSet(make_view(folder / "images"), Augment("warp", 16, (1.0, 1.0)), 0)
    config = training_config(SMALL_CLASSIFIER, 2, ("head.",))
    return {**config, "model": model, "data": data, "batch": 2}


# The table ------------------------------------------------------------------------------------------------------------


def test_a_loss_that_comes_later_is_a_column_of_its_own(tmp_path: Path) -> None:
    table = LossTable(tmp_path / "t.csv")
    table.resume(0)
    table.add(1, {"lr": 0.1, "loss": 2.0})
    table.add(2, {"lr": 0.1, "loss": 1.5, "loss_b": 0.25})
    table.add(3, {"lr": 0.1, "loss_b": 0.125})
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "iteration,lr,loss,loss_b",
        "1,0.1,2,",
        "2,0.1,1.5,0.25",
        "3,0.1,,0.125",
    ]
    found = read_losses(tmp_path / "t.csv")
    assert math.isnan(found["loss_b"][0])
    assert found["loss_b"][1:] == [0.25, 0.125]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("iteration,loss\n1,2\n2,1\n3,0.5\n", ["1", "2"]),
        # A number that was cut is no smaller number.
        ("iteration,loss\n1,2\n2,1.2", ["1"]),
        ("iteration,loss\n1,2\n2\n", ["1"]),
        ("iteration,loss\n1,2\nx,y\n", ["1"]),
        ("iterat", []),
        ("", []),
    ],
)
def test_what_is_not_whole_or_too_late_is_written_again(
    text: str, kept: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    LossTable(path).resume(2)
    lines = path.read_text().splitlines()[1:] if path.exists() else []
    assert [line.split(",")[0] for line in lines] == kept


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", "iteration,loss\n1\n", "iteration,loss\n1,x\n"]
)
def test_what_is_no_table_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ArtifactError, match=r"t\.csv is"):
        read_losses(tmp_path / "t.csv")
