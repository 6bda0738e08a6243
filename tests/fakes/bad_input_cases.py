"""Everything bad that is fed to the command line, by kind, and what must come of it; `docs/robustness.md` prints it."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wsss_bench.data.coco.index import CATEGORY_IDS, COCO_CLASSES, MASK_IDS
from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.io.images import write_mask

SIZE = (6, 8)
TRUTH = {"a": (1, 15), "b": (8,), "c": (15,), "d": (2,), "e": (20,)}
LISTS = {"train": "abc", "val": "de"}

PROBE = """
import numpy as np
from wsss_bench import MethodCard, Seed, Segmentor, hookimpl


@hookimpl
def method_card():
    defaults = {"localize": {"gain": 1.0, "threshold": 0.3, "scales": [1.0]}, "refine": {}, "segment": {}}
    stages = ("localize", "refine", "segment")
    return MethodCard(name="probe", version="1", stages=stages, recipe="_/_/_", defaults=defaults)


@hookimpl
def localize(view, out, ctx):
    # before
    for image in view:
        pixels = image.read()
        scores = np.full((len(image.present), *pixels.shape[:2]), 0.5, np.float32) * ctx.params["gain"]
        # scores
        out.write(image.id, Seed(np.array(image.present, np.int64), scores, pixels.shape[:2]))
    return out.close()


@hookimpl
def refine(view, seeds, out):
    for image in view:
        seed = seeds[image.id]
        label = np.zeros(seed.size, np.uint8)
        if len(seed.class_ids):
            scores = seed.upsampled()
            label = np.where(scores.max(0) > 0.3, seed.class_ids[scores.argmax(0)], 0).astype(np.uint8)
        # labels
        out.write(image.id, label)
    return out.close()


@hookimpl
def segment(view, ctx):
    config, weights = ctx.scratch / "c.py", ctx.scratch / "w.pth"
    config.write_text("model = 1")
    weights.write_text("none")
    facts = {"backbone": "none", "network": "none", "weights": "none"}
    return Segmentor(config, weights, {"scales": [1.0], "crf": ""}, facts)
