from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from wsss_bench.data.labels import (
    MainLabels,
    find_table,
    read_label_file,
    read_label_table,
    read_onehot_labels,
)
from wsss_bench.data.labels.common import number_of
from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.errors import DataError

IDS = ("2007_000032", "2007_000039")
WANTED = {"2007_000032": (1, 15), "2007_000039": (20,)}
SMALL = ("background", "cat", "dog", "tv/monitor")


def onehot(*present: int, size: int = 20, dtype: Any = np.float32) -> np.ndarray:
    vector = np.zeros(size, dtype)
    vector[[k - 1 for k in present]] = 1
    return vector


def save(path: Path, table: Any) -> Path:
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
    return path


FIRST, SECOND = onehot(1, 15), onehot(20)
FORMS: dict[str, Any] = {
    "text": {"2007_000032": FIRST, "2007_000039": SECOND},
    "integers": {2007000032: FIRST, 2007000039: SECOND},
    "numpy's integers": {np.int32(2007000032): FIRST, np.int64(2007000039): SECOND},
    "integers as text": {"2007000032": FIRST, "2007000039": SECOND},
    "file names": {"2007_000032.jpg": FIRST, "JPEGImages/2007_000039.JPG": SECOND},
    "numpy's text": {np.str_("2007_000032"): FIRST, np.str_("2007_000039"): SECOND},
    "bytes": {b"2007_000032": FIRST, b"2007_000039": SECOND},
    "lists": {"2007_000032": FIRST.tolist(), "2007_000039": SECOND.tolist()},
    "rows": {"2007_000032": FIRST[None], "2007_000039": SECOND[None]},
    "more images": {
        "2007_000032": FIRST,
        "2007_000039": SECOND,
        "2007_000061": onehot(),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_dicts_of_vectors(tmp_path: Path, form: str) -> None:
    path = save(tmp_path / "cls_labels.npy", FORMS[form])
    assert read_onehot_labels(path, VOC_CLASSES, IDS) == WANTED


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float64])
def test_types_of_numbers(tmp_path: Path, dtype: Any) -> None:
    table = {"2007_000032": FIRST.astype(dtype), "2007_000039": SECOND.astype(dtype)}
    path = save(tmp_path / "l.npy", table)
    assert read_label_file(path, VOC_CLASSES, IDS) == WANTED


def test_pickles_without_numpys_header(tmp_path: Path) -> None:
    for protocol in (0, 2, 4):
        path = tmp_path / f"l{protocol}.pkl"
        path.write_bytes(pickle.dumps(FORMS["text"], protocol))
        assert read_label_file(path, VOC_CLASSES, IDS) == WANTED


def test_numbers_of_coco(tmp_path: Path) -> None:
    ids = ("COCO_train2014_000000000009", "COCO_train2014_000000000025")
    vectors = (onehot(1, size=80), onehot(80, size=80))
    for keys in ((9, 25), ("000000000009", "000000000025"), ids):
        path = save(tmp_path / "l.npy", dict(zip(keys, vectors, strict=True)))
        classes = ("background", *map(str, range(80)))
        found = read_onehot_labels(path, classes, ids)
        assert list(found.values()) == [(1,), (80,)]


def test_names_come_before_numbers(tmp_path: Path) -> None:
    table = {"a_1": onehot(1), 1: onehot(2)}
    path = save(tmp_path / "l.npy", table)
    found = read_onehot_labels(path, VOC_CLASSES, ("a_1", "b_1"))
    assert found == {"a_1": (1,), "b_1": (2,)}
    with pytest.raises(DataError, match=r"'b_1' and 'c_1' are both 1 there"):
        read_onehot_labels(path, VOC_CLASSES, ("b_1", "c_1"))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("2007_000032", 2007000032),
        ("COCO_val2014_000000000042", 42),
        ("000000000042", 42),
        ("a", None),
        ("a_", None),
        ("9" * 30, None),
    ],
)
def test_numbers_of_names(name: str, number: int | None) -> None:
    assert number_of(name) == number


def with_background(first: float, *rows: list[float]) -> dict[str, list[float]]:
    return {f"i{k}": [first, *row] for k, row in enumerate(rows)}


