"""What passes between stages: folders of ordinary files, with writers that validate and commit atomically.

A folder is finished when it has a ``manifest.json``; the manifest is written last. Items of an unfinished folder are
complete files (each is renamed into place), so a writer can say which ids are done and a stage resumes inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.names import KEPT
from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError
from wsss_bench.io.files import inside, read_json, save_arrays, write_atomic, write_json
from wsss_bench.io.images import check_png, image_size, write_mask

if TYPE_CHECKING:
    from wsss_bench.contract.view import WeakView


MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Seed:
    """Class scores of one image.

    Attributes:
        class_ids: ``int64 [K]`` mask ids (1..C), strictly increasing.
        scores: ``float32 [K, h, w]`` in [0, 1], at any grid; each class's maximum is about 1 where it fires.
        size: (H, W) of the photograph.
        background: ``float32 [h, w]`` in [0, 1], how surely each cell is background, or None where the method has no such cue.
        rank: ``float32 [K, h, w]`` in [0, 1] that settles which class wins where several fire, or None where `scores` do.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    size: tuple[int, int]
    background: NDArray[np.float32] | None = None
    rank: NDArray[np.float32] | None = None

    def upsampled(self) -> NDArray[np.float32]:
        """Scores at image size, ``float32 [K, H, W]``, bilinear between cell centres (half-pixel convention)."""
        import cv2

        height, width = self.size
        if self.scores.shape[1:] == (height, width):
            return self.scores
        out = np.empty((len(self.scores), height, width), np.float32)
        for plane, target in zip(self.scores, out, strict=True):
            target[...] = cv2.resize(
                plane, (width, height), interpolation=cv2.INTER_LINEAR
            )
        return out

    def problems(self, allowed: tuple[int, ...] | None) -> list[str]:
        """Everything that breaks the contract, as sentences."""
        k = len(self.class_ids)
        found = []
        if self.class_ids.ndim != 1 or not np.issubdtype(
            self.class_ids.dtype, np.integer
        ):
            return [
                f"class_ids must be a 1-D integer array, not {self.class_ids.dtype} {self.class_ids.shape}."
            ]
        if k and (np.diff(self.class_ids) <= 0).any():
            found.append(
                f"class_ids must increase strictly, not {self.class_ids.tolist()}."
            )
        if (
            self.scores.ndim != 3
            or self.scores.shape[0] != k
            or 0 in self.scores.shape[1:]
        ):
            return [
                *found,
                f"scores must have shape [{k}, h, w] for {k} class ids, not {list(self.scores.shape)}.",
            ]
        if len(self.size) != 2 or min(self.size) < 1:
            found.append(f"size must be (height, width) of the image, not {self.size}.")
        for name, array in (
            ("scores", self.scores),
            ("background", self.background),
            ("rank", self.rank),
        ):
            if array is None or array.size == 0:
                continue
            if not np.issubdtype(array.dtype, np.floating):
                found.append(f"{name} must be floating point, not {array.dtype}.")
            elif not np.isfinite(array).all():
                found.append(
                    f"{name} hold NaN or infinity. Guard divisions by a map's maximum."
                )
            elif array.min() < 0 or array.max() > 1 + 1e-3:
                found.append(
                    f"{name} must lie in [0, 1], found [{array.min():.4g}, {array.max():.4g}]."
                )
        if (
            self.background is not None
            and self.background.shape != self.scores.shape[1:]
        ):
            found.append(
                f"background must have shape {list(self.scores.shape[1:])}, not {list(self.background.shape)}."
            )
        if self.rank is not None and self.rank.shape != self.scores.shape:
            found.append(
                f"rank must have shape {list(self.scores.shape)}, not {list(self.rank.shape)}."
            )
        if allowed is not None:
            foreign = sorted(set(self.class_ids.tolist()) - set(allowed))
            missing = sorted(set(allowed) - set(self.class_ids.tolist()))
            if foreign:
                found.append(
                    f"classes {foreign} are not among the image's labels {list(allowed)}."
                )
            if missing:
                found.append(
                    f"labelled classes {missing} have no score map; write zeros where nothing was found."
                )
        return found


