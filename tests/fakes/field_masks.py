"""Photographs, masks and saliency maps as this field's repositories name and place them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from field_case import FieldCase
from PIL import Image
from voc_fakes import EXTRA, SIZE, TRAIN, VAL, devkit, mask_of

from wsss_bench.cli import main
from wsss_bench.data import open_dataset
from wsss_bench.errors import DataError
from wsss_bench.io.images import write_mask
from wsss_bench.toolbox.saliency import external_background

CASES: list[FieldCase] = []


def add(
    kind: str,
    tried: str,
    gives: str,
    check: Callable[[Path], None],
    reader: str = "",
) -> None:
    CASES.append(FieldCase(kind, tried, gives, check, reader))


def verify(root: Path, *words: str) -> int:
    """Return the status of `data verify`."""
    options = ("--dataset", "voc2012", "--data-root", str(root))
    return main(["data", "verify", *options, *words])


# ---- photographs
def capitals(folder: Path) -> None:
    root = devkit(folder)
    for image_id, suffix in zip(
        (*TRAIN, EXTRA), (".JPG", ".jpeg", ".PNG"), strict=True
    ):
        path = root / "JPEGImages" / f"{image_id}.jpg"
        with Image.open(path) as photograph:
            photograph.save(path.with_suffix(suffix))
        path.unlink()
    assert verify(root) == 0


add("photographs", "`x.JPG`, `x.jpeg`, `x.PNG` in `JPEGImages`", "read", capitals)


def two_of_one(folder: Path) -> None:
    root = devkit(folder)
    path = root / "JPEGImages" / f"{TRAIN[0]}.png"
    Image.new("RGB", (8, 6)).save(path)
    with pytest.raises(DataError, match=r"'2007_000032\.jpg' and '2007_000032\.png'"):
        open_dataset("voc2012", root).weak_view("train")
    path.unlink()
    assert verify(root) == 0


add(
    "photographs",
    "`x.jpg` and `x.png` of one image",
    "refused: both named",
    two_of_one,
)


def hidden(folder: Path) -> None:
    root = devkit(folder)
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        for path in sorted((root / name).iterdir()):
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert verify(root) == 0
    assert "._train" not in open_dataset("voc2012", root).available_splits()


add("photographs", "a Mac's hidden `._x.jpg`, `._train.txt`", "not looked at", hidden)


# ---- masks
def masks_in_capitals(folder: Path) -> None:
    root = devkit(folder)
    for path in sorted((root / "SegmentationClass").iterdir()):
        path.rename(path.with_suffix(".PNG"))
    assert verify(root) == 0
    assert set(np.unique(open_dataset("voc2012", root).masks("val")[VAL])) == {
        0,
        2,
        255,
    }


add("masks", "`x.PNG` in `SegmentationClass`", "read", masks_in_capitals)


def from_matlab(folder: Path) -> None:
    root = devkit(folder)
    mask = mask_of((8,))
    mask[mask == 255] = 0
    Image.fromarray(mask).save(root / "SegmentationClassAug" / f"{EXTRA}.png")
    dataset = open_dataset("voc2012", root)
    assert set(np.unique(dataset.masks("train_aug")[EXTRA])) == {0, 8}


add(
    "masks",
    "SBD's masks as grey PNGs without a border",
    "read, of an augmented training list",
    from_matlab,
    "open-mmlab/mmsegmentation",
)


def augmented_only(folder: Path) -> Path:
    """Return a devkit whose masks are all in the augmented folder, and without a border."""
    root = devkit(folder)
    for path in sorted((root / "SegmentationClass").iterdir()):
        with Image.open(path) as handle:
            mask = np.array(handle)
        mask[mask == 255] = 0
        write_mask(root / "SegmentationClassAug" / path.name, mask)
        path.unlink()
    return root


def augmented_val(folder: Path) -> None:
    root = augmented_only(folder)
    with pytest.raises(
        DataError, match=r"val: 1 of 1 masks .*alone .*2007_000033\.png"
    ):
        open_dataset("voc2012", root).masks("val")
    assert verify(root) == 1


add(
    "masks",
    "masks of val in `SegmentationClassAug` alone",
    "refused: file and choice named",
    augmented_val,
    "rulixiang/afa",
)


def augmented_by_choice(folder: Path) -> None:
    root = augmented_only(folder)
    dataset = open_dataset("voc2012", root, masks="SegmentationClassAug")
    assert dataset.truth("val") == "SegmentationClassAug, no ignored pixels"
    assert dataset.facts()["masks"] == "SegmentationClassAug"
    assert verify(root, "--data-option", "masks=SegmentationClassAug") == 0


add(
    "masks",
    "the same with `--data-option masks=SegmentationClassAug`",
    "scored; the record says on what, and that no border is ignored",
    augmented_by_choice,
    "rulixiang/ToCo",
)


def mixed(folder: Path) -> None:
    dataset = open_dataset("voc2012", devkit(folder))
    both = "SegmentationClassAug + SegmentationClass"
    assert dataset.truth_source("train_aug") == both
    assert dataset.truth_source("train") == "SegmentationClass"


add(
    "masks",
    "an augmented list whose masks lie in two folders",
    "read from both, and both are named",
    mixed,
    "open-mmlab/mmsegmentation",
)


# ---- saliency
SALIENT = np.zeros(SIZE, np.uint8)
SALIENT[:, 4:] = 255


def salient(name: str, make: Callable[[], Image.Image]) -> Callable[[Path], None]:
    """Return a check that a map is read: its right half is no background."""

    def check(folder: Path) -> None:
        make().save(folder / name)
        found = external_background(folder, "x", (2, 2), SIZE)
        assert found[:, 1].max() < 0.05
        assert found[:, 0].min() > 0.95

    return check


def not_salient(
    make: Callable[[], Image.Image], message: str
) -> Callable[[Path], None]:
    def check(folder: Path) -> None:
        make().save(folder / "x.png")
        with pytest.raises(DataError, match=rf"x\.png.*{message}"):
            external_background(folder, "x", (2, 2), SIZE)

    return check


def grey() -> Image.Image:
    return Image.fromarray(SALIENT)


add(
    "saliency",
    "`x_DRFI.png`, as DRFI's program names maps",
    "read",
    salient("x_DRFI.png", grey),
    "speedinghzl/drfi_cpp",
)
add("saliency", "`x.PNG`", "read", salient("x.PNG", grey))
add(
    "saliency",
    "a grey map saved with three channels",
    "read",
    salient("x.png", lambda: grey().convert("RGB")),
    "halbielee/EPS",
)
add(
    "saliency",
    "the square that a network gives",
    "read, stretched to the photograph",
    salient("x.png", lambda: grey().resize((32, 32), Image.Resampling.NEAREST)),
)
add(
    "saliency",
    "values of 0 to 1 saved as whole numbers",
    "refused: file and factor named",
    not_salient(lambda: Image.fromarray(SALIENT // 255), "Multiply the maps by 255"),
    "speedinghzl/drfi_cpp",
)
add(
    "saliency",
    "a mask of classes, in colours",
    "refused: file named",
    not_salient(
        lambda: Image.fromarray(np.full((*SIZE, 3), (128, 0, 0), np.uint8)),
        "has colours",
    ),
)
add(
    "saliency",
    "a map turned by a quarter",
    "refused: both sizes named",
    not_salient(lambda: grey().transpose(Image.Transpose.ROTATE_90), "turned"),
)
