"""VOC's classes and its lists of image ids."""

from __future__ import annotations

from wsss_bench.data.lists import read_ids

__all__ = [
    "ALIASES",
    "HOW",
    "OFFICIAL_COUNTS",
    "VOC_CLASSES",
    "read_ids",
]

_NAMES = """
aeroplane    bicycle  bird   boat       bottle
bus          car      cat    chair      cow
diningtable  dog      horse  motorbike  person
pottedplant  sheep    sofa   train      tvmonitor
"""

VOC_CLASSES = ("background", *_NAMES.split())
"""Class names by mask id."""

HOW = (
    "Get it with: wsss-bench data prepare --dataset voc2012 --data-root ROOT --download, "
    "or unpack VOCtrainval_11-May-2012.tar of the PASCAL VOC 2012 challenge there."
)

OFFICIAL_COUNTS = {
    "train": 1464,
    "train_aug": 10582,
    "trainaug": 10582,
    "val": 1449,
    "test": 1456,
}
"""Sizes of the official lists; `train_aug` is SBD's list without the images of VOC val."""

ALIASES = {"train_aug": "trainaug", "trainaug": "train_aug"}
"""Both spellings of the augmented list are in circulation; either finds the other."""
