"""PASCAL VOC 2012 in the devkit's own layout, and any folder laid out like it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from wsss_bench.data.base import Dataset, Splits
from wsss_bench.data.labels import (
    XmlLabels,
    find_table,
    labels_from_masks,
    read_label_table,
    refuse_pickle,
)
from wsss_bench.data.masks import SealedMasks
from wsss_bench.data.options import choose_splits
from wsss_bench.data.places import find_folder
from wsss_bench.data.voc.lists import ALIASES, HOW, VOC_CLASSES, read_ids
from wsss_bench.errors import DataError

PLACES = (
    ".",
    "VOC2012",
    "VOCdevkit/VOC2012",
    "voc2012",
    "voc2012/VOCdevkit/VOC2012",
)
"""Where under a data root VOC may lie, best first."""

DEVKIT, AUGMENTED = "SegmentationClass", "SegmentationClassAug"
"""Folders of masks: the devkit's own, and those of the augmented training list."""


class VocLayout(Dataset):
    """A folder with JPEGImages, SegmentationClass and ImageSets/Segmentation."""

    augmented: ClassVar[tuple[str, ...]] = ("train_aug", "trainaug")

    def __init__(self, root: Path, name: str, classes: tuple[str, ...]) -> None:
        self.root = root
        self.name = name
        self.classes = classes
        self._lists: dict[str, tuple[str, ...]] = {}

    def _split_names(self) -> Collection[str]:
        return self._list_files

    def _make_ready(self) -> None:
        """Called before the first list is read; a dataset that is made on the spot makes itself here."""

    @cached_property
    def _list_files(self) -> dict[str, Path]:
        self._make_ready()
        folder = self.root / "ImageSets" / "Segmentation"
        # Of a missing folder, `glob` finds nothing.
        found = {path.stem: path for path in sorted(folder.glob("*.txt"))}
        if not found:
            what = f"{folder} holds no lists (train.txt, val.txt, …)."
            raise DataError(f"{what} Restore them from the original archive.")
        return found

    def _resolve(self, split: str) -> str:
        alias = ALIASES.get(split, split)
        if split not in self._list_files and alias in self._list_files:
            return alias
        return super()._resolve(split)

    def _ids(self, split: str) -> tuple[str, ...]:
        if split not in self._lists:
            self._lists[split] = read_ids(self._list_files[split])
        return self._lists[split]

    def _image_path(self, split: str, image_id: str) -> Path:
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    @cached_property
    def _mask_names(self) -> dict[str, frozenset[str]]:
        # Listed once: to ask for ten thousand files one by one takes minutes on a network drive.
        names = {}
        for folder in (DEVKIT, AUGMENTED):
            files = (self.root / folder).glob("*.png")
            names[folder] = frozenset(path.name for path in files)
        return names

    def _mask_path(self, split: str, image_id: str) -> Path:
        # The augmented list has masks of its own; the devkit's, for all others, have the ignored border.
        order = [DEVKIT, AUGMENTED]
        if split in self.augmented:
            order.reverse()
        name = f"{image_id}.png"
        for folder in order:
            if name in self._mask_names[folder]:
                return self.root / folder / name
        # Nowhere: the message names the folder where it should be, as far as that exists.
        missing = order[0] if self._mask_names[AUGMENTED] else DEVKIT
        return self.root / missing / name

    def masks(self, split: str) -> SealedMasks:
        """Return the masks of a split.

        Raises:
            DataError: the split has none at all; VOC's test masks were never released.
        """
        split = self._resolve(split)
        files = {}
        there = 0
        for image_id in self._kept(split):
            mask = self._mask_path(split, image_id)
            files[image_id] = mask, self._image_path(split, image_id)
            there += mask.name in self._mask_names[mask.parent.name]
        where = f"{self.name}/{split}"
        # Single masks that are missing are told of when they are read.
        if not there:
            fix = HOW
            if split == "test":
                fix = "VOC's test masks are not public; score on val."
            what = f"{self.root / DEVKIT} holds none of its {len(files)} masks."
            raise DataError(f"{where}: {what} {fix}")
        return SealedMasks(where, tuple(files), files, len(self.classes))

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Return the folders of masks, and the XML annotations with their boxes."""
        masks = (DEVKIT, AUGMENTED, "SegmentationObject")
        return {
            "masks": tuple(self.root / name for name in masks),
            "boxes": (self.root / "Annotations",),
        }


class VocDataset(VocLayout):
    """VOC 2012: 20 classes; the option `labels` says where image-level labels come from.

    Not given: ``cls_labels.csv`` or ``voc12_cls_labels.csv`` in the root, else the XML annotations ("difficult" objects
    count). ``"xml"`` or a CSV path picks one of them. ``"masks"`` reads the classes out of the masks: an explicit
    choice, shown in the view's name, since objects too small or too hidden to be in the mask are then unlabelled.
    """

    kind: ClassVar[str] = "voc2012"

    def __init__(
        self,
        root: Path | None,
        name: str,
        options: Mapping[str, Any],
    ) -> None:
        folder = find_folder(self.kind, root, PLACES, "JPEGImages", HOW)
        super().__init__(folder, name, VOC_CLASSES)
        there = [split for split in self.augmented if split in self._list_files]
        train = there[0] if there else "train"
        default = Splits(train, seeds="train", val="val")
        self.splits = choose_splits(default, options)
        self._choose_labels(options.get("labels"))

    def _choose_labels(self, choice: object) -> None:
        self._table: Path | None = None
        if choice is None:
            self._table = find_table(self.root)
        elif str(choice) not in ("xml", "masks"):
            self._table = Path(str(choice)).expanduser()
            refuse_pickle(self._table)
        if self._table is not None:
            self.labels_source = f"table {self._table.name}"
        else:
            self.labels_source = str(choice or "xml")

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        if self._table is not None:
            return read_label_table(self._table, self.classes, ids)
        if self.labels_source == "masks":
            return labels_from_masks(self.masks(split))
        return XmlLabels(self.root / "Annotations", self.classes).read(ids)
