from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input_cases import Place
from boards_fakes import add_run
from run_fakes import fake_predict

from wsss_bench.cli import main
from wsss_bench.errors import WsssError
from wsss_bench.io.images import write_mask
from wsss_bench.results.records import RunRecord, load_records
from wsss_bench.runs import pipeline
from wsss_bench.runs.comparing import compare
from wsss_bench.runs.reproduce import Given, arguments, check_files, find_measured


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("WSSS_BENCH_DATA_ROOT", raising=False)
    monkeypatch.setattr(pipeline, "predict_images", fake_predict)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


def made(place: Place, *more: str) -> RunRecord:
    assert main([*place.command("run"), *more]) == 0
    (record,) = load_records(place.work / "leaderboards")
    return record


def again(place: Place, record: RunRecord, *more: str) -> int:
    words = [
        "reproduce",
        record.run_id,
        "--leaderboard-dir",
        str(place.work / "leaderboards"),
        "--workers",
        "1",
    ]
    return main(
        [*words, "--data-root", str(place.root), "--plugin", str(place.probe), *more]
    )


def test_a_run_is_reproduced_to_the_last_count(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(
        place, "--cfg-options", "localize.gain=0.9", "localize.scales=[1.0,2.0]"
    )
    capsys.readouterr()
    assert again(place, record) == 0
    out = capsys.readouterr().out
    assert "what differs from then: nothing" in out
    assert "reproduced: every count is the same." in out
    assert "seeds (oracle)" in out
    (new,) = load_records(
        place.folder
        / "work_dirs"
        / "reproduce"
        / "voc2012"
        / record.run_id
        / "leaderboards"
    )
    assert new.run_id == record.run_id
    assert new.keys == record.keys
    assert new.params == record.params
    assert (
        again(place, record) == 0
    )  # an interrupted reproduction may go on in its own folder


def test_a_changed_plugin_is_named_and_its_other_counts_are_no_reproduction(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(place)
    place.patch("scores", "scores *= 0.5")
    capsys.readouterr()
    assert again(place, record) == 1
    out = capsys.readouterr().out
    assert "code: probe has changed" in out
    assert "stage keys: localize, refine" in out
    assert "NOT reproduced. See what differs above." in out
    rows = {
        line.split("  ")[0].strip(): line for line in out.splitlines() if "  " in line
    }
    assert rows["val"].endswith("none: equal")
    assert rows["labels"].rstrip()[-1] == "3"
    assert again(place, record, "--work-dir", "other", "--tolerance", "100") == 0
    assert (
        "reproduced within 100 points; the counts are not the same."
        in capsys.readouterr().out
    )


def test_defaults_that_changed_since_are_overridden_by_the_recorded_ones(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(place)
    place.probe.write_text(
        place.probe.read_text().replace('"gain": 1.0', '"gain": 0.1, "fresh": 2')
    )
    capsys.readouterr()
    assert again(place, record) == 0
    out = capsys.readouterr().out
    assert "--cfg-options localize.gain=1.0" in out
    assert "parameters: localize.fresh is new" in out


def test_changed_data_are_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(place)
    write_mask(place.mask("d"), np.full((6, 8), 2, np.uint8))
    capsys.readouterr()
    assert again(place, record, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    data = [line for line in found["differs"] if line.startswith("data.")]
    assert [line.partition(":")[0] for line in data] == ["data.val.masks"]
    assert found["reproduced"] is False
    scores = {row["what"]: row for row in found["scores"]}
    assert scores["val"]["images_that_differ"] == 1
    assert scores["labels"]["images_that_differ"] == 0


def test_dry_run_prints_the_command_and_computes_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(place, "--seeds", "3")
    capsys.readouterr()
    assert again(place, record, "--dry-run") == 0
    out = capsys.readouterr().out
    assert (
        "again: wsss-bench run --methods=probe --seeds 3 --profile paper --dataset voc2012 --name voc2012"
        in out
    )
    assert not (place.folder / "work_dirs").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--data-root", "{folder}/nowhere"],
            "data root {folder}/nowhere does not exist",
        ),
        (
            ["--plugin", "{folder}/other.py"],
            "probe (probe.py local): discovery: the run used this method, and it is not here. "
            "Give the file it came from: --plugin PATH/probe.py",
        ),
        (["--work-dir", "{folder}/work"], "holds finished stages of this run"),
        (["--tolerance", "-1"], "give mIoU points from 0"),
    ],
)
def test_what_is_absent_is_refused_with_the_remedy(
    words: list[str], says: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    record = made(place)
    capsys.readouterr()
    words = [word.format(folder=place.folder) for word in words]
    common = [
        "reproduce",
        record.run_id,
        "--leaderboard-dir",
        str(place.work / "leaderboards"),
    ]
    if "--plugin" not in words:
        common += ["--plugin", str(place.probe)]
    if "--data-root" not in words:
        common += ["--data-root", str(place.root)]
    assert main([*common, *words]) == 2
    assert says.format(folder=place.folder) in capsys.readouterr().err


def test_a_skip_list_is_part_of_the_run(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("skip.txt").write_text("b\n")
    record = made(place, "--skip", "skip.txt")
    Path("skip.txt").unlink()
    assert record.dataset["skipped"] == ["b"]
    assert again(place, record) == 0


def test_runs_are_found_by_id_and_by_folder(tmp_path: Path) -> None:
    record = add_run(tmp_path, "cam", images=3)
    add_run(tmp_path, "cam", images=3, dataset={"name": "mine"})
    folder = tmp_path / "runs" / "mine" / record.run_id
    assert find_measured(str(folder), tmp_path).dataset["name"] == "mine"
    assert (
        find_measured(str(folder / "record.json"), tmp_path).dataset["name"] == "mine"
    )
    with pytest.raises(WsssError, match="exists for several datasets"):
        find_measured(record.run_id, tmp_path)
    with pytest.raises(WsssError, match="Did you mean"):
        find_measured("cam-00", tmp_path)
    imported = add_run(tmp_path, "theirs", images=3, origin="imported")
    with pytest.raises(WsssError, match="imported from other people's files"):
        find_measured(imported.run_id, tmp_path)


def test_older_records_give_their_data_options_by_their_command(tmp_path: Path) -> None:
    command = (
        "wsss-bench",
        "run",
        "--methods",
        "cam",
        "--data-option",
        "train=50",
        "--data-option",
        "val=9",
        "--workers",
        "1",
    )
    record = replace(
        add_run(tmp_path, "cam", images=3), command=command, recipe="-/cam/_"
    )
    words = arguments(record, Given(tmp_path, weights="w.pth"), ["segment.lr=0.1"])
    assert words[:2] == ["run", "--methods=-/cam/_"]
    assert words[words.index("--data-option") + 1] == "train=50"
    assert "val=9" in words
    assert words[words.index("--cfg-options") + 1] == "segment.lr=0.1"
    assert words[words.index("--weights") + 1] == "w.pth"


@pytest.mark.parametrize(
    "given", [{"weights": "here.pth"}, {"options": ["localize.weights=here.pth"]}]
)
def test_files_of_which_only_the_name_is_known_must_be_given(
    given: dict[str, Any], tmp_path: Path
) -> None:
    record = replace(
        add_run(tmp_path, "cam", images=3),
        passed={"localize": {"weights": "resnet50.pth", "lr": 0.1}},
    )
    with pytest.raises(WsssError, match=r"localize\.weights=PATH/resnet50\.pth"):
        check_files(record, Given(tmp_path))
    check_files(record, Given(tmp_path, **given))


def test_comparison_is_by_count_and_by_id(tmp_path: Path) -> None:
    one = find_measured(add_run(tmp_path, "cam", images=6).run_id, tmp_path)
    other = find_measured(
        add_run(tmp_path, "cam", seed=1, error=0.5, images=8, run_id="b").run_id,
        tmp_path,
    )
    same = compare(one, one)
    assert {row.what for row in same} >= {"seeds_best", "labels", "val", "val_crf"}
    assert all(row.images == 0 and row.delta == 0 and row.within(0) for row in same)
    found = {row.what: row for row in compare(one, other)}
    assert found["val"].images == 8  # six that differ, two that are in one set alone
    assert not found["val"].within(0)
    fewer = replace(
        other,
        counts={key: file for key, file in other.counts.items() if key != "val_crf"},
    )
    assert not next(row for row in compare(one, fewer) if row.what == "val_crf").within(
        100
    )