"""


class Place:
    """A devkit of five photographs, a COCO root of two, a plugin, predictions and seeds.

    All of it is in order until a case breaks something.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.coco = folder, folder / "VOC2012", folder / "coco"
        self.work, self.boards, self.probe = (
            folder / "work",
            folder / "boards",
            folder / "probe.py",
        )
        self.predictions, self.seeds = folder / "predictions", folder / "seeds"
        for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
            (self.root / name).mkdir(parents=True)
        for image_id, classes in TRUTH.items():
            Image.new("RGB", SIZE[::-1], (40, 90, 200)).save(self.photo(image_id))
            mask = np.zeros(SIZE, np.uint8)
            for row, klass in enumerate(classes):
                mask[row + 1, 2:5] = klass
            write_mask(self.mask(image_id), mask)
        for split, ids in LISTS.items():
            self.list(split).write_text("\n".join(ids) + "\n")
        self.label({image_id: TRUTH[image_id] for image_id in "abc"})
        self.probe.write_text(PROBE)

    def photo(self, image_id: str = "a") -> Path:
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    def mask(self, image_id: str = "a") -> Path:
        return self.root / "SegmentationClass" / f"{image_id}.png"

    def list(self, split: str = "train") -> Path:
        return self.root / "ImageSets" / "Segmentation" / f"{split}.txt"

    def label(self, labels: Mapping[str, tuple[int, ...]]) -> None:
        rows = [
            ",".join([i, *(str(int(k in found)) for k in range(1, 21))])
            for i, found in labels.items()
        ]
        (self.root / "cls_labels.csv").write_text(
            "\n".join(["id," + ",".join(VOC_CLASSES[1:]), *rows]) + "\n"
        )

    def xml(self, text: str) -> None:
        (self.root / "cls_labels.csv").unlink()
        (self.root / "Annotations").mkdir()
        for image_id in "abc":
            (self.root / "Annotations" / f"{image_id}.xml").write_text(
                "<annotation><object><name>person</name></object></annotation>"
            )
        (self.root / "Annotations" / "a.xml").write_text(text)

    def patch(self, mark: str, code: str) -> None:
        """Put a line into the plugin in place of a comment."""
        self.probe.write_text(self.probe.read_text().replace(f"# {mark}", code))

    def predict(self) -> Path:
        self.predictions.mkdir(exist_ok=True)
        for image_id in LISTS["val"]:
            write_mask(self.predictions / f"{image_id}.png", np.zeros(SIZE, np.uint8))
        return self.predictions / "d.png"

    def score(self, **changes: Any) -> Path:
        """Seeds of the training images, those of `a` with `changes`."""
        self.seeds.mkdir(exist_ok=True)
        for image_id in LISTS["train"]:
            ids = np.array(TRUTH[image_id], np.int64)
            arrays = {
                "class_ids": ids,
                "scores": np.full((len(ids), 3, 4), 0.5, np.float32),
            }
            np.savez(
                self.seeds / f"{image_id}.npz",
                **(arrays | (changes if image_id == "a" else {})),
            )
        return self.seeds / "a.npz"

    def instances(
        self, change: Callable[[dict[str, Any]], object] = lambda data: None
    ) -> None:
        """A COCO root of one photograph per split with one annotation; `change` edits the training file's content."""
        for number, split in ((5, "train"), (9, "val")):
            name = f"COCO_{split}2014_{number:012d}.jpg"
            (self.coco / f"{split}2014").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 6)).save(self.coco / f"{split}2014" / name)
            shape = {
                "id": 3,
                "image_id": number,
                "category_id": 1,
                "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]],
                "iscrowd": 0,
            }
            data: dict[str, Any] = {
                "images": [{"id": number, "file_name": name, "height": 6, "width": 8}],
                "annotations": [shape],
                "categories": [
                    {"id": c, "name": COCO_CLASSES[MASK_IDS[c]]} for c in CATEGORY_IDS
                ],
            }
            if split == "train":
                change(data)
            (self.coco / "annotations").mkdir(exist_ok=True)
            (self.coco / "annotations" / f"instances_{split}2014.json").write_text(
                json.dumps(data)
            )

    def command(self, verb: str) -> list[str]:
        """What a case is fed to, by the names that `Case.expect` uses."""
        voc = ["--dataset", "voc2012", "--data-root", str(self.root)]
        coco = ["--dataset", "coco2014", "--data-root", str(self.coco)]
        run = [
            "run",
            "--methods",
            "probe",
            "--plugin",
            str(self.probe),
            "--profile",
            "paper",
            "--device",
            "cpu",
            "--workers",
            "1",
        ]
        return {
            "data verify": ["data", "verify", *voc],
            "run": [*run, "--work-dir", str(self.work), *voc],
            "data verify (COCO)": ["data", "verify", *coco],
            "data prepare (COCO)": ["data", "prepare", *coco],
            "evaluate": ["evaluate", str(self.predictions), *voc, "--split", "val"],
            "evaluate (seeds)": [
                "evaluate",
                str(self.seeds),
                *voc,
                "--split",
                "train",
                "--kind",
                "seeds",
            ],
            "leaderboard check": [
                "leaderboard",
                "check",
                "--leaderboard-dir",
                str(self.boards),
            ],
            "other": [],
        }[verb]


Words = tuple[str, ...]


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes:
        group, kind: where it stands in the table.
        make: breaks the place; may return words to add to every command.
        expect: exit status, and what the output must contain, by command.
        gave: the table's last column.
    """

    group: str
    kind: str
    make: Callable[[Place], object]
    expect: Mapping[str, tuple[int, Words]]
    gave: str = ""


CASES: list[Case] = []
RESTORE = "refused: file and reason named, restore it"


def add(
    group: str,
    kind: str,
    make: Callable[[Place], object],
    gave: str,
    **expect: tuple[int, Words],
) -> None:
    """Add a case; ``verify``, ``run``, … name the commands it is fed to."""
    names = {
        "verify": "data verify",
        "run": "run",
        "coco": "data verify (COCO)",
        "prepare": "data prepare (COCO)",
        "evaluate": "evaluate",
        "seeds": "evaluate (seeds)",
        "check": "leaderboard check",
        "other": "other",
    }
    CASES.append(
        Case(
            group,
            kind,
            make,
            {names[key]: value for key, value in expect.items()},
            gave,
        )
    )


def cut(path: Path, share: float = 0.5) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def declared(path: Path, width: int, height: int) -> None:
    """A PNG of a few bytes whose header declares any size."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body))
            + name
            + body
            + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 64))
        + chunk(b"IEND", b"")
    )