def test_a_background_in_front_is_known_by_being_constant(tmp_path: Path) -> None:
    ids = ("i0", "i1")
    for first in (0, 1):
        table = with_background(first, [1, 0, 0], [0, 1, 1])
        path = save(tmp_path / "l.npy", table)
        found = read_onehot_labels(path, SMALL, ids)
        assert found == {"i0": (1,), "i1": (2, 3)}
    # With a 1 in front, no image needs to show the last class.
    path = save(tmp_path / "l.npy", with_background(1, [1, 0, 0], [0, 1, 0]))
    assert read_onehot_labels(path, SMALL, ids) == {"i0": (1,), "i1": (2,)}


AMBIGUOUS = {
    "nothing in front or behind": with_background(0, [1, 0, 0], [0, 1, 0]),
    "background behind": {"i0": [1, 0, 0, 1], "i1": [0, 1, 0, 1]},
    "zeros behind": {"i0": [1, 0, 0, 0], "i1": [0, 1, 0, 0]},
    "ones around": with_background(1, [1, 0, 1], [0, 1, 1]),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_place_too_many_is_refused_where_it_is_not_clear(
    tmp_path: Path, case: str
) -> None:
    path = save(tmp_path / "l.npy", AMBIGUOUS[case])
    message = r"4 values an image for 3 classes; the first value is .* not clear"
    with pytest.raises(DataError, match=message):
        read_onehot_labels(path, SMALL, ("i0", "i1"))
    # What the message says to do works.
    rows = {key: row[1:] for key, row in AMBIGUOUS[case].items()}
    assert read_onehot_labels(save(path, rows), SMALL, ("i0", "i1"))


class Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


BAD: dict[str, tuple[Any, str]] = {
    "probabilities": ({"i0": [0.7, 0, 1]}, r"image 'i0': it holds 0\.7"),
    "no number": ({"i0": [float("nan"), 0, 1]}, "it holds nan"),
    "minus ones": ({"i0": [-1, 1, -1]}, "it holds -1"),
    "counts": ({"i0": [2, 0, 1]}, "it holds 2, which is neither 0 nor 1"),
    "class ids": ({"i0": [1]}, "1 values; 3 are needed, one a class .4 with"),
    "other classes": ({"i0": [0] * 20}, "20 values; 3 are needed"),
    "two lengths": ({"i0": [0, 1, 0], "i1": [1, 0, 1, 0]}, "image 'i1': 4 values"),
    "words": ({"i0": np.array(["cat"])}, "no vector of numbers"),
    "a dict in a dict": ({"i0": {"a": np.zeros(3)}}, "no vector of numbers"),
    "no image": ({}, "holds no image"),
    "another image": ({"x": [0, 1, 0]}, "no row for 1 of 1 images .first: 'i0'"),
    "one name twice": (
        {"i0": [0, 1, 0], "i0.jpg": [1, 0, 0]},
        r"image 'i0\.jpg' has two entries",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_other_dicts_are_refused(tmp_path: Path, case: str) -> None:
    table, message = BAD[case]
    path = save(tmp_path / "cls_labels.npy", table)
    with pytest.raises(DataError, match=rf"label table .*cls_labels\.npy.*{message}"):
        read_onehot_labels(path, SMALL, ["i0"])


def test_the_remedy_works(tmp_path: Path) -> None:
    path = save(tmp_path / "l.npy", {"i0": [0.7, 0, 1]})
    with pytest.raises(DataError, match="CSV with the header id,<class names> and"):
        read_label_file(path, SMALL, ["i0"])
    table = tmp_path / "l.csv"
    table.write_text("id,cat,dog,tv/monitor\ni0,1,0,1\n")
    assert read_label_file(table, SMALL, ["i0"]) == {"i0": (1, 3)}


def test_an_array_without_names_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "l.npy", np.zeros((7, 3)))
    with pytest.raises(DataError, match=r"one array of shape \[7, 3\], and no names"):
        read_onehot_labels(tmp_path / "l.npy", SMALL, ["i0"])


def test_nothing_that_a_file_brings_is_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    path = save(tmp_path / "l.npy", {"i0": Evil(ran)})
    with pytest.raises(DataError, match="no file of arrays needs"):
        read_onehot_labels(path, SMALL, ["i0"])
    assert not ran.exists()


@pytest.mark.parametrize("name", ["l.npy", "l.pkl", "l.csv"])
def test_missing_and_damaged_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for _ in range(2):
        with pytest.raises(DataError, match=rf"label table .*{name} .*--labels FILE"):
            read_label_file(path, SMALL, ["i0"])
        path.write_bytes(b"\x93NUMPY\x01\x00\xff\xfe")


CELLS = {
    "floats": "id,cat,dog,tvmonitor\na,1.0,0.0,0.0\nb,0.,1.,1.\n",
    "truth": "id,cat,dog,tvmonitor\na,True,False,False\nb,FALSE,TRUE,TRUE\n",
    "semicolons": "id;cat;dog;tv/monitor\na;1;0;0\nb;0;1;1\n",
    "tabs": "id\tcat\tdog\ttv monitor\na\t1\t0\t0\nb\t0\t1\t1\n",
    "file names": "ID,Cat,Dog,TV Monitor\na.jpg,1,0,0\nJPEGImages/b.JPG,0,1,1\n",
    "a mark and CRLF": "\ufeffid,cat,dog,tvmonitor\r\na,1,0,0\r\nb,0,1,1\r\n",
    "quotes": '"id","cat","dog","tvmonitor"\n"a","1","0","0"\n"b","0","1","1"\n',
}


@pytest.mark.parametrize("case", CELLS)
def test_tables(tmp_path: Path, case: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(CELLS[case], newline="")
    assert read_label_table(path, SMALL, ("a", "b")) == {"a": (1,), "b": (2, 3)}


def test_tables_with_numbers_for_names(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    path.write_text("id,cat,dog,tvmonitor\n2007000032,1,0,0\n")
    found = read_label_table(path, SMALL, ["2007_000032"])
    assert found == {"2007_000032": (1,)}


@pytest.mark.parametrize("cell", ["0.5", "2", "-1", "yes", ""])
def test_cells_that_are_neither(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "l.csv"
    path.write_text(f"id,cat,dog,tvmonitor\na,1,0,{cell}\n")
    with pytest.raises(DataError, match="line 2: 3 cells of 0 or 1 are needed"):
        read_label_table(path, SMALL, ["a"])


def write_main(folder: Path, part: str, flags: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in flags.items():
        (folder / f"{name}_{part}.txt").write_text(text)


MAIN = ("background", "cat", "dog")


def test_lists_of_classes(tmp_path: Path) -> None:
    folder = tmp_path / "Main"
    write_main(folder, "train", {"cat": "a  1\nb -1\n", "dog": "a -1\nb  0\n"})
    write_main(folder, "val", {"cat": "c -1\n", "dog": "c  1\n"})
    # Difficult objects count, as they do in the annotations.
    found = MainLabels(folder, MAIN).read(["a", "b"])
    assert found == {"a": (1,), "b": (2,)}
    assert MainLabels(folder, MAIN).read(["c", "a"]) == {"c": (2,), "a": (1,)}
    # The longest list alone is enough.
    write_main(folder, "trainval", {"cat": "a -1\n", "dog": "a -1\n"})
    assert MainLabels(folder, MAIN).read(["a"]) == {"a": ()}


def test_lists_of_classes_that_cannot_be_used(tmp_path: Path) -> None:
    folder = tmp_path / "Main"
    reader = MainLabels(folder, MAIN)
    with pytest.raises(DataError, match=r"Main does not exist.*--labels FILE"):
        reader.read(["a"])
    write_main(folder, "train", {"cat": "a 1\n"})
    with pytest.raises(DataError, match=r"lacks dog_trainval\.txt"):
        reader.read(["a"])
    write_main(folder, "train", {"dog": "a 2\n"})
    with pytest.raises(DataError, match=r"dog_train\.txt, line 1: 'a 2' is no id"):
        reader.read(["a"])
    write_main(folder, "train", {"dog": "a\n"})
    with pytest.raises(DataError, match="line 1: 'a' is no id with -1, 0 or 1"):
        reader.read(["a"])
    write_main(folder, "train", {"dog": "b 1\n"})
    with pytest.raises(DataError, match=r"no line for 1 of 1 images .first: 'a'"):
        reader.read(["a"])


def test_tables_in_a_root_are_found_by_name(tmp_path: Path) -> None:
    assert find_table(tmp_path) is None
    for name in ("cls_labels_onehot.npy", "cls_labels.npy", "cls_labels.csv"):
        (tmp_path / name).write_bytes(b"")
        found = find_table(tmp_path)
        assert found is not None
        assert re.fullmatch(name, found.name)
