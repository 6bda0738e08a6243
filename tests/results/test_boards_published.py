"""Reported numbers: every row has its source, the seeds' tables print by name, conflicts are never averaged."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from boards_fakes import add_run

from wsss_bench.boards import build, check
from wsss_bench.boards.published import TITLES, load_tables, pick, render
from wsss_bench.cli import main
from wsss_bench.errors import DataError
from wsss_bench.results.published import load_published, published_csv, reported_rows

FILE = Path(__file__).parents[2] / "leaderboards" / "published.csv"


def cells(name: str) -> dict[str, tuple[str, ...]]:
    return {line[0]: line[1:] for line in load_tables(FILE)[name].lines}


def test_every_row_has_a_source_a_split_and_a_percentage() -> None:
    rows = load_published(FILE)
    assert len(rows) > 500
    assert {row.dataset for row in rows} == {
        "voc2012",
        "coco2014",
        "voc2011",
        "cityscapes",
    }
    assert {row.scored for row in rows} == {"seeds", "labels", "segmentation"}
    assert {row.role for row in rows} == {"result", "ablation", "rerun"}
    assert all(row.source and row.method and row.split for row in rows)


def test_per_class_rows_agree_with_their_mean_unless_the_note_says_otherwise() -> None:
    for row in load_published(FILE):
        values = [v for v in row.per_class.values() if v is not None]
        if (
            len(values) == 21
            and "per-class" not in row.note
            and "rounded" not in row.note
        ):
            assert sum(values) / 21 == pytest.approx(float(row.miou), abs=0.16), (
                row.printed,
                row.source,
            )


def test_no_row_is_there_twice() -> None:
    with FILE.open(newline="") as handle:
        lines = [tuple(line.items()) for line in csv.DictReader(handle)]
    assert len(set(lines)) == len(lines)


def test_dsrg_tables() -> None:
    main_table = cells("dsrg-1")
    assert main_table["DSRG (VGG16)"][-2:] == ("59.0", "60.4")
    assert main_table["DSRG (Resnet101)"][-2:] == ("61.4", "63.2")
    assert len(main_table) == 10
    classes = cells("dsrg-2")
    assert classes["DSRG ablation: +Retrain"][0] == "87.5"
    assert classes["DSRG ablation: +Retrain"][-1] == "59.0"
    assert len(classes["DSRG ablation: baseline"]) == 22
    assert cells("dsrg-theta") == {
        "0.99": ("57.45", "57.59", "57.63", "57.69", "57.66"),
        "0.95": ("57.43", "57.56", "57.64", "57.67", "57.63"),
        "0.90": ("57.23", "57.35", "57.40", "57.44", "57.45"),
    }
    assert [line[-1] for line in load_tables(FILE)["dsrg-coco"].lines] == [
        "20.4",
        "22.4",
        "26.0",
    ]


def test_vwe_tables() -> None:
    assert [line[-2:] for line in load_tables(FILE)["vwe-1"].lines] == [
        ("48.3", "47.0"),
        ("51.1", "50.2"),
        ("50.6", "50.0"),
        ("52.9", "52.0"),
    ]
    assert cells("vwe-2")["VWE"] == ("ResNet50", "52.9", "52.0", "67.7", "65.7")
    big = cells("vwe-segmentation")
    assert len(big) == 16
    assert big["VWE w/ CRF"][-2:] == ("67.2", "67.3")
    assert big["ScribbleSup"][-2:] == ("63.1", "–")


def test_ficklenet_tables() -> None:
    table = cells("ficklenet-1")
    assert len(table) == 17
    assert table["FickleNet"][-2:] == ("61.2", "61.9")
    assert table["MEFF"][-2:] == ("–", "55.6")
    assert [line[-2:] for line in load_tables(FILE)["ficklenet-2"].lines][-1] == (
        "64.9",
        "65.3",
    )
    assert [line[-1] for line in load_tables(FILE)["ficklenet-5"].lines] == [
        "56.3",
        "45.6",
        "49.1",
        "58.8",
        "59.4",
        "60.0",
        "61.2",
    ]


def test_survey_and_mixup_tables() -> None:
    assert [line[-1] for line in load_tables(FILE)["survey"].lines] == [
        "24.9",
        "45.1",
        "43.7",
        "63.7",
        "57.2",
        "63.1",
    ]
    assert [line[-2:] for line in load_tables(FILE)["mixup-1"].lines][-1] == (
        "48.2",
        "58.4",
    )
    assert [line[-1] for line in load_tables(FILE)["mixup-2"].lines] == [
        "52.7",
        "54.3",
        "53.0",
        "55.1",
        "53.5",
        "54.0",
    ]


@pytest.mark.parametrize("name", [*TITLES])
@pytest.mark.parametrize("how", ["md", "csv", "tex", "json"])
def test_every_table_prints_in_every_form(name: str, how: str) -> None:
    table = load_tables(FILE)[name]
    text = render(table, how)
    last = [
        line[-1].replace("–", "--") if how == "tex" else line[-1]
        for line in table.lines
    ]
    assert all(cell in text for cell in last)
    assert table.lines


def test_an_unknown_table_is_explained() -> None:
    with pytest.raises(DataError, match="Did you mean 'dsrg-1'"):
        pick(load_tables(FILE), "dsrg1")


def test_sources_that_disagree_are_all_shown() -> None:
    rows = reported_rows(load_published(FILE), "voc2012")
    (sec,) = [
        row
        for row in rows
        if (row["method"], row["net"], row["crf"], row["role"])
        == ("SEC", "VGG16", "", "result")
    ]
    test = [value for value in sec["values"] if value["split"] == "test"]
    assert [value["miou"] for value in test] == ["51.7", "51.1"]
    assert sec["conflict"]
    assert len(test[0]["sources"]) > len(test[1]["sources"])


def test_a_source_that_names_no_network_joins_the_one_it_agrees_with() -> None:
    rows = [
        row
        for row in reported_rows(load_published(FILE), "coco2014")
        if row["method"] == "DSRG"
    ]
    assert [(row["net"], len(row["values"][0]["sources"])) for row in rows] == [
        ("VGG16", 2)
    ]


def test_ablations_are_not_shown_as_results() -> None:
    shown = {row["method"] for row in reported_rows(load_published(FILE), "voc2012")}
    assert "DSRG" in shown
    assert not [
        name
        for name in shown
        if "ablation" in name or "theta" in name or "seed 0" in name
    ]


def test_a_board_of_the_full_dataset_shows_reported_rows_apart(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path / "published.csv")
    add_run(tmp_path, "dsrg", images=5, dataset={"name": "voc2012"})
    add_run(tmp_path, "dsrg", images=5, dataset={"name": "voc2012-pack"})
    build(tmp_path)
    assert check(tmp_path) == []
    text = (tmp_path / "voc2012.md").read_text()
    assert "## Reported elsewhere" in text
    assert "conflict: 51.7 (" in text
    assert "Reported elsewhere" not in (tmp_path / "voc2012-pack.md").read_text()
    wide = list(csv.DictReader((tmp_path / "voc2012.csv").read_text().splitlines()))
    assert {row["origin"] for row in wide} == {"measured", "reported"}
    assert any(
        "conflict on test segmentation: 51.7 / 51.1" in row["notes"] for row in wide
    )
    tidy = list(
        csv.DictReader((tmp_path / "voc2012_long.csv").read_text().splitlines())
    )
    assert all(row["source"] for row in tidy if row["origin"] == "reported")


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    text = FILE.read_text().splitlines()
    bad = text[1].split(",")
    bad[13] = "many"
    (tmp_path / "published.csv").write_text("\n".join([text[0], ",".join(bad)]) + "\n")
    with pytest.raises(DataError, match="line 2"):
        load_published(tmp_path / "published.csv")


def test_the_file_is_found_beside_the_boards_or_in_the_checkout(tmp_path: Path) -> None:
    assert published_csv(tmp_path) == FILE
    shutil.copy(FILE, tmp_path / "published.csv")
    assert published_csv(tmp_path) == tmp_path / "published.csv"


def test_the_verb_lists_and_prints_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", "table"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{name} " in listed for name in TITLES)
    assert main(["leaderboard", "table", "dsrg-theta", "--format", "csv"]) == 0
    assert "0.95,57.43,57.56,57.64,57.67,57.63" in capsys.readouterr().out
