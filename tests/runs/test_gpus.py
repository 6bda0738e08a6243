"""Runs whose trainings two processes share: started by the run itself, and by torchrun."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wsss_bench
from wsss_bench.errors import RecipeError
from wsss_bench.results.records import RunRecord, load_records

LAUNCHED = ("-m", "torch.distributed.run", "--nproc-per-node", "2")


def ran(
    place: Path, name: str, *words: str, launcher: tuple[str, ...] = ()
) -> RunRecord:
    command = [
        *(sys.executable, *launcher, "-m", "wsss_bench", "run"),
        *("--methods", "cam/-/-", "--profile", "check", "--device", "cpu"),
        *("--data-option", "train=16", "--data-option", "val=8"),
        *("--data-root", str(place / "data"), "--work-dir", str(place / name)),
        *("--workers", "1", *words),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # One process alone says what happens, and records it.
    assert done.stdout.count("Plan: ") == 1
    (record,) = load_records(place / name / "leaderboards")
    return record


def counts(record: RunRecord) -> np.ndarray:
    assert record.folder is not None
    with np.load(record.folder / record.counts["seeds_fixed"]) as data:
        found: np.ndarray = data["confusion"].astype(np.int64)
    return found


@pytest.mark.slow
def test_two_processes_end_with_the_counts_of_one(tmp_path: Path) -> None:
    alone = ran(tmp_path, "alone")
    shared = ran(tmp_path, "shared", "--gpus", "2")
    launched = ran(tmp_path, "launched", launcher=LAUNCHED)
    assert "gpus_per_training" not in alone.machine
    for record in (shared, launched):
        assert record.machine["gpus_per_training"] == 2
        assert record.keys == alone.keys
    assert np.array_equal(counts(shared), counts(launched))
    # Sums over halves of a batch round otherwise, and seeds are stored in half precision.
    apart = np.abs(counts(shared) - counts(alone)).sum()
    assert apart <= 1e-3 * counts(alone).sum()


def test_a_batch_that_processes_cannot_share_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wsss_bench.cli import main

    words = ["--data-root", str(tmp_path / "data"), "--work-dir", str(tmp_path / "w")]
    command = ["run", "--methods", "cam/-/-", "--gpus", "3", "--device", "cpu"]
    assert main([*command, *words]) == 2
    shown = capsys.readouterr().err
    assert "batch" in shown
    assert "3" in shown
    assert main([*command[:-4], "--gpus", "0", *words]) == 2
    assert "--gpus must be 1 to" in capsys.readouterr().err


def test_a_process_that_was_launched_to_follow_starts_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match=r"process 1 was launched to share .* gpus=N"):
        wsss_bench.run("cam/-/-", work_dir=tmp_path, quiet=True)
    assert list(tmp_path.iterdir()) == []
