"""What `evaluate` and `export` say of a truth, of options and of lists."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

from exchange_fakes import (
    crf,
    devkit,
    refused,
    run,
    truth,
    write,
    write_labels,
)
from field_case import FieldCase

from wsss_bench.exchange.archives import export_voc

CASES: list[FieldCase] = []


def add(
    kind: str, tried: str, gives: str, check: Callable[[Path], None], reader: str = ""
) -> None:
    CASES.append(FieldCase(kind, tried, gives, check, reader))


# ---- the truth, and options
VOC = ("--dataset", "voc2012", "--data-root")


def no_border(tmp_path: Path) -> None:
    for border in (True, False):
        masks = truth(border)
        place = tmp_path / str(border)
        root = devkit(place / "VOC2012", masks)
        folder = write_labels(place / "p", masks)
        status, said = run("evaluate", folder, *VOC, root, "--split", "val")
        assert status == 0, said
        assert ("(255)" in said) is not border, said


add(
    "predictions",
    "a truth without an ignored border (SegmentationClassAug alone)",
    "scored, and warned of: numbers do not compare",
    no_border,
    "jiwoon-ahn/irn",
)


def thresholds(tmp_path: Path) -> None:
    root = devkit(tmp_path / "VOC2012", masks := truth())
    cams = write(tmp_path / "cam", crf, masks)
    for value, words in (
        ("15", "15 % is given as 0.15"),
        ("-0.1", "outside 0..1"),
        ("nan", ""),
    ):
        split = ("--split", "train", f"--threshold={value}")
        status, said = run("evaluate", cams, *VOC, root, *split)
        assert status == 2
        assert words in said, said


add(
    "scores",
    "--threshold 15, -0.1, nan",
    "refused: 0..1, and what a percentage is given as",
    thresholds,
)


def idle(tmp_path: Path) -> None:
    root = devkit(tmp_path / "VOC2012", masks := truth())
    folder = write_labels(tmp_path / "p", masks)
    options = ("--threshold", "0.3", "--array", "cam")
    _, said = run("evaluate", folder, *VOC, root, *options)
    for name in ("--threshold", "--array"):
        assert f"{name} has no effect on prediction" in said
    out = ("--out", tmp_path / "a.tgz", "--device", "cpu", "--split", "val")
    _, said = run("export", "voc-test", folder, *out)
    for name in ("--device", "--split"):
        assert f"{name} has no effect on a folder" in said
    assert "--out has no effect" not in said


add(
    "predictions",
    "options that change nothing for such a folder",
    "named; the command goes on",
    idle,
)

# ---- lists for export


def listed(tmp_path: Path, content: bytes) -> Callable[[], object]:
    masks = truth(count=2)
    folder = write_labels(tmp_path / "p", masks)
    ids = tmp_path / "test.txt"
    ids.write_bytes(content)
    return lambda: export_voc(folder, tmp_path / "a.tgz", ids)


def two_columns(tmp_path: Path) -> None:
    lines = [
        f"/JPEGImages/2007_{number:06}.jpg /SegmentationClassAug/2007_{number:06}.png"
        for number in range(2)
    ]
    listed(tmp_path, "\r\n".join(lines).encode())()
    with tarfile.open(tmp_path / "a.tgz") as archive:
        names = [Path(name).name for name in archive.getnames()]
    assert names == ["2007_000000.png", "2007_000001.png"]


add(
    "lists",
    "export --ids: two columns of paths, CRLF",
    "packed",
    two_columns,
    "kazuto1011/deeplab-pytorch",
)


def bad_lists(tmp_path: Path) -> None:
    binary = b"\x89PNG\r\n\x1a\n\x00\xff\xfe"
    for content, word in (
        (binary, "test.txt"),
        (b"2007_000000\n2007_000000\n", "twice"),
        (b"2007_000000\n../../2007_000001\n", "no image id"),
        (b"", "test.txt"),
    ):
        refused(listed(tmp_path, content), word)
        assert not (tmp_path / "a.tgz").exists()


add(
    "lists",
    "export --ids: a binary file, an id twice, '../', nothing",
    "refused; nothing lies outside the archive's folder",
    bad_lists,
)
