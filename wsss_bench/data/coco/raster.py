"""Masks made from COCO's annotations: once, into the user's cache, and only when somebody reads them.

A folder is named by the annotation file's content and the painting rule, so it never goes stale. Its ``index.json`` is
written last, and keeps the digest of every mask: one that was changed afterwards is refused, since scores would be kept
under a fingerprint that names the annotations alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wsss_bench.data.base import Progress
from wsss_bench.data.coco.index import (
    INDEX_VERSION,
    MASK_IDS,
    RESTORE,
    CocoImage,
    Content,
    by_image,
    index_images,
    read_annotations,
)
from wsss_bench.data.masks import SealedMasks
from wsss_bench.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INDEX = "index.json"
READABLE = (1, INDEX_VERSION)
"""Versions of the index that are understood; the first has no digests."""

Images = tuple[CocoImage, ...]


def folder_name(split: str, content: str) -> str:
    """Return what the folder of a split's masks is called, by the digest of its annotation file."""
    from wsss_bench.data.coco.masks import RULE

    return f"{split}-{content[:12]}-rule{RULE}"


def root_digest(root: Path) -> str:
    """Return a short digest of where a root lies."""
    return hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]


@dataclass
class Raster:
    """The masks of one annotation file.

    Attributes:
        name: dataset and split, for messages.
        annotations: the annotation file.
        content: its digest.
        folder: where masks are made.
        elsewhere: folders where former versions have made them; used where they are whole.
    """

    name: str
    annotations: Path
    content: str
    folder: Path
    elsewhere: tuple[Path, ...] = ()
    _index: dict[str, Any] | None = field(default=None, repr=False)
    _place: Path | None = field(default=None, repr=False)
    _groups: Mapping[str, list[Content]] | None = field(default=None, repr=False)
    _sizes: Mapping[str, CocoImage] = field(default_factory=dict, repr=False)

    @property
    def derived(self) -> str:
        """What stands for the contents of the masks in fingerprints: the annotations' digest and the rule."""
        from wsss_bench.data.coco.masks import RULE

        return f"{self.content} rule {RULE}"

    @property
    def place(self) -> Path:
        """The folder that holds the masks, or will."""
        self.ready()
        return self._place or self.folder

    def ready(self) -> bool:
        """Return whether every mask is there; raises `DataError` where an index is damaged."""
        if self._place is not None:
            return True
        if self._look(self.folder):
            return True
        for folder in self.elsewhere:
            # It may lie in a root that nobody can mend; the masks are then made anew.
            with suppress(DataError):
                if self._look(folder):
                    return True
        return False

    def _look(self, folder: Path) -> bool:
        """Return whether every mask is in a folder, and take it as their place if so."""
        index = _read_index(folder)
        if index is None or not _whole(folder, index):
            return False
        self._place = folder
        self._index = index
        return True

    def stored_images(self) -> Images | None:
        """Return the images of the annotation file as kept with the masks; None where there are no masks yet."""
        if not self.ready() or self._index is None:
            return None
        return tuple(_image(**entry) for entry in self._index["images"])

    def make(self, progress: Progress | None = None) -> None:
        """Paint every mask that is missing; several processes may ask at once, and any may be killed.

        Raises:
            DataError: a malformed annotation (file and annotation id), or a folder that cannot be written.
        """
        if self.ready():
            return
        from wsss_bench.io.locking import locked

        try:
            with locked(self.folder):
                # Another process may have made them while this one waited.
                if not self.ready():
                    self._paint_all(progress)
        except ArtifactError as error:
            fix = "Name a folder for the masks: --data-option cache=FOLDER"
            raise DataError(f"{self.name}: {error} {fix}") from error

    def _paint_all(self, progress: Progress | None) -> None:
        from wsss_bench.io.files import file_digest, write_json

        # The folder is named by the content, so nothing else may be painted into it.
        data = read_annotations(self.annotations, self.content)
        images = index_images(self.annotations, data)
        groups = by_image(data)
        known = (_read_index(self.folder) or {}).get("masks", {})
        digests = {}
        for number, image in enumerate(images, 1):
            target = self.folder / f"{image.id}.png"
            # There already where an earlier preparation was interrupted, or all but some were deleted.
            made = file_digest(target) if target.exists() else ""
            if not made or made != known.get(image.id, made):
                self._write(target, image, groups[image.id])
                made = file_digest(target)
            digests[image.id] = made
            if progress is not None:
                progress(f"rasterising {self.name}", number, len(images))
        index = {
            "version": INDEX_VERSION,
            "images": [asdict(image) for image in images],
            "masks": digests,
        }
        # Last, since its presence says that all masks are there.
        write_json(self.folder / INDEX, index)

    def _write(self, target: Path, image: CocoImage, group: Sequence[Content]) -> None:
        from wsss_bench.io.files import write_atomic
        from wsss_bench.io.images import write_mask

        mask = self._paint(image, group)
        write_atomic(target, partial(write_mask, mask=mask))

    def _paint(self, image: CocoImage, group: Sequence[Content]) -> NDArray[np.uint8]:
        from wsss_bench.data.coco.masks import paint

        try:
            return paint(group, MASK_IDS, image.height, image.width)
        except ValueError as error:
            what = f"annotations {self.annotations}: image {image.id}: {error}."
            raise DataError(f"{what} {RESTORE}") from error

    def in_memory(self, image_id: str) -> NDArray[np.uint8]:
        """Return one mask painted now; nothing is written."""
        if self._groups is None:
            data = read_annotations(self.annotations, self.content)
            images = index_images(self.annotations, data)
            self._sizes = {image.id: image for image in images}
            self._groups = by_image(data)
        return self._paint(self._sizes[image_id], self._groups[image_id])

    def check(self, image_id: str) -> None:
        """Raise `DataError` where a mask is not what was painted."""
        from wsss_bench.io.files import file_digest

        # Masks of former versions have no digests; `data verify` compares them with the annotations.
        made = (self._index or {}).get("masks", {}).get(image_id)
        path = self.place / f"{image_id}.png"
        if made is None or not path.exists() or file_digest(path) == made:
            return
        what = (
            f"mask {path} was changed after it was made from {self.annotations.name}."
        )
        fix = "Delete it and run: wsss-bench data prepare. To score on masks of your own: --data-option masks=FOLDER"
        raise DataError(f"{what} {fix}")