def picture(mode: str, kind: str = "JPEG", **options: Any) -> Callable[[Place], object]:
    def make(place: Place) -> None:
        Image.new(mode, SIZE[::-1]).save(place.photo(), format=kind, **options)

    return make


def exif() -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = 6
    return found


GOOD = {"verify": (0, ("usable",)), "run": (0, ("recorded",))}
BAD_PHOTO = {
    "verify": (1, ("a.jpg", "Restore the file", "broken")),
    "run": (2, ("a.jpg", "Restore the file")),
}

# ---- photographs
add("photographs", "truncated JPEG", lambda p: cut(p.photo()), RESTORE, **BAD_PHOTO)
add(
    "photographs",
    "zero-byte JPEG",
    lambda p: p.photo().write_bytes(b""),
    RESTORE,
    **BAD_PHOTO,
)
add(
    "photographs",
    "text under a JPEG's name",
    lambda p: p.photo().write_text("<html>404</html>"),
    RESTORE,
    **BAD_PHOTO,
)
add("photographs", "CMYK", picture("CMYK"), "read, converted to RGB", **GOOD)
add("photographs", "greyscale", picture("L"), "read, converted to RGB", **GOOD)
add("photographs", "palette", picture("P", "PNG"), "read, converted to RGB", **GOOD)
add(
    "photographs",
    "16-bit greyscale",
    picture("I;16", "PNG"),
    "read, the upper 8 bits kept",
    **GOOD,
)
add(
    "photographs",
    "alpha channel",
    picture("RGBA", "PNG"),
    "read, alpha dropped",
    **GOOD,
)
add(
    "photographs",
    "EXIF rotation, mask as stored",
    picture("RGB", exif=exif()),
    "read as stored, not turned",
    **GOOD,
)


def turned_mask(place: Place) -> None:
    picture("RGB", exif=exif())(place)
    write_mask(place.mask(), np.zeros(SIZE[::-1], np.uint8))


add(
    "photographs",
    "EXIF rotation, mask as displayed",
    turned_mask,
    "refused: says that EXIF is not applied, and what to turn",
    verify=(1, ("a.png", "EXIF rotation, which is not applied")),
    run=(2, ("a.png", "EXIF rotation")),
)


def one_pixel(place: Place) -> None:
    Image.new("RGB", (1, 1), (9, 9, 9)).save(place.photo())
    write_mask(place.mask(), np.ones((1, 1), np.uint8))


add("photographs", "1x1 pixel", one_pixel, "read and scored", **GOOD)
add(
    "photographs",
    "10,000x10,000 declared by a file of a few bytes",
    lambda p: declared(p.photo(), 10_000, 10_000),
    RESTORE,
    verify=BAD_PHOTO["verify"],
    run=(2, ("a.jpg", "10000x10000", "restore both")),
)
add(
    "photographs",
    "60,000x60,000 (decompression bomb)",
    lambda p: declared(p.photo(), 60_000, 60_000),
    "refused before anything is decompressed",
    verify=(1, ("a.jpg", "decompression bomb")),
    run=(2, ("a.jpg", "decompression bomb")),
)

# ---- masks


def colour_mask(mode: str) -> Callable[[Place], object]:
    return lambda place: Image.new(mode, SIZE[::-1]).save(place.mask())


def foreign_palette(place: Place) -> None:
    image = Image.fromarray(np.full(SIZE, 3, np.uint8)).convert("P")
    image.putpalette([7, 8, 9] * 256)
    image.save(place.mask())


def bad_mask(*words: str) -> dict[str, tuple[int, Words]]:
    return {"verify": (1, ("a.png", *words)), "run": (2, ("a.png", *words))}


