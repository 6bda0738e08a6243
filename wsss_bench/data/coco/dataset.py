"""MS COCO 2014 from ``instances_{train,val}2014.json``: 80 classes and background, masks rasterised once."""

from __future__ import annotations

import stat
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from wsss_bench.data.base import Dataset, Progress, Splits
from wsss_bench.data.coco.index import (
    COCO_CLASSES,
    INDEX_VERSION,
    MASK_IDS,
    RESTORE,
    CocoImage,
    Content,
    by_image,
    digest,
    index_images,
    read_annotations,
)
from wsss_bench.data.masks import SealedMasks
from wsss_bench.data.options import choose_splits
from wsss_bench.data.places import find_folder
from wsss_bench.errors import ArtifactError, DataError, did_you_mean

HOW = (
    "Get it with: wsss-bench data prepare --dataset coco2014 --data-root ROOT --download, "
    "or unpack train2014.zip, val2014.zip and annotations_trainval2014.zip of MS COCO there."
)

PLACES = (".", "coco2014", "coco", "COCO", "COCO2014")
"""Where under a data root COCO may lie, best first."""

SPLITS = ("train", "val")

Images = tuple[CocoImage, ...]

OFFICIAL_COUNTS = {
    "all": {"train": 82783, "val": 40504},
    "tagged": {"train": 82081, "val": 40137},
}
"""Sizes of the two list conventions: every image, or those with at least one annotation."""


