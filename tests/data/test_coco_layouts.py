"""The same four photographs in many layouts: always the same ids, labels and masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import coco_fakes as fakes
import numpy as np
import pytest

from wsss_bench.cli import main
from wsss_bench.data import open_dataset, verify_dataset
from wsss_bench.errors import DataError
from wsss_bench.io import hashing

LABELS = [(1,), (18, 80)]


def check(dataset: Any) -> None:
    """Ids under their full names, labels, photographs and masks are those of `coco_fakes`."""
    view = dataset.weak_view("train")
    ids = [fakes.full("train", number) for number in fakes.SPLITS["train"]]
    assert [image.id for image in view] == ids
    assert [image.present for image in view] == LABELS
    for split, numbers in fakes.SPLITS.items():
        masks = dataset.masks(split)
        seen = dataset.image_view(split)
        for image, number in zip(seen, numbers, strict=True):
            assert image.read().shape == (fakes.HEIGHT, fakes.WIDTH, 3)
            np.testing.assert_array_equal(masks[image.id], fakes.draw_mask(number))


FOLDERS = {
    "as unpacked": ("{}2014", fakes.full, ".jpg"),
    "in images": ("images/{}2014", fakes.full, ".jpg"),
    "capitals": ("{}2014", fakes.full, ".JPG"),
    "jpeg": ("images/{}2014", fakes.full, ".jpeg"),
    "png": ("{}2014", fakes.full, ".png"),
    "of 2017": ("{}2017", fakes.digits, ".jpg"),
    "all in one": ("JPEGImages", fakes.digits, ".jpg"),
    "VOC's style": ("JPEGImages/{}", fakes.full, ".jpg"),
}


@pytest.mark.parametrize(("folder", "name", "suffix"), FOLDERS.values(), ids=FOLDERS)
def test_photographs(
    tmp_path: Path, folder: str, name: fakes.Name, suffix: str
) -> None:
    for split in fakes.SPLITS:
        place = tmp_path / folder.format(split)
        fakes.write_photographs(place, split, name, suffix)
    fakes.write_annotations(tmp_path)
    dataset = open_dataset("coco2014", tmp_path)
    check(dataset)
    assert [one for one in verify_dataset(dataset) if one.level == "error"] == []


def test_photographs_of_val_may_lie_in_the_other_years_train(tmp_path: Path) -> None:
    fakes.write_photographs(tmp_path / "train2017", "train", fakes.digits)
    fakes.write_photographs(tmp_path / "train2017", "val", fakes.digits)
    fakes.write_annotations(tmp_path)
    check(open_dataset("coco2014", tmp_path))


@pytest.mark.parametrize("folder", ["annotations", ".", "annotations/annotations"])
def test_annotations(tmp_path: Path, folder: str) -> None:
    for split in fakes.SPLITS:
        fakes.write_photographs(tmp_path / f"{split}2014", split)
    fakes.write_annotations(tmp_path, folder=folder)
    check(open_dataset("coco2014", tmp_path))


@pytest.mark.parametrize("number_as", [str, float, lambda number: f"{number:012d}"])
def test_numbers_as_text_or_with_a_point(tmp_path: Path, number_as: Any) -> None:
    fakes.usual(tmp_path)
    fakes.write_annotations(tmp_path, number_as=number_as)
    check(open_dataset("coco2014", tmp_path))


@pytest.mark.parametrize("bad", ["a7", "", 7.5, None, [7], True, "9" * 5000])
def test_what_is_no_number_is_refused(tmp_path: Path, bad: object) -> None:
    fakes.usual(tmp_path)
    path = tmp_path / "annotations" / "instances_val2014.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = bad
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation id 1 has a wrong 'image_id'"):
        open_dataset("coco2014", tmp_path).image_view("val")


def test_the_splits_of_2017(tmp_path: Path) -> None:
    for split in fakes.SPLITS:
        fakes.write_photographs(tmp_path / f"{split}2017", split, fakes.digits)
    fakes.write_annotations(tmp_path, "2017", name=fakes.digits)
    dataset = open_dataset("coco2014", tmp_path)
    assert [image.id for image in dataset.weak_view("train")] == [
        fakes.digits("train", number) for number in fakes.SPLITS["train"]
    ]
    assert dataset.facts()["year"] == "2017"
    assert dataset.labels_source == "instances_*2017.json"
    found = verify_dataset(dataset)
    assert [one.what for one in found if one.level != "info"] == [
        "these are the splits of 2017."
    ]
    assert any("of the official 5,000" in one.what for one in found)


def test_2014_is_taken_where_both_years_are_there(tmp_path: Path) -> None:
    fakes.usual(tmp_path)
    fakes.write_annotations(tmp_path, "2017", name=fakes.digits)
    check(open_dataset("coco2014", tmp_path))
    later = open_dataset("coco2014", tmp_path, year=2017)
    assert later.facts()["year"] == "2017"
    # The photographs are the same ones, under the names of 2014.
    assert later.image_view("val")[0].read().shape[2] == 3
    with pytest.raises(DataError, match="year='2015' is none of 2014, 2017"):
        open_dataset("coco2014", tmp_path, year="2015")


MASKS = {
    "by split and year": ("SegmentationClass/{}2014", fakes.full),
    "by split": ("SegmentationClass/{}", fakes.full),
    "in one folder": ("SegmentationClass", fakes.full),
    "twelve digits": ("coco_seg_anno", fakes.digits),
    "numbers": ("masks/{}", fakes.bare),
}


@pytest.mark.parametrize(("folder", "name"), MASKS.values(), ids=MASKS)
def test_masks_of_others(tmp_path: Path, folder: str, name: fakes.Name) -> None:
    fakes.usual(tmp_path)
    for split in fakes.SPLITS:
        fakes.write_masks(tmp_path / folder.format(split), split, name)
    first = folder.split("/")[0]
    made = open_dataset("coco2014", tmp_path)
    assert made.truth("val") == "instances_val2014.json, crowds 255 ignored"
    # A folder that is not used is shut all the same.
    assert tmp_path / first in made.sealed()["masks"]
    for given in (first, str(tmp_path / first)):
        dataset = open_dataset("coco2014", tmp_path, masks=given)
        check(dataset)
        assert dataset.ready()
        assert dataset.truth("val").startswith(first)
        assert dataset.truth("val").endswith(", no ignored pixels")
        assert dataset.facts()["masks"] == first
    assert [one for one in verify_dataset(dataset) if one.level != "info"] == []
    noted = [one.fix for one in verify_dataset(made)]
    assert f"To score on them: --data-option masks={first}" in noted


def test_lists_of_others_without_any_annotations(tmp_path: Path) -> None:
    for split in fakes.SPLITS:
        fakes.write_photographs(tmp_path / f"{split}2014", split)
        fakes.write_masks(tmp_path / "SegmentationClass" / f"{split}2014", split)
        fakes.write_list(tmp_path / "lists" / f"{split}_id.txt", split)
    dataset = open_dataset(
        "coco2014", tmp_path, lists=tmp_path / "lists", labels="masks"
    )
    check(dataset)
    facts = dataset.facts()
    assert (facts["lists"], facts["masks"]) == ("lists", "SegmentationClass")
    assert facts["labels_source"] == "masks"
    assert [one for one in verify_dataset(dataset) if one.level != "info"] == []


def test_lists_name_images_of_the_annotations(tmp_path: Path) -> None:
    fakes.usual(tmp_path)
    lists = tmp_path / "lists"
    fakes.write_list(lists / "train14.txt", "train", fakes.digits)
    fakes.write_list(lists / "val14.txt", "val", fakes.bare)
    fakes.write_list(lists / "val_part.txt", "val")
    dataset = open_dataset("coco2014", tmp_path, lists=lists)
    check(dataset)
    assert dataset.available_splits() == ("train", "val", "val_part")
    assert dataset.masks("val_part")[fakes.full("val", 9)].max() == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            fakes.full("train", 5),
            r"is of val, and names an image of train.*exchanged\?",
        ),
        (
            fakes.full("val", 77),
            r"annotations of val2014 do not hold.*lists of the spl",
        ),
        ("9\n000000000009", r"'9' and '000000000009' are one image"),
    ],
)
def test_lists_that_belong_to_other_data(
    tmp_path: Path, line: str, message: str
) -> None:
    fakes.usual(tmp_path)
    fakes.write_list(tmp_path / "lists" / "train.txt", "train")
    (tmp_path / "lists" / "val.txt").write_text(f"{line}\n")
    dataset = open_dataset("coco2014", tmp_path, lists=tmp_path / "lists")
    with pytest.raises(DataError, match=message):
        dataset.image_view("val")


def test_what_is_missing_is_named_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "train2014").mkdir()
    with pytest.raises(DataError, match=r"no list train\.txt.*lists=FOLDER"):
        open_dataset("coco2014", tmp_path).available_splits()
    fakes.usual(tmp_path)
    with pytest.raises(DataError, match=r"masks=nowhere: there is no such folder"):
        open_dataset("coco2014", tmp_path, masks="nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no list train\.txt or val"):
        open_dataset("coco2014", tmp_path, lists=tmp_path / "empty")
    with pytest.raises(DataError, match="holds none of its 2 masks"):
        open_dataset("coco2014", tmp_path, masks="empty").masks("val")
    (tmp_path / "annotations" / "instances_val2014.json").unlink()
    partial = open_dataset("coco2014", tmp_path)
    assert partial.available_splits() == ("train",)


def test_annotations_of_two_splits_exchanged(tmp_path: Path) -> None:
    fakes.usual(tmp_path)
    folder = tmp_path / "annotations"
    texts = {split: json.dumps(fakes.annotations(split)) for split in fakes.SPLITS}
    (folder / "instances_train2014.json").write_text(texts["val"])
    (folder / "instances_val2014.json").write_text(texts["train"])
    found = verify_dataset(open_dataset("coco2014", tmp_path))
    errors = [one.what for one in found if one.level == "error"]
    exchanged = [what for what in errors if "of the other split by their names" in what]
    # Said first, before every photograph that is not where it should be.
    assert errors[:2] == exchanged


def test_a_dry_run_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hashing, "RACY", 0)
    monkeypatch.setenv("WSSS_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    root = fakes.usual(tmp_path / "coco")
    before = sorted(tmp_path.rglob("*"))
    words = ["run", "--dataset", "coco2014", "--data-root", str(root)]
    words += ["--methods", "cam", "--dry-run", "--work-dir", str(tmp_path / "work")]
    assert main(words) == 0, capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