add(
    "masks",
    "RGB",
    colour_mask("RGB"),
    "refused: says how to convert it",
    **bad_mask("colour image (RGB)", "Convert it"),
)
add(
    "masks",
    "RGBA",
    colour_mask("RGBA"),
    "refused: says how to convert it",
    **bad_mask("colour image (RGBA)", "Convert it"),
)
add(
    "masks",
    "16-bit",
    colour_mask("I;16"),
    RESTORE,
    **bad_mask("pixel format 'I;16'", "Restore"),
)
add(
    "masks",
    "foreign palette",
    foreign_palette,
    "refused: names index and colour",
    **bad_mask("foreign palette: index 3"),
)
add(
    "masks",
    "another size than the photograph",
    lambda p: write_mask(p.mask(), np.zeros((3, 4), np.uint8)),
    "refused: both sizes named; nothing is resized",
    **bad_mask("3x4", "6x8", "resize the mask"),
)
add(
    "masks",
    "a value that is no class",
    lambda p: Image.new("L", SIZE[::-1], 21).save(p.mask()),
    "refused: values named",
    **bad_mask("holds values [21]", "Map the values"),
)
add(
    "masks",
    "truncated PNG",
    lambda p: cut(p.mask()),
    RESTORE,
    **bad_mask("cannot be read", "Restore"),
)
add(
    "masks",
    "zero-byte PNG",
    lambda p: p.mask().write_bytes(b""),
    RESTORE,
    verify=(1, ("a.png", "empty (0 bytes)", "Restore")),
    run=(2, ("a.png", "cannot be read", "Restore")),
)
add(
    "masks",
    "missing on disk",
    lambda p: p.mask().unlink(),
    "refused before anything is computed",
    verify=(1, ("a.png", "does not exist")),
    run=(2, ("a.png", "does not exist", "data verify")),
)

# ---- lists and labels
add(
    "lists",
    "id missing on disk",
    lambda p: p.photo().unlink(),
    "refused before anything is computed",
    verify=(1, ("a.jpg", "listed, but not on disk")),
    run=(2, ("'a'", "not on disk", "data verify")),
)


def listed(text: str | bytes) -> Callable[[Place], object]:
    return lambda place: place.list().write_bytes(
        text if isinstance(text, bytes) else text.encode()
    )


def bad_list(*words: str) -> dict[str, tuple[int, Words]]:
    return {"verify": (1, ("train.txt", *words)), "run": (2, ("train.txt", *words))}


add(
    "lists",
    "duplicate id",
    listed("a\nb\na\n"),
    "refused: both lines named",
    **bad_list("line 3", "first in line 1", "Remove one"),
)
add("lists", "CRLF line ends", listed("a\r\nb\r\nc\r\n"), "read", **GOOD)
add(
    "lists",
    "blank lines and a byte-order mark",
    listed("\ufeff\na\n\n b \nc\n\n"),
    "read",
    **GOOD,
)
add("lists", "empty", listed("\n\n"), "refused", **bad_list("is empty", "Restore"))
add(
    "lists",
    "no text",
    listed(b"\xff\xfe\x00a\x00"),
    "refused",
    **bad_list("cannot be read"),
)
add(
    "lists",
    "control characters in an id",
    listed(b"a\nb\0\n"),
    "refused: line named",
    **bad_list("line 2", "no image id"),
)
add(
    "lists",
    "an id that leads out of the root",
    listed("../../../../etc/passwd\n"),
    "refused: line named",
    **bad_list("line 1", "leads to another folder", "Write the bare id"),
)
add(
    "labels",
    "class in the mask, not among the labels",
    lambda p: p.label({"a": (1,), "b": (8,), "c": (15,)}),
    "counted with the first id; an error above a tenth of the images",
    verify=(
        1,
        (
            "1 of 3 masks show a class that the image-level labels lack (first: 'a')",
            "check --labels",
        ),
    ),
    run=(0, ("recorded",)),
)
add(
    "labels",
    "class among the labels, not in the mask",
    lambda p: p.label({"a": (1, 15), "b": (8, 9), "c": (15,)}),
    "counted with the first id; normal for hidden objects",
    verify=(
        0,
        ("1 of 3 images carry a label without a pixel in the mask (first: 'b')",),
    ),
    run=(0, ("recorded",)),
)
add(
    "labels",
    "image without any label",
    lambda p: p.label({"a": (1, 15), "b": (), "c": (15,)}),
    "named; such an image has seeds of no class",
    verify=(1, ("'b' has no image-level label at all",)),
    run=(0, ("recorded",)),
)
add(
    "labels",
    "image without a row",
    lambda p: p.label({"a": (1, 15), "b": (8,)}),
    "refused: counted with the first id",
    verify=(1, ("no row for 1 of 3 images (first: 'c')",)),
    run=(2, ("no row for 1 of 3 images", "Use a table that covers the split")),
)


