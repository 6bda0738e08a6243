"""``--limit`` and the cost of a run: the real recipe on a few images, and what it tells of the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wsss_bench
from wsss_bench.cli import main
from wsss_bench.data.limiting import chosen, plain_name
from wsss_bench.errors import RecipeError
from wsss_bench.results.records import load_records
from wsss_bench.runs.rehearsal import shorter
from wsss_bench.runs.request import DatasetRequest, RunRequest
from wsss_bench.runs.session import Session

IDS = tuple(f"image_{number}" for number in range(100))


def test_the_chosen_images_follow_from_their_ids() -> None:
    few, more = chosen(IDS, 5), chosen(IDS, 20)
    assert len(few) == 5
    assert set(few) < set(more)
    assert list(few) == sorted(few, key=IDS.index)
    # Of another order, and of a longer list, the same ones as far as they are there.
    assert set(chosen(IDS[::-1], 5)) == set(few)
    assert chosen(IDS, 200) == IDS


def test_splits_that_share_images_share_the_chosen_ones() -> None:
    seeds = IDS[::7]
    assert set(chosen(seeds, 4)) <= set(chosen(IDS, 10, frozenset(seeds)))
    assert set(chosen(seeds, 4)) == set(chosen(IDS, 4, frozenset(seeds)))


def test_a_name_says_that_it_is_a_rehearsal_once() -> None:
    assert plain_name("voc2012-limit20") == "voc2012"
    assert plain_name("my-limits") == "my-limits"


def test_lengths_in_iterations_shrink_and_those_in_epochs_stay() -> None:
    params = {
        "iterations": 20000,
        "retrain_iterations": 700,
        "epochs": 5,
        "step_every": 2000,
        "warmup": 0,
        "batch": 10,
        "lr": 0.1,
        "flip": True,
    }
    assert shorter(params, 0.01) == {
        **params,
        "iterations": 200,
        "retrain_iterations": 10,
        "step_every": 20,
    }
    # 0 means "not counted so", and what is short already is not made longer.
    assert shorter({"iterations": 0}, 0.01) == {"iterations": 0}
    assert shorter({"iterations": 6}, 0.01) == {"iterations": 6}


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., RunRequest]:
    def make(methods: str = "cam/-/-", limit: int = 0, **more: Any) -> RunRequest:
        options = {"train": "40", "val": "30"}
        return RunRequest(
            methods=(methods,),
            dataset=DatasetRequest(
                root=tmp_path / "data", options=options, limit=limit
            ),
            profile="check",
            work_dir=tmp_path / "work",
            device="cpu",
            workers=1,
            **more,
        )

    return make


def test_a_rehearsal_has_few_images_short_trainings_and_a_board_of_its_own(
    request_of: Callable[..., RunRequest],
) -> None:
    heard: list[str] = []
    session = Session(request_of("cam", limit=10), heard.append)
    assert len(session.source.train) == len(session.source.val) == 10
    assert set(session.source.scored) == {image.id for image in session.source.train}
    (cell,) = session.cells
    assert cell.dataset == "shapes-limit10"
    # 8 iterations, a test's, are as few as they get.
    assert cell.resolved.params["localize"].resolved["iterations"] == 8
    assert not [line for line in heard if "--limit" in line]
    whole = Session(request_of("cam"))
    keys = [{s.spec.key for s in one.cells[0].steps} for one in (session, whole)]
    assert not keys[0] & keys[1]
    largest = Session(request_of("cam", limit=3), heard.append)
    assert len(largest.source.train) == 8
    assert "note: --limit 3 would not fill a batch; it is 8 images." in heard


def test_a_rehearsal_runs_is_recorded_and_can_be_reproduced(
    request_of: Callable[..., RunRequest],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = request_of(limit=9)
    finish = Session(request).run()
    assert not finish.failed
    (record,) = load_records(request.boards)
    assert record.dataset["name"] == "shapes-limit9"
    assert (record.dataset["limit"], record.dataset["sizes"]["train"]) == (9, 9)
    assert finish.page == request.boards / "shapes-limit9.md"
    words = [
        "--data-root",
        str(tmp_path / "data"),
        "--work-dir",
        str(tmp_path / "again"),
    ]
    boards = ["--leaderboard-dir", str(request.boards)]
    assert main(["reproduce", record.run_id, *boards, *words]) == 0
    shown = capsys.readouterr().out
    assert "shapes-limit9" in shown
    (again,) = load_records(tmp_path / "again" / "leaderboards")
    assert again.keys == record.keys


def test_the_cost_is_told_from_records_of_the_device(
    request_of: Callable[..., RunRequest], tmp_path: Path
) -> None:
    request = request_of("cam/-/-")
    nothing = Session(request).cost()
    assert [step.step for step in nothing.steps] == ["localize", "score_seeds"]
    assert len(nothing.unknown) == 2
    assert nothing.seconds == 0
    assert "2 of 2 steps unknown" in next(nothing.lines())
    Session(request).run()
    # Everything is there: it costs nothing.
    assert Session(request).cost().steps == ()
    again = Session(request_of("cam/-/-", seeds=(1,))).cost()
    (record,) = load_records(request.boards)
    seconds = {step.step: step.seconds for step in again.steps}
    assert seconds["localize"] == pytest.approx(record.cost["localize"]["seconds"])
    assert {step.source for step in again.steps} == {"as in 1 run on this device"}
    peak = again.peak_mb
    assert peak == max(cost["peak_mb"] for cost in record.cost.values())
    # Twice the images and twice the iterations take twice as long.
    options = [("localize", "iterations", 16)]
    from wsss_bench.methods.params import Option

    longer = request_of(
        "cam/-/-,vwe/-/-", options=tuple(Option(*one) for one in options)
    )
    told = {step.cell: step for step in Session(longer).cost().steps[::2]}
    for cell, step in told.items():
        assert step.seconds is not None
        assert 1 < step.seconds / record.cost["localize"]["seconds"] < 2, cell
        assert step.source == "scaled from 1 run of cam on this device"


def test_records_of_another_device_tell_nothing(
    request_of: Callable[..., RunRequest],
) -> None:
    request = request_of("cam/-/-")
    Session(request).run()
    (path,) = request.boards.glob("runs/*/*/record.json")
    content = json.loads(path.read_text())
    content["device"] = "Some GPU"
    path.write_text(json.dumps(content))
    cost = Session(request_of("cam/-/-", seeds=(1,))).cost()
    assert len(cost.unknown) == 2


def test_a_probe_rehearses_and_leaves_no_trace(
    request_of: Callable[..., RunRequest],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    session = Session(request_of("cam/-/-"))
    before = sorted(tmp_path.rglob("*"))
    cost = session.cost(probe=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert not cost.unknown
    assert cost.steps[0].seconds is not None
    assert cost.steps[0].seconds > 0
    assert cost.steps[0].source.startswith("scaled from 1 run of cam")
    assert main(["run", "--methods", "cam", "--probe"]) == 2
    assert "Add --dry-run" in capsys.readouterr().err


def test_python_and_the_command_line_take_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RecipeError, match="--limit must be at least 1, not -1"):
        wsss_bench.run("cam/-/-", work_dir=tmp_path, limit=-1, quiet=True)
    flags = ["--data-root", str(tmp_path), "--work-dir", str(tmp_path / "work")]
    command = ["run", "--methods", "cam", "--limit", "20", "--dry-run", "--json"]
    assert main([*command, *flags]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["dataset"] == "shapes-limit20"
    assert entry["params"]["localize"]["iterations"] == 30
    assert set(entry["cost"]) == set(entry["keys"])
