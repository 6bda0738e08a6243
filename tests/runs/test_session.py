"""Requests and sessions below the command line: picklable, printable as a command, usable from a thread."""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from run_fakes import install, write_plugin

from wsss_bench.cli import _joined
from wsss_bench.cli import run as verb
from wsss_bench.errors import DataError, RecipeError
from wsss_bench.methods.params import parse_options
from wsss_bench.results.records import load_records
from wsss_bench.runs.executors.jobs import CellJob, CellWorker, run_job
from wsss_bench.runs.progress import Observer, Tenths
from wsss_bench.runs.request import (
    DatasetRequest,
    RunRequest,
    command_words,
    make_cells,
    parse_data_options,
    resolve_device,
)
from wsss_bench.runs.session import Session
from wsss_bench.runs.stopping import interruptible

FAKES = Path(__file__).parents[1] / "fakes"

FULL = RunRequest(
    methods=("-/supervised/_", "cam[lr=0.1]"),
    dataset=DatasetRequest(
        "voc2012",
        Path("data"),
        "mine",
        {"cache": "c"},
        {"train": "train_aug", "val": "val"},
        "xml",
        Path("skip.txt"),
    ),
    profile="check",
    seeds=(3, 4),
    options=tuple(
        parse_options(["segment.lr=0.1", "refine.kinds=['a', 'b c']", "segment.w=None"])
    ),
    weights="w.pth",
    plugins=(Path("a.py"), Path("b.py")),
    work_dir=Path("work"),
    leaderboard_dir=Path("boards"),
    device="cuda:1",
    workers=3,
    log=("local", "tensorboard"),
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "calls.log"))
    install(monkeypatch, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def request(place: Path, *methods: str, **more: Any) -> RunRequest:
    plugins = tuple(sorted(place.glob("*.py")))
    settings = {"profile": "paper", "device": "cpu", "workers": 1, **more}
    return RunRequest(methods, plugins=plugins, work_dir=place / "work", **settings)


def parsed(words: list[str]) -> RunRequest:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    verb.add_arguments(parser)
    args = parser.parse_args(_joined(words[1:]))
    args.command_line = []
    return verb.request_from_args(args)


@pytest.mark.parametrize("asked", [FULL, RunRequest(("cam",), workers=2)])
def test_a_request_reads_back_from_its_command(asked: RunRequest) -> None:
    again = parsed(command_words(asked))
    # On the command line all recipes are one text.
    assert again == replace(asked, methods=(",".join(asked.methods),))


def test_a_request_is_frozen_and_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(FULL)) == FULL
    with pytest.raises(FrozenInstanceError):
        FULL.device = "cpu"  # type: ignore[misc]


def test_what_was_typed_is_kept_for_the_record() -> None:
    assert FULL.words == tuple(command_words(FULL))
    typed = ("run", "--methods", "cam")
    assert replace(FULL, command_line=typed).words == typed


def test_options_of_a_dataset_are_pairs() -> None:
    assert parse_data_options(["a-b = 1", "c=x=y"]) == {"a_b": "1", "c": "x=y"}
    with pytest.raises(DataError, match="write it as KEY=VALUE"):
        parse_data_options(["=1"])


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cudax"])
def test_devices_that_are_no_devices_are_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=f"--device '{name}' is not known"):
        resolve_device(name)


def test_preparation_is_reported_in_tenths() -> None:
    lines: list[str] = []
    report = Tenths("prepare", lines.append)
    for done in range(41):
        report("images", done, 40)
    assert lines == [f"prepare: images {done}/40" for done in range(0, 41, 4)]


JOB = """
import pickle, sys
from pathlib import Path
from run_fakes import Patch, install
install(Patch(), Path(sys.argv[1]))
from wsss_bench.runs.executors.jobs import run_job
outcomes = [run_job(job) for job in pickle.loads(sys.stdin.buffer.read())]
sys.stdout.buffer.write(pickle.dumps(outcomes))
"""


def test_jobs_can_be_sent_to_another_process(place: Path) -> None:
    write_plugin(place, "alpha")
    asked = request(place, "alpha,alpha/-/-", seeds=(0, 1))
    cells = [cell.id for cell in make_cells(asked).cells]
    jobs = [CellJob(asked, cell) for cell in cells]
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(place / "data")],
        input=pickle.dumps(jobs),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(FAKES)},
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    outcomes = pickle.loads(done.stdout)
    assert [outcome.cell for outcome in outcomes] == cells
    assert [outcome.error for outcome in outcomes] == [None] * 4
    records = load_records(asked.boards)
    assert {outcome.run_id for outcome in outcomes} == {one.run_id for one in records}


def test_a_job_is_planned_once_for_all_cells_of_a_request(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss_bench.runs.executors import jobs

    write_plugin(place, "alpha")
    asked = request(place, "alpha/-/-", seeds=(0, 1))
    planned = []

    def count(request: RunRequest) -> Any:
        planned.append(request)
        return make_cells(request)

    monkeypatch.setattr(jobs, "make_cells", count)
    for cell in make_cells(asked).cells:
        assert run_job(CellJob(asked, cell.id)).run_id == cell.run_id
    assert planned == [asked]
    other = request(place, "alpha/-/-", seeds=(2,))
    assert run_job(CellJob(other, make_cells(other).cells[0].id)).error is None
    assert planned == [asked, other]


def test_cells_that_share_a_broken_stage_fail_at_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_plugin(place, "alpha")
    monkeypatch.setenv("FAKE_DIE", "alpha:2")
    asked = request(place, "alpha,alpha/-/-")
    planned = make_cells(asked)
    worker = CellWorker(asked, planned)
    outcomes = [worker.run(CellJob(asked, cell.id)) for cell in planned.cells]
    assert ["the GPU fell off" in (one.error or "") for one in outcomes] == [True] * 2
    assert (place / "calls.log").read_text().count("alpha localize") == 1


class Watcher(Observer):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def cell_done(self, cell: Any) -> None:
        self.heard.append(cell.id)

    def close(self) -> None:
        self.heard.append("closed")


def test_a_session_runs_in_a_thread(place: Path) -> None:
    write_plugin(place, "alpha")
    before = signal.getsignal(signal.SIGTERM)
    watcher, found = Watcher(), []
    session = Session(request(place, "alpha/-/-"))

    def work() -> None:
        found.append(session.run(lambda cells: watcher))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (finish,) = found
    assert finish.failed == {}
    assert finish.page == session.request.boards / "tiny.md"
    assert watcher.heard == [session.cells[0].id, "closed"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_sigterm_is_an_interrupt_while_a_session_runs_and_not_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_logging_of_a_notebook_is_left_as_it_was(place: Path) -> None:
    import logging

    write_plugin(place, "alpha")
    log = logging.getLogger("wsss_bench")
    before = log.level, log.propagate, list(log.handlers)
    session = Session(request(place, "alpha/-/-"))
    session.run()
    assert (log.level, log.propagate, list(log.handlers)) == before
    assert "localize starts" in session.log_path(session.cells[0]).read_text()
