"""What a run needs at its end is looked at before its first stage, and a dry run leaves no trace."""

from __future__ import annotations

import argparse
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bad_input_cases import Place
from PIL import Image
from run_fakes import fake_predict

from wsss_bench.cli import main
from wsss_bench.cli import run as verb
from wsss_bench.errors import ArtifactError
from wsss_bench.io import hashing
from wsss_bench.io.images import write_mask
from wsss_bench.io.paths import CACHE_VARIABLE
from wsss_bench.results.records import load_records
from wsss_bench.runs import pipeline, preflight
from wsss_bench.runs.limits import check_seeds
from wsss_bench.runs.request import (
    DatasetRequest,
    RunRequest,
    leaving_no_trace,
    make_cells,
)
from wsss_bench.runs.session import Session
from wsss_bench.runs.space import Space, size
from wsss_bench.runs.unused import unused_data

Tree = dict[str, tuple[int, int, bytes]]


def tree(folder: Path) -> Tree:
    """Everything below a folder: kind, time of change, content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        stat = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        name = path.relative_to(folder).as_posix()
        found[name] = (stat.st_mode, stat.st_mtime_ns, content)
    return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    # A plugin would leave its compiled self behind here as anywhere.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where the contents of photographs or masks are read for their digests."""

    whole = hashing._hash_all

    def read(paths: Any) -> Any:
        # Code is read, to load a plugin.
        data = [path for path in paths if path.suffix in (".jpg", ".png")]
        assert not data, f"{data} were read"
        return whole(paths)

    monkeypatch.setattr(hashing, "_hash_all", read)


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def foreign_palette(place: Place) -> None:
    image = Image.new("P", (8, 6), 3)
    image.putpalette([7, 8, 9] * 256)
    image.save(place.mask("d"))


