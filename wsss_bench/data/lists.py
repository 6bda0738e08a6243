"""Lists of images in every form that the field writes them in: one reader for all of them."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wsss_bench.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")
"""What names of images end with, in capitals too."""

_RESTORE = "Restore it from the original archive."
_LINE_END = re.compile(r"\r\n|\r|\n")
# `#` within a name is part of it; `numpy.loadtxt`, by which half of the field reads lists, would cut it there too.
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_NUMBERS = re.compile(r"(?:[\s,]+[+-]?\d+(?:\.0*)?)+$")
_SEPARATOR = re.compile(r"[\s,]+")
# A name with a suffix may have spaces in it, since its suffix tells where it ends.
_IMAGE = re.compile(r"[^\s,](?:[^,]*?)\.(?:jpe?g|png)(?=[\s,]|$)", re.IGNORECASE)
_FLAGS = ("-1", "0", "1", "+1")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_DRIVE = re.compile(r"^[a-zA-Z]:")
_SHOWN = 60
"""Letters of a faulty line that a message repeats."""
_LONGEST = 2048
"""Letters of the longest line; hardly a path is longer, and patterns take long on what is no list at all."""


@dataclass(frozen=True)
class ListedImage:
    """One line of a list.

    Attributes:
        id: the image's id.
        line: the line's number, from 1.
        numbered: whether numbers stood behind a name without a suffix.
    """

    id: str
    line: int
    numbered: bool = False


def read_ids(path: Path) -> tuple[str, ...]:
    """Return the image ids of a list file, in order.

    A line is an id, or the name or path of an image (its id is the last part without ``.jpg``, ``.jpeg`` or ``.png``).
    Understood besides: pairs of paths (``/JPEGImages/x.jpg /SegmentationClassAug/x.png``); numbers behind either, which
    are left out (``x.jpg 0 7``, ``x -1``); commas, tabs or blanks between the columns; backslashes in paths;
    byte-order marks, UTF-16, and all three line ends; comments after a ``#``. What is neither paths nor numbers is an
    id with blanks in it.

    Raises:
        DataError: the list is missing, no text, empty, names an id twice, pairs an image with another image's mask,
            or holds what cannot be an id.
    """
    found: dict[str, ListedImage] = {}
    for image in read_lines(path):
        before = found.get(image.id)
        if before is not None:
            raise _twice(path, before, image)
        found[image.id] = image
    if not found:
        raise DataError(f"list {path} is empty. {_RESTORE}")
    _refuse_doubtful(path, found)
    return tuple(found)


def read_lines(
    path: Path, kind: str = "list", fix: str = _RESTORE
) -> list[ListedImage]:
    """Return what each line of a list names, blank lines and comments left out; an id may come twice.

    Args:
        path: the list.
        kind: what messages call it.
        fix: what to do where it cannot be read.

    Raises:
        DataError: the list cannot be read, or a line in it cannot be understood.
    """
    found = []
    for number, line in _lines(path, kind, fix):
        where = f"{kind} {path}, line {number}"
        found.append(_read_line(line, number, where))
    return found


def read_flags(path: Path) -> dict[str, int]:
    """Return -1, 0 or 1 by image id, from a list of one class as they lie in the devkit's ``ImageSets/Main``.

    Raises:
        DataError: the list cannot be read, or a line is anything but an id and one of these numbers.
    """
    flags: dict[str, int] = {}
    for number, line in _lines(path, "list", _RESTORE):
        image_id, *numbers = line.split()
        if len(numbers) != 1 or numbers[0] not in _FLAGS:
            what = f"{line[:_SHOWN]!r} is no id with -1, 0 or 1 behind it."
            raise DataError(f"list {path}, line {number}: {what} {_RESTORE}")
        flags[image_id] = int(numbers[0])
    return flags


def _lines(path: Path, kind: str, fix: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of every line that holds more than a comment."""
    try:
        text = _decode(path.read_bytes())
    except (OSError, UnicodeError) as error:
        what = f"{kind} {path} cannot be read ({error})."
        raise DataError(f"{what} {fix}") from error
    for number, line in enumerate(_LINE_END.split(text), 1):
        if "#" in line:
            line = _COMMENT.sub("", line)
        # Quotes are what a spreadsheet puts around cells.
        bare = line.replace('"', " ").strip(" \t,")
        if bare:
            yield number, bare