class _Folder:
    """Reader shared by the item sets: ids and facts from the manifest, one file per id."""

    kind = ""
    suffix = ""

    def __init__(self, path: Path) -> None:
        self.path = path
        manifest = read_json(path / MANIFEST)
        found = manifest.get("kind") if isinstance(manifest, dict) else manifest
        if found != self.kind:
            raise ArtifactError(
                f"{path} holds {found!r}, a {self.kind!r} folder was expected."
            )
        self.manifest: dict[str, Any] = manifest
        self.ids: tuple[str, ...] = _manifest_ids(path, manifest.get("ids"))
        self._known = frozenset(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._known

    def file(self, image_id: str) -> Path:
        """Path of one item; raises `ArtifactError` for an id the set does not hold."""
        if image_id not in self._known:
            raise ArtifactError(f"{self.path} holds nothing for image {image_id!r}.")
        return self.path / "items" / f"{image_id}{self.suffix}"

    def kept(self, name: str) -> Path:
        """Return the file that the stage kept as `name` (``ctx.keep``); raises `ArtifactError` where it kept none."""
        path = inside(self.path / KEPT, name)
        if not path.is_file():
            raise ArtifactError(
                f"{self.path} keeps no file {name!r}. Call ctx.keep(path, {name!r}) in the stage that makes it."
            )
        return path

    @property
    def fingerprint(self) -> str:
        """The stage key that produced the folder, or a digest of the manifest for an imported one."""
        return str(self.manifest.get("key", ""))


def _manifest_ids(path: Path, ids: object) -> tuple[str, ...]:
    if not isinstance(ids, list) or len(set(map(repr, ids))) != len(ids):
        raise ArtifactError(
            f"{path / MANIFEST} has no list of distinct 'ids'. Delete {path} and run the command again."
        )
    for image_id in ids:
        inside(path / "items", image_id)
    return tuple(ids)


class SeedSet(_Folder):
    """Lazy, immutable reader of a folder of `Seed` items (one ``.npz`` each, loaded without pickle)."""

    kind = "seeds"
    suffix = ".npz"

    def __getitem__(self, image_id: str) -> Seed:
        path = self.file(image_id)
        try:
            with np.load(path, allow_pickle=False) as data:
                background, rank = (
                    data[n].astype(np.float32) if n in data else None
                    for n in ("background", "rank")
                )
                size = (int(data["size"][0]), int(data["size"][1]))
                return Seed(
                    data["class_ids"].astype(np.int64),
                    data["scores"].astype(np.float32),
                    size,
                    background,
                    rank,
                )
        except (
            Exception
        ) as error:  # a damaged file may raise anything inside its decoder
            raise ArtifactError(
                f"seed {path} cannot be read ({error}). Delete {self.path} and run the command again."
            ) from error

    def __iter__(self) -> Iterator[tuple[str, Seed]]:
        return ((image_id, self[image_id]) for image_id in self.ids)


class LabelSet(_Folder):
    """Lazy, immutable reader of a folder of palette PNGs: ``uint8 [H, W]``, 0..C, 255 = unlabelled."""

    kind = "labels"
    suffix = ".png"

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        from PIL import Image

        path = self.file(image_id)
        try:
            with Image.open(path) as handle:
                if handle.mode not in ("P", "L"):
                    raise ValueError(
                        f"it has pixel format {handle.mode!r}, not class ids"
                    )
                check_png(path)
                return np.asarray(handle, dtype=np.uint8)
        except (
            Exception
        ) as error:  # a damaged file may raise anything inside its decoder
            raise ArtifactError(
                f"label {path} cannot be read ({error}). Delete {self.path} and run the command again."
            ) from error

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        return ((image_id, self[image_id]) for image_id in self.ids)


class ArraySet(_Folder):
    """Lazy, immutable reader of a folder of arrays by name, one ``.npz`` per image: features of the whole train set, say."""

    kind = "arrays"
    suffix = ".npz"

    def __getitem__(self, image_id: str) -> dict[str, NDArray[Any]]:
        path = self.file(image_id)
        try:
            with np.load(path, allow_pickle=False) as data:
                return {name: data[name] for name in data.files}
        except (
            Exception
        ) as error:  # a damaged file may raise anything inside its decoder
            what = f"arrays {path} cannot be read ({error}). Delete {self.path} and run the command again."
            raise ArtifactError(what) from error

    def __iter__(self) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        return ((image_id, self[image_id]) for image_id in self.ids)


@dataclass(frozen=True)
class Segmentor:
    """A trained segmentor: an mmengine config and a checkpoint, plus how it predicts.

    Attributes:
        config: path of the dumped mmengine config whose ``model`` builds the network.
        checkpoint: path of the weights (loads with ``weights_only=True``).
        test: prediction settings, e.g. ``{"scales": [1.0], "flip": False}``.
        facts: columns for the board, e.g. backbone and pre-training.
    """

    config: Path
    checkpoint: Path
    test: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


SEGMENTOR = "segmentor.json"


def write_segmentor(segmentor: Segmentor, folder: Path) -> None:
    """Describe a segmentor whose files lie in `folder`, in ``folder/segmentor.json``."""
    files = {"config": segmentor.config, "checkpoint": segmentor.checkpoint}
    names = {
        role: Path(path).resolve().relative_to(folder.resolve()).as_posix()
        for role, path in files.items()
    }
    write_json(
        folder / SEGMENTOR,
        {**names, "test": dict(segmentor.test), "facts": dict(segmentor.facts)},
    )


def read_segmentor(folder: Path) -> Segmentor:
    """The segmentor that `write_segmentor` described; raises `ArtifactError` where the file is malformed or names files elsewhere."""
    facts = read_json(folder / SEGMENTOR)
    keys = {"config": str, "checkpoint": str, "test": dict, "facts": dict}
    if not isinstance(facts, dict) or any(
        not isinstance(facts.get(key), kind) for key, kind in keys.items()
    ):
        raise ArtifactError(
            f"{folder / SEGMENTOR} lacks {', '.join(keys)}. Delete its folder and run the command again."
        )
    return Segmentor(
        inside(folder, facts["config"]),
        inside(folder, facts["checkpoint"]),
        facts["test"],
        facts["facts"],
    )


class _Writer:
    """Writes items one by one; knows which are there already; `close` writes the manifest."""

    kind = ""
    suffix = ""

    def __init__(
        self,
        path: Path,
        view: WeakView,
        who: str,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.path, self.view, self.who = path, view, who
        self.facts: dict[str, Any] = dict(facts or {})
        (path / "items").mkdir(parents=True, exist_ok=True)

    def file(self, image_id: str) -> Path:
        """Where the item of that id goes; raises `ArtifactError` for an id that is not in the view."""
        if image_id not in self.view:
            raise ArtifactError(
                f"{self.who}: wrote image {image_id!r}, which is not in the view. Write each image of `view` once."
            )
        return self.path / "items" / f"{image_id}{self.suffix}"

    def done(self, image_id: str) -> bool:
        """Whether this id was written already, by this process or by an interrupted one before it."""
        try:
            # An empty file is what a power cut leaves of one that was not on the disk yet.
            return self.file(image_id).stat().st_size > 0
        except FileNotFoundError:
            return False

    def close(self) -> Any:
        """Check that every image of the view was written, write the manifest, and return the reader."""
        ids = [image.id for image in self.view]
        missing = [i for i in ids if not self.done(i)]
        if missing:
            raise ArtifactError(
                f"{self.who}: {len(missing)} of {len(ids)} images were not written (first: {missing[0]!r}). "
                "Call out.write(id, item) for every image of `view` before out.close()."
            )
        write_json(
            self.path / MANIFEST,
            {
                **self.facts,
                "kind": self.kind,
                "ids": ids,
                "classes": list(self.view.classes),
            },
        )
        return _READERS[self.kind](self.path)

    def _refuse(self, image_id: str, problems: list[str]) -> None:
        if problems:
            raise ArtifactError(f"{self.who}: image {image_id!r}: {' '.join(problems)}")


class SeedWriter(_Writer):
    """Writes `Seed` items; stores scores as float16 by default."""

    kind = "seeds"
    suffix = ".npz"

    def write(self, image_id: str, seed: Seed) -> None:
        """Validate and store one seed; raises `ArtifactError` naming the plugin, the image and every broken rule."""
        path = self.file(image_id)
        self._refuse(image_id, seed.problems(self.view.by_id(image_id).labels))
        arrays: dict[str, NDArray[Any]] = {
            "class_ids": seed.class_ids.astype(np.int64),
            "scores": np.minimum(seed.scores, 1).astype(np.float16),
            "size": np.asarray(seed.size, np.int64),
        }
        for name, array in (("background", seed.background), ("rank", seed.rank)):
            if array is not None:
                arrays[name] = np.minimum(array, 1).astype(np.float16)
        write_atomic(path, lambda handle: save_arrays(handle, arrays))


class LabelWriter(_Writer):
    """Writes pseudo-labels and predictions as palette PNGs of the photograph's size."""

    kind = "labels"
    suffix = ".png"

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

    def write(self, image_id: str, label: NDArray[np.uint8]) -> None:
        """Validate and store one label map; raises `ArtifactError` naming the plugin, the image and every broken rule."""
        path = self.file(image_id)
        self._refuse(image_id, self._problems(image_id, label))
        write_atomic(path, lambda handle: write_mask(handle, label))

    def _problems(self, image_id: str, label: NDArray[np.uint8]) -> list[str]:
        image = self.view.by_id(image_id)
        if label.dtype != np.uint8 or label.ndim != 2:
            return [
                f"a label must be uint8 [H, W], not {label.dtype} {list(label.shape)}."
            ]
        size = image_size(image.path)
        if label.shape != size:
            return [
                f"a label must have the photograph's size {list(size)}, not {list(label.shape)}."
            ]
        values = np.flatnonzero(np.bincount(label.ravel(), minlength=256)).tolist()
        allowed: set[int] = {0, IGNORE, *range(self.view.num_classes)}
        if self._check_tags and image.labels is not None:
            allowed = {0, IGNORE, *image.labels}
        foreign = sorted(set(values) - allowed)
        return (
            [
                f"values {foreign} are not allowed; use 0, 255 and {sorted(allowed - {0, IGNORE})}."
            ]
            if foreign
            else []
        )


class ArrayWriter(_Writer):
    """Writes arrays by name, as they are; the resumable form of "the features of every image"."""

    kind = "arrays"
    suffix = ".npz"

    def write(self, image_id: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store the arrays of one image.

        Raises:
            ArtifactError: naming the plugin and the image; there is no array, one holds NaN or infinity, or one is no plain array.
        """
        path = self.file(image_id)
        self._refuse(image_id, _array_problems(arrays))
        write_atomic(path, lambda handle: save_arrays(handle, arrays))


def _array_problems(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    if not arrays:
        return ["there is no array; write at least one."]
    found = []
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype == object:
            found.append(
                f"{name} must be a plain NumPy array, not {type(array).__name__}."
            )
        elif np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            found.append(f"{name} holds NaN or infinity.")
    return found


_READERS: dict[str, type[_Folder]] = {
    "seeds": SeedSet,
    "labels": LabelSet,
    "arrays": ArraySet,
}