def pickled_labels(place: Place) -> list[str]:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {place.folder / 'run'}",)

    path = place.folder / "cls_labels.npy"
    np.save(path, np.array({"a": Evil()}, dtype=object), allow_pickle=True)
    return ["--labels", str(path)]


add(
    "labels",
    "pickled table (cls_labels.npy) that would run a command",
    pickled_labels,
    "refused, nothing is run; says what to write instead",
    verify=(1, ("cls_labels.npy", "no file of arrays needs", "a CSV with")),
    run=(2, ("no file of arrays needs",)),
)
BOMB = (
    '<!DOCTYPE a [<!ENTITY x0 "xxxxxxxxxx">'
    + "".join(f'<!ENTITY x{k} "{f"&x{k - 1};" * 10}">' for k in range(1, 10))
    + "]><annotation>&x9;</annotation>"
)
for name, text in (
    ("broken XML annotation", "<annotation><obj"),
    ("XML that unfolds without end", BOMB),
    (
        "XML of an unknown encoding",
        '<?xml version="1.0" encoding="klingon"?><annotation/>',
    ),
):
    add(
        "labels",
        name,
        lambda p, text=text: p.xml(text),
        RESTORE,
        verify=(1, ("a.xml", "cannot be read", "Restore")),
        run=(2, ("a.xml", "cannot be read", "Restore")),
    )

# ---- COCO


def edited(section: str, **changes: Any) -> Callable[[Place], object]:
    """One entry of the training file with keys changed, or removed where the value is `...`."""

    def change(data: dict[str, Any]) -> None:
        for key, value in changes.items():
            if value is ...:
                del data[section][0][key]
            else:
                data[section][0][key] = value

    return lambda place: place.instances(change)


def region(segmentation: Any) -> Callable[[Place], object]:
    return edited("annotations", segmentation=segmentation)


def raw(text: str) -> Callable[[Place], object]:
    def make(place: Place) -> None:
        place.instances()
        (place.coco / "annotations" / "instances_train2014.json").write_text(text)

    return make


def bad_coco(*words: str) -> dict[str, tuple[int, Words]]:
    return {
        "coco": (1, ("instances_train2014.json", *words)),
        "prepare": (2, ("instances_train2014.json", *words)),
    }


COCO = "refused: file and entry named"
for kind, make, words in (
    ("not JSON", raw("<html>"), ("cannot be read", "Restore")),
    ("truncated JSON", raw('{"images": ['), ("cannot be read", "Restore")),
    ("JSON nested without end", raw("[" * 100_000), ("cannot be read", "Restore")),
    ("no list of annotations", raw('{"images": []}'), ("no list 'annotations'",)),
    (
        "annotation without a key",
        edited("annotations", image_id=...),
        ("annotation id 3 has no 'image_id'",),
    ),
    (
        "image without a key",
        edited("images", height=...),
        ("image id 5 has no 'height'",),
    ),
    (
        "a text where a number must be",
        edited("images", height="tall"),
        ("image id 5 has a wrong 'height'",),
    ),
    (
        "a size of a billion",
        edited("images", height=10**9),
        ("size 1000000000x8", "20000 is possible"),
    ),
    (
        "unknown category",
        edited("annotations", category_id=12),
        ("annotation id 3", "unknown category_id 12"),
    ),
    (
        "file name that leads out of the root",
        edited("images", file_name="../../x.jpg"),
        ("'../../x.jpg'", "plain"),
    ),
    (
        "RLE whose runs do not fill the image",
        region({"size": [6, 8], "counts": [3, 4]}),
        ("annotation 3", "runs add up to 7"),
    ),
    (
        "compressed RLE cut in a number",
        region({"size": [6, 8], "counts": "X"}),
        ("annotation 3", "ends within a number"),
    ),
    ("RLE without its size", region({"counts": [48]}), ("annotation 3", "no 'size'")),
    (
        "polygon with a NaN",
        region([[0, 0, float("nan"), 0, 4, 4]]),
        ("annotation 3", "finite numbers"),
    ),
):
    add("COCO annotations", kind, make, COCO, **bad_coco(*words))

