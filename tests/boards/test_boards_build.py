"""Boards: a pure function of the records, byte for byte; seeds gathered, ties marked, changes noticed."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards_fakes import CLASSES, add_run

from wsss_bench.boards import build, check, datasets
from wsss_bench.boards.builder import boards, render
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import write_json

FILES = (
    "shapes.csv",
    "shapes.html",
    "shapes.json",
    "shapes.md",
    "shapes.tex",
    "shapes_long.csv",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("boards")
    add_run(folder, "dsrg", error=0.30, gallery=True)
    add_run(folder, "dsrg", error=0.31, seed=1)
    add_run(folder, "vwe/irn", error=0.25, gallery=True)
    add_run(folder, "cam", error=0.5, gallery=True)
    build(folder)
    return folder


def lines(folder: Path, name: str = "shapes.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def test_every_form_is_written(made: Path) -> None:
    assert tuple(sorted(p.name for p in made.iterdir() if p.is_file())) == FILES
    assert datasets(made) == ["shapes"]


def test_the_bytes_do_not_depend_on_place_or_process(
    made: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(made / "runs", moved / "runs")
    code = "import sys, pathlib; from wsss_bench.boards import build; build(pathlib.Path(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, str(moved)],
        check=True,
        env={"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2"},
    )
    for name in FILES:
        assert (moved / name).read_bytes() == (made / name).read_bytes(), name
        assert str(made).encode() not in (made / name).read_bytes()


def test_building_again_leaves_right_files_alone(made: Path) -> None:
    before = {name: (made / name).stat().st_mtime_ns for name in FILES}
    build(made)
    assert {name: (made / name).stat().st_mtime_ns for name in FILES} == before


def test_rows_are_ranked_and_hold_what_the_counts_say(made: Path) -> None:
    rows = lines(made)
    assert [row["method"] for row in rows] == ["vwe/irn", "dsrg", "cam"]
    (board,) = boards(made)
    for row, line in zip(board.rows, rows, strict=True):
        counts = [record.load_counts("val") for record in row.records]
        values = [found.miou() for found in counts if found is not None]
        assert len(values) == len(row.seeds)
        assert float(line["val_miou"]) == pytest.approx(100 * np.mean(values), abs=5e-5)
        assert (
            float(line["val_low"]) <= float(line["val_miou"]) <= float(line["val_high"])
        )
        per_class = np.mean(
            [found.per_class_iou() for found in counts if found is not None], 0
        )
        for name, value in zip(CLASSES, per_class, strict=True):
            assert float(line[f"val_iou_{name}"]) == pytest.approx(
                100 * value, abs=5e-5
            )
    assert [row["ties"] for row in rows] == ["a", "b", "c"]
    assert [row["seeds"] for row in rows] == ["0", "0 1", "0"]


def test_a_single_seed_is_marked_and_several_are_not(made: Path) -> None:
    text = (made / "shapes.md").read_text()
    (dsrg,) = [
        line for line in text.splitlines() if "| dsrg |" in line and "densecrf" in line
    ]
    (cam,) = [
        line for line in text.splitlines() if "| cam |" in line and "densecrf" in line
    ]
    assert "single seed" in cam
    assert "single seed" not in dsrg
    assert r"cam$^\dagger$" in (made / "shapes.tex").read_text()
    assert r"dsrg$^\dagger$" not in (made / "shapes.tex").read_text()


def test_equal_methods_share_a_letter(tmp_path: Path) -> None:
    add_run(tmp_path, "one", error=0.3)
    add_run(tmp_path, "two", error=0.3, seed=5)
    add_run(tmp_path, "far", error=0.6)
    build(tmp_path)
    ties = {row["method"]: row["ties"] for row in lines(tmp_path)}
    assert ties == {"one": "a", "two": "a", "far": "b"}


def test_the_tidy_form_holds_every_number_of_every_seed(made: Path) -> None:
    tidy = lines(made, "shapes_long.csv")
    assert len({tuple(sorted(row.items())) for row in tidy}) == len(tidy)
    wide = {row["method"]: row for row in lines(made)}
    for row in tidy:
        if (row["seed"], row["metric"]) == ("mean", "miou"):
            assert row["value"] == wide[row["method"]][f"{row['scored']}_miou"]
    seeds = [
        row["seed"]
        for row in tidy
        if row["method"] == "dsrg"
        and row["scored"] == "val"
        and row["metric"] == "miou"
    ]
    assert seeds == ["mean", "0", "1"]


def test_json_follows_its_schema(made: Path) -> None:
    board = json.loads((made / "shapes.json").read_text())
    assert (board["schema"], board["protocol"], board["metric"]) == (1, "iou-v1", "val")
    assert len(board["pairs"]) == 3
    row = board["rows"][1]
    assert row["method"] == "dsrg"
    assert row["scores"]["val"]["miou"] == pytest.approx(
        np.mean(row["scores"]["val"]["per_seed"]), abs=1e-6
    )
    assert len(row["curves"]) == 2
    assert row["minutes"] == {
        "localize": 1.0,
        "refine": None,
        "segment": 2.0,
        "total": 3.0,
    }
    documented = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text()
    for name in [
        *board,
        *row,
        *row["scores"]["val"],
        *row["curves"][0],
        *board["pairs"][0],
    ]:
        assert f"`{name}`" in documented or name in ("schema", "fixed"), name


def test_latex_has_the_best_in_bold_and_escapes_names(
    made: Path, tmp_path: Path
) -> None:
    text = (made / "shapes.tex").read_text()
    assert r"\toprule" in text
    (best,) = [line for line in text.splitlines() if line.startswith("vwe/irn")]
    assert best.count(r"\textbf{") == 4
    add_run(tmp_path, "my_method&50%", run_id="x", images=3)
    build(tmp_path)
    assert r"my\_method\&50\%" in (tmp_path / "shapes.tex").read_text()


def test_check_is_silent_on_built_boards_and_names_what_was_changed(
    made: Path, tmp_path: Path
) -> None:
    shutil.copytree(made, tmp_path / "b")
    folder = tmp_path / "b"
    assert check(folder) == []
    table = folder / "shapes.md"
    text = table.read_text()
    value = lines(folder)[0]["val_miou"][:4]
    table.write_text(text.replace(value, "99.9"))
    (problem,) = check(folder)
    assert problem.startswith("shapes.md is not what the committed counts give (line ")
    table.write_text(text)
    (folder / "shapes.tex").unlink()
    assert check(folder) == ["shapes.tex is missing. Run: wsss-bench leaderboard build"]


def test_check_notices_a_changed_record_and_a_changed_count(
    made: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "b"
    shutil.copytree(made, folder)
    record = folder / "runs" / "shapes" / "cam-0" / "record.json"
    payload = json.loads(record.read_text())
    payload["columns"]["supervision"] = "saliency"
    write_json(record, payload)
    assert {problem.split()[0] for problem in check(folder)} == set(FILES) - {
        "shapes_long.csv"
    }
    (folder / "runs" / "shapes" / "cam-0" / "val.npz").write_bytes(
        (folder / "runs" / "shapes" / "dsrg-0" / "val.npz").read_bytes()
    )
    assert any(
        problem.startswith("shapes_long.csv is not what") for problem in check(folder)
    )


def test_a_table_of_no_run_is_noticed(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(made, folder)
    (folder / "old.csv").write_text("origin,method\n")
    (folder / "old.md").write_text("# old\n")
    assert check(folder) == [
        "old.csv belongs to no run under runs/. Delete it, or restore its runs.",
        "old.md belongs to no run under runs/. Delete it, or restore its runs.",
    ]


def test_a_newer_run_of_the_same_seed_replaces_the_older_and_says_so(
    tmp_path: Path,
) -> None:
    add_run(tmp_path, "dsrg", run_id="old", error=0.1, finished="2026-01-01T00:00:00")
    add_run(tmp_path, "dsrg", run_id="new", error=0.4, finished="2026-02-01T00:00:00")
    build(tmp_path)
    (row,) = lines(tmp_path)
    assert "1 older run(s) replaced by newer ones" in row["notes"]
    board = json.loads((tmp_path / "shapes.json").read_text())
    assert board["rows"][0]["runs"] == ["new"]


def test_versions_of_the_code_are_never_mixed_in_a_row(tmp_path: Path) -> None:
    old, new = (
        {"localize": {"name": "dsrg", "version": v, "paper": "-", "notes": ""}}
        for v in ("1", "2")
    )
    for seed in (0, 1, 2):
        add_run(tmp_path, "dsrg", seed=seed, images=5, cards=old)
    add_run(
        tmp_path,
        "dsrg",
        run_id="newer",
        images=5,
        cards=new,
        finished="2026-05-01T00:00:00",
    )
    build(tmp_path)
    (row,) = lines(tmp_path)
    assert row["seeds"] == "0"
    assert "3 older run(s) replaced" in row["notes"]
    assert json.loads((tmp_path / "shapes.json").read_text())["rows"][0]["runs"] == [
        "newer"
    ]


def test_other_settings_are_another_row_with_another_name(tmp_path: Path) -> None:
    add_run(tmp_path, "dsrg", run_id="a", images=5)
    add_run(tmp_path, "dsrg", run_id="b", images=5, params={"segment": {"lr": 0.1}})
    add_run(tmp_path, "dsrg", run_id="c", images=5, profile="full")
    build(tmp_path)
    assert sorted(row["method"] for row in lines(tmp_path)) == [
        "dsrg (full)",
        "dsrg (quick) #1",
        "dsrg (quick) #2",
    ]


def test_runs_on_other_images_are_shown_but_not_compared(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=10)
    add_run(tmp_path, "two", images=12, dataset={"fingerprint": "beef"})
    (board,) = boards(tmp_path)
    assert board.pairs == ()
    assert [section.title for section in board.sections] == [
        "12 images of val",
        "10 images of val",
    ]


def test_seeds_on_other_images_are_rows_of_their_own(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=10)
    add_run(tmp_path, "one", images=12, seed=1)
    add_run(tmp_path, "two", images=10)
    (board,) = boards(tmp_path)
    assert [len(row.seeds) for row in board.rows] == [1, 1, 1]
    (pair,) = board.pairs
    assert {board.rows[place].section for place in (pair.first, pair.second)} == {1}
    build(tmp_path)
    by_name = {row["method"]: row for row in lines(tmp_path)}
    assert set(by_name) == {"one #1", "one #2", "two"}
    assert all(row["val_low"] for row in by_name.values())


def test_seeds_of_other_images_make_a_score_without_an_interval(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=10)
    add_run(tmp_path, "two", images=10)
    # The ranked score agrees, but the labels of the second seed are those of fewer images.
    add_run(tmp_path, "one", images=10, seed=1)
    few = add_run(tmp_path / "few", "one", images=7, seed=1)
    where = ("runs", few.dataset_name, few.run_id, "labels.npz")
    shutil.copy((tmp_path / "few").joinpath(*where), tmp_path.joinpath(*where))
    shutil.rmtree(tmp_path / "few")
    build(tmp_path)
    by_name = {row["method"]: row for row in lines(tmp_path)}
    assert by_name["one"]["seeds"] == "0 1"
    assert by_name["one"]["labels_miou"]
    assert by_name["one"]["labels_low"] == by_name["one"]["labels_high"] == ""
    assert (
        "‡ labels scored on different images or masks by seed"
        in (by_name["one"]["notes"])
    )
    assert by_name["two"]["labels_low"]
    assert "[, ]" not in (tmp_path / "shapes.md").read_text()


def test_other_classes_under_one_name_are_refused(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=2)
    add_run(tmp_path, "two", images=2, dataset={"classes": [*CLASSES, "train"]})
    with pytest.raises(ArtifactError, match="different classes"):
        render(tmp_path)


@pytest.mark.parametrize(
    "kept", [("seeds_best",), ("labels",), ("val_crf",), ("seeds_fixed", "val")]
)
def test_a_run_with_few_scores_still_makes_a_board(
    tmp_path: Path, kept: tuple[str, ...]
) -> None:
    changes: dict[str, Any] = {
        "counts": {what: f"{what}.npz" for what in kept},
        "curve": None,
    }
    add_run(tmp_path, "dsrg", images=4, **changes)
    build(tmp_path)
    (row,) = lines(tmp_path)
    assert [
        name
        for name in ("seeds_best", "seeds_fixed", "labels", "val", "val_crf")
        if row[f"{name}_miou"]
    ] == list(kept)


def test_names_cannot_break_out_of_a_markdown_cell(tmp_path: Path) -> None:
    add_run(tmp_path, "a|b\n`c`<i>", run_id="x", images=3)
    build(tmp_path)
    text = (tmp_path / "shapes.md").read_text()
    assert "a\\|b 'c'&lt;i>" in text


def test_no_runs_make_no_boards(tmp_path: Path) -> None:
    assert build(tmp_path) == []
    assert check(tmp_path) == []


def test_the_command_line_stays_free_of_heavy_imports() -> None:
    code = (
        "import sys; import wsss_bench.boards.builder, wsss_bench.boards.page.page, wsss_bench.boards.comparison;"
        "heavy = {'torch', 'pandas', 'numba', 'mmengine', 'scipy'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
