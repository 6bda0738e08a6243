from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bad_input_cases import Place
from run_fakes import fake_predict

from wsss_bench.cli import main
from wsss_bench.io import opened
from wsss_bench.io.opened import OpenedFiles
from wsss_bench.results.records import load_records
from wsss_bench.runs import pipeline
from wsss_bench.toolbox.parallel import imap


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("JPEGImages/a.jpg", "JPEGImages/b.jpg", "SegmentationClass/a.png"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "data"


def test_what_is_read_below_the_root_is_noted_once_and_nothing_else(
    data: Path, tmp_path: Path
) -> None:
    with OpenedFiles(tmp_path / "log", [data]) as watch:
        for _ in range(3):
            (data / "JPEGImages" / "a.jpg").read_bytes()
        os.close(os.open(data / "SegmentationClass" / "a.png", os.O_RDONLY))
        (data / "new.txt").write_text("written, not read")
        (tmp_path / "elsewhere").write_text("")
        (tmp_path / "elsewhere").read_text()
    (data / "JPEGImages" / "b.jpg").read_bytes()
    found = watch.summary()
    assert (found["files"], found["folders"]) == (
        2,
        {"JPEGImages": 1, "SegmentationClass": 1},
    )
    assert (tmp_path / "log").read_text().split() == [
        '"JPEGImages/a.jpg"',
        '"SegmentationClass/a.png"',
    ]
    assert found["sha256"] == opened.summary(tmp_path / "log")["sha256"]
    assert opened.summary(tmp_path / "none")["files"] == 0


def test_relative_paths_count_and_attempts_add_up(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with OpenedFiles(tmp_path / "log", [Path("data")]):
        Path("data/JPEGImages/a.jpg").read_bytes()
    with OpenedFiles(tmp_path / "log", [Path("data")]) as watch:
        (data / "JPEGImages" / "a.jpg").read_bytes()
        Path("data/JPEGImages/b.jpg").read_bytes()
    assert watch.summary()["folders"] == {"JPEGImages": 2}


def test_a_line_that_a_kill_cut_is_left_out(data: Path, tmp_path: Path) -> None:
    (tmp_path / "log").write_text('\n"JPEGImages/b.jpg"\n"JPEGIm')
    with OpenedFiles(tmp_path / "log", [data]) as watch:
        (data / "JPEGImages" / "a.jpg").read_bytes()
    assert watch.summary()["folders"] == {"JPEGImages": 2}


def test_a_note_that_cannot_be_written_disturbs_nobody(
    data: Path, tmp_path: Path
) -> None:
    with OpenedFiles(tmp_path / "no" / "such" / "folder", [data]) as watch:
        assert (data / "JPEGImages" / "a.jpg").read_bytes() == b"x"
    assert watch.summary()["files"] == 0


def read(path: Path) -> bytes:
    return path.read_bytes()


def test_worker_processes_take_notes_too(data: Path, tmp_path: Path) -> None:
    files = [data / f"{number}.txt" for number in range(60)]
    for path in files:
        path.write_bytes(b"y")
    with OpenedFiles(tmp_path / "log", [data]) as watch:
        assert len(list(imap(read, files, 2, len(files)))) == 60
    assert watch.summary() | {"sha256": ""} == {
        "files": 60,
        "folders": {".": 60},
        "sha256": "",
    }
    assert "WSSS_BENCH_OPENED" not in os.environ


def test_a_record_holds_everything_a_number_rests_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    place = Place(tmp_path)
    assert (
        main(
            [
                *place.command("run"),
                "--cfg-options",
                "localize.gain=0.9",
                "--seeds",
                "4",
            ]
        )
        == 0
    )
    (record,) = load_records(place.work / "leaderboards")
    assert record.command[:2] == ("wsss-bench", "run")
    assert record.passed == {"localize": {"gain": 0.9}}
    assert record.params["localize"] == {"gain": 0.9, "threshold": 0.3, "scales": [1.0]}
    assert {"python", "wsss-bench", "torch", "numpy", "numba", "platform"} <= set(
        record.versions
    )
    assert len(record.cards["localize"]["code"]) == 64
    assert record.seed == 4
    assert record.machine["cores"] >= record.machine["usable_cores"] >= 1
    assert record.machine["memory_gib"] > 0
    assert record.machine["environment"]["OMP_NUM_THREADS"] == "1"
    assert all({"seconds", "peak_mb"} <= set(cost) for cost in record.cost.values())
    assert set(record.cost) == set(record.code) == set(record.keys)
    assert len(record.dataset["fingerprint"]) == 64
    assert record.dataset["labels"] == "table cls_labels.csv"
    assert record.files["localize"]["folders"] == {"JPEGImages": 3}
    assert record.files["score_labels"]["folders"] == {
        "JPEGImages": 3,
        "SegmentationClass": 3,
    }
    assert record.files["predict"]["folders"] == {"JPEGImages": 2}
    assert record.files["segment"]["files"] == 0
    assert record.folder is not None
    content = json.loads((record.folder / "record.json").read_text())
    # A record is published: it must not say where a machine keeps its files.
    assert str(tmp_path) not in json.dumps(content)
    (listed,) = (place.work / "store" / "localize").glob("*/data_files.txt")
    expected = [f'"JPEGImages/{image_id}.jpg"' for image_id in "abc"]
    assert sorted(listed.read_text().split()) == expected
