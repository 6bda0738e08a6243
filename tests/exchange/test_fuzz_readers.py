"""Damaged bytes into every reader: each gives one of the package's errors, or a sound value where a format allows it.

Formats with checksums (PNG, zip) must never give another value than the one that was written: `exact` below.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_input_cases import Place
from boards_fakes import add_run
from PIL import Image

from wsss_bench.contract.artifacts import (
    LabelSet,
    LabelWriter,
    Seed,
    SeedSet,
    SeedWriter,
    read_segmentor,
)
from wsss_bench.contract.view import WeakImage, WeakView
from wsss_bench.data.coco.index import (
    MASK_IDS,
    by_image,
    index_images,
    read_annotations,
)
from wsss_bench.data.coco.masks import paint
from wsss_bench.data.labels import XmlLabels, read_label_table
from wsss_bench.data.masks import read_mask
from wsss_bench.data.skipping import read_skip_list
from wsss_bench.data.voc.lists import VOC_CLASSES, read_ids
from wsss_bench.data.voc.sbd import _convert
from wsss_bench.errors import WsssError
from wsss_bench.evaluate import Counts, ThresholdCurve
from wsss_bench.exchange.folders import read_label
from wsss_bench.exchange.legacy import read_seed
from wsss_bench.io.files import write_json
from wsss_bench.io.images import read_image, write_mask
from wsss_bench.results.published import load_published
from wsss_bench.results.records import load_record
from wsss_bench.runs.ledger import read_cells
from wsss_bench.runs.store.folders import StageSpec, Store, verify_folder

ROUNDS = 80
SIZE = (12, 16)
CLASSES = ("background", "cat", "dog")


@dataclass(frozen=True)
class Reader:
    """How to make a sound file, how to read it, and what any value read must be."""

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    sound: Callable[[Any], bool] = lambda value: True
    exact: bool = False


def view(folder: Path) -> WeakView:
    Image.new("RGB", SIZE[::-1]).save(folder / "a.png")
    image = WeakImage("a", folder / "a.png", (1, 2))
    return WeakView("any", "train", CLASSES, [image])


def truth() -> np.ndarray:
    mask = np.random.default_rng(3).integers(0, 3, SIZE).astype(np.uint8)
    mask[0] = 255
    return mask


def seed() -> Seed:
    scores = np.random.default_rng(4).random((2, 4, 5), np.float32)
    return Seed(np.array([1, 2]), scores, SIZE)


def mask_file(folder: Path) -> Path:
    write_mask(folder / "m.png", truth())
    return folder / "m.png"


def noise() -> Image.Image:
    rng = np.random.default_rng(5)
    return Image.fromarray(rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8))


def jpeg(folder: Path) -> Path:
    noise().save(folder / "p.jpg")
    return folder / "p.jpg"


def photo_png(folder: Path) -> Path:
    noise().save(folder / "p.png")
    return folder / "p.png"


def seeds_folder(folder: Path) -> Path:
    out = SeedWriter(folder / "s", view(folder), "test")
    out.write("a", seed())
    out.close()
    return folder / "s" / "items" / "000.npz"


def one_seed(folder: Path) -> Path:
    found = seed()
    path = folder / "a.npz"
    np.savez_compressed(path, class_ids=found.class_ids, scores=found.scores)
    return path


def labels_folder(folder: Path) -> Path:
    out = LabelWriter(folder / "l", view(folder), "test")
    out.write("a", truth())
    out.close()
    return out.file("a")


def irn(folder: Path) -> Path:
    content = {"keys": np.array([0, 1]), "high_res": seed().scores}
    np.save(folder / "a.npy", np.array(content, dtype=object), allow_pickle=True)
    return folder / "a.npy"


def run_file(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        record = add_run(folder, "cam", images=3)
        return folder / "runs" / "shapes" / record.run_id / name

    return make


def text(name: str, content: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(content)
        return folder / name

    return make


def segmentor(folder: Path) -> Path:
    write_json(
        folder / "segmentor.json",
        {
            "config": "c.py",
            "checkpoint": "w.pth",
            "test": {"crf": ""},
            "facts": {"a": "b"},
        },
    )
    return folder / "segmentor.json"


def coco(folder: Path) -> Path:
    Place(folder).instances()
    return folder / "coco" / "annotations" / "instances_train2014.json"


def read_coco(path: Path) -> Any:
    data = read_annotations(path)
    images, groups = index_images(path, data), by_image(data)
    try:
        return [
            paint(groups[image.id], MASK_IDS, image.height, image.width)
            for image in images
        ]
    except ValueError as error:  # what data.coco turns into a DataError
        raise WsssError(str(error)) from error


def stage(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        found = Store(folder / "store").folder(StageSpec("refine", {"x": 1}))
        found.begin()
        (found.out / "a.txt").write_text("a")
        found.list_files()
        found.commit({"seconds": 1.0})
        return found.path / name

    return make


def cells(folder: Path) -> Path:
    keys = {
        "cell": "c",
        "started": "2026-01-01",
        "recipe": "cam",
        "dataset": "d",
        "seed": 0,
        "profile": "p",
        "steps": [],
    }
    write_json(folder / "cells" / "c.json", {**keys, "failure": None, "run_id": None})
    return folder / "cells" / "c.json"


def mat(folder: Path) -> Path:
    from scipy.io import savemat

    savemat(
        folder / "m.mat",
        {"GTcls": {"Segmentation": np.where(truth() == 255, 0, truth())}},
        do_compression=True,
    )
    return folder / "m.mat"


def convert(path: Path) -> Any:
    target = path.with_name("out.png")
    target.unlink(missing_ok=True)
    _convert(path, target)
    return read_mask(target, None, len(VOC_CLASSES))


def rgb(value: Any) -> bool:
    return bool(value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3)


def label(value: Any) -> bool:
    return bool(value.dtype == np.uint8 and value.ndim == 2)


def ids(value: Any) -> bool:
    return all(isinstance(i, str) and i.isprintable() and "/" not in i for i in value)


def tuples(value: Any) -> bool:
    return all(set(found) <= set(range(1, 21)) for found in value.values())


TABLE = (
    "id," + ",".join(VOC_CLASSES[1:]) + "\n" + f"a,1{',0' * 19}\n" + f"b,0{',1' * 19}\n"
)
XML = "<annotation><object><name>person</name><part><name>head</name></part></object></annotation>"
PUBLISHED = Path(__file__).resolve().parents[2] / "leaderboards" / "published.csv"

READERS: dict[str, Reader] = {
    "photograph (JPEG)": Reader(jpeg, read_image, rgb),
    "photograph (PNG)": Reader(photo_png, read_image, rgb, exact=True),
    "sealed mask": Reader(
        mask_file, lambda path: read_mask(path, None, 3), label, exact=True
    ),
    "others' label map": Reader(mask_file, read_label, label, exact=True),
    "label map of a stage": Reader(
        labels_folder, lambda path: LabelSet(path.parents[1])["a"], label, exact=True
    ),
    "seed of a stage": Reader(
        seeds_folder, lambda path: SeedSet(path.parents[1])["a"], exact=True
    ),
    "seed in a pack": Reader(
        seeds_folder, lambda path: read_seed(path / "a.npz", SIZE), exact=True
    ),
    "others' seed (.npz)": Reader(
        one_seed, lambda path: read_seed(path, SIZE), exact=True
    ),
    "others' seed (pickled .npy)": Reader(
        irn, lambda path: read_seed(path, SIZE), lambda found: found.scores.ndim == 3
    ),
    "counts": Reader(run_file("val.npz"), Counts.load, exact=True),
    "threshold curve": Reader(run_file("curve.npz"), ThresholdCurve.load, exact=True),
    "run record": Reader(
        run_file("record.json"), load_record, lambda found: found.schema == 1
    ),
    "manifest": Reader(
        lambda folder: labels_folder(folder).parents[1] / "manifest.json",
        lambda path: LabelSet(path.parent).ids,
        ids,
    ),
    "segmentor": Reader(
        segmentor,
        lambda path: read_segmentor(path.parent),
        lambda found: not {".."} & {*found.config.parts, *found.checkpoint.parts},
    ),
    "commit": Reader(stage("commit.json"), lambda path: verify_folder(path.parent)),
    "file list of a stage": Reader(
        stage("files.json"), lambda path: verify_folder(path.parent), bool
    ),
    "spec of a stage": Reader(
        stage("spec.json"), lambda path: Store(path.parents[2]).read(path.parent)
    ),
    "cell": Reader(
        cells,
        lambda path: read_cells(path.parents[1]),
        lambda found: all("started" in entry for entry in found),
    ),
    "image list": Reader(
        text("l.txt", "2007_000032\n2007_000039\n/J/a.jpg /S/a.png\n"), read_ids, ids
    ),
    "skip list": Reader(text("s.txt", "a  # broken\nb\n"), read_skip_list),
    "label table": Reader(
        text("t.csv", TABLE),
        lambda path: read_label_table(path, VOC_CLASSES, ["a", "b"]),
        tuples,
    ),
    "XML annotation": Reader(
        text("a.xml", XML),
        lambda path: XmlLabels(path.parent, VOC_CLASSES).read(["a"]),
        tuples,
    ),
    "COCO annotations": Reader(
        coco, read_coco, lambda found: all(label(mask) for mask in found)
    ),
    "SBD mask (.mat)": Reader(mat, convert, label),
    "published table": Reader(
        text("p.csv", "".join(PUBLISHED.read_text().splitlines(keepends=True)[:30])),
        load_published,
    ),
}


def damaged(whole: bytes, name: str) -> Iterator[bytes]:
    """Yield the empty file, noise, and `ROUNDS` copies with bytes cut off, bits flipped, bytes overwritten or added."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    yield b""
    yield rng.bytes(200)
    yield whole + rng.bytes(30)
    for _ in range(ROUNDS):
        data, kind = bytearray(whole), rng.integers(4)
        if kind == 0:
            data = data[: rng.integers(len(data))]
        elif kind == 1:
            for place in rng.integers(0, len(data), rng.integers(1, 4)):
                data[place] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            start = int(rng.integers(len(data)))
            data[start : start + 8] = rng.bytes(min(8, len(data) - start))
        else:
            start = int(rng.integers(len(data)))
            data[start:start] = rng.bytes(4)
        yield bytes(data)


