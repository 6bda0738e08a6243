"""Image-level labels: from a table or arrays, from the devkit's lists or annotations, or (on wish) from the masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.contract.view import IGNORE
from wsss_bench.data.labels import arrays
from wsss_bench.data.labels.annotations import XmlLabels
from wsss_bench.data.labels.arrays import read_onehot_labels
from wsss_bench.data.labels.common import HOW_TO_LABEL, Labels
from wsss_bench.data.labels.main_lists import MainLabels
from wsss_bench.data.labels.table import read_label_table

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks

__all__ = [
    "HOW_TO_LABEL",
    "TABLE_NAMES",
    "Labels",
    "MainLabels",
    "XmlLabels",
    "find_table",
    "labels_from_masks",
    "read_label_file",
    "read_label_table",
    "read_onehot_labels",
]

TABLE_NAMES = (
    "cls_labels.csv",
    "voc12_cls_labels.csv",
    "cls_labels.npy",
    "cls_labels_onehot.npy",
)
"""Names under which a file of labels is found in a dataset's root, best first."""


def find_table(root: Path) -> Path | None:
    """Return the file of labels that lies in a dataset's root, or None."""
    for name in TABLE_NAMES:
        if (root / name).is_file():
            return root / name
    return None


def read_label_file(path: Path, classes: Sequence[str], ids: Sequence[str]) -> Labels:
    """Return the labels of `ids` from a file: arrays by its suffix (``.npy``, ``.pkl``, ``.pickle``), else a CSV.

    Raises:
        DataError: as `read_onehot_labels` and `read_label_table` do.
    """
    if path.suffix.lower() in arrays.SUFFIXES:
        return read_onehot_labels(path, classes, ids)
    return read_label_table(path, classes, ids)


def labels_from_masks(masks: SealedMasks) -> Labels:
    """Return the classes that occur in each mask; 255 and background do not count."""
    import numpy as np

    found = {}
    for image_id, mask in masks:
        counts = np.bincount(mask.ravel(), minlength=256)
        values = np.flatnonzero(counts).tolist()
        found[image_id] = tuple(v for v in values if v not in (0, IGNORE))
    return found