class RasterMasks(SealedMasks):
    """Masks that are made when the first of them is read; their fingerprint is the annotations'.

    Args:
        raster: what makes them.
        where: dataset and split, for messages.
        photographs: the photograph of each image, in order.
        num_classes: number of mask ids, background included.
        kept: False to paint in memory and write nothing.
    """

    def __init__(
        self,
        raster: Raster,
        where: str,
        photographs: Mapping[str, Path],
        num_classes: int,
        kept: bool = True,
    ) -> None:
        place = raster.place
        files = {i: (place / f"{i}.png", file) for i, file in photographs.items()}
        super().__init__(where, tuple(files), files, num_classes, raster.derived)
        self._raster = raster
        self._kept = kept

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        """Return one mask, made now where it must be; raises `DataError` as `SealedMasks` does."""
        self._pair(image_id)
        if not self._kept and not self._raster.ready():
            return self._raster.in_memory(image_id)
        self._raster.make()
        self._raster.check(image_id)
        return super().__getitem__(image_id)

    def path(self, image_id: str) -> Path:
        """Return the file of one mask, made now where it must be (and may be: not of a preview)."""
        if self._kept:
            self._raster.make()
        return super().path(image_id)


def _read_index(folder: Path) -> dict[str, Any] | None:
    """Return the index of a folder of masks; None where there is none, or one that is not understood."""
    from wsss_bench.io.files import read_json

    path = folder / INDEX
    if not path.exists():
        return None
    try:
        index = read_json(path)
        if index.get("version") not in READABLE:
            return None
        for entry in index["images"]:
            _image(**entry)
        return dict(index)
    except (ArtifactError, AttributeError, KeyError, TypeError, ValueError) as error:
        fix = f"Delete the folder {folder}: it is made again."
        raise DataError(f"{path} is damaged ({error}). {fix}") from error


def _whole(folder: Path, index: Mapping[str, Any]) -> bool:
    """Return whether all masks of an index are there."""
    # Listed once: to ask for a hundred thousand files one by one takes minutes on a network drive.
    there = {path.name for path in folder.iterdir()}
    return all(f"{entry['id']}.png" in there for entry in index["images"])


def _image(labels: Sequence[int], **fields: Any) -> CocoImage:
    # JSON has no tuples.
    return CocoImage(labels=tuple(labels), **fields)