def same(one: Any, other: Any) -> bool:
    if hasattr(one, "__dataclass_fields__"):
        return all(
            same(getattr(one, name), getattr(other, name))
            for name in one.__dataclass_fields__
            if name[0] != "_"
        )
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    return bool(one == other)


@pytest.mark.parametrize("name", READERS)
def test_damaged_bytes_give_a_clear_error_or_a_sound_value(
    name: str, tmp_path: Path
) -> None:
    reader = READERS[name]
    path = reader.make(tmp_path)
    whole = path.read_bytes()
    good = reader.read(path)
    refused = 0
    for number, data in enumerate(damaged(whole, name)):
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                value = reader.read(path)
            except WsssError as error:
                refused += bool(str(error).strip())
                continue
        if reader.exact:
            assert same(value, good), (
                f"round {number}: another value than the one written"
            )
        elif data != whole:
            assert reader.sound(value), f"round {number}: {value!r}"
    assert refused or name in ("skip list", "cell", "commit", "file list of a stage"), (
        "nothing was refused"
    )


HOSTILE = [
    "[]",
    "{}",
    "null",
    "3",
    '"x"',
    "[[[]]]",
    '{"ids": 3}',
    '{"kind": "labels"}',
    '{"kind": "labels", "ids": ["../../x"]}',
    '{"kind": "labels", "ids": ["a", "a"]}',
    '{"kind": "labels", "ids": [3]}',
    '{"kind": "labels", "ids": "abc"}',
    '{"config": "/etc/passwd", "checkpoint": "w", "test": {}, "facts": {}}',
    '{"config": "../c", "checkpoint": "w", "test": {}, "facts": {}}',
    '{"images": [3]}',
    "[" * 20_000,
]
JSON_READERS = [
    name
    for name in READERS
    if name
    in ("run record", "manifest", "segmentor", "COCO annotations", "spec of a stage")
]


@pytest.mark.parametrize("name", JSON_READERS)
@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_json_of_another_shape_is_refused(
    name: str, content: str, tmp_path: Path
) -> None:
    path = READERS[name].make(tmp_path)
    path.write_text(content)
    with pytest.raises(WsssError):
        READERS[name].read(path)


@pytest.mark.parametrize(
    "content", [content for content in HOSTILE if len(content) < 99]
)
def test_files_that_only_help_never_stop_a_command(
    content: str, tmp_path: Path
) -> None:
    path = cells(tmp_path)
    path.write_text(content)
    assert read_cells(tmp_path) == []
    folder = stage("commit.json")(tmp_path)
    (folder.parent / "files.json").write_text(content)
    assert verify_folder(folder.parent)
    write_json(folder, json.loads(content))
    assert verify_folder(folder.parent)
