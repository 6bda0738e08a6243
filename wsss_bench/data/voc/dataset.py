"""PASCAL VOC 2012 in the devkit's own layout, and any folder laid out like it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from wsss_bench.data.base import Dataset, Splits
from wsss_bench.data.files import FolderIndex
from wsss_bench.data.labels import (
    MainLabels,
    XmlLabels,
    find_table,
    labels_from_masks,
    read_label_file,
)
from wsss_bench.data.masks import SealedMasks
from wsss_bench.data.options import choose_splits
from wsss_bench.data.places import find_folder
from wsss_bench.data.voc.lists import ALIASES, HOW, VOC_CLASSES, read_ids
from wsss_bench.data.voc.masks import AUGMENTED, DEVKIT, MaskFolders, choose_folder
from wsss_bench.errors import DataError

PLACES = (
    ".",
    "VOC2012",
    "VOCdevkit/VOC2012",
    "voc2012",
    "voc2012/VOCdevkit/VOC2012",
)
"""Where under a data root VOC may lie, best first."""

WORDS = ("xml", "main", "masks")
"""Sources of image-level labels that are no file."""


class VocLayout(Dataset):
    """A folder with JPEGImages, SegmentationClass and ImageSets/Segmentation."""

    augmented: ClassVar[tuple[str, ...]] = ("train_aug", "trainaug")

    def __init__(self, root: Path, name: str, classes: tuple[str, ...]) -> None:
        self.root = root
        self.name = name
        self.classes = classes
        self._lists: dict[str, tuple[str, ...]] = {}
        self._mask_folder: Path | None = None

    def _split_names(self) -> Collection[str]:
        return self._list_files

    def _make_ready(self) -> None:
        """Called before the first list is read; a dataset that is made on the spot makes itself here."""

    @cached_property
    def _list_files(self) -> dict[str, Path]:
        self._make_ready()
        sets = self.root / "ImageSets"
        folder = sets / "Segmentation"
        found: dict[str, Path] = {}
        # DeepLab's lists of paths lie in the second; where both have a list, the devkit's own is meant.
        for place in (folder, sets / "SegmentationAug"):
            index = FolderIndex(place, (".txt",))
            for stem in index.stems:
                path = index.find(stem)
                if path is not None:
                    found.setdefault(stem, path)
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

    def _is_train(self, split: str) -> bool:
        """Return whether the split's labels may be shown.

        Besides lists called ``train…``, that is the one which the user trains on (mmsegmentation's ``aug``). Whatever
        its name, it must share no image with the lists that results are scored on.
        """
        if super()._is_train(split):
            return True
        scored = "val" in split or "test" in split
        return split == self.splits.train and not scored

    def _is_augmented(self, split: str) -> bool:
        """Return whether the split is a training list with masks of its own: ``train_aug``, ``trainaug``, ``aug``."""
        return "aug" in split and self._is_train(split)

    @cached_property
    def _indices(self) -> dict[Path, FolderIndex]:
        return {}

    def _image_path(self, split: str, image_id: str) -> Path:
        folder = self.root / "JPEGImages"
        # By the folder, since a preview is a copy with another root.
        if folder not in self._indices:
            self._indices[folder] = FolderIndex(folder)
        index = self._indices[folder]
        return index.find(image_id) or index.default(image_id)

    @cached_property
    def _masks(self) -> dict[Path, MaskFolders]:
        return {}

    def _mask_folders(self) -> MaskFolders:
        if self.root not in self._masks:
            self._masks[self.root] = MaskFolders(self.root, self._mask_folder)
        return self._masks[self.root]

    def masks(self, split: str) -> SealedMasks:
        """Return the masks of a split.

        An augmented training list has masks in ``SegmentationClassAug`` as far as they are there; all others have the
        devkit's alone, with the ignored border, unless the option `masks` names a folder.

        Raises:
            DataError: the split has none at all (VOC's test masks were never released), or has some in the augmented
                folder alone.
        """
        split = self._resolve(split)
        folders = self._mask_folders()
        augmented = self._is_augmented(split)
        where = f"{self.name}/{split}"
        files = {}
        there = 0
        for image_id in self._kept(split):
            mask = folders.path(image_id, augmented)
            files[image_id] = mask, self._image_path(split, image_id)
            there += folders.holds(mask)
        if not augmented:
            self._refuse_augmented(where, tuple(files))
        # Single masks that are missing are told of when they are read.
        if not there:
            raise self._no_masks(where, split, len(files))
        return SealedMasks(where, tuple(files), files, len(self.classes))

    def _refuse_augmented(self, where: str, ids: tuple[str, ...]) -> None:
        """Raise `DataError` where masks of a split are in the augmented folder alone."""
        folders = self._mask_folders()
        looked = map(folders.only_augmented, ids)
        found = [path for path in looked if path is not None]
        if not found:
            return
        what = f"{len(found)} of {len(ids)} masks are in {AUGMENTED} alone (first: {found[0]})."
        why = "Augmented masks have no ignored border, so scores on them compare with no published ones."
        fix = f"Restore {DEVKIT} from the devkit, or decide for them: --data-option masks={AUGMENTED}"
        raise DataError(f"{where}: {what} {why} {fix}")

    def _no_masks(self, where: str, split: str, count: int) -> DataError:
        folder = self._mask_folder or self.root / DEVKIT
        fix = HOW
        if split == "test":
            fix = "VOC's test masks are not public; score on val."
        elif self._mask_folder is not None:
            fix = "Name the folder that holds them: --data-option masks=FOLDER"
        return DataError(f"{where}: {folder} holds none of its {count} masks. {fix}")

    def truth_source(self, split: str) -> str:
        """Return the folders that the masks of a split lie in: ``"SegmentationClassAug + SegmentationClass"``."""
        masks = self.masks(split)
        paths = map(masks.path, masks.ids)
        names = {path.parent.name for path in paths}
        return " + ".join(sorted(names, reverse=True))

    def facts(self) -> Mapping[str, Any]:
        """Return the folder of masks that the user chose, besides what every dataset says."""
        facts = super().facts()
        if self._mask_folder is None:
            return facts
        return {**facts, "masks": self._mask_folder.name}

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Return the folders of masks, and the XML annotations with their boxes."""
        names = (DEVKIT, AUGMENTED, "SegmentationObject")
        masks = [self.root / name for name in names]
        if self._mask_folder is not None:
            masks.append(self._mask_folder)
        return {
            "masks": tuple(masks),
            "boxes": (self.root / "Annotations",),
        }


class VocDataset(VocLayout):
    """VOC 2012: 20 classes.

    Options:
        labels: where image-level labels come from. Not given: a file of labels in the root (see
            `wsss_bench.data.labels.TABLE_NAMES`), else the XML annotations ("difficult" objects count). A file, or
            ``"xml"``, or ``"main"`` (``ImageSets/Main``) picks one of them. ``"masks"`` reads the classes out of the
            masks: an explicit choice, shown in the view's name, since objects too small or too hidden to be in the
            mask are then unlabelled.
        masks: a folder of masks, in the root or elsewhere, that all masks are read from; see `VocLayout.masks`.
    """

    kind: ClassVar[str] = "voc2012"
    border_published: ClassVar[bool] = True

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
        self._mask_folder = choose_folder(self.root, options, name)
        self._choose_labels(options.get("labels"))

    def _choose_labels(self, choice: object) -> None:
        self._table: Path | None = None
        if choice is None:
            self._table = find_table(self.root)
        elif str(choice) not in WORDS:
            self._table = self._label_file(str(choice))
        if self._table is not None:
            self.labels_source = f"table {self._table.name}"
        else:
            self.labels_source = str(choice or "xml")

    def _label_file(self, choice: str) -> Path:
        given = Path(choice).expanduser()
        within = self.root / given
        # A file in the root may be named as it is named there.
        return within if within.is_file() and not given.is_file() else given

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        if self._table is not None:
            return read_label_file(self._table, self.classes, ids)
        if self.labels_source == "masks":
            return labels_from_masks(self.masks(split))
        if self.labels_source == "main":
            folder = self.root / "ImageSets" / "Main"
            return MainLabels(folder, self.classes).read(ids)
        return XmlLabels(self.root / "Annotations", self.classes).read(ids)