# ---- seeds and predictions of others
for kind, value in (
    ("NaN", np.nan),
    ("infinite", np.inf),
    ("negative", -0.5),
    ("above 1", 7.0),
):
    wrong = np.full((2, 3, 4), value, np.float32)
    add(
        "scores",
        f"{kind} scores in a file",
        lambda p, wrong=wrong: p.score(scores=wrong),
        "refused: file named",
        seeds=(
            2,
            (
                "a.npz",
                "NaN or infinity" if not np.isfinite(value) else "must lie in [0, 1]",
            ),
        ),
    )
    add(
        "scores",
        f"{kind} scores from a plugin",
        lambda p, value=value: p.patch("scores", f"scores[:] = float('{value}')"),
        "refused: plugin and image named; the stage is not finished",
        run=(
            1,
            (
                "probe",
                "image 'a'",
                "NaN or infinity" if not np.isfinite(value) else "must lie in [0, 1]",
            ),
        ),
    )
ZERO = np.zeros((2, 3, 4), np.float32)
add(
    "scores",
    "all-zero maps in a file",
    lambda p: p.score(scores=ZERO),
    "read: everything is background",
    seeds=(0, ("mean", "coverage")),
)
add(
    "scores",
    "all-zero maps from a plugin",
    lambda p: ["--cfg-options", "localize.gain=0.0"],
    "read: everything is background",
    run=(0, ("recorded",)),
)
add(
    "scores",
    "class ids twice",
    lambda p: p.score(class_ids=np.array([1, 1])),
    "refused: file named",
    seeds=(2, ("a.npz", "must increase strictly")),
)
add(
    "scores",
    "more ids than maps",
    lambda p: p.score(class_ids=np.array([1, 2, 3])),
    "refused: file named",
    seeds=(2, ("a.npz", "3 class ids, scores of shape [2, 3, 4]")),
)
add(
    "scores",
    "complex numbers",
    lambda p: p.score(scores=ZERO.astype(np.complex64)),
    "refused: file named",
    seeds=(2, ("a.npz", "complex64")),
)
add(
    "scores",
    "truncated .npz",
    lambda p: cut(p.score()),
    "refused: file named",
    seeds=(2, ("a.npz", "cannot be read")),
)
add(
    "scores",
    "zero-byte .npz",
    lambda p: p.score().write_bytes(b""),
    "refused: file named",
    seeds=(2, ("a.npz",)),
)


def evil_npy(place: Place) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {place.folder / 'run'}",)

    place.score().unlink()
    np.save(
        place.seeds / "a.npy", np.array({0: Evil()}, dtype=object), allow_pickle=True
    )


add(
    "scores",
    "foreign pickle (.npy that would run a command)",
    evil_npy,
    "refused, nothing is run",
    seeds=(2, ("a.npy", "refused")),
)


def object_npz(place: Place) -> None:
    place.score(scores=np.array([{}], dtype=object))


add(
    "scores",
    "objects inside an .npz",
    object_npz,
    "refused, nothing is run",
    seeds=(2, ("a.npz", "without pickle")),
)


def prediction(change: Callable[[Path], object]) -> Callable[[Place], object]:
    return lambda place: change(place.predict())


for kind, change, words in (
    (
        "RGB prediction",
        lambda path: Image.new("RGB", (8, 6)).save(path),
        ("d.png", "colours", "Write class indices"),
    ),
    (
        "prediction of another size",
        lambda path: write_mask(path, np.zeros((3, 4), np.uint8)),
        ("'d'", "never resizes"),
    ),
    (
        "prediction with a value that is no class",
        lambda path: write_mask(path, np.full(SIZE, 77, np.uint8)),
        ("'d'", "holds [77]"),
    ),
    ("truncated prediction", cut, ("d.png", "cannot be read")),
    (
        "zero-byte prediction",
        lambda path: path.write_bytes(b""),
        ("d.png", "cannot be read"),
    ),
    (
        "missing prediction",
        lambda path: path.unlink(),
        ("1 of 2 images have no .png file (first: 'd')",),
    ),
):
    add(
        "predictions",
        kind,
        prediction(change),
        "refused: file or image named; nothing is resized",
        evaluate=(2, words),
    )