class CocoDataset(Dataset):
    """COCO 2014.

    Options:
        lists: ``"all"`` (82,783 / 40,504 images, the default) or ``"tagged"`` (82,081 / 40,137: annotated ones).
        cache: folder for the rasterised masks; default ``masks2014`` beside ``annotations``, or
            ``work_dirs/data/<name>-masks2014`` where the root is read-only.

    Masks follow the rule of `wsss_bench.data.coco.masks.paint`: crowds are 255, smaller instances lie over larger ones.
    """

    kind: ClassVar[str] = "coco2014"

    def __init__(
        self,
        root: Path | None,
        name: str,
        options: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.classes = COCO_CLASSES
        self.root = find_folder(self.kind, root, PLACES, "annotations", HOW)
        self.lists = str(options.get("lists", "all"))
        if self.lists not in OFFICIAL_COUNTS:
            hint = did_you_mean(self.lists, OFFICIAL_COUNTS)
            what = f"{name}: there is no list convention {self.lists!r}."
            raise DataError(what + hint)
        default = Splits("train", "train", "val")
        self.splits = choose_splits(default, options)
        self.labels_source = "instances_*2014.json"
        cache = options.get("cache") or self._default_cache()
        self.cache = Path(cache).expanduser()
        self._indices: dict[str, Images] = {}
        self._digests: dict[str, str] = {}

    def _default_cache(self) -> Path:
        # The permission bits are asked, not the kernel: root may write anywhere, and still should not.
        mode = self.root.stat().st_mode
        if stat.S_IMODE(mode) & 0o222:
            return self.root / "masks2014"
        return Path("work_dirs") / "data" / f"{self.name}-masks2014"

    def annotation_file(self, split: str) -> Path:
        """Return ``annotations/instances_<split>2014.json``."""
        return self.root / "annotations" / f"instances_{split}2014.json"

    def facts(self) -> Mapping[str, Any]:
        """Return the list convention, besides what every dataset says."""
        return {**super().facts(), "lists": self.lists}

    def index(self, split: str) -> Images:
        """Return every image of the annotation file, tagged or not; parsed once, then read from the cache."""
        if split not in self._indices:
            found = self._stored_index(split)
            if not found:
                path = self.annotation_file(split)
                found = index_images(path, read_annotations(path))
            self._indices[split] = found
        return self._indices[split]

    def listed(self, split: str) -> Images:
        """Return the images that the list convention keeps."""
        images = self.index(split)
        if self.lists == "all":
            return images
        return tuple(image for image in images if image.tagged)

    def mask_folder(self, split: str) -> Path:
        """Return the folder where the masks of a split are cached.

        It is named by annotation file and painting rule, so neither goes stale.
        """
        from wsss_bench.data.coco.masks import RULE

        # The file has 300 MB; it is digested once for each opened dataset.
        if split not in self._digests:
            self._digests[split] = digest(self.annotation_file(split))
        return self.cache / f"{split}-{self._digests[split]}-rule{RULE}"

    def prepare(self, progress: Progress | None = None) -> None:
        """Rasterise the masks of every split that is not done yet; may be interrupted anywhere.

        Raises:
            DataError: a malformed annotation (file and annotation id), or a cache folder that cannot be written.
        """
        for split in self.available_splits():
            self._rasterise(split, progress)

    def masks(self, split: str) -> SealedMasks:
        """Return the masks of a split, rasterised first where `prepare` has not done so."""
        split = self._resolve(split)
        self._rasterise(split, None)
        folder = self.mask_folder(split)
        files = {}
        for image_id in self._kept(split):
            mask = folder / f"{image_id}.png"
            files[image_id] = mask, self._image_path(split, image_id)
        where = f"{self.name}/{split}"
        return SealedMasks(where, tuple(files), files, len(self.classes))

    def sealed(self) -> Mapping[str, tuple[Path, ...]]:
        """Return the rasterised masks, and the annotation files as boxes."""
        # They hold polygons too, but there are no boxes elsewhere.
        splits = self.available_splits()
        files = tuple(map(self.annotation_file, splits))
        return {"masks": (self.cache,), "boxes": files}

    def _rasterise(self, split: str, progress: Progress | None) -> None:
        from wsss_bench.io.files import write_json

        folder = self.mask_folder(split)
        if (folder / "index.json").exists():
            return
        path = self.annotation_file(split)
        data = read_annotations(path)
        images = index_images(path, data)
        groups = by_image(data)
        what = f"rasterising {self.name}/{split}"
        try:
            for number, image in enumerate(images, 1):
                self._paint(folder, path, image, groups[image.id])
                if progress is not None:
                    progress(what, number, len(images))
            entries = [asdict(image) for image in images]
            # Last, since its presence says that all masks are there.
            index = {"version": INDEX_VERSION, "images": entries}
            write_json(folder / "index.json", index)
        except ArtifactError as error:
            fix = "Name a folder for the masks: --data-option cache=FOLDER"
            raise DataError(f"{self.name}: {error} {fix}") from error

    @staticmethod
    def _paint(
        folder: Path,
        path: Path,
        image: CocoImage,
        group: Sequence[Content],
    ) -> None:
        from wsss_bench.data.coco.masks import paint
        from wsss_bench.io.files import write_atomic
        from wsss_bench.io.images import write_mask

        target = folder / f"{image.id}.png"
        # There already where an earlier preparation was interrupted.
        if target.exists():
            return
        try:
            mask = paint(group, MASK_IDS, image.height, image.width)
        except ValueError as error:
            what = f"annotations {path}: image {image.id}: {error}."
            raise DataError(f"{what} {RESTORE}") from error
        write_atomic(target, partial(write_mask, mask=mask))

    def _stored_index(self, split: str) -> Images | None:
        from wsss_bench.io.files import read_json

        path = self.mask_folder(split) / "index.json"
        if not path.exists():
            return None
        try:
            payload = read_json(path)
            if payload.get("version") != INDEX_VERSION:
                return None
            return tuple(_image(**entry) for entry in payload["images"])
        except (ArtifactError, AttributeError, KeyError, TypeError) as error:
            fix = f"Delete the folder {path.parent}: it is made again."
            raise DataError(f"{path} is damaged ({error}). {fix}") from error

    def _split_names(self) -> Collection[str]:
        files = {split: self.annotation_file(split) for split in SPLITS}
        found = [split for split, file in files.items() if file.is_file()]
        if not found:
            names = " or ".join(file.name for file in files.values())
            what = f"{self.root / 'annotations'} holds no {names}."
            raise DataError(f"{what} {HOW}")
        return found

    def _ids(self, split: str) -> tuple[str, ...]:
        return tuple(image.id for image in self.listed(split))

    def _image_path(self, split: str, image_id: str) -> Path:
        return self.root / f"{split}2014" / f"{image_id}.jpg"

    def _labels(
        self, split: str, ids: tuple[str, ...]
    ) -> Mapping[str, tuple[int, ...]]:
        return {image.id: image.labels for image in self.listed(split)}


def _image(labels: Sequence[int], **fields: Any) -> CocoImage:
    # JSON has no tuples.
    return CocoImage(labels=tuple(labels), **fields)
