"""Rows scored on other images or masks stand apart in every form of a board, and nothing compares them in silence."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boards_fakes import add_run, recorded

from wsss_bench.boards import build, check
from wsss_bench.boards.builder import boards
from wsss_bench.boards.comparison import compare_runs
from wsss_bench.boards.methods_page import methods_page
from wsss_bench.boards.private import file_name, without_paths
from wsss_bench.boards.rows import Board
from wsss_bench.boards.scored import scored_on
from wsss_bench.cli import main
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate import Counts
from wsss_bench.methods.catalog import Catalog

FORMS = (".csv", ".html", ".json", ".md", ".tex", "_long.csv")


def board_of(folder: Path) -> Board:
    (board,) = boards(folder)
    return board


def lines(folder: Path, name: str = "shapes.csv") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def take(folder: Path, run_id: str, kind: str, **changes: Any) -> None:
    """Replace one kind of score of a run by that of a run with `changes`."""
    other = folder / "other"
    add_run(other, "other", **changes)
    source = other / "runs" / "shapes" / "other-0" / f"{kind}.npz"
    shutil.copy(source, folder / "runs" / "shapes" / run_id / f"{kind}.npz")
    shutil.rmtree(other)


@pytest.fixture
def parted(tmp_path: Path) -> Path:
    """Three rows on ten images, two on six of them, one on ten against other masks of three."""
    add_run(tmp_path, "dsrg", images=10, error=0.3)
    add_run(tmp_path, "vwe/irn", images=10, error=0.2)
    add_run(tmp_path, "cam", images=10, error=0.5)
    few = {"splits": {"train": "train", "seeds": "train", "val": "minival"}}
    add_run(tmp_path, "best", images=6, error=0.05, dataset=few)
    add_run(tmp_path, "next", images=6, error=0.1, dataset=few)
    add_run(tmp_path, "redrawn", images=10, redrawn=3, error=0.15)
    return tmp_path


def test_the_section_that_most_rows_share_comes_first(parted: Path) -> None:
    board = board_of(parted)
    assert [(section.number, section.name) for section in board.sections] == [
        (1, "10 images of val #1"),
        (2, "6 images of minival: a part of the 10 of the main section"),
        (3, "10 images of val #2: other masks on 3 of them"),
    ]
    methods = [[row.method for row in board.rows_of(part)] for part in board.sections]
    assert methods == [["vwe/irn", "dsrg", "cam"], ["best", "next"], ["redrawn"]]
    assert [row.section for row in board.rows] == [1, 1, 1, 2, 2, 3]


def test_pairs_and_letters_stay_within_a_section(parted: Path) -> None:
    board = board_of(parted)
    assert len(board.pairs) == 4
    for pair in board.pairs:
        first, second = board.rows[pair.first], board.rows[pair.second]
        assert first.section == second.section
    assert [row.ties for row in board.rows] == ["a", "b", "c", "a", "b", "a"]


def test_the_main_section_is_as_if_the_others_were_not_there(
    parted: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    alone = tmp_path_factory.mktemp("alone")
    shutil.copytree(parted / "runs", alone / "runs")
    for run in ("best-0", "next-0", "redrawn-0"):
        shutil.rmtree(alone / "runs" / "shapes" / run)
    build(parted)
    build(alone)
    whole = json.loads((parted / "shapes.json").read_text())
    main_alone = json.loads((alone / "shapes.json").read_text())
    assert "sections" not in main_alone
    rows = [
        {name: value for name, value in row.items() if name != "section"}
        for row in whole["rows"][:3]
    ]
    assert rows == main_alone["rows"]
    assert whole["pairs"][:3] == main_alone["pairs"]
    assert whole["dataset"] == main_alone["dataset"]
    with_sections = lines(parted)[:3]
    assert [row.pop("scored_on") for row in with_sections] == [
        "10 images of val #1"
    ] * 3
    assert with_sections == lines(alone)
    assert "scored_on" not in (alone / "shapes_long.csv").read_text()


@pytest.mark.parametrize("form", FORMS)
def test_every_form_names_the_sections_and_check_holds_them(
    parted: Path, form: str
) -> None:
    build(parted)
    assert check(parted) == []
    path = parted / f"shapes{form}"
    text = path.read_text()
    named = "a part of the 10 of the main section"
    assert named in text
    path.write_text(text.replace(named, "all there are"))
    (problem,) = check(parted)
    assert problem.startswith(f"shapes{form} is not what the committed counts give")


def test_markdown_ranks_the_main_section_alone(parted: Path) -> None:
    build(parted)
    text = (parted / "shapes.md").read_text()
    ranking = text.partition("## IoU per class")[0]
    cells = [line.split("|") for line in ranking.splitlines() if "densecrf" in line]
    found = [(line[1].strip(), line[2].strip()) for line in cells]
    assert found == [
        ("2", "dsrg"),
        ("3", "cam"),
        ("–", "best"),
        ("–", "next"),
        ("–", "redrawn"),
    ]
    assert "| 1 | vwe/irn |" in ranking
    against = text.partition("## Against")[2].partition("## Notes")[0]
    assert "| next | best |" in against
    assert "| best | vwe/irn |" not in against


def test_latex_sets_the_best_of_each_section_in_bold(parted: Path) -> None:
    build(parted)
    text = (parted / "shapes.tex").read_text()
    bold = [line.split("$")[0] for line in text.splitlines() if "textbf" in line]
    assert bold[0] == "vwe/irn"
    assert {"best", "redrawn"} <= set(bold)
    assert text.count(r"\multicolumn{8}{l}{\emph{Scored on") == 3


def test_json_and_the_long_form_say_what_each_row_was_scored_on(parted: Path) -> None:
    build(parted)
    board = json.loads((parted / "shapes.json").read_text())
    counts = Counts.load(parted / "runs" / "shapes" / "best-0" / "val.npz")
    assert board["sections"][1] == {
        "number": 2,
        "scored_on": "6 images of minival: a part of the 10 of the main section",
        "n_images": 6,
        "digest": scored_on(counts).digest,
        "truth": {},
        "rows": ["best", "next"],
    }
    assert [row["section"] for row in board["rows"]] == [1, 1, 1, 2, 2, 3]
    documented = Path(__file__).parents[2].joinpath("docs", "protocol.md").read_text()
    for name in ("sections", *board["sections"][0], "section", "elsewhere"):
        assert f"`{name}`" in documented, name
    tidy = lines(parted, "shapes_long.csv")
    found = {
        (row["method"], row["scored"]): row["scored_on"]
        for row in tidy
        if row["metric"] == "miou" and row["seed"] == "mean"
    }
    assert found["redrawn", "val"] == "10 images of val #2: other masks on 3 of them"
    assert found["dsrg", "labels"] == "10 images of train"


def test_ties_go_to_more_images_and_then_to_the_name(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=4)
    add_run(tmp_path, "two", images=5)
    assert [row.method for row in board_of(tmp_path).rows] == ["two", "one"]
    add_run(tmp_path, "ten", images=5, first=3)
    board = board_of(tmp_path)
    assert [section.name for section in board.sections] == [
        "5 images of val #1",
        "5 images of val #2: 2 of the 5 of the main section and 3 others",
        "4 images of val: 1 of the 5 of the main section and 3 others",
    ]
    assert [row.method for row in board.rows] == ["ten", "two", "one"]


@pytest.mark.parametrize(
    ("images", "first", "said"),
    [
        (12, 0, "the 8 of the main section and 4 more"),
        (3, 20, "none of the 8 of the main section"),
        (1, 2, "a part of the 8 of the main section"),
    ],
)
def test_it_is_said_how_the_images_differ(
    tmp_path: Path, images: int, first: int, said: str
) -> None:
    add_run(tmp_path, "one", images=8)
    add_run(tmp_path, "two", images=8)
    add_run(tmp_path, "other", images=images, first=first)
    assert board_of(tmp_path).sections[1].differs == said


def test_the_order_in_which_images_were_scored_does_not_matter(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=5)
    add_run(tmp_path, "two", images=5)
    path = tmp_path / "runs" / "shapes" / "two-0" / "val.npz"
    found = Counts.load(path)
    turned = [found.intersection, found.prediction, found.truth]
    parts = [np.ascontiguousarray(part[::-1]) for part in turned]
    Counts(found.classes, found.ids[::-1], *parts, found.confusion).save(path)
    board = board_of(tmp_path)
    assert len(board.sections) == 1
    assert len(board.pairs) == 1


def test_rows_without_the_ranked_score_stand_with_the_main_section(
    tmp_path: Path,
) -> None:
    add_run(tmp_path, "one", images=5)
    add_run(tmp_path, "labels", images=5, counts={"labels": "labels.npz"}, curve=None)
    board = board_of(tmp_path)
    assert not board.parted
    assert [row.method for row in board.rows] == ["one", "labels"]


def test_a_seed_without_the_ranked_score_stays_in_its_row(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=5)
    few = {"labels": "labels.npz"}
    add_run(tmp_path, "one", images=5, seed=1, counts=few, curve=None)
    (row,) = board_of(tmp_path).rows
    assert row.seeds == (0, 1)
    assert row.scores["val"].per_seed[1] is None


def test_a_run_on_other_images_replaces_none(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=8, run_id="old", finished="2026-01-01")
    add_run(tmp_path, "one", images=4, run_id="new", finished="2026-02-01")
    board = board_of(tmp_path)
    assert [row.superseded for row in board.rows] == [0, 0]
    assert {row.method for row in board.rows} == {"one #1", "one #2"}


def test_other_scores_of_other_images_carry_a_mark(tmp_path: Path) -> None:
    for recipe in ("dsrg", "vwe", "cam"):
        add_run(tmp_path, recipe, images=8)
    take(tmp_path, "cam-0", "labels", images=5)
    build(tmp_path)
    assert check(tmp_path) == []
    said = "labels scored on 5 images of train: a part of the 8 of most rows"
    notes = {row["method"]: row["notes"] for row in lines(tmp_path)}
    assert said in notes["cam"]
    assert "‡" not in notes["dsrg"] + notes["vwe"]
    board = json.loads((tmp_path / "shapes.json").read_text())
    assert "sections" not in board
    for row in board["rows"]:
        marked = [what for what, score in row["scores"].items() if "elsewhere" in score]
        assert marked == (["labels"] if row["method"] == "cam" else [])
    markdown = (tmp_path / "shapes.md").read_text()
    (cam,) = [line for line in markdown.splitlines() if "| cam |" in line][:1]
    assert cam.count("‡") == 2  # the score and its coverage
    assert said in markdown
    assert said in (tmp_path / "shapes.html").read_text()
    latex = (tmp_path / "shapes.tex").read_text()
    (cam,) = [line for line in latex.splitlines() if line.startswith("cam")]
    assert cam.count(r"$^\ddagger$") == 1
    tidy = lines(tmp_path, "shapes_long.csv")
    found = {row["scored_on"] for row in tidy if row["scored"] == "labels"}
    assert found == {
        "8 images of train",
        "5 images of train: a part of the 8 of most rows",
    }


def test_a_marked_score_is_never_the_best_of_its_column(tmp_path: Path) -> None:
    for recipe in ("dsrg", "vwe", "cam"):
        add_run(tmp_path, recipe, images=8)
    take(tmp_path, "cam-0", "labels", images=5, error=0.0)
    build(tmp_path)
    text = (tmp_path / "shapes.tex").read_text()
    (cam,) = [line for line in text.splitlines() if line.startswith("cam")]
    (marked,) = [cell for cell in cam.split("&") if "ddagger" in cell]
    assert "textbf" not in marked


def test_compare_says_how_the_images_differ_and_what_can_be_compared(
    parted: Path,
) -> None:
    with pytest.raises(ArtifactError) as caught:
        compare_runs(parted, "dsrg", "best")
    assert (
        "were scored on different images ('best-0': 6, a part of the 10 of 'dsrg-0')"
        in str(caught.value)
    )
    assert "Score both again" in str(caught.value)
    with pytest.raises(ArtifactError, match="against different masks") as caught:
        compare_runs(parted, "dsrg", "redrawn")
    assert "other masks on 3 of them" in str(caught.value)
    take(parted, "best-0", "labels", images=10)
    with pytest.raises(ArtifactError, match="pass --on labels"):
        compare_runs(parted, "dsrg", "best")
    assert compare_runs(parted, "dsrg", "best", what="labels", n=50).n_images == 10


def test_rows_of_both_sections_are_found_by_their_labels(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=8)
    add_run(tmp_path, "one", images=4, run_id="few")
    add_run(tmp_path, "two", images=8)
    with pytest.raises(DataError, match="stands for 2 rows: one #1, one #2"):
        compare_runs(tmp_path, "one", "two")
    labels = [row.method for row in board_of(tmp_path).rows if row.section == 1]
    (label,) = set(labels) - {"two"}
    assert compare_runs(tmp_path, label, "two", n=50).n_images == 8


def test_the_page_of_methods_says_where_a_score_is_of_other_images(
    tmp_path: Path,
) -> None:
    add_run(tmp_path, "dsrg", images=8)
    add_run(tmp_path, "cam", images=8)
    add_run(tmp_path, "dsrg", images=3, run_id="few")
    catalog = Catalog(restrict=["wsss-bench"])
    page = methods_page(catalog, ["dsrg"], tmp_path)
    found = [line for line in page.splitlines() if line.startswith("| val |")]
    assert [line.split("|")[2].strip() for line in found] == [
        "shapes",
        "shapes (3 images of val: a part of the 8 of most runs)",
    ]


def truth(**roles: str) -> dict[str, Any]:
    return {"truth": roles}


def test_the_protocol_line_names_the_convention_of_the_masks(tmp_path: Path) -> None:
    border = "SegmentationClass, border 255 ignored"
    add_run(tmp_path, "one", images=4, dataset=truth(val=border, seeds=border))
    add_run(tmp_path, "two", images=4)
    build(tmp_path)
    said = f"truth of val and seeds: {border}"
    for form in (".md", ".html", ".tex"):
        assert said in (tmp_path / f"shapes{form}").read_text(), form
    board = json.loads((tmp_path / "shapes.json").read_text())
    assert board["truth"] == {"val": [border], "seeds": [border]}
    assert "truth" not in lines(tmp_path)[0]["notes"]


def test_two_conventions_in_one_section_are_both_named(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=4, dataset=truth(val="A, border 255 ignored"))
    add_run(tmp_path, "two", images=4, dataset=truth(val="B, no ignored pixels"))
    add_run(tmp_path, "old", images=4)
    build(tmp_path)
    both = "truth of val: A, border 255 ignored and B, no ignored pixels"
    assert both in (tmp_path / "shapes.md").read_text()
    notes = {row["method"]: row["notes"] for row in lines(tmp_path)}
    assert "truth of val: A, border 255 ignored" in notes["one"]
    assert "truth of val: B, no ignored pixels" in notes["two"]
    assert "truth" not in notes["old"]


def test_what_a_profile_replaced_is_said_on_every_board(tmp_path: Path) -> None:
    changed = {
        "localize": {"network": ["mynet", "tiny"]},
        "refine": {"network": ["mynet", "tiny"]},
    }
    add_run(tmp_path, "mine", images=4, profile="shapes", overridden=changed)
    add_run(tmp_path, "cam", images=4, profile="shapes")
    build(tmp_path)
    said = "profile shapes replaces network: mynet -> tiny"
    notes = {row["method"]: row["notes"] for row in lines(tmp_path)}
    assert said in notes["mine"]
    assert notes["mine"].count("mynet") == 1
    assert "replaces" not in notes["cam"]
    assert said in (tmp_path / "shapes.md").read_text()
    assert "shapes (replaces defaults)" in (tmp_path / "shapes.md").read_text()
    assert r"mine$^\dagger$$^\ast$" in (tmp_path / "shapes.tex").read_text()
    board = json.loads((tmp_path / "shapes.json").read_text())
    found = {row["method"]: row.get("overridden") for row in board["rows"]}
    assert found == {"mine": changed, "cam": None}


def test_sentences_about_a_run_are_footnotes(tmp_path: Path) -> None:
    add_run(tmp_path, "one", images=4, notes=("predicts one class only.",))
    add_run(tmp_path, "one", images=4, seed=1)
    add_run(tmp_path, "two", images=4, notes=("took long", "took long"))
    build(tmp_path)
    notes = {row["method"]: row["notes"] for row in lines(tmp_path)}
    assert notes["one"] == "seed 0: predicts one class only"
    assert notes["two"].startswith("took long; single seed")


def test_other_contents_of_a_folder_are_another_row(tmp_path: Path) -> None:
    params = {"localize": {"saliency_dir": "maps"}}
    facts = {"params": params, "images": 4}
    one = {"localize.saliency_dir": "1" * 64, "data.train.images": "a" * 64}
    other = {"localize.saliency_dir": "2" * 64, "data.train.images": "b" * 64}
    add_run(tmp_path, "dsrg", run_id="old", error=0.1, inputs=one, **facts)
    new = {"finished": "2027-01-01", "inputs": other}
    add_run(tmp_path, "dsrg", run_id="new", error=0.6, **new, **facts)
    build(tmp_path)
    found = {row["method"]: row["notes"] for row in lines(tmp_path)}
    assert set(found) == {"dsrg #1", "dsrg #2"}
    assert "contents of localize.saliency_dir: 111111111111" in found["dsrg #1"]
    assert "contents of localize.saliency_dir: 222222222222" in found["dsrg #2"]
    assert not any("replaced" in note for note in found.values())
    settings = compare_runs(tmp_path, "old", "new", n=50).settings
    assert settings == {
        "contents of localize.saliency_dir": ("111111111111", "222222222222")
    }


def test_digests_of_the_data_part_no_rows(tmp_path: Path) -> None:
    one, other = ({"data.train.images": digit * 64} for digit in "12")
    add_run(tmp_path, "dsrg", images=4, inputs=one)
    add_run(tmp_path, "dsrg", images=4, seed=1, inputs=other)
    (row,) = board_of(tmp_path).rows
    assert row.seeds == (0, 1)


def test_no_board_publishes_a_path_of_the_machine(tmp_path: Path) -> None:
    private = "/home/somebody/nets"
    columns = recorded("x", 0)["columns"] | {"backbone": f"{private}/my net.pth"}
    add_run(
        tmp_path,
        f"mine[weights={private}/w.pth]/densecrf/_",
        run_id="x",
        images=4,
        picks={"localize": "mine", "refine": "densecrf", "segment": "deeplab"},
        columns=columns,
        overridden={"localize": {"network": [f"{private}/own", "tiny"]}},
        notes=(f"{private}/maps/a.png is empty, and/or old",),
        dataset=truth(val=f"{private}/masks, no ignored pixels"),
    )
    build(tmp_path)
    for form in FORMS:
        assert "somebody" not in (tmp_path / f"shapes{form}").read_text(), form
    (row,) = lines(tmp_path)
    assert row["backbone"] == "my net.pth"
    assert row["method"] == "mine[weights=w.pth]/densecrf/_"
    assert row["notes"].startswith("a.png is empty, and/or old; profile quick")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/me/nets/my.pth", "my.pth"),
        ("timm:/home/me/x.py", "timm:x.py"),
        (r"C:\Users\me\n.py", "n.py"),
        (r"\\server\share\n.py here", "n.py here"),
        ("file:///home/me/n.py", "n.py"),
        ("~/nets/a.py and more", "a.py and more"),
        ("m[a='/home/me and you/w.pth']", "m[a='w.pth']"),
        ("m[w=/home/me/w.pth,b=/tmp/x]/crf/_", "m[w=w.pth,b=x]/crf/_"),
        ("vwe/irn/_", "vwe/irn/_"),
        ("cam/-/deeplab", "cam/-/deeplab"),
        ("image labels / masks", "image labels / masks"),
        ("https://github.com/x/y", "https://github.com/x/y"),
        ("../nets/a.py", "../nets/a.py"),
        ("ResNet-101", "ResNet-101"),
    ],
)
def test_absolute_paths_are_cut_and_nothing_else(text: str, shown: str) -> None:
    assert without_paths(text) == file_name(text) == shown


def test_the_command_line_prints_and_checks_sections(
    parted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--leaderboard-dir", str(parted)]
    assert main(["leaderboard", *where]) == 0
    assert "## Scored on 6 images of minival" in capsys.readouterr().out
    assert main(["leaderboard", "check", *where]) == 0
    assert "agrees" in capsys.readouterr().out
    assert main(["compare", "dsrg", "best", *where]) != 0
    assert "a part of the 10 of 'dsrg-0'" in capsys.readouterr().err