add(
    "predictions",
    "files of no image of the split",
    prediction(
        lambda path: write_mask(
            path.with_name("stranger.png"), np.zeros(SIZE, np.uint8)
        )
    ),
    "counted, not read",
    evaluate=(0, ("1 files belong to no image of the split",)),
)


def markup(place: Place) -> list[str]:
    place.predict()
    return [
        "--add",
        "<img src=x onerror=alert(1)>",
        "--leaderboard-dir",
        str(place.boards),
    ]


add(
    "predictions",
    "markup as a row's name",
    markup,
    "shown as text on every board",
    evaluate=(0, ("added to",)),
)

# ---- plugins' labels
for kind, code, words in (
    (
        "a class the image does not have",
        "label[:] = 3",
        ("probe", "image 'a'", "values [3] are not allowed"),
    ),
    (
        "label of another size",
        "label = label[:2]",
        ("probe", "image 'a'", "photograph's size [6, 8]"),
    ),
    (
        "label of floats",
        "label = label * 1.0",
        ("probe", "image 'a'", "must be uint8 [H, W]"),
    ),
):
    add(
        "plugins",
        kind,
        lambda p, code=code: p.patch("labels", code),
        "refused: plugin and image named",
        run=(1, words),
    )
add(
    "plugins",
    "an image left out",
    lambda p: p.patch("labels", "if image.id == 'b': continue"),
    "refused: counted with the first id",
    run=(1, ("probe", "1 of 3 images were not written (first: 'b')")),
)
add(
    "plugins",
    "an error in the method",
    lambda p: p.patch("labels", "1 / 0"),
    "the cell fails, naming plugin, stage and error; never cached",
    run=(1, ("probe", "refine", "ZeroDivisionError")),
)

# ---- options, configs, checkpoints
for kind, words, says in (
    ("unknown parameter", ["--cfg-options", "localize.gian=2"], "Did you mean 'gain'"),
    ("wrong type", ["--cfg-options", "localize.gain=big"], "'big' is a text, a number"),
    (
        "list where a number must be",
        ["--cfg-options", "localize.gain=[1]"],
        "is a list, a number",
    ),
    ("unknown profile", ["--profile", "papr"], "Did you mean 'paper'"),
    ("unknown data option", ["--data-option", "sise=3"], "has no option 'sise'"),
    (
        "data root that is not there",
        ["--data-root", "/nowhere/at/all"],
        "does not exist",
    ),
    ("empty data root", ["--data-root", "{folder}/empty"], "--download"),
    ("unknown split", ["--val-split", "vall"], "Did you mean 'val'"),
):
    make = lambda p, words=words: (  # noqa: E731
        (p.folder / "empty").mkdir(exist_ok=True),
        [word.format(folder=p.folder) for word in words],
    )[1]
    add(
        "options",
        kind,
        make,
        "refused before anything is computed, with the nearest name or the remedy",
        run=(2, (says,)),
    )


def profile(text: str) -> Callable[[Place], object]:
    def make(place: Place) -> list[str]:
        path = place.folder / "mine.py"
        path.write_text(text)
        return ["--profile", str(path)]

    return make


for kind, text, says in (
    (
        "profile with an unknown stage",
        "locallize = {'*': {'gain': 1.0}}\n",
        "'locallize' is no stage",
    ),
    (
        "profile with an unknown parameter",
        "localize = {'probe': {'gian': 1.0}}\n",
        "no such parameter",
    ),
    (
        "profile with a wrong type",
        "localize = {'probe': {'gain': 'x'}}\n",
        "a number like 1.0 is expected",
    ),
    (
        "profile that is no dict of dicts",
        "localize = {'probe': 3}\n",
        "must map method names",
    ),
    ("profile with a syntax error", "localize = {\n", "cannot be read"),
):
    add(
        "options",
        kind,
        profile(text),
        "refused: file and key named",
        run=(2, ("mine", says)),
    )


def checkpoint(kind: str) -> Callable[[Place], object]:
    def make(place: Place) -> list[str]:
        path = place.folder / "weights.pth"
        if kind == "garbage":
            path.write_bytes(b"\x80\x05" + bytes(range(200)))
        elif kind == "pickle":

            class Evil:
                def __reduce__(self) -> tuple[Any, ...]:
                    return os.system, (f"touch {place.folder / 'run'}",)

            path.write_bytes(pickle.dumps(Evil()))
        options = [
            word
            for option in ("train=8", "val=2", "size=48")
            for word in ("--data-option", option)
        ]
        return [
            *(
                "run",
                "--methods",
                "cam",
                "--weights",
                str(path),
                "--device",
                "cpu",
                "--workers",
                "1",
                *options,
            ),
            *("--cfg-options", "localize.backbone=mobilenet_v2"),
            *(
                "--data-root",
                str(place.folder / "shapes"),
                "--work-dir",
                str(place.work),
            ),
        ]

    return make


