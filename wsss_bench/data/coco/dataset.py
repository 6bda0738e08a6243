"""MS COCO 2014: 80 classes and background, from its annotations or from other repositories' masks, lists and labels."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from wsss_bench.data.base import Dataset, Progress, Splits
from wsss_bench.data.coco import layout
from wsss_bench.data.coco.choices import list_folder, masks_of, own_lists
from wsss_bench.data.coco.index import (
    COCO_CLASSES,
    MASK_IDS,
    CocoImage,
    digest,
    index_images,
    read_annotations,
)
from wsss_bench.data.coco.labels import LabelFile
from wsss_bench.data.coco.lists import read_list
from wsss_bench.data.coco.raster import (
    Images,
    Raster,
    RasterMasks,
    folder_name,
    root_digest,
)
from wsss_bench.data.files import MASKS
from wsss_bench.data.labels import labels_from_masks
from wsss_bench.data.masks import SealedMasks
from wsss_bench.data.options import choose_splits
from wsss_bench.errors import DataError
from wsss_bench.io.paths import user_cache

SPLITS = layout.SPLITS

OFFICIAL_COUNTS = {
    "2014": {
        "all": {"train": 82783, "val": 40504},
        "tagged": {"train": 82081, "val": 40137},
    },
    "2017": {
        "all": {"train": 118287, "val": 5000},
        "tagged": {"train": 117266, "val": 4952},
    },
}
"""Sizes of the two list conventions of each year: every image, or those with at least one annotation."""

CACHE = "coco-masks"
"""The folder in the user's cache where masks are made."""


