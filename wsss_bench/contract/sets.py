"""Readers of what a stage left: folders with one file per image, in the order of the view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.names import KEPT
from wsss_bench.contract.seed import Seed
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import inside, read_json
from wsss_bench.io.images import check_png
from wsss_bench.io.packs import Packs, pack_name

MANIFEST = "manifest.json"
"""Says what a folder holds. It is written last, so a folder that has one is finished."""

ITEMS = "items"
"""The folder, in a folder of results, of the files by image id."""

LAYOUT, PACKED, FOLDERS = "layout", "packs", "folders"
"""How a manifest says that items lie in packs (see `wsss_bench.io.packs`), or in folders of a thousand; without a word
they lie in one folder."""

Item = TypeVar("Item")


class ItemSet(Generic[Item]):
    """Lazy, immutable reader of a folder of items: ids and facts from the manifest, one file per id.

    Attributes:
        path: the folder.
        manifest: the manifest's content.
        ids: the images that it holds, in the order of the view.
    """

    kind = ""
    suffix = ""
    noun = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = read_json(path / MANIFEST)
        found = manifest.get("kind") if isinstance(manifest, dict) else manifest
        if found != self.kind:
            what = f"{path} holds {found!r}"
            raise ArtifactError(f"{what}, a {self.kind!r} folder was expected.")
        self.manifest: dict[str, Any] = manifest
        self.ids: tuple[str, ...] = _manifest_ids(path, manifest.get("ids"))
        self._places = {image_id: place for place, image_id in enumerate(self.ids)}
        self._layout = str(manifest.get(LAYOUT, ""))

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._places

    def __iter__(self) -> Iterator[tuple[str, Item]]:
        return ((image_id, self[image_id]) for image_id in self.ids)

    def __getitem__(self, image_id: str) -> Item:
        path = self.file(image_id)
        try:
            return self._load(path, image_id)
        except Exception as error:
            # A damaged file may raise anything inside its decoder.
            what = f"{self.noun} {path} cannot be read ({error})."
            fix = f"Delete {self.path} and run the command again."
            raise ArtifactError(f"{what} {fix}") from error

    def _load(self, path: Path, image_id: str) -> Item:
        raise NotImplementedError

    def file(self, image_id: str) -> Path:
        """Return the path of one item; of one in a pack it is the pack's, and the item's name: ``000.npz/ID.npz``.

        Raises:
            ArtifactError: the set does not hold that id.
        """
        if image_id not in self._places:
            raise ArtifactError(f"{self.path} holds nothing for image {image_id!r}.")
        name = f"{image_id}{self.suffix}"
        if self._layout:
            return self.path / ITEMS / self._within(self._places[image_id]) / name
        return self.path / ITEMS / name

    def _within(self, place: int) -> str:
        """Return the pack or folder of image number `place`."""
        name = pack_name(place)
        return f"{name}{self.suffix}" if self._layout == PACKED else name

    def kept(self, name: str) -> Path:
        """Return the file that the stage kept as `name` (``ctx.keep``); raises `ArtifactError` where it kept none."""
        path = inside(self.path / KEPT, name)
        if not path.is_file():
            fix = f"Call ctx.keep(path, {name!r}) in the stage that makes it."
            raise ArtifactError(f"{self.path} keeps no file {name!r}. {fix}")
        return path

    @property
    def fingerprint(self) -> str:
        """The key of the stage that made the folder (for an imported one a digest), or "" where there is none."""
        return str(self.manifest.get("key", ""))


def _manifest_ids(path: Path, ids: object) -> tuple[str, ...]:
    # Compared as text: a manifest from elsewhere may list things that have no hash.
    if not isinstance(ids, list) or len(set(map(repr, ids))) != len(ids):
        what = f"{path / MANIFEST} has no list of distinct 'ids'."
        raise ArtifactError(f"{what} Delete {path} and run the command again.")
    for image_id in ids:
        inside(path / ITEMS, image_id)
    return tuple(ids)


class PackedSet(ItemSet[Item]):
    """Lazy, immutable reader of arrays by image: in packs, or one ``.npz`` each; loaded without pickle."""

    suffix = ".npz"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._packs = Packs(path / ITEMS)

    def _load(self, path: Path, image_id: str) -> Item:
        if self._layout == PACKED:
            arrays = self._packs.read(self._places[image_id], image_id)
        else:
            arrays = _one_file(path)
        return self._made(arrays)

    def _made(self, arrays: Mapping[str, NDArray[Any]]) -> Item:
        raise NotImplementedError


def _one_file(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


class SeedSet(PackedSet[Seed]):
    """Lazy, immutable reader of a folder of `Seed` items."""

    kind = "seeds"
    noun = "seed"

    def _made(self, arrays: Mapping[str, NDArray[Any]]) -> Seed:
        scores = arrays["scores"].astype(np.float32)
        size = (int(arrays["size"][0]), int(arrays["size"][1]))
        ids = arrays["class_ids"].astype(np.int64)
        background, rank = arrays.get("background"), arrays.get("rank")
        # They are stored in half the bytes.
        return Seed(ids, scores, size, _widened(background), _widened(rank))


def _widened(array: NDArray[Any] | None) -> NDArray[np.float32] | None:
    return None if array is None else array.astype(np.float32)


class LabelSet(ItemSet[NDArray[np.uint8]]):
    """Lazy, immutable reader of a folder of palette PNGs: ``uint8 [H, W]``, 0..C, 255 = unlabelled."""

    kind = "labels"
    suffix = ".png"
    noun = "label"

    def _load(self, path: Path, image_id: str) -> NDArray[np.uint8]:
        from PIL import Image

        with Image.open(path) as handle:
            if handle.mode not in ("P", "L"):
                raise ValueError(f"it has pixel format {handle.mode!r}, not class ids")
            # A file that was cut short would be read as far as it goes, the rest as background.
            check_png(path)
            return np.asarray(handle, dtype=np.uint8)


class ArraySet(PackedSet[dict[str, NDArray[Any]]]):
    """Lazy, immutable reader of a folder of arrays by name, for every image: features of all images, say."""

    kind = "arrays"
    noun = "arrays"

    def _made(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        return dict(arrays)