def _decode(raw: bytes) -> str:
    # Windows' editors save "Unicode" as UTF-16, with a mark in front.
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16")
    return raw.decode("utf-8-sig")


def _read_line(line: str, number: int, where: str) -> ListedImage:
    if len(line) > _LONGEST:
        what = f"{line[:_SHOWN]!r}… has {len(line)} letters."
        raise DataError(f"{where}: {what} Write one image a line.")
    # Nearly every line of nearly every list, and some lists have a hundred thousand.
    if _BARE.fullmatch(line):
        return ListedImage(line, number)
    bare = _NUMBERS.sub("", line)
    paths = _paths(bare)
    if paths:
        ids = {stem_of(path) for path in paths}
        if len(ids) != 1:
            what = f"image and mask differ in name ({line[:_SHOWN]!r})."
            raise DataError(f"{where}: {what} Correct the line.")
        image_id = ids.pop()
    else:
        image_id = _plain_id(bare, where)
    # An id becomes part of file names, which must stay in their folder.
    if not is_image_id(image_id):
        what = f"{image_id[:_SHOWN]!r} is no image id."
        raise DataError(f"{where}: {what} Restore the list, or correct the line.")
    numbered = bare != line and not paths
    return ListedImage(image_id, number, numbered)


def _paths(line: str) -> list[str]:
    """Return the names of images with suffixes that a line consists of; none where it holds anything else."""
    found = _IMAGE.findall(line)
    rest = _IMAGE.sub("", line)
    return [] if _SEPARATOR.sub("", rest) else found


def _plain_id(line: str, where: str) -> str:
    """Return the id of a line without suffixes; raises `DataError` where it may mean another file."""
    if "," in line:
        what = f"{line[:_SHOWN]!r} is neither an id, nor paths, nor numbers behind one."
        raise DataError(f"{where}: {what} Write one image a line.")
    path = PurePosixPath(line.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or _DRIVE.match(line):
        what = f"{line[:_SHOWN]!r} is no image id: it leads to another folder."
        raise DataError(f"{where}: {what} Write the bare id.")
    columns = line.split()
    # Two paths without suffixes are a pair too.
    if len(columns) > 1 and all(_has_folder(column) for column in columns):
        ids = {stem_of(column) for column in columns}
        if len(ids) == 1:
            return ids.pop()
        what = f"image and mask differ in name ({line[:_SHOWN]!r})."
        raise DataError(f"{where}: {what} Correct the line.")
    return path.name


def _has_folder(column: str) -> bool:
    return "/" in column or "\\" in column


def stem_of(path: str) -> str:
    """Return the last part of a path, with either sort of slash, without an image's suffix."""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    stem, _, suffix = name.rpartition(".")
    return stem if f".{suffix.lower()}" in SUFFIXES else name


def is_image_id(text: str) -> bool:
    """Return whether a text can be an id: one printable part of a file name that is not hidden."""
    if not text or text.startswith("."):
        return False
    return text.isprintable() and not _has_folder(text)


def _twice(path: Path, before: ListedImage, image: ListedImage) -> DataError:
    where = f"list {path}, line {image.line}"
    what = f"id {image.id!r} is listed twice (first in line {before.line})."
    fix = "Remove one."
    if before.numbered and image.numbered:
        # "IMG 1" and "IMG 2" look like ids with numbers behind them.
        fix = "Remove one; or, where the numbers belong to the ids, write each with its suffix (.jpg)."
    return DataError(f"{where}: {what} {fix}")


def _refuse_doubtful(path: Path, found: dict[str, ListedImage]) -> None:
    """Raise `DataError` where numbers stand behind some ids, and blanks within others."""
    numbered = [image for image in found.values() if image.numbered]
    spaced = [one for one in found.values() if " " in one.id and not one.numbered]
    if not numbered or not spaced:
        return
    first = numbered[0]
    other = spaced[0]
    what = (
        f"line {first.line} has a number behind the id {first.id!r}, "
        f"line {other.line} an id with blanks ({other.id!r})"
    )
    fix = "Write every image with its suffix (.jpg), so that it is clear where its name ends."
    raise DataError(f"list {path}: {what}. {fix}")
