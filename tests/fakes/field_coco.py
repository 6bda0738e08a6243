"""Field cases of COCO: how published code lays it out, lists it, and writes its masks and annotations."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import coco_fakes as fakes
import numpy as np
import pytest
from field_case import FieldCase
from PIL import Image

from wsss_bench.cli import main
from wsss_bench.data import open_dataset, verify_dataset
from wsss_bench.errors import DataError

SIPE = "chenqi1126/SIPE"
AFA = "rulixiang/afa"
TOCO = "rulixiang/ToCo"
RIB = "jbeomlee93/RIB"
L2G = "PengtaoJiang/L2G"
MCTFORMER = "xulianuwa/MCTformer"
COCO2VOC = "alicranck/coco2voc"

Check = Callable[[Path], None]

LABELS = [(1,), (18, 80)]


def read_whole(dataset: Any) -> None:
    """The dataset gives the ids, labels, photographs and masks that were drawn, whatever the layout."""
    view = dataset.weak_view("train")
    wanted = [fakes.full("train", number) for number in fakes.SPLITS["train"]]
    assert [image.id for image in view] == wanted
    assert [image.present for image in view] == LABELS
    for split, numbers in fakes.SPLITS.items():
        masks = dataset.masks(split)
        for image, number in zip(dataset.image_view(split), numbers, strict=True):
            assert image.read().shape == (fakes.HEIGHT, fakes.WIDTH, 3)
            np.testing.assert_array_equal(masks[image.id], fakes.draw_mask(number))


def errors_of(dataset: Any) -> str:
    found = verify_dataset(dataset)
    return "\n".join(f"{f.what} {f.fix}" for f in found if f.level == "error")


def refused(message: str, call: Callable[[], object]) -> None:
    with pytest.raises(DataError, match=message):
        call()


def lay_out(
    root: Path, photographs: str, masks: str = "", name: fakes.Name = fakes.full
) -> None:
    for split in fakes.SPLITS:
        fakes.write_photographs(root / photographs.format(split), split, name)
        if masks:
            fakes.write_masks(root / masks.format(split), split, name)


def annotated(root: Path, photographs: str, name: fakes.Name = fakes.full) -> None:
    lay_out(root, photographs, name=name)
    fakes.write_annotations(root)
    read_whole(open_dataset("coco2014", root))


def listed(
    root: Path,
    photographs: str,
    masks: str,
    file: str,
    name: fakes.Name = fakes.full,
    line: str = "{}",
    **options: Any,
) -> None:
    """Photographs, masks and lists of somebody's, and no annotations at all."""
    lay_out(root, photographs, masks, name)
    for split in fakes.SPLITS:
        fakes.write_list(root / "lists" / file.format(split), split, name, line)
    options = {"labels": "masks", **options}
    dataset = open_dataset("coco2014", root, lists=root / "lists", **options)
    read_whole(dataset)
    assert errors_of(dataset) == ""


def labelled(root: Path, file: str, key: Callable[[str, int], Any]) -> None:
    """Labels of a file, given or found in the root, and no annotations."""
    lay_out(root, "{}2014", "SegmentationClass/{}2014")
    for split in fakes.SPLITS:
        fakes.write_list(root / f"{split}.txt", split)
    splits = tuple(fakes.SPLITS)
    fakes.write_labels(root / file, key, splits)
    for options in ({}, {"labels": root / file}):
        dataset = open_dataset("coco2014", root, **options)
        assert dataset.labels_source == f"table {file}"
        read_whole(dataset)
    assert errors_of(dataset) == ""


def labels_lack_an_image(root: Path) -> None:
    fakes.usual(root)
    fakes.write_labels(root / "labels.npy", lambda split, number: number, ("val",))
    dataset = open_dataset("coco2014", root, labels=root / "labels.npy")
    refused("no row for 2 of 2 images", lambda: dataset.weak_view("train"))


def other_labels(root: Path) -> None:
    fakes.usual(root)

    def key(split: str, number: int) -> int:
        # Every image has the labels of the other.
        return {5: 7, 7: 5}.get(number, number)

    fakes.write_labels(root / "labels.npy", key)
    for split in fakes.SPLITS:
        fakes.write_masks(root / "SegmentationClass" / f"{split}2014", split)
    options = {"labels": root / "labels.npy", "masks": "SegmentationClass"}
    dataset = open_dataset("coco2014", root, **options)
    assert "The labels seem to belong to other data" in errors_of(dataset)


def no_labels(root: Path) -> None:
    lay_out(root, "{}2014", "SegmentationClass/{}2014")
    for split in fakes.SPLITS:
        fakes.write_list(root / f"{split}.txt", split)
    dataset = open_dataset("coco2014", root)
    message = "no image-level labels. Name a file, cls_labels_coco.npy for example"
    refused(message, lambda: dataset.weak_view("train"))


