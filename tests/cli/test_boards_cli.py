"""The reading verbs on the command line: leaderboard, evaluate (with --add), export."""

from __future__ import annotations

import csv
import json
import sys
import tarfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards_fakes import add_run
from PIL import Image

from wsss_bench.boards import check
from wsss_bench.cli import main
from wsss_bench.data import open_dataset
from wsss_bench.io.files import write_json
from wsss_bench.io.images import write_mask

OPTIONS = {"train": "6", "val": "4", "size": "64"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    open_dataset("shapes", root, **OPTIONS).prepare()
    return root


def flags(data: Path) -> list[str]:
    return ["--dataset", "shapes", "--data-root", str(data)] + [
        part
        for key, value in OPTIONS.items()
        for part in ("--data-option", f"{key}={value}")
    ]


def write_predictions(
    folder: Path, data: Path, split: str, wrong: bool = False
) -> None:
    dataset = open_dataset("shapes", data, **OPTIONS)
    folder.mkdir()
    for image_id, mask in dataset.masks(split):
        clean = np.where(mask == 255, 0, mask).astype(np.uint8)
        write_mask(folder / f"{image_id}.png", np.zeros_like(clean) if wrong else clean)


def test_the_truth_scores_one_hundred(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(tmp_path / "p", data, "val")
    assert (
        main(
            [
                "evaluate",
                str(tmp_path / "p"),
                *flags(data),
                "--json",
                "--save",
                str(tmp_path / "c.npz"),
            ]
        )
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert found["scores"]["val"]["miou"] == 1.0
    assert (found["kind"], found["split"], found["protocol"]) == (
        "prediction",
        "val",
        "iou-v1",
    )
    assert (tmp_path / "c.npz").exists()
    assert main(["evaluate", str(tmp_path / "p"), *flags(data)]) == 0
    assert "100.00" in capsys.readouterr().out


def test_imported_results_join_a_board_and_each_other(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(tmp_path / "p", data, "val")
    write_predictions(
        tmp_path / "l",
        data,
        open_dataset("shapes", data, **OPTIONS).splits.seeds,
        wrong=True,
    )
    board = ["--add", "Somebody's (2020)", "--leaderboard-dir", str(tmp_path / "lb")]
    assert main(["evaluate", str(tmp_path / "p"), *flags(data), *board]) == 0
    assert (
        main(
            ["evaluate", str(tmp_path / "l"), *flags(data), "--kind", "labels", *board]
        )
        == 0
    )
    (row,) = csv.DictReader((tmp_path / "lb" / "shapes.csv").read_text().splitlines())
    assert (row["origin"], row["method"], row["val_miou"]) == (
        "imported",
        "Somebody's (2020)",
        "100.0000",
    )
    assert 0 < float(row["labels_miou"]) < 50
    assert row["labels_coverage"] == "100.0000"
    assert check(tmp_path / "lb") == []


def test_a_missing_file_ends_with_one_line_and_exit_code(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(tmp_path / "p", data, "val")
    next((tmp_path / "p").iterdir()).unlink()
    assert main(["evaluate", str(tmp_path / "p"), *flags(data)]) != 0
    assert "1 of 4 images have no .png file" in capsys.readouterr().err


def test_leaderboard_prints_markdown_and_json_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add_run(tmp_path, "dsrg", images=4)
    where = ["--leaderboard-dir", str(tmp_path)]
    assert main(["leaderboard", *where]) == 0
    assert capsys.readouterr().out == (tmp_path / "shapes.md").read_text()
    assert main(["leaderboard", *where, "--format", "long"]) == 0
    assert capsys.readouterr().out == (tmp_path / "shapes_long.csv").read_text()
    assert main(["leaderboard", *where, "--dataset", "shapes", "--format", "csv"]) == 0
    assert capsys.readouterr().out == (tmp_path / "shapes.csv").read_text()
    assert main(["leaderboard", *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shapes"]["schema"] == 1
    assert main(["leaderboard", "check", *where]) == 0
    assert "agrees" in capsys.readouterr().out
    (tmp_path / "shapes.md").write_text("changed\n")
    assert main(["leaderboard", "check", *where]) == 1
    assert "shapes.md is not what the committed counts give" in capsys.readouterr().err
    assert main(["leaderboard", "check", "--json", *where]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_unknown_boards_and_empty_folders_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", "--leaderboard-dir", str(tmp_path)]) != 0
    assert "wsss-bench run" in capsys.readouterr().err
    add_run(tmp_path, "dsrg", images=3)
    assert (
        main(["leaderboard", "--leaderboard-dir", str(tmp_path), "--dataset", "shape"])
        != 0
    )
    assert "Did you mean 'shapes'" in capsys.readouterr().err


def test_export_of_a_run_predicts_the_split_with_its_last_segmentor(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    classes = list(open_dataset("shapes", data, **OPTIONS).classes)
    keys = {"segment": "1" * 64, "segment.2": "2" * 64}
    add_run(
        tmp_path / "w" / "leaderboards",
        "dsrg",
        images=2,
        dataset={"classes": classes},
        keys=keys,
    )
    for key in keys.values():
        out = tmp_path / "w" / "store" / "segment" / key[:16] / "out"
        facts = {
            "config": "c.py",
            "checkpoint": "w.pth",
            "test": {"crf": "deeplab"},
            "facts": {},
        }
        write_json(out / "segmentor.json", facts)
    asked = []

    def predict(segmentor: Any, view: Any, raw: Any, crf: Any, context: Any) -> None:
        asked.append(
            (segmentor.checkpoint.parent.parent.name, view.split, context.device)
        )
        for image in view:
            raw.write(image.id, np.zeros((64, 64), np.uint8))
            crf.write(image.id, np.full((64, 64), 3, np.uint8))

    fake = types.ModuleType("wsss_bench.toolbox.prediction")
    fake.predict = predict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wsss_bench.toolbox.prediction", fake)
    arguments = [
        "export",
        "voc-test",
        "dsrg-0",
        "--work-dir",
        str(tmp_path / "w"),
        "--device",
        "cpu",
        *flags(data),
    ]
    assert main([*arguments, "--split", "val", "--out", str(tmp_path / "r.tgz")]) == 0
    assert asked == [("2" * 16, "val", "cpu")]
    with tarfile.open(tmp_path / "r.tgz") as tar:
        members = tar.getmembers()
        first = tar.extractfile(members[0])
        assert first is not None
        with Image.open(first) as handle:
            assert np.unique(np.asarray(handle)).tolist() == [3]
    assert len(members) == 4
    assert main([*arguments[:2], "dsgr-0", *arguments[3:]]) != 0
    assert "Did you mean 'dsrg-0'" in capsys.readouterr().err
    (
        tmp_path / "w" / "store" / "segment" / ("2" * 16) / "out" / "segmentor.json"
    ).unlink()
    assert main([*arguments, "--split", "val"]) != 0
    assert "Run the recipe again" in capsys.readouterr().err


def test_export_writes_an_archive(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    write_mask(tmp_path / "m" / "x.png", np.zeros((2, 2), np.uint8))
    assert (
        main(
            [
                "export",
                "voc-test",
                str(tmp_path / "m"),
                "--out",
                str(tmp_path / "r.tgz"),
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["images"] == 1
    assert (tmp_path / "r.tgz").exists()