def damaged_record(place: Place) -> list[str]:
    folder = place.boards / "runs" / "voc2012" / "old-s0-12345678"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{")
    return ["--leaderboard-dir", str(place.boards)]


def a_file(place: Place) -> str:
    path = place.folder / "file"
    path.write_text("")
    return str(path)


CASES: dict[str, tuple[Callable[[Place], Any], tuple[str, ...]]] = {
    "no val list": (
        lambda p: p.list("val").unlink(),
        ("no split 'val'", "--val-split", "Known: train"),
    ),
    "unknown seeds split": (
        lambda p: ["--seeds-split", "trian"],
        ("no split 'trian'", "--seeds-split", "Did you mean 'train'"),
    ),
    "no masks": (
        lambda p: empty(p.root / "SegmentationClass"),
        ("none of its",),
    ),
    "a val mask is missing": (lambda p: p.mask("e").unlink(), ("e.png", "not exist")),
    "a train mask is missing": (lambda p: p.mask("c").unlink(), ("c.png", "not exist")),
    "val masks of a foreign palette": (foreign_palette, ("d.png", "palette")),
    "a train photograph is missing": (
        lambda p: p.photo("b").unlink(),
        ("image 'b' is listed", "b.jpg is not on disk", "data verify"),
    ),
    "val photographs are missing": (
        lambda p: [p.photo("d").unlink(), p.photo("e").unlink()][:0],
        ("image 'd' is listed", "nor are 1 more of 2"),
    ),
    "work dir below a file": (
        lambda p: ["--work-dir", a_file(p) + "/work"],
        ("--work-dir", "cannot be written", "is no folder", "Choose another"),
    ),
    "leaderboard folder below a file": (
        lambda p: ["--leaderboard-dir", a_file(p) + "/boards"],
        ("--leaderboard-dir", "is no folder"),
    ),
    "a record that is none": (damaged_record, ("record.json", "cannot be read")),
    "weights that are not there": (
        lambda p: ["--cfg-options", "localize.weights=./res38.pth"],
        ("localize.weights", "'./res38.pth' is no file"),
    ),
    "--weights that are not there": (
        lambda p: ["--weights", "vgg16_20M"],
        ("--weights: 'vgg16_20M' is no file",),
    ),
    "a folder that is not there": (
        lambda p: ["--cfg-options", "localize.maps_dir=maps"],
        ("localize.maps_dir", "'maps' does not exist"),
    ),
    "a device that is not there": (
        lambda p: ["--device", "cuda:97"],
        ("--device cuda:97", "CUDA devices"),
    ),
    "no device": (lambda p: ["--device", "0"], ("--device '0' is not known",)),
    "seeds beyond 32 bits": (
        lambda p: ["--seeds", "4294967296"],
        ("below 4294967296",),
    ),
    "seeds of many digits": (lambda p: ["--seeds", "9" * 5000], ("--seeds",)),
    "a negative seed": (lambda p: ["--seeds=-1"], ("distinct whole numbers",)),
    "too many workers": (
        lambda p: ["--workers", "1000000000"],
        ("--workers must be at most 1024",),
    ),
    "negative workers": (lambda p: ["--workers=-1"], ("at least 1",)),
    "a logger twice": (lambda p: ["--log", "local,local"], ("'local' twice",)),
    "no logger": (lambda p: ["--log", ""], ("--log '' is not known",)),
    "no method": (lambda p: ["--methods", " , "], ("no method is named",)),
    "a comma too many": (
        lambda p: ["--methods", "probe,"],
        ("a comma has no method beside it",),
    ),
    "a name with a slash": (lambda p: ["--name", "voc/aug"], ("'voc/aug' cannot",)),
    "a name of dots": (lambda p: ["--name", ".."], ("'..' cannot name",)),
    "a long name": (lambda p: ["--name", "a" * 300], ("up to 80 letters",)),
    "an option twice": (
        lambda p: ["--data-option", "labels=xml", "--data-option", "labels=masks"],
        ("labels is given twice",),
    ),
    "a flag and an option": (
        lambda p: ["--labels", "xml", "--data-option", "labels=masks"],
        ("--labels xml and --data-option labels=masks contradict",),
    ),
}


@pytest.mark.parametrize("dry", [False, True], ids=["run", "dry run"])
@pytest.mark.parametrize("name", CASES)
def test_what_cannot_end_well_does_not_begin(
    name: str,
    dry: bool,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, says = CASES[name]
    place.probe.write_text(
        place.probe.read_text().replace(
            '"gain": 1.0', '"gain": 1.0, "weights": None, "maps_dir": ""'
        )
    )
    more = change(place) or []
    no_reading(monkeypatch)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = tree(place.folder)
    words = [*place.command("run"), *more, *(["--dry-run"] if dry else [])]
    assert main(words) == 2
    err = capsys.readouterr().err
    for word in says:
        assert word in err, err
    assert "Traceback" not in err
    assert tree(place.folder) == before


def disk(free: int, files: int) -> Any:
    return SimpleNamespace(
        f_bavail=free, f_frsize=1, f_files=10**6, f_favail=files, f_bsize=1
    )


@pytest.mark.parametrize(
    ("free", "files", "says"),
    [
        (3000, 10**6, "has 2.9 KiB free, and the stages to compute need at least"),
        (10**12, 9, "takes 9 more files, and the stages to compute make at least"),
    ],
)
def test_a_disk_that_is_surely_too_small_is_refused(
    free: int,
    files: int,
    says: str,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: disk(free, files))
    assert main(place.command("run")) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "cache gc" in err
    assert not place.work.exists()


def test_a_disk_that_may_be_too_small_is_a_warning_and_finished_stages_need_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: disk(50_000, 1000))
    assert main(place.command("run")) == 0
    captured = capsys.readouterr()
    assert "warning:" in captured.err
    assert "48.8 KiB free; the stages to compute may need up to" in captured.err
    assert f"GiB in {place.work}, 48.8 KiB free" in captured.out
    monkeypatch.setattr(os, "statvfs", lambda path: disk(10, 0))
    assert main([*place.command("run"), "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert "Space" not in captured.out
    assert "free" not in captured.err


def test_room_is_said_as_people_say_it() -> None:
    assert size(12) == "12 B"
    assert size(1536) == "1.5 KiB"
    assert size(3 << 41) == "6.0 TiB"
    space = Space(Path("w"), 10, 5120, 10240, 6000, None)
    assert space.check() == (
        "w has 5.9 KiB free; the stages to compute may need up to 10.0 KiB. "
        "Free some (wsss-bench cache gc), or choose another --work-dir."
    )
    with pytest.raises(ArtifactError, match=r"need at least 5\.0 KiB"):
        Space(Path("w"), 10, 5120, 10240, 5000, None).check()


def test_a_folder_that_only_seems_to_take_files_is_found_out(tmp_path: Path) -> None:
    assert preflight.unwritable(tmp_path / "new" / "deep") is None
    assert list(tmp_path.iterdir()) == []
    # Root may write anywhere by the permissions, and nobody may here.
    wrong = preflight.unwritable(Path("/proc/wsss-bench"))
    assert wrong is not None
    assert "/proc" in wrong


def test_numbers_that_are_no_seeds_are_refused_from_python() -> None:
    check_seeds((0, 2**32 - 1))
    for wrong in ((True,), (1.0,), (2**32,), ()):
        with pytest.raises(Exception, match="distinct whole numbers"):
            check_seeds(wrong)  # type: ignore[arg-type]


def test_doubtful_masks_are_said_before_the_first_stage(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*place.command("run"), "--dry-run"]) == 0
    assert "no mask has an ignored border" in capsys.readouterr().err
    mask = np.full((6, 8), 255, np.uint8)
    mask[2, 2] = 2
    write_mask(place.mask("d"), mask)
    assert main([*place.command("run"), "--dry-run"]) == 0
    assert "border" not in capsys.readouterr().err


def test_options_without_effect_are_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    other = place.folder / "other.py"
    other.write_text(place.probe.read_text().replace('"probe"', '"other"'))
    skip = place.folder / "skip.txt"
    skip.write_text("# nothing\n")
    words = ["--plugin", str(other), "--skip", str(skip), "--methods", "probe/probe/-"]
    run = [*place.command("run"), *words, "--log", "local,tensorboard", "--dry-run"]
    assert main(run) == 0
    err = capsys.readouterr().err
    assert f"note: --plugin {other} has no effect: no recipe uses it." in err
    assert f"note: --skip {skip} has no effect: it lists no image." in err
    assert "--log tensorboard has no effect: nothing that is to be computed" in err
    assert "--data-root" not in err
    assert main([*place.command("run"), "--log", "tensorboard", "--dry-run"]) == 0
    assert "no effect" not in capsys.readouterr().err


def shapes(place: Place, *more: str) -> list[str]:
    words = ["--dataset", "shapes", "--profile", "check", "--device", "cpu"]
    sizes = ["--data-option", "train=3", "--data-option", "val=2"]
    return ["--methods", "cam", *words, *sizes, "--workers", "1", *more]


def coco(place: Place, *more: str) -> list[str]:
    place.instances()
    words = ["--dataset", "coco2014", "--data-root", str(place.coco)]
    plugin = ["--methods", "probe", "--plugin", str(place.probe), "--device", "cpu"]
    return [*plugin, *words, "--profile", "paper", *more]


def voc(place: Place, *more: str) -> list[str]:
    return [*place.command("run")[1:], *more]


@pytest.mark.parametrize("words", [shapes, coco, voc])
def test_a_dry_run_and_why_leave_no_trace(
    words: Callable[..., list[str]],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Digests of files that are older than this are kept, and all of these are new.
    monkeypatch.setattr(hashing, "RACY", -1)
    asked = words(place)
    before = tree(place.folder)
    assert main(["run", *asked, "--dry-run"]) == 0
    assert main(["run", *asked, "--dry-run", "--json"]) == 0
    assert main(["why", *asked]) == 0
    out = capsys.readouterr().out
    assert "localize (" in out
    assert "nothing like it was finished" in out
    assert tree(place.folder) == before
    assert not sys.dont_write_bytecode
    # Else it would be no wonder.
    make_cells(request_of(asked))
    assert (place.folder / "cache").exists()
    if place.probe.stem in str(asked):
        assert (place.folder / "__pycache__").exists()


def request_of(words: list[str]) -> RunRequest:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.request_from_args(parser.parse_args(words, Namespace(command_line=[])))


def test_what_is_planned_without_a_trace_has_the_keys_of_the_run(place: Place) -> None:
    data = DatasetRequest("shapes", options={"train": "3", "val": "2"})
    asked = RunRequest(("cam/-/-",), data, profile="check", device="cpu", workers=1)
    with leaving_no_trace():
        dry = Session(asked).cells[0].run_id
    assert not Path("work_dirs").exists()
    assert Session(asked).cells[0].run_id == dry
    assert Path("work_dirs/data").is_dir()


def test_why_and_a_dry_run_leave_a_finished_run_alone(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    skip = place.folder / "skip.txt"
    skip.write_text("b\n")
    assert main([*place.command("run"), "--skip", str(skip)]) == 0
    boards = place.work / "leaderboards"
    (record,) = load_records(boards)
    before = tree(place.folder)
    given = ["--data-root", str(place.root), "--plugin", str(place.probe)]
    again = ["reproduce", record.run_id, "--leaderboard-dir", str(boards), *given]
    capsys.readouterr()
    assert main([*again, "--dry-run", "--work-dir", "again"]) == 0
    out = capsys.readouterr().out
    assert "--skip again/skip.txt" in out
    assert "--work-dir again" in out
    assert main(["why", record.run_id, "--work-dir", str(place.work)]) == 0
    assert main(["status", "why", "probe", "--work-dir", str(place.work)]) == 0
    assert "localize: done" in capsys.readouterr().out
    assert tree(place.folder) == before


def test_a_dry_reproduction_says_which_code_changed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(place.command("run")) == 0
    boards = place.work / "leaderboards"
    (record,) = load_records(boards)
    place.patch("scores", "scores = scores / 2")
    given = ["--data-root", str(place.root), "--plugin", str(place.probe)]
    again = ["reproduce", record.run_id, "--leaderboard-dir", str(boards), *given]
    capsys.readouterr()
    assert main([*again, "--dry-run", "--work-dir", str(place.work)]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("localize anew: ")]
    assert "code: probe" in line


def test_contents_are_read_again_on_demand(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "RACY", -1)
    monkeypatch.setattr(hashing, "_shared", hashing.Memory())
    whole, read = hashing._hash_all, []

    def note(paths: Any) -> Any:
        read.extend(path for path in paths if path.suffix in (".jpg", ".png"))
        return whole(paths)

    monkeypatch.setattr(hashing, "_hash_all", note)
    assert main(place.command("run")) == 0
    assert len(read) == 10
    read.clear()
    assert main(place.command("run")) == 0
    assert read == []
    assert main([*place.command("run"), "--rehash"]) == 0
    assert len(read) == 10


def test_a_root_that_a_dataset_does_not_look_at_is_named(tmp_path: Path) -> None:
    data = SimpleNamespace(name="mine", root=tmp_path / "own", skipped=frozenset())
    inside, outside = tmp_path, tmp_path / "other"
    dataset: Any = data
    assert list(unused_data(dataset, inside, None)) == []
    assert list(unused_data(dataset, None, None)) == []
    (line,) = unused_data(dataset, outside, None)
    assert line == f"--data-root {outside} has no effect: mine lies in {data.root}."
