"""Trainings are kept apart from the stages that use them: another test setting trains nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from run_fakes import (
    TinyDataset,
    arguments,
    fake_predict,
    install,
    start,
    wait_for,
)
from training_fakes import write_training

from wsss_bench.cli import main
from wsss_bench.contract.artifacts import SeedSet
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import read_json
from wsss_bench.methods.catalog import Catalog
from wsss_bench.methods.params import parse_options, resolve
from wsss_bench.methods.profiles import Profile
from wsss_bench.methods.recipe import parse_recipe
from wsss_bench.results.records import load_records
from wsss_bench.runs import pipeline
from wsss_bench.runs.attempt import Attempt
from wsss_bench.runs.pipeline import (
    CellFailed,
    CellRunner,
    Finished,
    Settings,
    StageBusy,
)
from wsss_bench.runs.plan import Cell, plan_cell
from wsss_bench.runs.recording import record_run
from wsss_bench.runs.source import Source
from wsss_bench.runs.store.explain import explain, kept_trainings, referenced
from wsss_bench.runs.store.folders import (
    DONE,
    FILES,
    StageSpec,
    Store,
    training_spec,
)
from wsss_bench.runs.trainings import KeptTrainings


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "calls.log"
        self.store = Store(folder / "work" / "store")
        self.dataset = TinyDataset(folder / "data")
        self.dataset.prepare()
        self.source = Source(self.dataset)
        self.predicted: list[dict[str, Any]] = []
        write_training(folder, "alpha")

    def cell(self, *options: str, recipe: str = "alpha") -> Cell:
        catalog = Catalog(local=[self.folder / "alpha.py"], entry_points=[])
        parsed = parse_options(options)
        resolved = resolve(parse_recipe(recipe), catalog, Profile("paper"), parsed)
        return plan_cell(resolved, self.source, 0, "paper")

    def runner(self, *options: str, recipe: str = "alpha", **more: Any) -> CellRunner:
        cell = self.cell(*options, recipe=recipe)
        return CellRunner(cell, self.source, self.store, Settings(), **more)

    def run(self, *options: str, recipe: str = "alpha", **more: Any) -> Finished:
        return self.runner(*options, recipe=recipe, **more).run()

    def noted(self, *words: str) -> list[str]:
        """What was noted since the last look, as far as it holds one of `words`."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [line for line in lines if any(word in line for word in words)]

    def trainings(self) -> list[str]:
        return self.noted("trains for")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path)
    monkeypatch.setenv("FAKE_LOG", str(made.log))

    def predict(segmentor: Any, *rest: Any) -> None:
        made.predicted.append(dict(segmentor.test))
        fake_predict(segmentor, *rest)

    monkeypatch.setattr(pipeline, "predict_images", predict)
    return made


BOTH = ["alpha trains for localize", "alpha trains for refine"]


def items(done: Finished, step: str) -> dict[str, bytes]:
    out = done.folders[step].out
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


# What trains, and what does not ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["scales=[0.5,0.4]", "flip=True", "threshold=0.4"])
def test_another_test_setting_makes_new_maps_and_trains_nothing(
    option: str, bench: Bench
) -> None:
    first = bench.run()
    assert bench.trainings() == BOTH
    second = bench.run(f"localize.{option}")
    # The refiner is trained on these seeds, so it is trained anew; the localizer is not.
    assert bench.trainings() == ["alpha trains for refine"]
    keys = [done.commits["localize"]["key"] for done in (first, second)]
    assert keys[0] != keys[1]
    used = [done.commits["localize"]["trainings"] for done in (first, second)]
    assert used[0] == used[1]
    if "scales" in option:
        assert items(first, "localize") != items(second, "localize")


def test_a_test_setting_of_the_refiner_trains_no_refiner(bench: Bench) -> None:
    bench.run()
    bench.trainings()
    bench.run("refine.walk=8")
    assert bench.trainings() == []


@pytest.mark.parametrize("option", ["lr=0.2", "steps=5"])
def test_anything_else_trains_anew(option: str, bench: Bench) -> None:
    bench.run()
    bench.trainings()
    bench.run(f"localize.{option}")
    assert bench.trainings() == BOTH


