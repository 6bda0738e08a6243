"""Image-level labels as this field's repositories ship them."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from field_case import FieldCase
from voc_fakes import CLASSES, EXTRA, LABELS, TRAIN, devkit, onehot, save_dict

from wsss_bench.cli import main
from wsss_bench.data import open_dataset
from wsss_bench.data.labels import read_onehot_labels
from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.errors import DataError, LeakError

CASES: list[FieldCase] = []
SHOWN = (*TRAIN, EXTRA)
HEADER = ("id", *VOC_CLASSES[1:])


def add(
    tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase("labels", tried, gives, check, reader))


def read(root: Path, **options: str) -> list[tuple[int, ...] | None]:
    """Return the labels of the training images."""
    view = open_dataset("voc2012", root, **options).weak_view("train_aug")
    return [image.labels for image in view]


def arrays(
    key: Callable[[str], object],
    vector: Callable[[np.ndarray], object] = lambda v: v,
    name: str = "cls_labels.npy",
) -> Callable[[Path], None]:
    """Return a check that a dict of vectors is found in the root and read; what differs is keys, vectors and name."""

    def check(folder: Path) -> None:
        root = devkit(folder)
        table = {key(i): vector(onehot(CLASSES[i])) for i in SHOWN}
        save_dict(root / name, table)
        assert read(root) == LABELS
        assert open_dataset("voc2012", root).labels_source == f"table {name}"

    return check


add(
    "`cls_labels.npy` with integers for ids (2007000032)",
    "read, by a reader that runs nothing",
    arrays(lambda image_id: np.int32(image_id.replace("_", ""))),
    "jiwoon-ahn/irn",
)
add(
    "`cls_labels.npy` with ids as text, float vectors",
    "read",
    arrays(str),
    "YudeWang/SEAM",
)
add(
    "`cls_labels.npy` with file names (`x.jpg`) for ids",
    "read",
    arrays(lambda image_id: f"{image_id}.jpg"),
    "xulianuwa/MCTformer",
)
add(
    "`cls_labels_onehot.npy`, whole numbers",
    "found in the root, and read",
    arrays(str, lambda v: v.astype(np.uint8), "cls_labels_onehot.npy"),
    "rulixiang/ToCo",
)


def of_val_too(folder: Path) -> None:
    root = devkit(folder)
    save_dict(root / "cls_labels.npy", {i: onehot(CLASSES[i]) for i in CLASSES})
    assert read(root) == LABELS
    with pytest.raises(LeakError, match="training splits only"):
        open_dataset("voc2012", root).weak_view("val")


add(
    "`cls_labels.npy` that holds the images of val as well",
    "read; labels of val are shown to nobody",
    of_val_too,
    "jiwoon-ahn/irn",
)
add(
    "vectors of 21 values, the background a 1 in front",
    "read without the background",
    arrays(str, lambda v: np.concatenate([[1], v])),
)
add(
    "vectors of 21 values, the background a 0 in front",
    "read without the background, since the last class occurs",
    arrays(str, lambda v: np.concatenate([[0], v])),
    "rulixiang/afa",
)


def coco_numbers(folder: Path) -> None:
    table = {9: onehot([1], 80), 25: onehot([80], 80)}
    path = save_dict(folder / "cls_labels_coco.npy", table)
    classes = ("background", *(f"class {k}" for k in range(1, 81)))
    ids = ("COCO_train2014_000000000009", "COCO_train2014_000000000025")
    found = read_onehot_labels(path, classes, ids)
    assert list(found.values()) == [(1,), (80,)]


add(
    "`cls_labels_coco.npy` with COCO's numbers for ids",
    "read",
    coco_numbers,
    "jbeomlee93/RIB",
)


def python2(folder: Path) -> None:
    root = devkit(folder)
    table = {image_id: onehot(CLASSES[image_id]) for image_id in SHOWN}
    path = folder / "labels.pickle"
    path.write_bytes(pickle.dumps(table, protocol=2))
    assert read(root, labels=str(path)) == LABELS


add("a bare pickle of such a dict (`--labels FILE.pickle`)", "read", python2)


def refused(make: Callable[[Path], Any], message: str) -> Callable[[Path], None]:
    """Return a check that a file is refused by name, and that the CSV which the message asks for is read."""

    def check(folder: Path) -> None:
        root = devkit(folder)
        path = folder / "labels.npy"
        np.save(path, make(folder), allow_pickle=True)
        with pytest.raises(DataError, match=rf"labels\.npy.*{message}.*a CSV with"):
            read(root, labels=str(path))
        words = ["--data-root", str(root), "--labels", str(path)]
        assert main(["data", "verify", "--dataset", "voc2012", *words]) == 1
        table = write_csv(folder / "labels.csv", {True: "1", False: "0"})
        assert read(root, labels=str(table)) == LABELS
        assert not (folder / "ran").exists()

    return check


def write_csv(path: Path, cells: Mapping[bool, str], between: str = ",") -> Path:
    lines = [between.join(HEADER)]
    for image_id in SHOWN:
        marks = [cells[k in CLASSES[image_id]] for k in range(1, 21)]
        lines.append(between.join((image_id, *marks)))
    path.write_text("\n".join(lines))
    return path


def soft(folder: Path) -> Any:
    table = {image_id: 0.7 * onehot(CLASSES[image_id]) for image_id in SHOWN}
    return np.array(table, dtype=object)


def cues(folder: Path) -> Any:
    table = {"0_labels": np.array([0, 14]), "0_cues": np.zeros((3, 5), np.int64)}
    return np.array(table, dtype=object)


def rows(folder: Path) -> Any:
    return np.stack([onehot(CLASSES[image_id]) for image_id in SHOWN])


def evil(folder: Path) -> Any:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(folder / "ran"),)

    return np.array({TRAIN[0]: Evil()}, dtype=object)


REMEDY = "the CSV that the message asks for is read"
add(
    "probabilities instead of 0 and 1",
    f"refused: image and value named; {REMEDY}",
    refused(soft, r"image '2007_000032': it holds 0\.7"),
)
add(
    "localisation cues instead of labels",
    f"refused: entry named; {REMEDY}",
    refused(cues, "image '0_labels': 2 values; 20 are needed"),
    "speedinghzl/DSRG",
)
add(
    "one array, its rows in the order of a list",
    f"refused: shape named; {REMEDY}",
    refused(rows, r"one array of shape \[3, 20\], and no names"),
)
add(
    "`cls_labels.npy` that would run a command",
    f"refused, nothing is run; {REMEDY}",
    refused(evil, "no file of arrays needs"),
)


def unclear(folder: Path) -> None:
    root = devkit(folder)
    table = {i: np.concatenate([onehot(CLASSES[i]), [0]]) for i in SHOWN}
    path = save_dict(folder / "labels.npy", table)
    with pytest.raises(DataError, match="not clear where the background is"):
        read(root, labels=str(path))
    save_dict(path, {key: row[:20] for key, row in table.items()})
    assert read(root, labels=str(path)) == LABELS


add(
    "vectors of 21 values, a 0 behind the classes",
    "refused: what was seen in front and behind; the 20 values alone are read",
    unclear,
)


def table(cells: Mapping[bool, str], between: str = ",") -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        root = devkit(folder)
        write_csv(root / "cls_labels.csv", cells, between)
        assert read(root) == LABELS

    return check


add("CSV with 1.0 and 0.0", "read", table({True: "1.0", False: "0.0"}))
add("CSV with True and False", "read", table({True: "True", False: "False"}))
add("CSV with semicolons", "read", table({True: "1", False: "0"}, ";"))


def main_lists(folder: Path) -> None:
    root = devkit(folder)
    lists = root / "ImageSets" / "Main"
    lists.mkdir()
    for k, name in enumerate(VOC_CLASSES[1:], 1):
        flags = {i: 1 if k in CLASSES[i] else -1 for i in SHOWN}
        # Only "difficult" objects of a class.
        if k == 8:
            flags[EXTRA] = 0
        text = "".join(f"{i} {flag:2d}\n" for i, flag in flags.items())
        (lists / f"{name}_trainval.txt").write_text(text)
    assert read(root, labels="main") == LABELS


add(
    "`ImageSets/Main/*_trainval.txt` with -1, 0 and 1 (`--labels main`)",
    "read; difficult objects count, as in the annotations",
    main_lists,
)


def annotations(folder: Path) -> None:
    assert read(devkit(folder)) == LABELS


add(
    "XML annotations whose objects have named parts",
    "read; parts are no classes",
    annotations,
    "jiwoon-ahn/irn",
)
