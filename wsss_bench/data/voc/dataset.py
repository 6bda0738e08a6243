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
from wsss_bench.data.voc.lists import _ALIASES, HOW, VOC_CLASSES, read_ids
from wsss_bench.errors import DataError


class VocLayout(Dataset):
    """A folder with JPEGImages, SegmentationClass and ImageSets/Segmentation."""

    augmented: ClassVar[tuple[str, ...]] = ("train_aug", "trainaug")

    def __init__(self, root: Path, name: str, classes: tuple[str, ...]) -> None:
        self.root, self.name, self.classes = root, name, classes
        self._lists: dict[str, tuple[str, ...]] = {}

    def _split_names(self) -> Collection[str]:
        return self._list_files

    def _make_ready(self) -> None:
        """Called before the first list is read; a dataset that is made on the spot makes itself here."""

    @cached_property
    def _list_files(self) -> dict[str, Path]:
        self._make_ready()
        folder = self.root / "ImageSets" / "Segmentation"
        found = (
            {path.stem: path for path in sorted(folder.glob("*.txt"))}
            if folder.is_dir()
            else {}
        )
        if not found:
            raise DataError(
                f"{folder} holds no lists (train.txt, val.txt, …). Restore them from the original archive."
            )
        return found

    def _resolve(self, split: str) -> str:
        alias = _ALIASES.get(split, split)
        return super()._resolve(
            alias
            if split not in self._list_files and alias in self._list_files
            else split
        )

    def _ids(self, split: str) -> tuple[str, ...]:
        if split not in self._lists:
            self._lists[split] = read_ids(self._list_files[split])
        return self._lists[split]

    def _image_path(self, split: str, image_id: str) -> Path:
        return self.root / "JPEGImages" / f"{image_id}.jpg"

    @cached_property
    def _mask_names(self) -> dict[str, frozenset[str]]:
        folders = (
            self.root / name for name in ("SegmentationClass", "SegmentationClassAug")
        )
        return {
            f.name: frozenset(p.name for p in f.glob("*.png"))
            if f.is_dir()
            else frozenset()
            for f in folders
        }

    def _mask_path(self, split: str, image_id: str) -> Path:
        """The augmented list prefers SegmentationClassAug, the others the devkit's masks, which have the 255 border."""
        order = ["SegmentationClass", "SegmentationClassAug"]
        if split in self.augmented:
            order.reverse()
        for folder in order:
            if f"{image_id}.png" in self._mask_names[folder]:
                return self.root / folder / f"{image_id}.png"
        has_augmented = bool(self._mask_names["SegmentationClassAug"])
        return (
            self.root
            / (order[0] if split not in self.augmented or has_augmented else order[1])
            / f"{image_id}.png"
        )

    def masks(self, split: str) -> SealedMasks:
        """Masks of a split; raises `DataError` for a split without any (VOC's test masks were never released)."""
        split = self._resolve(split)
        ids = self._kept(split)
        files = {
            i: (self._mask_path(split, i), self._image_path(split, i)) for i in ids
        }
        if not any(
            mask.name in self._mask_names[mask.parent.name]
            for mask, _ in files.values()
        ):
            raise DataError(
                f"{self.name}/{split}: {self.root / 'SegmentationClass'} holds none of its {len(ids)} masks. "
                + (
                    "VOC's test masks are not public; score on val."
                    if split == "test"
                    else HOW
                )
            )
        return SealedMasks(f"{self.name}/{split}", ids, files, len(self.classes))

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """The folders of masks, and the XML annotations with their boxes."""
        masks = ("SegmentationClass", "SegmentationClassAug", "SegmentationObject")
        return {
            "masks": tuple(self.root / name for name in masks),
            "boxes": (self.root / "Annotations",),
        }


class VocDataset(VocLayout):
    """VOC 2012: 20 classes; `labels` says where image-level labels come from.

    ``labels=None``: ``cls_labels.csv`` or ``voc12_cls_labels.csv`` in the root, else the XML annotations ("difficult" objects
    count); ``labels="xml"`` or a CSV path picks one of them; ``labels="masks"`` reads the classes out of the masks (an
    explicit choice, shown in the view's name: objects too small or too hidden to be in the mask are then unlabelled).
    """

    kind: ClassVar[str] = "voc2012"

    def __init__(
        self, root: Path | None, name: str, options: Mapping[str, Any]
    ) -> None:
        places = (
            ".",
            "VOC2012",
            "VOCdevkit/VOC2012",
            "voc2012",
            "voc2012/VOCdevkit/VOC2012",
        )
        super().__init__(
            find_folder(self.kind, root, places, "JPEGImages", HOW), name, VOC_CLASSES
        )
        augmented = next((s for s in self.augmented if s in self._list_files), "train")
        self.splits = choose_splits(Splits(augmented, "train", "val"), options)
        self._choose_labels(options.get("labels"))

    def _choose_labels(self, choice: Any) -> None:
        self._table: Path | None = None
        if choice is None:
            self._table = find_table(self.root)
            self.labels_source = f"table {self._table.name}" if self._table else "xml"
        elif str(choice) in ("xml", "masks"):
            self.labels_source = str(choice)
        else:
            refuse_pickle(Path(str(choice)))
            self._table = Path(str(choice)).expanduser()
            self.labels_source = f"table {self._table.name}"

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        if self._table is not None:
            return read_label_table(self._table, self.classes, ids)
        if self.labels_source == "masks":
            return labels_from_masks(self.masks(split))
        return XmlLabels(self.root / "Annotations", self.classes).read(ids)
