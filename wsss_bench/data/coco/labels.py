"""Image-level labels of COCO from a file: a CSV table, or the arrays that other repositories ship."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.data.labels import Labels, read_label_file

NAMES = (
    "cls_labels_coco.npy",
    "COCO_cls_labels.npy",
    "cls_labels_onehot.npy",
    "cls_labels.npy",
    "cls_labels.csv",
)
"""What such files are called in published code, best first."""


@dataclass(frozen=True)
class LabelFile:
    """A file of image-level labels.

    Attributes:
        path: the file.
    """

    path: Path

    @classmethod
    def search(cls, folders: Iterable[Path]) -> LabelFile | None:
        """Return the first file of a usual name in some folders; None where there is none."""
        for folder in folders:
            for name in NAMES:
                if (folder / name).is_file():
                    return cls(folder / name)
        return None

    def read(self, classes: Sequence[str], ids: Sequence[str]) -> Labels:
        """Return the labels of `ids`; raises `DataError` where the file cannot be read or lacks one."""
        return read_label_file(self.path, classes, ids)