def part_of_val(root: Path) -> None:
    fakes.usual(root)
    for split in fakes.SPLITS:
        fakes.write_list(root / "lists" / f"{split}.txt", split)
    (root / "lists" / "val_part.txt").write_text(f"{fakes.full('val', 12)}\n")
    dataset = open_dataset("coco2014", root, lists=root / "lists", val_split="val_part")
    assert dataset.masks("val_part").ids == (fakes.full("val", 12),)


def exchanged_lists(root: Path) -> None:
    fakes.usual(root)
    fakes.write_list(root / "lists" / "train.txt", "val")
    fakes.write_list(root / "lists" / "val.txt", "train")
    dataset = open_dataset("coco2014", root, lists=root / "lists")
    message = r"train\.txt is of train, and names an image of val .*exchanged\?"
    refused(message, lambda: dataset.weak_view("train"))


def lists_of_2017(root: Path) -> None:
    fakes.usual(root)
    (root / "lists").mkdir()
    # Image 9 is of val in 2014, and may be of train in 2017.
    (root / "lists" / "train.txt").write_text("000000000005\n000000000009\n")
    dataset = open_dataset("coco2014", root, lists=root / "lists")
    message = "annotations of train2014 do not hold. Use lists of the splits of 2014"
    refused(message, lambda: dataset.weak_view("train"))


def with_masks(
    root: Path, draw: Callable[[int], Any], name: fakes.Name = fakes.full
) -> Any:
    fakes.usual(root)
    for split in fakes.SPLITS:
        fakes.write_masks(
            root / "SegmentationClass" / f"{split}2014", split, name, draw
        )
    return open_dataset("coco2014", root, masks="SegmentationClass")


def category_ids(root: Path) -> None:
    def draw(number: int) -> Any:
        return fakes.draw_mask(number, fakes.CATEGORY.__getitem__)

    dataset = with_masks(root, draw, fakes.bare)
    words = "seem to be the category ids 1 to 90 of the annotations"
    assert words in errors_of(dataset)
    assert "holds values [90]; only 0..80" in errors_of(dataset)


def low_category_ids(root: Path) -> None:
    def draw(number: int) -> Any:
        # No value beyond 80: every file is a mask for itself.
        return fakes.draw_mask(number, lambda k: 44 if k == 80 else fakes.CATEGORY[k])

    dataset = with_masks(root, draw)
    assert "show a class that the image-level labels lack" in errors_of(dataset)


def without_background(root: Path) -> None:
    def draw(number: int) -> Any:
        return fakes.draw_mask(number, lambda k: k - 1, ground=255)

    words = "begin at 0 without a background: value 0 is 'person'"
    assert words in errors_of(with_masks(root, draw))


def void_is_81(root: Path) -> None:
    def draw(number: int) -> Any:
        mask = fakes.draw_mask(number)
        mask[5] = 81
        return mask

    message = r"holds values \[81\]; only 0\.\.80 and 255 are class ids here"
    masks = with_masks(root, draw).masks("val")
    refused(message, lambda: masks[masks.ids[0]])


def shifted_by_91(root: Path) -> None:
    dataset = with_masks(root, lambda n: fakes.draw_mask(n, lambda k: k + 91, 91))
    assert "holds values [91" in errors_of(dataset)


def colours(root: Path) -> None:
    dataset = with_masks(root, fakes.draw_mask)
    path = dataset.masks("val").path(fakes.full("val", 9))
    Image.new("RGB", (fakes.WIDTH, fakes.HEIGHT)).save(path)
    message = r"is a colour image \(RGB\)"
    refused(message, lambda: dataset.masks("val")[fakes.full("val", 9)])


def resized(root: Path) -> None:
    dataset = with_masks(root, lambda n: fakes.draw_mask(n)[::2, ::2].copy())
    assert "One of them was resized" in errors_of(dataset)


def as_jpeg(root: Path) -> None:
    fakes.usual(root)
    for split in fakes.SPLITS:
        fakes.write_photographs(root / "SegmentationClass" / f"{split}2014", split)
    dataset = open_dataset("coco2014", root, masks="SegmentationClass")
    refused("holds none of its 2 masks", lambda: dataset.masks("val"))


def ignored(root: Path) -> None:
    dataset = with_masks(root, lambda n: np.full_like(fakes.draw_mask(n), 255))
    assert "all 2 masks are 255 throughout. Nothing can be scored" in errors_of(dataset)


def beside_annotations(root: Path) -> None:
    with_masks(root, lambda n: fakes.draw_mask(n, lambda k: 3))
    dataset = open_dataset("coco2014", root)
    read_whole(dataset)
    assert root / "SegmentationClass" in dataset.sealed()["masks"]
    found = [one.fix for one in verify_dataset(dataset)]
    assert "To score on them: --data-option masks=SegmentationClass" in found


