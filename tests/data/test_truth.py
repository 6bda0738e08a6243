"""What verify and run say about masks: nothing to score, no border, other class ids than the labels'."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coco_fakes as fakes
import numpy as np
import pytest
from PIL import Image

from wsss_bench.data import open_dataset, verify_dataset
from wsss_bench.data.agreement import Agreement
from wsss_bench.data.coco.index import COCO_CLASSES, MASK_IDS
from wsss_bench.data.truth import NONE_IGNORED, convention, truth_warning
from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.io.images import write_mask

SIZE = 12
Draw = Callable[[str, int], Any]


def drawn(image_id: str, label: int) -> Any:
    """A square of the label's class with a border."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[2:9, 2:9] = 255
    mask[3:8, 3:8] = label
    return mask


def borderless(image_id: str, label: int) -> Any:
    mask = drawn(image_id, label)
    mask[mask == 255] = 0
    return mask


def voc(root: Path, draw: Draw = drawn, labels: Any = (1, 2, 3, 4, 5, 6)) -> Any:
    """Two lists of six images, one class each; return the opened dataset."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    rows = [",".join(["id", *VOC_CLASSES[1:]])]
    for split in ("train", "val"):
        ids = [f"{split}_{number}" for number in range(6)]
        (root / "ImageSets/Segmentation" / f"{split}.txt").write_text("\n".join(ids))
        for image_id, label in zip(ids, labels, strict=True):
            shade = 10 * label + 8 * (split == "val")
            image = Image.new("RGB", (SIZE, SIZE), (shade, 9, 9 * int(image_id[-1])))
            image.save(root / "JPEGImages" / f"{image_id}.jpg")
            mask = draw(image_id, label)
            write_mask(root / "SegmentationClass" / f"{image_id}.png", mask)
            cells = [str(int(k == label)) for k in range(1, 21)]
            rows.append(",".join([image_id, *cells]))
    (root / "cls_labels.csv").write_text("\n".join(rows))
    return open_dataset("voc2012", root)


def told(dataset: Any, level: str) -> list[str]:
    return [
        f"{f.where}: {f.what} {f.fix}"
        for f in verify_dataset(dataset)
        if f.level == level
    ]


def test_a_border_is_found_and_said(tmp_path: Path) -> None:
    dataset = voc(tmp_path)
    assert dataset.truth("val").endswith(", border 255 ignored")
    assert truth_warning(dataset) is None
    assert told(dataset, "warning") == []


def test_one_bordered_mask_in_many_is_a_border(tmp_path: Path) -> None:
    def last(image_id: str, label: int) -> Any:
        return (drawn if image_id.endswith("5") else borderless)(image_id, label)

    dataset = voc(tmp_path, last)
    assert convention(dataset.masks("val")) == "border 255 ignored"


def test_no_border_is_warned_of_before_a_run_and_by_verify(tmp_path: Path) -> None:
    dataset = voc(tmp_path, borderless)
    assert dataset.truth("val").endswith(f", {NONE_IGNORED}")
    said = truth_warning(dataset)
    assert said is not None
    assert "voc2012/val: no mask has an ignored border (255)." in said
    assert "do not compare" in said
    (warning,) = told(dataset, "warning")
    assert "no mask has an ignored border" in warning


def test_the_first_border_ends_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = voc(tmp_path).masks("val")
    read: list[str] = []
    real = type(masks).__getitem__

    def counted(self: Any, image_id: str) -> Any:
        read.append(image_id)
        return real(self, image_id)

    monkeypatch.setattr(type(masks), "__getitem__", counted)
    convention(masks)
    assert read == ["val_0"]


@pytest.mark.parametrize("split", ["train", "val"])
def test_masks_that_are_ignored_throughout(tmp_path: Path, split: str) -> None:
    def draw(image_id: str, label: int) -> Any:
        mask = drawn(image_id, label)
        return np.full_like(mask, 255) if image_id.startswith(split) else mask

    (error,) = told(voc(tmp_path, draw), "error")
    assert error.startswith(f"{split}: all 6 masks are 255 throughout. Nothing can")


def test_masks_without_any_class(tmp_path: Path) -> None:
    def draw(image_id: str, label: int) -> Any:
        empty = np.zeros((SIZE, SIZE), np.uint8)
        return empty if image_id.startswith("val") else drawn(image_id, label)

    found = told(voc(tmp_path, draw), "warning")
    assert any("none of 6 masks shows any class" in one for one in found)


def test_a_photograph_that_is_trained_and_scored_on(tmp_path: Path) -> None:
    dataset = voc(tmp_path)
    folder = tmp_path / "JPEGImages"
    twin = (folder / "train_2.jpg").read_bytes()
    (folder / "val_4.jpg").write_bytes(twin)
    found = told(dataset, "warning")
    assert len(found) == 1
    assert "train: 1 photographs are byte for byte in val too" in found[0]
    assert "('train_2' is 'val_4' of val)" in found[0]


def test_labels_of_one_class_only(tmp_path: Path) -> None:
    found = told(voc(tmp_path, labels=[15] * 6), "warning")
    assert len(found) == 1
    assert "all 6 labelled images are of one class, 15." in found[0]


SLIPS = {
    "too low": (lambda label: label - 1, "begin at 0 without a background: value 0 is"),
    "too high": (lambda label: label + 1, "one too high"),
    "exchanged": (
        lambda label: {2: 5, 5: 2}.get(label, label),
        "2 stands for 'bottle', class 5; 5 stands for 'bicycle', class 2",
    ),
    "anything": (lambda label: label * 7 % 20 + 1, "class"),
}


@pytest.mark.parametrize(("value", "words"), SLIPS.values(), ids=SLIPS)
def test_other_class_ids_are_named(tmp_path: Path, value: Any, words: str) -> None:
    dataset = voc(tmp_path, lambda image_id, label: drawn(image_id, value(label)))
    (error,) = told(dataset, "error")
    assert words in error
    said = truth_warning(dataset)
    assert said is not None
    assert words in said


def test_one_wrong_mask_is_no_slip(tmp_path: Path) -> None:
    def draw(image_id: str, label: int) -> Any:
        return drawn(image_id, 9 if image_id == "train_0" else label)

    dataset = voc(tmp_path, draw)
    assert truth_warning(dataset) is None


@pytest.mark.parametrize("high", [False, True])
def test_category_ids_are_named(tmp_path: Path, high: bool) -> None:
    agreement = Agreement(COCO_CLASSES, MASK_IDS)
    # Category 90 is beyond the classes, 44 is another class' id.
    categories = (44, 90, 62, 88) if high else (44, 47, 62, 58)
    for number, category in enumerate(itertools.chain(categories, categories)):
        agreement.add(str(number), {0, category, 255}, {MASK_IDS[category]})
    assert "category ids 1 to 90" in agreement.slip()


def test_a_class_in_every_image_confuses_nothing() -> None:
    agreement = Agreement(VOC_CLASSES)
    for number, label in enumerate([1, 2, 3, 4, 5, 6]):
        agreement.add(str(number), {0, label, 15}, {label, 15})
    assert not agreement.disagree
    assert agreement.doubt("here") is None


def test_masks_in_category_ids_of_a_whole_root(tmp_path: Path) -> None:
    root = fakes.usual(tmp_path)
    for split in fakes.SPLITS:
        fakes.write_masks(
            root / "SegmentationClass" / f"{split}2014",
            split,
            draw=lambda number: fakes.draw_mask(number, fakes.CATEGORY.__getitem__),
        )
    dataset = open_dataset("coco2014", root, masks="SegmentationClass")
    errors = told(dataset, "error")
    assert any("holds values [90]" in one for one in errors)
    assert any("category ids 1 to 90" in one for one in errors)


def test_exchanged_lists_are_hinted_at() -> None:
    from wsss_bench.data.verifying import _lists_fix

    official = {"train": 1464, "val": 1449}
    assert "size of 'val': are two lists exchanged?" in _lists_fix(
        official, "train", 1449
    )
    assert _lists_fix(official, "train", 7) == "Restore the official list."
