from __future__ import annotations

from pathlib import Path

import pytest

from wsss_bench.data.files import FolderIndex
from wsss_bench.data.lists import is_image_id, read_ids, read_lines, stem_of
from wsss_bench.data.skipping import read_skip_list
from wsss_bench.errors import DataError

FORMS = {
    "ids": ("a\nb\n", ("a", "b")),
    "CRLF": ("a\r\nb\r\n\r\n", ("a", "b")),
    "CR alone": ("a\rb\r", ("a", "b")),
    "no end": ("a\nb", ("a", "b")),
    "byte-order mark": ("\ufeffa\nb", ("a", "b")),
    "two paths": ("/J/a.jpg /S/a.png\n", ("a",)),
    "two paths with commas": ("J/a.jpg,S/a.png\n", ("a",)),
    "two paths without suffixes": ("J/a S/a\n", ("a",)),
    "backslashes": ("J\\a.jpg S\\a.png\n", ("a",)),
    "a drive": ("C:\\J\\a.jpg\n", ("a",)),
    "a path upwards": ("../VOC2012/JPEGImages/a.jpg\n", ("a",)),
    "capitals": ("a.JPG\nb.Jpeg\nc.PNG\n", ("a", "b", "c")),
    "image and numbers": ("x.jpg 0 7\ny.jpg 10581\n", ("x", "y")),
    "presence of a class": ("a -1\nb  0\nc  1\n", ("a", "b", "c")),
    "cells": ("a,1,0\nb,0,1.0\n", ("a", "b")),
    "quotes": ('"a.jpg","1"\n', ("a",)),
    "tabs": ("a\t1\nb\t0\n", ("a", "b")),
    "blanks in names": ("my photo\nother photo.jpg\n", ("my photo", "other photo")),
    "blanks in paths": ("/J/a b.jpg /S/a b.png\n", ("a b",)),
    "blanks and numbers": ("a b.jpg 0 7\n", ("a b",)),
    "numbered names": ("IMG 1.jpg\nIMG 2.jpg\n", ("IMG 1", "IMG 2")),
    "comments": ("# mine\na  # dark\nb#2\n", ("a", "b#2")),
    "bare numbers": ("2007000032\n9\n", ("2007000032", "9")),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str) -> None:
    text, ids = FORMS[form]
    (tmp_path / "l.txt").write_bytes(text.encode())
    assert read_ids(tmp_path / "l.txt") == ids


@pytest.mark.parametrize("code", ["utf-16", "utf-16-le", "utf-16-be"])
def test_windows_unicode(tmp_path: Path, code: str) -> None:
    text = "ä\r\nb\r\n" if code == "utf-16" else "\ufeffä\r\nb\r\n"
    (tmp_path / "l.txt").write_bytes(text.encode(code))
    assert read_ids(tmp_path / "l.txt") == ("ä", "b")


BAD = {
    "nothing": (b"", "is empty"),
    "comments alone": (b"# a\n \n", "is empty"),
    "an image": (b"\x89PNG\r\n\x1a\n", "cannot be read"),
    "an archive": (b"PK\x03\x04\0\0", "line 1: .* is no image id"),
    "half of UTF-16": (b"\xff\xfea\x00\n", "cannot be read"),
    "a name twice": (b"a\nb\na\n", r"line 3: id 'a' is listed twice .first in line 1"),
    "a name twice, by path": (b"J/a.jpg\nJ/a.JPG\n", "line 2: id 'a' is listed twice"),
    "blanks before numbers": (b"IMG 1\nIMG 2\n", "write each with its suffix"),
    "numbers and blanks": (b"IMG 1\nmy IMG\n", "line 1 .* line 2 an id with blanks"),
    "another mask": (b"J/a.jpg S/b.png\n", "line 1: image and mask differ"),
    "another mask, no suffix": (b"J/a S/b\n", "line 1: image and mask differ"),
    "several ids": (b"a, b, c\n", "line 1: .* Write one image a line"),
    "a header": (b"id,aeroplane,cat\na,1,0\n", "line 1: .* neither an id, nor paths"),
    "upwards": (b"a\n../../b\n", "line 2: .* leads to another folder"),
    "absolute": (b"/etc/passwd\n", "line 1: .* leads to another folder"),
    "of a drive": (b"C:\\data\\a\n", "line 1: .* leads to another folder"),
    "dots": (b"..\n", "line 1: .* leads to another folder"),
    "hidden": (b".a\n", "line 1: '.a' is no image id"),
    "a suffix alone": (b".jpg\n", "line 1: '.jpg' is no image id"),
    "control characters": (b"a\nb\0\n", "line 2: .* is no image id"),
    "no end of a line": (b"a" * 5000, "line 1: .* has 5000 letters"),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_no_list_is_refused_by_file_and_line(
    tmp_path: Path, fault: str
) -> None:
    raw, message = BAD[fault]
    (tmp_path / "l.txt").write_bytes(raw)
    with pytest.raises(DataError, match=rf"list .*l\.txt.*{message}.*\."):
        read_ids(tmp_path / "l.txt")


def test_the_remedy_for_numbered_names_works(tmp_path: Path) -> None:
    path = tmp_path / "l.txt"
    path.write_text("IMG 1\nIMG 2\n")
    with pytest.raises(DataError, match=r"with its suffix \(\.jpg\)"):
        read_ids(path)
    path.write_text("IMG 1.jpg\nIMG 2.jpg\n")
    assert read_ids(path) == ("IMG 1", "IMG 2")


def test_a_missing_list_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_ids(path)


def test_lines_know_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("\na\n# b\na\n")
    found = read_lines(tmp_path / "l.txt")
    assert [(one.id, one.line) for one in found] == [("a", 2), ("a", 4)]


def test_skip_lists_are_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "skip.txt"
    path.write_text("JPEGImages\\a.JPG  # dark\r\nb\r\na\r\n")
    assert read_skip_list(path) == ("a", "b")
    path.write_text("")
    assert read_skip_list(path) == ()
    path.write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"skip list .*--write-skip FILE"):
        read_skip_list(path)


def test_stems_and_ids() -> None:
    assert stem_of("x/y\\2007.a.JPG") == "2007.a"
    assert stem_of("a.tif") == "a.tif"
    assert is_image_id("COCO_train2014_000000000009")
    assert not is_image_id("")


def test_a_folder_is_listed_once_and_finds_any_case(tmp_path: Path) -> None:
    for name in ("a.JPG", "b.jpeg", "c.PNG", "d.txt", "e.jpg", "e.png"):
        (tmp_path / name).write_bytes(b"")
    index = FolderIndex(tmp_path)
    found = [index.find(stem) for stem in "abcd"]
    names = [path and path.name for path in found]
    assert names == ["a.JPG", "b.jpeg", "c.PNG", None]
    assert sorted(index.stems) == ["a", "b", "c", "e"]
    with pytest.raises(DataError, match=r"'e\.jpg' and 'e\.png'.*Remove the other"):
        index.find("e")
    # Listed once.
    (tmp_path / "f.jpg").write_bytes(b"")
    assert index.find("f") is None
    assert index.default("f") == tmp_path / "f.jpg"
    assert FolderIndex(tmp_path / "none").find("a") is None