def grey_photograph(root: Path) -> None:
    fakes.usual(root)
    path = root / "train2014" / f"{fakes.full('train', 5)}.jpg"
    Image.new("L", (fakes.WIDTH, fakes.HEIGHT), 90).save(path)
    read_whole(open_dataset("coco2014", root))


def year_2017(root: Path) -> None:
    lay_out(root, "{}2017", name=fakes.digits)
    fakes.write_annotations(root, "2017", name=fakes.digits)
    dataset = open_dataset("coco2014", root)
    assert dataset.weak_view("train")[0].id == "000000000005"
    warnings = [one.what for one in verify_dataset(dataset) if one.level == "warning"]
    assert warnings == ["these are the splits of 2017."]


def numbers(root: Path, number_as: Callable[[int], Any]) -> None:
    fakes.usual(root)
    fakes.write_annotations(root, number_as=number_as)
    read_whole(open_dataset("coco2014", root))


def edited(root: Path, change: Callable[[Any], Any], message: str) -> None:
    fakes.usual(root)
    path = root / "annotations" / "instances_train2014.json"
    path.write_text(change(path.read_text()))
    dataset = open_dataset("coco2014", root)
    refused(message, lambda: dataset.weak_view("train"))
    words = ["data", "verify", "--dataset", "coco2014", "--data-root", str(root)]
    assert main(words) == 1


def captions(text: str) -> str:
    content = json.loads(text)
    content["annotations"] = [{"id": 1, "image_id": 5, "caption": "a man"}]
    return json.dumps(content)


def contiguous(text: str) -> str:
    content = json.loads(text)
    for number, category in enumerate(content["categories"], 1):
        category["id"] = number
    return json.dumps(content)


def voc_root(root: Path) -> None:
    for name in ("JPEGImages", "SegmentationClass", "Annotations"):
        (root / "VOC2012" / name).mkdir(parents=True)
    refused("no coco2014 under", lambda: open_dataset("coco2014", root / "VOC2012"))


def no_trace(root: Path) -> None:
    fakes.usual(root / "coco")
    before = sorted(root.rglob("*"))
    words = ["run", "--dataset", "coco2014", "--data-root", str(root / "coco")]
    words += ["--methods", "cam", "--dry-run", "--work-dir", str(root / "work")]
    assert main(words) == 0
    assert sorted(root.rglob("*")) == before


def _case(
    kind: str, tried: str, gives: str, check: Check, reader: str = ""
) -> FieldCase:
    return FieldCase(f"COCO {kind}", tried, gives, check, reader)


READ = "read; the same ids as from COCO's own layout"

