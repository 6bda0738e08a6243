"""Lists of images as this field's repositories write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from field_case import FieldCase
from voc_fakes import EXTRA, TRAIN, VAL, devkit, write_list

from wsss_bench.cli import main
from wsss_bench.data import open_dataset
from wsss_bench.data.lists import read_ids
from wsss_bench.data.skipping import read_skip_list
from wsss_bench.errors import DataError, LeakError

CASES: list[FieldCase] = []
IDS = ("2007_000032", "2007_000039")


def add(
    tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase("lists", tried, gives, check, reader))


def read(text: str | bytes, ids: tuple[str, ...] = IDS) -> Callable[[Path], None]:
    """Return a check that a list holds these ids."""

    def check(folder: Path) -> None:
        raw = text if isinstance(text, bytes) else text.encode()
        (folder / "list.txt").write_bytes(raw)
        assert read_ids(folder / "list.txt") == ids

    return check


def refused(text: str | bytes, message: str) -> Callable[[Path], None]:
    """Return a check that `data verify` and a look at the list refuse it, by name."""

    def check(folder: Path) -> None:
        root = devkit(folder)
        path = root / "ImageSets" / "Segmentation" / "train.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=message):
            read_ids(path)
        words = ("data", "verify", "--dataset", "voc2012", "--data-root", str(root))
        assert main(list(words)) == 1

    return check


PSA = "/JPEGImages/{0}.jpg /SegmentationClassAug/{0}.png\n"
DSRG = "/JPEGImages/{0}.jpg /DSRGOutput/{0}.png\n"
add(
    "pairs of paths (`/JPEGImages/x.jpg /SegmentationClassAug/x.png`)",
    "the ids, in order",
    read("".join(PSA.format(i) for i in IDS)),
    "jiwoon-ahn/psa",
)
add(
    "paths of photographs alone, of a test list",
    "the ids",
    read("".join(f"/JPEGImages/{i}.jpg\n" for i in IDS)),
    "YudeWang/SEAM",
)
add(
    "pairs with a method's own output (`/DSRGOutput/x.png`)",
    "the ids; masks come from the devkit",
    read("".join(DSRG.format(i) for i in IDS)),
    "speedinghzl/DSRG",
)
add(
    "`input_list.txt`: a file name and its number in a pickle",
    "the ids; numbers are left out",
    read("2007_000032.jpg 0\n2007_000039.jpg 10581\n"),
    "speedinghzl/DSRG",
)
add(
    "a file name and the numbers of its classes (`x.jpg 0 7`)",
    "the ids; numbers are left out",
    read("2007_000032.jpg 0 14\n2007_000039.jpg 19\n"),
)
add(
    "`ImageSets/Main` list of one class, -1, 0 or 1 behind each id",
    "the ids",
    read("2007_000032  1\n2007_000039 -1\n"),
)
add(
    "ids of twelve digits",
    "the ids",
    read("000000057870\n000000384029\n", ("000000057870", "000000384029")),
    "jbeomlee93/RIB",
)
add(
    "COCO's full names",
    "the ids",
    read("COCO_train2014_000000000009\n", ("COCO_train2014_000000000009",)),
    "rulixiang/ToCo",
)
add(
    "comments after a #, which `numpy.loadtxt` drops",
    "the ids",
    read("# VOC 2012\n2007_000032  # plane\n2007_000039\n"),
    "jiwoon-ahn/irn",
)
add("UTF-16 of a Windows editor", "the ids", read("\r\n".join(IDS).encode("utf-16")))
add("line ends of an old Mac (CR alone)", "the ids", read("\r".join(IDS)))
add(
    "paths with backslashes and capitals",
    "the ids",
    read("".join(f"JPEGImages\\{i}.JPG SegmentationClass\\{i}.PNG\r\n" for i in IDS)),
)
add(
    "cells of a spreadsheet, in quotes",
    "the ids",
    read("".join(f'"{i}.jpg","1"\n' for i in IDS)),
)
add(
    "names with blanks in them, as paths",
    "the ids, blanks kept",
    read("/J/my photo.jpg /S/my photo.png\n", ("my photo",)),
)
add(
    "a header above the ids",
    "refused: line named",
    refused("id,aeroplane\n2007_000032,1\n", "line 1: .*Write one image a line"),
)
add(
    "an image of another pair's mask",
    "refused: line named",
    refused("/JPEGImages/a.jpg /SegmentationClassAug/b.png\n", "image and mask differ"),
    "DrSleep/tensorflow-deeplab-resnet",
)
add(
    "a picture instead of a list",
    "refused: file named",
    refused(b"\x89PNG\r\n\x1a\n\0\0", "cannot be read"),
)
add(
    "one image under two names (`x`, `JPEGImages/x.jpg`)",
    "refused: both lines named",
    refused("a\nJPEGImages/a.jpg\n", "line 2: id 'a' is listed twice"),
)


def numbered_names(folder: Path) -> None:
    refused("IMG 1\nIMG 2\n", "write each with its suffix")(folder)
    read("IMG 1.jpg\nIMG 2.jpg\n", ("IMG 1", "IMG 2"))(folder)


add(
    "names that end in a number behind a blank",
    "refused, since numbers behind names are left out; with suffixes they are read",
    numbered_names,
)


def loaded(**options: str) -> Callable[[Path], tuple[str, ...]]:
    """Return what gives the ids that are trained on."""

    def ids(root: Path) -> tuple[str, ...]:
        dataset = open_dataset("voc2012", root, **options)
        view = dataset.weak_view(dataset.splits.train)
        return tuple(image.id for image in view)

    return ids


def aug(folder: Path) -> None:
    root = devkit(folder)
    write_list(root, "aug", [EXTRA])
    assert loaded(train_split="aug")(root) == (EXTRA,)
    masks = open_dataset("voc2012", root, train_split="aug").masks("aug")
    assert masks.path(EXTRA).parent.name == "SegmentationClassAug"


add(
    "`aug.txt`: SBD's images without VOC's own (`--train-split aug`)",
    "trained on, with the augmented masks",
    aug,
    "open-mmlab/mmsegmentation",
)


def trainaug(folder: Path) -> None:
    root = devkit(folder)
    path = root / "ImageSets" / "Segmentation" / "train_aug.txt"
    path.rename(path.with_name("trainaug.txt"))
    assert loaded()(root) == (*TRAIN, EXTRA)


add(
    "`trainaug.txt`",
    "the training list, without being named",
    trainaug,
    "open-mmlab/mmsegmentation",
)


def ids_behind_names(folder: Path) -> None:
    root = devkit(folder)
    for path in sorted((root / "ImageSets" / "Segmentation").iterdir()):
        path.rename(path.with_name(f"{path.stem}_id.txt"))
    dataset = open_dataset(
        "voc2012",
        root,
        train_split="train_aug_id",
        seeds_split="train_id",
        val_split="val_id",
    )
    assert len(dataset.weak_view("train_aug_id")) == 3
    assert dataset.masks("val_id").ids == (VAL,)


add(
    "lists called `train_aug_id.txt`, `train_id.txt`, `val_id.txt`",
    "read where the splits are named",
    ids_behind_names,
    "xulianuwa/MCTformer",
)


def second_folder(folder: Path) -> None:
    root = devkit(folder)
    lists = root / "ImageSets"
    (lists / "Segmentation" / "train_aug.txt").unlink()
    lines = [PSA.format(image_id).strip() for image_id in (*TRAIN, EXTRA)]
    write_list(root, "train_aug", lines, folder="SegmentationAug")
    assert loaded()(root) == (*TRAIN, EXTRA)


add(
    "lists of paths in `ImageSets/SegmentationAug`",
    "read; the devkit's own come first",
    second_folder,
    "kazuto1011/deeplab-pytorch",
)


def shared_with_val(folder: Path) -> None:
    root = devkit(folder)
    write_list(root, "mine", [*TRAIN, VAL])
    with pytest.raises(LeakError, match=r"1 images are also in 'val'"):
        loaded(train_split="mine")(root)


add(
    "a training list of one's own that holds an image of val",
    "refused: counted, with the first id",
    shared_with_val,
)


def with_val(name: str) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        root = devkit(folder)
        write_list(root, name, [PSA.format(i).strip() for i in (*TRAIN, VAL)])
        with pytest.raises(LeakError, match="training splits only"):
            loaded(train_split=name)(root)

    return check


add(
    "training on `trainaug_val.txt`",
    "refused: it holds val",
    with_val("trainaug_val"),
    "YudeWang/SEAM",
)
add(
    "training on `trainval_aug.txt`",
    "refused: it holds val",
    with_val("trainval_aug"),
    "kazuto1011/deeplab-pytorch",
)


def skip_list(folder: Path) -> None:
    path = folder / "skip.txt"
    path.write_text("JPEGImages\\2007_000032.JPG  # dark\r\n2007_000032\r\n")
    assert read_skip_list(path) == (TRAIN[0],)


add("a skip list of paths, an image twice", "the ids, each once", skip_list)
