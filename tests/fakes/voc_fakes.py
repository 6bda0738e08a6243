"""A devkit of a few tiny images, for what is tried on VOC's layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.io.images import write_mask

SIZE = (6, 8)
TRAIN = ("2007_000032", "2007_000039")
EXTRA = "2008_000002"
"""An image of the augmented list."""
VAL = "2007_000033"

CLASSES: Mapping[str, tuple[int, ...]] = {
    TRAIN[0]: (1, 15),
    TRAIN[1]: (20,),
    EXTRA: (8,),
    VAL: (2,),
}
"""What the image-level labels must be, and what the masks show."""

LABELS = [CLASSES[image_id] for image_id in (*TRAIN, EXTRA)]


def devkit(folder: Path) -> Path:
    """Write photographs, masks, lists and annotations below a folder; return the root."""
    root = folder / "VOC2012"
    for name in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for image_id, classes in CLASSES.items():
        pixels = rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8)
        photograph = root / "JPEGImages" / f"{image_id}.jpg"
        Image.fromarray(pixels).save(photograph)
        where = "SegmentationClassAug" if image_id == EXTRA else "SegmentationClass"
        write_mask(root / where / f"{image_id}.png", mask_of(classes))
        annotate(root, image_id, classes)
    write_list(root, "train", TRAIN)
    write_list(root, "train_aug", (*TRAIN, EXTRA))
    write_list(root, "val", [VAL])
    return root


def mask_of(classes: Sequence[int]) -> np.ndarray:
    """Return a mask ``uint8 [6, 8]`` of some classes, with an ignored row."""
    mask = np.zeros(SIZE, np.uint8)
    for row, k in enumerate(classes):
        mask[row + 1, 2:5] = k
    mask[5] = 255
    return mask


def write_list(
    root: Path, name: str, lines: Sequence[str], folder: str = "Segmentation"
) -> Path:
    """Write a list of the devkit, one line each."""
    path = root / "ImageSets" / folder / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def annotate(root: Path, image_id: str, classes: Sequence[int]) -> None:
    """Write the annotation of an image, whose objects have parts, as persons have in the devkit."""
    folder = root / "Annotations"
    folder.mkdir(exist_ok=True)
    part = "<part><name>head</name></part>"
    names = [VOC_CLASSES[k] for k in classes]
    objects = [f"<object><name>{name}</name>{part}</object>" for name in names]
    text = f"<annotation>{''.join(objects)}</annotation>"
    (folder / f"{image_id}.xml").write_text(text)


def onehot(classes: Sequence[int], count: int = 20) -> np.ndarray:
    """Return a vector ``float32 [count]`` with ones at the classes; class 1 comes first."""
    vector = np.zeros(count, np.float32)
    vector[[k - 1 for k in classes]] = 1
    return vector


def save_dict(path: Path, table: Mapping[object, object]) -> Path:
    """Save a dict as this field does, by ``numpy.save``."""
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
    return path
