from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

from wsss_bench.cli import data
from wsss_bench.cli._flags import add_dataset_arguments, dataset_from_args
from wsss_bench.errors import DataError

SMALL = (
    "--data-option",
    "train=8",
    "--data-option",
    "val=2",
    "--data-option",
    "size=48",
)


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    data.add_arguments(parser)
    return data.run(parser.parse_args(argv))


def test_flags_reach_the_dataset(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_dataset_arguments(parser)
    args = parser.parse_args(
        ["--data-root", str(tmp_path), "--name", "toy", "--val-split", "train", *SMALL]
    )
    dataset = dataset_from_args(args)
    assert (dataset.kind, dataset.name, dataset.splits.val) == (
        "shapes",
        "toy",
        "train",
    )
    assert dataset.root == tmp_path / "shapes-v1-train8-val2-size48-seed0"
    with pytest.raises(DataError, match="KEY=VALUE"):
        dataset_from_args(parser.parse_args(["--data-option", "train"]))
    with pytest.raises(DataError, match="no option 'labels'"):
        dataset_from_args(parser.parse_args(["--labels", "masks"]))


def test_prepare_info_verify(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--data-root", str(tmp_path), *SMALL)
    assert run("prepare", *root) == 0
    assert "shapes is ready at" in capsys.readouterr().out
    assert run("info", *root) == 0
    text = capsys.readouterr().out
    assert "train, seeds" in text
    assert "boat" in text
    assert run("info", "--json", *root) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["images"]["train"]["images"] == 8
    assert sum(facts["images"]["train"]["images_by_class"].values()) >= 8
    assert "training splits only" in facts["images"]["val"]["labels"]
    assert run("verify", *root) == 0
    assert "usable (0 errors, 0 warnings)" in capsys.readouterr().out


def test_verify_exits_with_one_on_errors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ("--data-root", str(tmp_path), *SMALL)
    run("prepare", *root)
    next(tmp_path.glob("*/JPEGImages/train_00003.jpg")).write_bytes(b"")
    capsys.readouterr()
    assert run("verify", *root) == 1
    text = capsys.readouterr().out
    assert "train_00003.jpg: the image file is empty" in text
    assert "broken (1 errors" in text
    assert run("verify", "--json", *root) == 1
    payload = json.loads(capsys.readouterr().out)
    assert payload["errors"] == 1
    assert payload["findings"][0]["level"] == "error"
    assert payload["findings"][0]["fix"]


def test_download_without_a_root_says_what_to_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    with pytest.raises(DataError, match="pass --data-root"):
        run("prepare", "--dataset", "voc2012", "--download")


def test_the_verb_is_cheap_to_import() -> None:
    code = (
        "import sys, wsss_bench.cli.data; heavy = ('numpy', 'cv2', 'PIL', 'torch', 'pandas'); "
        "print([m for m in heavy if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