CASES = [
    _case(
        "layout",
        "photographs in images/train2014",
        READ,
        partial(annotated, photographs="images/{}2014"),
        SIPE,
    ),
    _case(
        "layout",
        "photographs in JPEGImages/train",
        READ,
        partial(annotated, photographs="JPEGImages/{}"),
        AFA,
    ),
    _case(
        "layout",
        "all photographs in JPEGImages under names of 2017, annotations of 2014",
        READ,
        partial(annotated, photographs="JPEGImages", name=fakes.digits),
        RIB,
    ),
    _case(
        "layout",
        "annotations of 2014, photographs in train2017 and val2017",
        READ,
        partial(annotated, photographs="{}2017", name=fakes.digits),
    ),
    _case(
        "layout",
        "archive unpacked into train2014/train2014",
        READ,
        partial(annotated, photographs="{0}2014/{0}2014"),
    ),
    _case(
        "layout",
        "no annotations: train_id.txt, SegmentationClass/train2014",
        READ,
        partial(
            listed,
            photographs="{}2014",
            masks="SegmentationClass/{}2014",
            file="{}_id.txt",
        ),
        MCTFORMER,
    ),
    _case(
        "layout",
        "no annotations: train.txt, JPEGImages/train, SegmentationClass/train",
        READ,
        partial(
            listed,
            photographs="JPEGImages/{}",
            masks="SegmentationClass/{}",
            file="{}.txt",
        ),
        AFA,
    ),
    _case(
        "layout",
        "no annotations: train14.txt of twelve digits, JPEGImages, coco_seg_anno",
        READ,
        partial(
            listed,
            photographs="JPEGImages",
            masks="coco_seg_anno",
            file="{}14.txt",
            name=fakes.digits,
        ),
        RIB,
    ),
    _case(
        "lists",
        "train_cls.txt: names with class numbers behind them",
        "read; the numbers are left out",
        partial(
            listed,
            photographs="JPEGImages",
            masks="SegmentationClass",
            file="{}_cls.txt",
            line="{} 0 17",
        ),
        L2G,
    ),
    _case(
        "lists",
        "two columns: /JPEGImages/x.jpg /SegmentationClass/x.png",
        "read",
        partial(
            listed,
            photographs="JPEGImages",
            masks="SegmentationClass",
            file="{}.txt",
            line="/JPEGImages/{0}.jpg /SegmentationClass/{0}.png",
        ),
        L2G,
    ),
    _case(
        "lists",
        "bare numbers (139), as in images_ids.txt",
        "read; full names are the ids",
        partial(
            listed,
            photographs="JPEGImages",
            masks="masks",
            file="{}.txt",
            name=fakes.bare,
        ),
        COCO2VOC,
    ),
    _case(
        "lists",
        "val_part.txt beside train.txt and val.txt",
        "a split of its own for --val-split",
        part_of_val,
        TOCO,
    ),
    _case(
        "lists",
        "train.txt and val.txt exchanged",
        "refused: the list is named, and the split of its images",
        exchanged_lists,
    ),
    _case(
        "lists",
        "a list of train2017 with annotations of 2014",
        "refused: the annotations do not hold the image",
        lists_of_2017,
    ),
    _case(
        "labels",
        "cls_labels_coco.npy: integer keys",
        READ,
        partial(
            labelled,
            file="cls_labels_coco.npy",
            key=lambda split, number: number,
        ),
        RIB,
    ),
    _case(
        "labels",
        "cls_labels_coco.npy: full names as keys",
        READ,
        partial(labelled, file="cls_labels_coco.npy", key=fakes.full),
        SIPE,
    ),
    _case(
        "labels",
        "COCO_cls_labels.npy: keys with .jpg",
        READ,
        partial(
            labelled,
            file="COCO_cls_labels.npy",
            key=lambda split, number: f"{fakes.full(split, number)}.jpg",
        ),
        MCTFORMER,
    ),
    _case(
        "labels",
        "cls_labels_onehot.npy: twelve digits as keys",
        READ,
        partial(labelled, file="cls_labels_onehot.npy", key=fakes.digits),
        TOCO,
    ),
    _case(
        "labels",
        "a file with the images of val alone",
        "refused: how many images have none, and which is the first",
        labels_lack_an_image,
    ),
    _case(
        "labels",
        "rows of two images exchanged",
        "verify: masks show classes that the labels lack",
        other_labels,
    ),
    _case(
        "labels",
        "lists and masks, and no labels at all",
        "refused: a file of labels is asked for",
        no_labels,
    ),
    _case(
        "masks",
        "category ids 1 to 90, files named by number",
        "verify names the likely slip and the way out",
        category_ids,
        COCO2VOC,
    ),
    _case(
        "masks",
        "category ids of which none is above 80",
        "verify: masks show classes that the labels lack",
        low_category_ids,
        COCO2VOC,
    ),
    _case(
        "masks",
        "classes from 0, background 255",
        "verify names the likely slip",
        without_background,
    ),
    _case(
        "masks",
        "81 for pixels that do not count",
        "refused: 81 is no class id",
        void_is_81,
    ),
    _case(
        "masks",
        "predictions of classes from 91, copied as masks",
        "refused: values are no class ids",
        shifted_by_91,
        MCTFORMER,
    ),
    _case("masks", "colour pictures", "refused: colour image", colours),
    _case("masks", "masks resized, photographs not", "refused: both sizes", resized),
    _case("masks", "masks saved as JPEG", "refused: no mask there", as_jpeg),
    _case(
        "masks",
        "all masks 255 throughout",
        "verify: error, nothing can be scored",
        ignored,
    ),
    _case(
        "masks",
        "SegmentationClass/train2014 beside annotations",
        "made from the annotations; the folder is sealed, verify says how to use it",
        beside_annotations,
        SIPE,
    ),
    _case(
        "layout", "a grey photograph", "read with three channels", grey_photograph, TOCO
    ),
    _case(
        "annotations",
        "instances_train2017.json alone",
        "the splits of 2017; verify warns that published numbers are on 2014",
        year_2017,
    ),
    _case("annotations", "ids as text", READ, partial(numbers, number_as=str)),
    _case(
        "annotations",
        "ids with a point (139.0), as tables export them",
        READ,
        partial(numbers, number_as=float),
    ),
    _case(
        "annotations",
        "captions_train2014.json under the name of instances",
        "refused: annotation without a category",
        partial(
            edited, change=captions, message="annotation id 1 has no 'category_id'"
        ),
    ),
    _case(
        "annotations",
        "category ids 1 to 80 without gaps",
        "refused: the first category that is not COCO's",
        partial(edited, change=contiguous, message="category id 12 .* is none of COCO"),
    ),
    _case(
        "annotations",
        "a download that was cut",
        "refused: cannot be read",
        partial(edited, change=lambda text: text[:200], message="cannot be read"),
    ),
    _case("layout", "a folder of PASCAL VOC", "refused: no COCO there", voc_root),
    _case("layout", "run --dry-run", "planned; no file is written", no_trace),
]