def test_a_segmentors_test_settings_train_nothing_and_predict_anew(
    bench: Bench,
) -> None:
    first = bench.run()
    bench.noted()
    options = ("segment.test_scales=[0.5,1.0]", "segment.crf=''")
    second = bench.run(*options)
    assert bench.noted("trains", "segment round") == []
    # What the segmentor says itself stands where the method declares nothing, and gives way where it does.
    assert bench.predicted == [
        {"scales": [1.0], "flip": False, "merge": "probs", "crf": "tiny"},
        {"scales": [0.5, 1.0], "flip": False, "merge": "probs", "crf": ""},
    ]
    changed = [
        name
        for name, commit in first.commits.items()
        if commit["key"] != second.commits[name]["key"]
    ]
    assert changed == ["predict", "score_val"]
    assert set(items(first, "predict")) > set(items(second, "predict"))
    boards = bench.folder / "boards"
    for done in (first, second):
        record_run(done, bench.source, boards, ["run"], "cpu")
    columns = [dict(record.columns) for record in load_records(boards)]
    assert {(c["crf"], c["multi_scale"]) for c in columns} == {
        ("tiny", "no"),
        ("no", "0.5, 1"),
    }


@pytest.mark.parametrize(
    "place", ["/home/me/my nets/net.py", "C:\\nets\\net.py", "../nets/net.py"]
)
def test_a_board_names_no_place_of_this_machine(place: str, bench: Bench) -> None:
    plugin = bench.folder / "alpha.py"
    facts = {"backbone": place, "network": place, "weights": place}
    text = plugin.read_text()
    old = '{"backbone": "none", "network": "tiny"}'
    assert old in text
    plugin.write_text(text.replace(old, repr(facts)))
    done = bench.run()
    path = record_run(done, bench.source, bench.folder / "boards", ["run"], "cpu")
    (record,) = load_records(bench.folder / "boards")
    assert record.columns["backbone"].startswith("net.py")
    assert record.columns["segmentor"] == "net.py"
    assert record.columns["pretraining"] == "net.py"
    assert "nets" not in path.read_text()


def test_the_plugin_does_not_see_test_settings_when_it_trains_a_segmentor(
    bench: Bench,
) -> None:
    bench.run()
    (line,) = bench.noted("segment round")
    assert line.endswith("params ['lr']")


def test_a_method_that_declares_nothing_trains_inside_its_stage(bench: Bench) -> None:
    write_training(bench.folder, "alpha", declared=False)
    first = bench.run()
    assert bench.trainings() == BOTH
    assert not (bench.store.root / "training").exists()
    assert "trainings" not in first.commits["localize"]
    bench.run("localize.scales=[0.5]")
    assert bench.trainings() == BOTH
    assert bench.predicted[0] == {"scales": [9.0], "merge": "probs"}


# Interrupted, shared, broken ------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    write_training(tmp_path, "alpha")
    return tmp_path


