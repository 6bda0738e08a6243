"""A tiny split with perfect maps and labels, and what other repositories would write of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from wsss_bench.cli import main
from wsss_bench.data.voc.lists import VOC_CLASSES
from wsss_bench.errors import WsssError
from wsss_bench.exchange.folders import Known, Scored, score_folder
from wsss_bench.io.images import write_mask

SIZE = (8, 12)
CLASSES = ("background", "bird", "cat", "dog", "cow", "sheep", "boat")
LAST = len(CLASSES) - 1
NO_MAP = np.zeros((0, *SIZE), np.float32)

Mask = NDArray[np.uint8]
Maps = Mapping[int, NDArray[np.float32]]
"""A perfect map by mask id."""


class Truth(dict[str, Mask]):
    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self)


def truth(border: bool = True, count: int = 12) -> Truth:
    """Return masks of one or two classes each, every class in some."""
    found = Truth()
    for number in range(count):
        mask = np.zeros(SIZE, np.uint8)
        mask[1:4, 1:5] = 1 + number % LAST
        if number % 2:
            mask[4:7, 6:11] = 1 + (number + 2) % LAST
        if border:
            mask[0] = 255
        found[f"2007_{number:06}"] = mask
    return found


def classes_of(mask: Mask) -> tuple[int, ...]:
    return tuple(int(k) for k in np.unique(mask) if k not in (0, 255))


def maps_of(mask: Mask) -> Maps:
    return {k: (mask == k).astype(np.float32) for k in classes_of(mask)}


def keys(maps: Maps, base: int = 0) -> Any:
    return np.asarray([k - 1 + base for k in maps], np.int64)


def stacked(maps: Maps) -> Any:
    return np.stack(list(maps.values())) if maps else NO_MAP


def with_background(maps: Maps) -> Any:
    """Return the maps behind one of the background, as it comes out of a CRF."""
    planes = stacked(maps)
    return np.concatenate([1 - planes.max(0, keepdims=True), planes])


def padded(maps: Maps) -> Any:
    return np.pad(keys(maps) + 1, (1, 0))


Writer = Callable[[Maps], Any]
"""Returns what a repository would hand to `numpy.save`."""


def write(folder: Path, writer: Writer, masks: Truth) -> Path:
    """Write one pickled ``.npy`` per image, as `numpy.save` does it."""
    folder.mkdir(exist_ok=True)
    for image_id, mask in masks.items():
        stored: Any = writer(maps_of(mask))
        np.save(folder / f"{image_id}.npy", stored, allow_pickle=True)
    return folder


def npy(path: Path, content: Any, protocol: int) -> None:
    """Write what `numpy.save` of an older numpy or Python writes: another protocol behind the same header."""
    wrapped = np.empty((), dtype=object)
    wrapped[()] = content
    head = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }".ljust(69)
    start = b"\x93NUMPY\x01\x00" + (len(head) + 1).to_bytes(2, "little")
    path.write_bytes(start + head + b"\n" + pickle.dumps(wrapped, protocol))


def seeds(
    folder: Path, masks: Truth, known: Known | None = None, fixed: float | None = None
) -> Scored:
    return score_folder(folder, masks, CLASSES, "seeds", fixed, known=known)


def perfect(folder: Path, masks: Truth, *said: str, known: Known | None = None) -> None:
    """Assert that seeds score all there is to score, and that the form is told in these words."""
    scored = seeds(folder, masks, known)
    assert scored.counts["seeds_best"].miou() == 1.0
    for words in said:
        assert words in scored.read_as, scored.read_as


def refused(act: Callable[[], object], *words: str) -> None:
    with pytest.raises(WsssError) as raised:
        act()
    for word in words:
        assert word in str(raised.value), str(raised.value)


def write_labels(
    folder: Path, masks: Truth, change: Callable[[Mask], Mask] = lambda mask: mask
) -> Path:
    """Write the masks as grey PNGs, after a change; what the truth ignores is background."""
    folder.mkdir(exist_ok=True)
    for image_id, mask in masks.items():
        label = change(np.where(mask == 255, 0, mask).astype(np.uint8))
        Image.fromarray(label).save(folder / f"{image_id}.png")
    return folder


def labels(folder: Path, masks: Truth, known: Known | None = None) -> Scored:
    return score_folder(folder, masks, CLASSES, "prediction", known=known)


def run(*words: object) -> tuple[int, str]:
    """Run the command line in this process; return its status and all that it printed."""
    printed = StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        status = main([str(word) for word in words])
    return status, printed.getvalue()


def devkit(root: Path, masks: Truth) -> Path:
    """Write the masks as the devkit's train and val split, with photographs and labels; return its root."""
    for name in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / name).mkdir(parents=True)
    foreground = range(1, len(VOC_CLASSES))
    rows = ["id," + ",".join(VOC_CLASSES[1:])]
    for image_id, mask in masks.items():
        photo = Image.new("RGB", SIZE[::-1], (40, 90, 200))
        photo.save(root / "JPEGImages" / f"{image_id}.jpg")
        write_mask(root / "SegmentationClass" / f"{image_id}.png", mask)
        shown = classes_of(mask)
        rows.append(",".join([image_id, *(str(int(k in shown)) for k in foreground)]))
    (root / "cls_labels.csv").write_text("\n".join(rows) + "\n")
    # The same images must not be in both.
    ids = list(masks)
    lists = {"train": ids[: len(ids) // 2], "val": ids[len(ids) // 2 :]}
    for split, listed in lists.items():
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("\n".join(listed) + "\n")
    return root


def crf(maps: Maps) -> Any:
    """Return what PSA's, SEAM's and EPS's CRF leave: the background at key 0, class k at key k."""
    fired = list(maps.values())
    background = 1 - np.max(fired, axis=0) if fired else np.ones(SIZE)
    return {0: background.astype(np.float32), **maps}