for kind, what, status in (
    ("garbage", "unreadable checkpoint", 1),
    ("pickle", "checkpoint that would run a command", 1),
    # Seen before the first stage, which is not worth the reading of a file that is there.
    ("missing", "missing checkpoint", 2),
):
    add(
        "options",
        what,
        checkpoint(kind),
        "refused: file named, nothing is run",
        other=(status, ("weights.pth",)),
    )

# ---- places to write


def work_is_a_file(place: Place) -> list[str]:
    (place.folder / "file").write_text("")
    return ["--work-dir", str(place.folder / "file")]


def work_is_read_only(place: Place) -> list[str]:
    if (
        os.geteuid() == 0
    ):  # root may write anywhere but in a file system that takes no files
        return ["--work-dir", "/proc/wsss-bench"]
    place.work.mkdir(mode=0o555)
    return []


def full_disk(place: Place) -> None:
    """From the method's first write on, the kernel refuses files of more than 64 bytes."""
    place.patch(
        "before",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))",
    )


NO_SPACE = (
    "refused: path named, another folder asked for; what was finished stays finished"
)
add(
    "places",
    "work dir is a file",
    work_is_a_file,
    NO_SPACE,
    run=(2, ("cannot be written", "Choose another")),
)
add(
    "places",
    "read-only work dir",
    work_is_read_only,
    NO_SPACE,
    run=(2, ("cannot be written", "Choose another")),
)
add(
    "places",
    "full disk in the middle of a stage",
    full_disk,
    NO_SPACE,
    run=(1, ("cannot write", "--work-dir")),
)


def boards_are_a_file(place: Place) -> list[str]:
    place.boards.write_text("")
    return ["--leaderboard-dir", str(place.boards)]


add(
    "places",
    "leaderboard folder is a file",
    boards_are_a_file,
    NO_SPACE,
    run=(2, ("boards", "Choose another")),
)

# ---- records


def record(change: Callable[[Path], object]) -> Callable[[Place], object]:
    def make(place: Place) -> None:
        from boards_fakes import add_run

        from wsss_bench.boards import build

        found = add_run(place.boards, "cam", images=3)
        build(place.boards)
        assert found.folder is None
        change(place.boards / "runs" / "shapes" / found.run_id)

    return make


def swap(path: Path) -> None:
    content = json.loads((path / "record.json").read_text())
    (path / "record.json").write_text(
        json.dumps({**content, "counts": {"val": "../../../secret.npz"}})
    )


for kind, change, words in (
    (
        "truncated record",
        lambda path: cut(path / "record.json"),
        ("record.json", "cannot be read"),
    ),
    (
        "record that is a list",
        lambda path: (path / "record.json").write_text("[]"),
        ("record.json", "no JSON object"),
    ),
    ("record that names a file elsewhere", swap, ("record.json", "plain file name")),
    (
        "truncated counts",
        lambda path: cut(path / "val.npz"),
        ("val.npz", "cannot be read"),
    ),
    (
        "missing counts",
        lambda path: (path / "val.npz").unlink(),
        ("val.npz", "missing"),
    ),
):
    add("records", kind, record(change), "refused: file named", check=(1, words))


@dataclass
class Tally:
    """What a group gave."""

    kinds: int = 0
    commands: int = 0
    refused: int = 0
    taken: int = 0
    wrong: int = field(default=0)


def tally() -> dict[str, Tally]:
    """Cases by group; a command that must fail is refused, one that must pass is taken."""
    found: dict[str, Tally] = {}
    for case in CASES:
        entry = found.setdefault(case.group, Tally())
        entry.kinds += 1
        entry.commands += len(case.expect)
        entry.refused += sum(status != 0 for status, _ in case.expect.values())
        entry.taken += sum(status == 0 for status, _ in case.expect.values())
    return found