def test_a_run_says_where_events_lie(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is an optional extra")
    assert main(arguments(place, "alpha", "--log", "local,tensorboard")) == 0
    said = capsys.readouterr().out
    folder = place / "work" / "logs"
    assert f"Logs of trainings (local, tensorboard): {folder}\n" in said
    assert main(arguments(place, "alpha")) == 0
    assert "Logs of trainings" not in capsys.readouterr().out


def artifacts(work: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(work.glob("store/**/out/**/*")):
        if path.is_file():
            found[path.relative_to(work).as_posix()] = path.read_bytes()
    return found


@pytest.mark.parametrize(
    ("moment", "again"),
    [
        ("localize step:2", [2, 3]),
        ("refine step:1", []),
        ("localize image:5", []),
    ],
)
def test_killed_in_the_middle_of_either_it_ends_with_the_same_bytes(
    moment: str, again: list[int], place: Path
) -> None:
    process = start(place, "alpha", FAKE_KILL=moment)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    (place / "calls.log").unlink()
    assert main(arguments(place, "alpha")) == 0
    lines = (place / "calls.log").read_text().splitlines()
    steps = [line for line in lines if line.startswith("alpha localize step")]
    assert steps == [f"alpha localize step {number}" for number in again]
    images = [line for line in lines if line.startswith("alpha localize image")]
    if moment == "localize image:5":
        assert images == [f"alpha localize image {number}" for number in (5, 6, 7)]
    assert main([*arguments(place, "alpha"), "--work-dir", str(place / "fresh")]) == 0
    assert artifacts(place / "work") == artifacts(place / "fresh")
    assert main(["cache", "verify", "--work-dir", str(place / "work")]) == 0


def wait_at_lock(process: subprocess.Popen[str]) -> None:
    """Return once the process is blocked on a file lock that another one holds."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if "->" in words and str(process.pid) in words:
                return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    pytest.fail("the process never waited for a lock")


def test_two_processes_that_want_one_training_share_it(place: Path) -> None:
    recipes = ["alpha[localize.scales=[1.0]]", "alpha[localize.scales=[0.5]]"]
    gate = place / "gate"
    first = start(place, recipes[0], FAKE_GATE=str(gate))
    wait_for(place, "alpha trains for localize")
    second = start(place, recipes[1], FAKE_GATE=str(gate))
    # The first trains on only when the second stands at the lock, however busy the machine is.
    wait_at_lock(second)
    gate.touch()
    printed = [process.communicate(timeout=240) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], printed
    lines = (place / "calls.log").read_text().splitlines()
    assert lines.count("alpha trains for localize") == 1
    assert "another process computes it, waiting" in printed[1][0]
    assert len(load_records(place / "work" / "leaderboards")) == 2


def test_an_impatient_runner_does_not_wait_for_a_training(bench: Bench) -> None:
    parts = bench.cell().steps[0].training
    assert parts is not None
    broken: dict[str, Exception] = {}
    folder = bench.store.folder(training_spec(parts, "net"))
    with folder.lock(), pytest.raises(StageBusy):
        bench.run(patient=False, broken=broken)
    assert broken == {}
    bench.run(patient=False, broken=broken)
    assert bench.trainings() == BOTH


def test_a_training_that_failed_fails_at_once_for_the_next_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIE", "localize step:2")
    broken: dict[str, Exception] = {}
    for option in ("scales=[1.0]", "scales=[0.5]"):
        with pytest.raises(CellFailed) as caught:
            bench.run(f"localize.{option}", broken=broken)
        assert "the GPU fell off" in str(caught.value.__cause__)
    assert bench.trainings() == ["alpha trains for localize"]
    monkeypatch.delenv("FAKE_DIE")
    bench.run("localize.scales=[0.5]")
    assert bench.noted("localize step") == [
        f"alpha localize step {number}" for number in (2, 3)
    ]


def test_maps_that_failed_leave_the_training_finished(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DIE", "localize image:3")
    with pytest.raises(CellFailed):
        bench.run()
    bench.noted()
    monkeypatch.delenv("FAKE_DIE")
    bench.run("localize.flip=True")
    assert bench.trainings() == ["alpha trains for refine"]


def test_a_training_whose_commit_alone_is_missing_is_not_repeated(bench: Bench) -> None:
    done = bench.run()
    bench.noted()
    key = done.commits["localize"]["trainings"]["net"]
    commit = bench.store.root / "training" / key[:16] / "commit.json"
    before = json.loads(commit.read_text())["files"]
    commit.unlink()
    bench.run("localize.flip=True")
    assert bench.trainings() == ["alpha trains for refine"]
    assert json.loads(commit.read_text())["files"] == before


def kept(bench: Bench) -> KeptTrainings:
    folder = bench.store.folder(StageSpec("localize", {"seed": 0}))
    return KeptTrainings(
        bench.store, {"seed": 0}, Attempt(folder, bench.store, "cpu", ())
    )


def test_a_training_inside_itself_is_refused_instead_of_waiting_for_ever(
    bench: Bench,
) -> None:
    trainings = kept(bench)
    with (
        pytest.raises(ArtifactError, match="training 'a' is open already"),
        trainings.open("a"),
        trainings.open("a"),
    ):
        pass


def test_trainings_may_lie_in_one_another(bench: Bench) -> None:
    trainings = kept(bench)
    with trainings.open("outer") as outer:
        with trainings.open("inner") as inner:
            (inner.out / "x").write_text("1")
        (outer.out / "y").write_text("2")
    for name in ("outer", "inner"):
        with trainings.open(name) as training:
            assert training.done
    outer_folder = bench.store.folder(training_spec({"seed": 0}, "outer"))
    assert list(outer_folder.trainings()) == ["inner"]


# What it costs, what it opens, what it keeps --------------------------------------------------------------------------


def test_a_stage_costs_the_same_whether_it_trained_or_not(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SLEEP", "0.1")
    first = bench.run().commits["localize"]
    second = bench.run("localize.flip=True").commits["localize"]
    training = bench.store.root / "training" / first["trainings"]["net"][:16]
    spent = read_json(training / "commit.json")["seconds"]
    assert spent >= 0.4
    for commit in (first, second):
        assert spent <= commit["seconds"] < spent + 0.3
    assert first["opened"] == second["opened"]
    assert first["opened"]["files"] == 8


def test_time_in_a_training_is_not_counted_again_after_a_kill(bench: Bench) -> None:
    folder = bench.store.folder(StageSpec("localize", {"seed": 0}))
    folder.begin()
    begun = (folder.path / "spec.json").stat().st_mtime
    item = folder.out / "item"
    item.write_text("1")
    os.utime(item, (begun + 90, begun + 90))
    folder.discount(60)
    assert folder.lost_seconds() == pytest.approx(30, abs=0.01)


def test_a_kept_file_is_listed_and_later_stages_find_it(bench: Bench) -> None:
    done = bench.run()
    folder = done.folders["localize"]
    assert "kept/net" in read_json(folder.path / FILES)
    text = SeedSet(folder.out).kept("net").read_text()
    (line,) = bench.noted("refine round")
    assert line.endswith(f"net {text}")


def test_a_later_round_is_handed_the_labels_of_the_round_before(bench: Bench) -> None:
    done = bench.run(recipe="alpha[rounds=2]")
    lines = bench.noted("round")
    held = [line.partition(" net")[0].partition(" params")[0] for line in lines]
    assert held == [
        "alpha refine round 1 previous labels False",
        "alpha segment round 1 previous labels False",
        "alpha refine round 2 previous labels 8",
        "alpha segment round 2 previous labels 8",
    ]
    for name in ("refine.2", "segment.2"):
        step = done.cell.step(name)
        assert step is not None
        assert step.inputs["previous_labels"] == "refine"
        assert step.spec.parts["inputs"]["previous_labels"] == keys(done)["refine"]


def keys(done: Finished) -> dict[str, str]:
    return {step.name: step.spec.key for step in done.cell.steps}


# What the commands say ------------------------------------------------------------------------------------------------


def as_written(cell: Cell) -> list[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "stage": step.stage,
            "key": step.spec.key,
            "parts": json.loads(json.dumps(step.spec.parts)),
            "training": step.training,
        }
        for step in cell.steps
    ]


def test_why_says_that_the_training_is_used_again(bench: Bench) -> None:
    bench.run()
    steps = as_written(bench.cell("localize.flip=True"))
    found = {entry["step"]: entry for entry in explain(steps, bench.store)}
    assert found["localize"]["changes"] == [
        "params.flip: False -> True",
        "training 'net' is finished and is used again.",
    ]
    steps = as_written(bench.cell("localize.lr=0.7"))
    assert explain(steps, bench.store)[0]["changes"] == ["params.lr: 0.1 -> 0.7"]


def test_a_training_is_referred_to_by_every_cell_that_could_use_it(
    bench: Bench,
) -> None:
    bench.run()
    other = as_written(bench.cell("localize.flip=True"))
    (parts,) = [step["training"] for step in other if step["name"] == "localize"]
    assert kept_trainings(parts, bench.store) == {"net": DONE}
    assert training_spec(parts, "net").key in referenced(other, bench.store)
    stranger = as_written(bench.cell("localize.lr=0.7"))
    assert training_spec(parts, "net").key not in referenced(stranger, bench.store)
    assert kept_trainings(None, bench.store) == {}


def test_gc_keeps_a_training_as_long_as_a_cell_refers_to_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = ["--work-dir", str(place / "work")]
    assert main(arguments(place, "alpha")) == 0
    assert main([*arguments(place, "alpha"), "--dry-run"]) == 0
    assert main(["status", *work]) == 0
    capsys.readouterr()
    assert main(["cache", "gc", "--json", *work]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["cache", "ls", "--json", *work]) == 0
    rows = json.loads(capsys.readouterr().out)
    trainings = [row for row in rows if row["stage"] == "training"]
    assert [(row["method"], row["state"]) for row in trainings] == [("alpha", DONE)] * 2
    for path in (place / "work" / "cells").glob("*.json"):
        path.unlink()
    assert main(["cache", "gc", "--json", *work]) == 0
    deleted = json.loads(capsys.readouterr().out)
    assert sum(row["stage"] == "training" for row in deleted) == 2
    assert list((place / "work" / "store" / "training").glob("*")) == []
