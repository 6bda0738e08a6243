"""Writers of what a stage leaves: every item is checked and written whole; the manifest comes last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.seed import Seed
from wsss_bench.contract.sets import (
    FOLDERS,
    ITEMS,
    LAYOUT,
    MANIFEST,
    PACKED,
    ArraySet,
    ItemSet,
    LabelSet,
    SeedSet,
)
from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import write_atomic, write_json
from wsss_bench.io.images import image_size, write_mask
from wsss_bench.io.packs import SIZE, PackWriter, pack_name

if TYPE_CHECKING:
    from wsss_bench.contract.view import WeakView

Reader = TypeVar("Reader", bound=ItemSet[Any])


class ItemWriter(Generic[Reader]):
    """Writes items one by one; knows which are there already; `close` writes the manifest.

    Attributes:
        path: the folder.
        view: the images; each is written once.
        who: how messages begin.
        facts: what the manifest holds besides kind, ids and classes. A plugin may add to it until `close`.
    """

    reader: type[Reader]

    def __init__(
        self,
        path: Path,
        view: WeakView,
        who: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.view, self.who = path, view, who
        self.facts: dict[str, Any] = dict(facts or {})
        (path / ITEMS).mkdir(parents=True, exist_ok=True)

    def _check(self, image_id: str) -> None:
        """Raise `ArtifactError` for an id that is not in the view."""
        if image_id not in self.view:
            what = f"wrote image {image_id!r}, which is not in the view."
            fix = "Write each image of `view` once."
            raise ArtifactError(f"{self.who}: {what} {fix}")

    def done(self, image_id: str) -> bool:
        """Return whether this id was written already, by this process or by an interrupted one before it.

        Raises:
            ArtifactError: the id is not in the view.
        """
        raise NotImplementedError

    def _layout(self) -> dict[str, str]:
        """Return how the manifest says where items lie; empty where they lie in one folder."""
        raise NotImplementedError

    def close(self) -> Reader:
        """Check that every image of the view was written, write the manifest, and return the reader."""
        ids = [image.id for image in self.view]
        missing = [image_id for image_id in ids if not self.done(image_id)]
        if missing:
            count = f"{len(missing)} of {len(ids)} images were not written"
            what = f"{self.who}: {count} (first: {missing[0]!r})."
            fix = "Call out.write(id, item) for every image of `view`"
            raise ArtifactError(f"{what} {fix} before out.close().")
        facts = {"kind": self.reader.kind, "ids": ids}
        classes = {"classes": list(self.view.classes)}
        write_json(
            self.path / MANIFEST, {**self.facts, **self._layout(), **facts, **classes}
        )
        return self.reader(self.path)

    def _refuse(self, image_id: str, problems: list[str]) -> None:
        if problems:
            what = f"image {image_id!r}: {' '.join(problems)}"
            raise ArtifactError(f"{self.who}: {what}")


class _PackedWriter(ItemWriter[Reader]):
    """Writes arrays by image into packs."""

    def __init__(
        self,
        path: Path,
        view: WeakView,
        who: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(path, view, who, facts)
        self._packs = PackWriter(path / ITEMS, [image.id for image in view])

    def done(self, image_id: str) -> bool:
        """Return whether this id was written already, by this process or by an interrupted one before it."""
        self._check(image_id)
        return self._packs.done(image_id)

    def _layout(self) -> dict[str, str]:
        return {LAYOUT: PACKED}


class SeedWriter(_PackedWriter[SeedSet]):
    """Writes `Seed` items; scores are stored as float16."""

    reader = SeedSet

    def write(self, image_id: str, seed: Seed) -> None:
        """Check and store one seed; raises `ArtifactError` naming the plugin, the image and every broken rule."""
        self._check(image_id)
        self._refuse(image_id, seed.problems(self.view.by_id(image_id).labels))
        arrays: dict[str, NDArray[Any]] = {
            "class_ids": seed.class_ids.astype(np.int64),
            "scores": _halved(seed.scores),
            "size": np.asarray(seed.size, np.int64),
        }
        if seed.background is not None:
            arrays["background"] = _halved(seed.background)
        if seed.rank is not None:
            arrays["rank"] = _halved(seed.rank)
        self._packs.write(image_id, arrays)


def _halved(array: NDArray[np.float32]) -> NDArray[np.float16]:
    # What lies above 1 by a rounding error must not come back as a broken rule.
    return np.minimum(array, 1).astype(np.float16)


class LabelWriter(ItemWriter[LabelSet]):
    """Writes pseudo-labels and predictions as palette PNGs of the photograph's size.

    With `tags`, an image may only hold background, 255 and the classes that its labels name.
    """

    reader = LabelSet

    def __init__(
        self,
        path: Path,
        view: WeakView,
        who: str,
        facts: Mapping[str, Any] | None = None,
        *,
        tags: bool = True,
    ) -> None:
        super().__init__(path, view, who, facts)
        self._check_tags = tags
        self._places = {image.id: place for place, image in enumerate(view)}

    def file(self, image_id: str) -> Path:
        """Return where the label of that id goes; raises `ArtifactError` for an id that is not in the view."""
        self._check(image_id)
        folder = self.path / ITEMS
        if self._layout():
            folder /= pack_name(self._places[image_id])
        return folder / f"{image_id}{self.reader.suffix}"

    def done(self, image_id: str) -> bool:
        """Return whether this id was written already, by this process or by an interrupted one before it."""
        try:
            # An empty file is what a power cut leaves of one that was not on the disk yet.
            return self.file(image_id).stat().st_size > 0
        except FileNotFoundError:
            return False

    def _layout(self) -> dict[str, str]:
        # Tools that look at folders, and file systems, do not like a hundred thousand files in one.
        return {LAYOUT: FOLDERS} if len(self.view) > SIZE else {}

    def write(self, image_id: str, label: NDArray[np.uint8]) -> None:
        """Check and store one label map; raises `ArtifactError` naming the plugin, the image and every broken rule."""
        path = self.file(image_id)
        self._refuse(image_id, self._problems(image_id, label))
        write_atomic(path, lambda handle: write_mask(handle, label))

    def _problems(self, image_id: str, label: NDArray[np.uint8]) -> list[str]:
        image = self.view.by_id(image_id)
        shape = list(label.shape)
        if label.dtype != np.uint8 or label.ndim != 2:
            return [f"a label must be uint8 [H, W], not {label.dtype} {shape}."]
        size = image_size(image.path)
        if label.shape != size:
            must = f"a label must have the photograph's size {list(size)}"
            return [f"{must}, not {shape}."]
        allowed = set(range(1, self.view.num_classes))
        if self._check_tags and image.labels is not None:
            allowed = set(image.labels)
        counted = np.bincount(label.ravel(), minlength=256)
        found = set(np.flatnonzero(counted).tolist())
        foreign = sorted(found - allowed - {0, IGNORE})
        if foreign:
            use = f"use 0, 255 and {sorted(allowed)}."
            return [f"values {foreign} are not allowed; {use}"]
        return []


class ArrayWriter(_PackedWriter[ArraySet]):
    """Writes arrays by name, as they are: the resumable form of "the features of every image".

    A single number comes back as an array of one.
    """

    reader = ArraySet

    def write(self, image_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store the arrays of one image.

        Raises:
            ArtifactError: naming the plugin and the image; there is no array, one holds NaN or infinity, or one is no
                plain array.
        """
        self._check(image_id)
        self._refuse(image_id, _array_problems(arrays))
        self._packs.write(image_id, arrays)


def _array_problems(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    if not arrays:
        return ["there is no array; write at least one."]
    found = []
    for name, array in arrays.items():
        kind = type(array).__name__
        # An array of objects could only be stored as a pickle, and loading one runs code.
        if not isinstance(array, np.ndarray) or array.dtype == object:
            found.append(f"{name} must be a plain NumPy array, not {kind}.")
        elif np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            found.append(f"{name} holds NaN or infinity.")
    return found