class CocoDataset(Dataset):
    """COCO 2014, or the splits of 2017 where only their annotations are there.

    Options:
        lists: ``"all"`` (82,783 / 40,504 images, the default), ``"tagged"`` (82,081 / 40,137: annotated ones), or a
            folder with ``train.txt`` and ``val.txt`` as other repositories have them.
        labels: a file of image-level labels, or ``"masks"``; default: the annotations.
        masks: a folder of masks, or ``"annotations"``. Default: made from the annotations; where there are none,
            ``SegmentationClass`` in the root.
        cache: folder for the masks that are made; default: in the user's cache, never in a data root.
        year: ``"2014"`` or ``"2017"``; default: the first that has annotations.

    Masks that are made follow the rule of `wsss_bench.data.coco.masks.paint`: crowds are 255, smaller instances lie
    over larger ones.
    """

    kind: ClassVar[str] = "coco2014"
    category_ids: ClassVar[Mapping[int, int]] = MASK_IDS
    ignored: ClassVar[str] = "void"

    def __init__(
        self,
        root: Path | None,
        name: str,
        options: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.classes = COCO_CLASSES
        choice = str(options.get("lists", "all"))
        self._list_folder = list_folder(name, choice)
        self.root = layout.find_root(root, self._list_folder is not None)
        year = options.get("year")
        self.year = layout.choose_year(self.root, year and str(year))
        self._list_files = self._find_lists()
        self.lists = self._said_of_lists(choice)
        self.splits = choose_splits(Splits("train", "train", "val"), options)
        made = bool(self._annotated)
        self._masks = masks_of(name, self.root, options.get("masks"), made)
        self._labels_file = self._choose_labels(options.get("labels"))
        self._cache = options.get("cache")
        self._kept_masks = True
        self._indices: dict[str, Images] = {}
        self._rasters: dict[str, Raster] = {}
        self._photographs: dict[str, layout.Files] = {}

    def _find_lists(self) -> dict[str, Path]:
        """Return the lists that are files, by split; none where the annotations are the list."""
        folder = self._list_folder
        if folder is not None:
            return own_lists(self.name, folder)
        # Without annotations only lists tell what the splits are.
        return {} if self._annotated else layout.list_files(self.root)

    def _said_of_lists(self, choice: str) -> str:
        """Return what records say of the lists; no path of the machine."""
        if self._list_folder is not None:
            return self._list_folder.resolve().name
        return "files" if self._list_files else choice

    @property
    def _annotated(self) -> tuple[str, ...]:
        """The splits that have annotations."""
        return tuple(one for one in SPLITS if self.annotation_file(one).is_file())

    def _choose_labels(self, choice: object) -> LabelFile | None:
        """Return the file that labels are read from, and note their source; None: annotations, or masks."""
        if choice is not None and str(choice) == "masks":
            self.labels_source = "masks"
            return None
        found = None
        if choice is not None:
            found = LabelFile(Path(str(choice)).expanduser())
        elif not self._annotated:
            found = LabelFile.search((self.root, self._list_folder or self.root))
        if found is not None:
            self.labels_source = f"table {found.path.name}"
        elif self._annotated:
            self.labels_source = f"instances_*{self.year}.json"
        return found

    @cached_property
    def cache(self) -> Path:
        """The folder under which masks are made."""
        if self._cache:
            return Path(self._cache).expanduser()
        return user_cache() / CACHE / root_digest(self.root)

    def annotation_file(self, split: str) -> Path:
        """Return the annotations of a split or list, ``instances_<split><year>.json``."""
        return layout.annotation_file(self.root, layout.split_of(split), self.year)

    def facts(self) -> Mapping[str, Any]:
        """Return lists, year and source of the masks, besides what every dataset says."""
        facts: dict[str, Any] = {**super().facts(), "lists": self.lists}
        if self.year != layout.YEARS[0]:
            facts["year"] = self.year
        if self._masks is not None:
            facts["masks"] = self._masks.name
        return facts

    def index(self, split: str) -> Images:
        """Return every image of the annotation file, tagged or not; parsed once, then read from the cache."""
        base = layout.split_of(split)
        if base not in self._indices:
            self._indices[base] = self._read_index(base)
        return self._indices[base]

    def _read_index(self, split: str) -> Images:
        stored = self.raster(split).stored_images()
        if stored:
            return stored
        path = self.annotation_file(split)
        return index_images(path, read_annotations(path))

    def listed(self, split: str) -> Images:
        """Return the images that the list convention keeps."""
        images = self.index(split)
        if self.lists != "tagged":
            return images
        return tuple(image for image in images if image.tagged)

    def raster(self, split: str) -> Raster:
        """Return what makes the masks of a split from its annotations."""
        base = layout.split_of(split)
        if base not in self._rasters:
            file = self.annotation_file(base)
            content = digest(file)
            name = folder_name(base, content)
            # Where former versions have made them.
            work = Path("work_dirs") / "data" / f"{self.name}-masks2014"
            old = (self.root / "masks2014", work)
            self._rasters[base] = Raster(
                f"{self.name}/{base}",
                file,
                content,
                self.cache / name,
                tuple(folder / name for folder in old),
            )
        return self._rasters[base]

    def mask_folder(self, split: str) -> Path:
        """Return the folder of a split's masks; it is named by annotation file and painting rule, or is the user's."""
        if self._masks is not None:
            return layout.mask_folder(self._masks, layout.split_of(split), self.year)
        return self.raster(split).place

    @property
    def rasterises(self) -> bool:
        """Whether masks are made from the annotations."""
        return self._masks is None

    def ready(self) -> bool:
        """Return whether no mask has to be made any more."""
        if not self.rasterises:
            return True
        return all(self.raster(split).ready() for split in self._annotated)

    def preview(self) -> CocoDataset:
        """Return the dataset with masks that are painted in memory where they are not made yet."""
        if self.ready():
            return self
        seen = copy.copy(self)
        seen._kept_masks = False
        return seen

    def prepare(self, progress: Progress | None = None) -> None:
        """Rasterise the masks of every split that is not done yet; may be interrupted anywhere.

        Raises:
            DataError: a malformed annotation (file and annotation id), or a cache folder that cannot be written.
        """
        if self.rasterises:
            for split in self._annotated:
                self.raster(split).make(progress)

    def masks(self, split: str) -> SealedMasks:
        """Return the masks of a split; those made from annotations are made when the first is read."""
        split = self._resolve(split)
        where = f"{self.name}/{split}"
        photographs = {i: self._image_path(split, i) for i in self._kept(split)}
        if self._masks is not None:
            return self._shipped(split, where, photographs)
        if layout.split_of(split) not in self._annotated:
            what = f"{where}: there are no masks: neither {self.annotation_file(split)} nor a folder of masks."
            raise DataError(f"{what} Name one: --data-option masks=FOLDER")
        count = len(self.classes)
        raster = self.raster(split)
        return RasterMasks(raster, where, photographs, count, self._kept_masks)

    def _shipped(
        self, split: str, where: str, photographs: Mapping[str, Path]
    ) -> SealedMasks:
        folder = self.mask_folder(split)
        masks = layout.Files([folder], MASKS)
        files = {i: (masks.path(i), file) for i, file in photographs.items()}
        # Single masks that are missing are told of when they are read.
        if not any(mask.is_file() for mask, _ in files.values()):
            what = f"{folder} holds none of its {len(files)} masks."
            fix = "Name the folder that holds them: --data-option masks=FOLDER"
            raise DataError(f"{where}: {what} {fix}")
        return SealedMasks(where, tuple(files), files, len(self.classes))

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Return every folder of masks, used or not, and the annotation files as boxes."""
        folders = [self.cache, self.root / "masks2014", *layout.mask_places(self.root)]
        if self._masks is not None:
            folders.append(self._masks)
        # They hold polygons too, but there are no boxes elsewhere.
        files = [self.annotation_file(split) for split in self._annotated]
        return {"masks": tuple(folders), "boxes": tuple(files)}

    def truth(self, role: str) -> str:
        """Return what a role's split is scored against; masks that would have to be made need not be read."""
        split = self._resolve(getattr(self.splits, role))
        if self.rasterises:
            return self.truth_source(split)
        return super().truth(role)

    def truth_source(self, split: str) -> str:
        """Return the annotation file and how crowds count, or the folder of masks."""
        if self._masks is None:
            return f"{self.annotation_file(split).name}, crowds 255 ignored"
        folder = self.mask_folder(split)
        own = folder.relative_to(self._masks)
        return (Path(self._masks.name) / own).as_posix()

    def _split_names(self) -> Collection[str]:
        found = tuple(self._list_files) or self._annotated
        if not found:
            names = " or ".join(self.annotation_file(split).name for split in SPLITS)
            what = f"{self.root} holds no {names}, and no list train.txt or val.txt."
            files = (
                "--data-option lists=FOLDER --data-option masks=FOLDER --labels FILE"
            )
            other = f"With files of another repository: {files}"
            raise DataError(f"{what} {layout.HOW} {other}")
        return found

    def _ids(self, split: str) -> tuple[str, ...]:
        if split not in self._list_files:
            return tuple(image.id for image in self.listed(split))
        return self._own_lists[split]

    @cached_property
    def _own_lists(self) -> dict[str, tuple[str, ...]]:
        lists = {}
        for split, path in self._list_files.items():
            base = layout.split_of(split)
            known = self.index(base) if base in self._annotated else None
            lists[split] = read_list(path, base, self.year, known)
        return lists

    def _image_path(self, split: str, image_id: str) -> Path:
        base = layout.split_of(split)
        if base not in self._photographs:
            self._photographs[base] = layout.photographs(self.root, base, self.year)
        return self._photographs[base].path(image_id)

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        if self._labels_file is not None:
            return self._labels_file.read(self.classes, ids)
        if self.labels_source == "masks":
            return labels_from_masks(self.masks(split))
        if layout.split_of(split) not in self._annotated:
            what = f"{self.name}/{split}: there are no image-level labels."
            fix = "Name a file, cls_labels_coco.npy for example: --labels FILE"
            raise DataError(f"{what} {fix}")
        images: dict[str, CocoImage] = {image.id: image for image in self.index(split)}
        return {i: images[i].labels for i in ids}
