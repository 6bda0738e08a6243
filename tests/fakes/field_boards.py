"""Scores of this field's evaluation scripts side by side: lists, masks and folders that a log or a table would mix."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from boards_fakes import add_run, recorded
from exchange_fakes import Truth, devkit, run, truth, write_labels
from field_case import FieldCase

from wsss_bench.boards import build, check

SEAM = "YudeWang/SEAM"
MCTFORMER = "xulianuwa/MCTformer"
DEEPLAB = "kazuto1011/deeplab-pytorch"
IRN = "jiwoon-ahn/irn"
EPS = "halbielee/EPS"

CASES: list[FieldCase] = []


def add(
    tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase("boards", tried, gives, check, reader))


def lists(root: Path, name: str, ids: Sequence[str]) -> None:
    path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
    path.write_text("\n".join(ids) + "\n")


def laid_out(tmp_path: Path, border: bool = True) -> tuple[Path, Truth]:
    """Six images of train and six of val, with perfect label maps beside them."""
    masks = truth(border)
    root = devkit(tmp_path / ("voc" if border else "bare"), masks)
    if not (tmp_path / "png").is_dir():
        write_labels(tmp_path / "png", masks)
    return root, masks


def add_row(tmp_path: Path, root: Path, name: str, *flags: str) -> None:
    """Add the label maps to the board as ``evaluate --add`` does."""
    data = ("--dataset", "voc2012", "--data-root", root)
    board = ("--add", name, "--leaderboard-dir", tmp_path / "lb")
    status, said = run("evaluate", tmp_path / "png", *data, *board, *flags)
    assert status == 0, said


def board_of(tmp_path: Path) -> Any:
    """Return the board as JSON, which `leaderboard check` agrees with."""
    assert check(tmp_path / "lb") == []
    return json.loads((tmp_path / "lb" / "voc2012.json").read_text())


def sections(board: Any) -> list[tuple[str, list[str]]]:
    return [(one["scored_on"], one["rows"]) for one in board["sections"]]


def paired(board: Any) -> set[tuple[str, str]]:
    return {(pair["first"], pair["second"]) for pair in board["pairs"]}


def half_a_list(tmp_path: Path) -> None:
    root, masks = laid_out(tmp_path)
    lists(root, "half", list(masks)[6:9])
    add_row(tmp_path, root, "whole")
    add_row(tmp_path, root, "whole too")
    add_row(tmp_path, root, "few", "--val-split", "half")
    board = board_of(tmp_path)
    assert sections(board) == [
        ("6 images of val", ["whole", "whole too"]),
        ("3 images of half: a part of the 6 of the main section", ["few"]),
    ]
    assert paired(board) == {("whole", "whole too")}
    compared = ("compare", "whole", "few", "--leaderboard-dir", tmp_path / "lb")
    status, said = run(*compared)
    assert status != 0
    assert "scored on different images" in said


def longer_list(tmp_path: Path) -> None:
    root, masks = laid_out(tmp_path)
    lists(root, "trainval", list(masks))
    for name in ("one", "two"):
        add_row(tmp_path, root, name)
    add_row(tmp_path, root, "all", "--val-split", "trainval")
    said, rows = sections(board_of(tmp_path))[1]
    assert said == "12 images of trainval: the 6 of the main section and 6 more"
    assert rows == ["all"]


def other_order(tmp_path: Path) -> None:
    root, masks = laid_out(tmp_path)
    lists(root, "shuffled", list(masks)[:5:-1])
    add_row(tmp_path, root, "one")
    add_row(tmp_path, root, "two", "--val-split", "shuffled")
    board = board_of(tmp_path)
    assert "sections" not in board
    assert paired(board) == {("one", "two")}


def without_border(tmp_path: Path) -> None:
    root, _ = laid_out(tmp_path)
    bare, _ = laid_out(tmp_path, border=False)
    for name in ("one", "two"):
        add_row(tmp_path, root, name)
    add_row(tmp_path, bare, "bare")
    board = board_of(tmp_path)
    assert [rows for _, rows in sections(board)] == [["one", "two"], ["bare"]]
    assert board["sections"][1]["scored_on"].endswith("other masks on 6 of them")


def fewer_labels(tmp_path: Path) -> None:
    root, masks = laid_out(tmp_path)
    lists(root, "train_few", list(masks)[:4])
    for name in ("one", "few"):
        add_row(tmp_path, root, name)
        own = ("--seeds-split", "train_few") if name == "few" else ()
        add_row(tmp_path, root, name, "--kind", "labels", *own)
    board = board_of(tmp_path)
    assert "sections" not in board
    found = {
        row["method"]: row["scores"]["labels"].get("elsewhere") for row in board["rows"]
    }
    assert found["one"] is None
    assert found["few"].endswith("a part of the 6 of most rows")
    assert "‡" in (tmp_path / "lb" / "voc2012.md").read_text()


def folders_of_one_name(tmp_path: Path) -> None:
    params = {"localize": {"saliency_dir": "SALImages"}}
    for number, error in enumerate((0.1, 0.6)):
        inputs = {"localize.saliency_dir": str(number) * 64}
        facts = {"params": params, "inputs": inputs, "images": 3}
        add_run(tmp_path, "eps", run_id=f"eps-{number}", error=error, **facts)
    build(tmp_path)
    board = json.loads((tmp_path / "shapes.json").read_text())
    assert {row["method"] for row in board["rows"]} == {"eps #1", "eps #2"}
    assert len({np.round(r["scores"]["val"]["miou"], 3) for r in board["rows"]}) == 2
    assert not any("older run" in row["notes"] for row in board["rows"])


def weights_of_a_machine(tmp_path: Path) -> None:
    columns = recorded("x", 0)["columns"]
    columns["backbone"] = "/media/somebody/Extra/models/resnet 101.pth"
    add_run(tmp_path, "x", images=3, columns=columns)
    build(tmp_path)
    for path in tmp_path.glob("shapes*"):
        assert "somebody" not in path.read_text(), path.name
    assert "| resnet 101.pth |" in (tmp_path / "shapes.md").read_text()


add(
    "predictions scored on half a list, beside others on the whole (`--list`)",
    "a section of its own, unranked; `compare` refuses the pair",
    half_a_list,
    SEAM,
)
add(
    "predictions scored on `trainval`, beside others on `val`",
    "a section of its own, which says how many images more",
    longer_list,
    DEEPLAB,
)
add(
    "one list in two orders",
    "one table, as the images are the same",
    other_order,
)
add(
    "one list against masks with and without the border (`--gt_dir`)",
    "a section of its own, which says how many masks differ",
    without_border,
    MCTFORMER,
)
add(
    "pseudo-labels of a part of the training list, predictions of the same val list",
    "one table; the labels' score carries a mark and a footnote",
    fewer_labels,
    IRN,
)
add(
    "two saliency folders of one name (`SALImages`) for one recipe",
    "two rows; neither replaces the other",
    folders_of_one_name,
    EPS,
)
add(
    "a backbone that was given as a path of the machine",
    "the file's name alone is published",
    weights_of_a_machine,
)
