"""Sealed masks: ground truth that only the evaluator opens, checked at every read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

RESTORE = "Restore the file from the original archive."
NONE_IGNORED = "no ignored pixels"
"""What `convention` says of masks without a 255."""


class SealedMasks:
    """Ground-truth masks of one split by image id; reachable through `Dataset.masks` alone, never through a view.

    ``masks[id]`` is ``uint8 [H, W]`` of the photograph's size: 0 background, 1..C classes, 255 ignored.

    Args:
        where: dataset and split, for messages.
        ids: the image ids, in order.
        files: (mask, photograph) by image id.
        num_classes: number of mask ids, background included.
        derived: a digest of what the masks are made from and by which rule, where they need not be there yet; it then
            stands for their contents in the fingerprint.
    """

    def __init__(
        self,
        where: str,
        ids: Sequence[str],
        files: Mapping[str, tuple[Path, Path]],
        num_classes: int,
        derived: str = "",
    ) -> None:
        self.where = where
        self.derived = derived
        self.ids = tuple(ids)
        self.num_classes = num_classes
        self._files = files

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._files

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        """Return one mask; raises `DataError` when it is missing, unreadable, or breaks the format."""
        mask, image = self._pair(image_id)
        return read_mask(mask, image, self.num_classes)

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        return ((image_id, self[image_id]) for image_id in self.ids)

    def values(self, image_id: str) -> frozenset[int]:
        """Return all values in one mask, those that are no class included; raises `DataError` as reading does."""
        return mask_values(self.path(image_id))

    def path(self, image_id: str) -> Path:
        """Return the file of one mask; raises `DataError` for an id that the split does not hold."""
        return self._pair(image_id)[0]

    def _pair(self, image_id: str) -> tuple[Path, Path]:
        try:
            return self._files[image_id]
        except KeyError:
            what = f"{self.where} has no mask for image {image_id!r}."
            raise DataError(what) from None

    @cached_property
    def fingerprint(self) -> str:
        """Hex digest of class count, ids and the contents of the masks; raises `DataError` when a mask is missing."""
        contents = self.derived or self._contents()
        parts = [self.num_classes, self.ids, contents]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _contents(self) -> list[str]:
        # Numpy comes with it, which no help text needs.
        from wsss_bench.io.hashing import digests

        paths = [self.path(image_id) for image_id in self.ids]
        try:
            return digests(paths)
        except FileNotFoundError as error:
            missing = next(path for path in paths if not path.exists())
            raise missing_mask(missing) from error
        except ArtifactError as error:
            raise DataError(f"{self.where}: {error}") from error


def convention(masks: SealedMasks, what: str = "border") -> str:
    """Return ``"<what> 255 ignored"``, or ``"no ignored pixels"`` where no mask holds a 255.

    Read in order up to the first 255, so that the usual case costs one mask and every process says the same.

    Raises:
        DataError: a mask is missing, or cannot be read.
    """
    for _, mask in masks:
        if (mask == IGNORE).any():
            return f"{what} {IGNORE} ignored"
    return NONE_IGNORED


def missing_mask(path: Path) -> DataError:
    """Return the error for a mask that is not on disk."""
    return DataError(f"mask {path} does not exist. Run: wsss-bench data verify")


def read_mask(path: Path, image: Path | None, num_classes: int) -> NDArray[np.uint8]:
    """Read a mask PNG as ``uint8 [H, W]`` in {0..num_classes-1, 255}.

    Palette PNGs (in VOC's colours, or a grey ramp) and 8-bit greyscale PNGs are accepted; nothing is converted
    silently.

    Args:
        path: the mask.
        image: the photograph whose size the mask must have; None to leave that unchecked.
        num_classes: number of mask ids, background included.

    Raises:
        DataError: missing or broken file, colour image, foreign palette, values out of range, or a size unlike the
            photograph's.
    """
    array, values = _decoded(path)
    outside = [v for v in values if v >= num_classes and v != IGNORE]
    if outside:
        ids = f"only 0..{num_classes - 1} and {IGNORE} are class ids here."
        fix = "Map the values to class ids, or check that --dataset names the right dataset."
        raise DataError(f"mask {path} holds values {outside[:8]}; {ids} {fix}")
    if image is not None:
        _check_size(path, image, array.shape)
    return array


def mask_values(path: Path) -> frozenset[int]:
    """Return the values in a mask PNG, whatever classes there are; raises `DataError` for a file that is no mask."""
    _, values = _decoded(path)
    return frozenset(values)


def _decoded(path: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the indices of a mask, and which ones occur; raises `DataError` for whatever goes wrong."""
    try:
        return _decode(path)
    except FileNotFoundError:
        raise missing_mask(path) from None
    except DataError:
        raise
    # A damaged file may raise anything inside its decoder.
    except Exception as error:
        raise DataError(f"mask {path} cannot be read ({error}). {RESTORE}") from error


def _decode(path: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Return the indices of a mask, and which ones occur; raises `DataError` for another sort of image."""
    import numpy as np
    from PIL import Image

    from wsss_bench.io.images import check_png

    with Image.open(path) as handle:
        if handle.mode not in ("P", "L"):
            raise DataError(_wrong_mode(path, handle.mode))
        check_png(path)
        array = np.asarray(handle, dtype=np.uint8)
        counts = np.bincount(array.ravel(), minlength=256)
        values = np.flatnonzero(counts).tolist()
        if handle.mode == "P":
            _check_palette(path, handle, values)
    return array, values


def _wrong_mode(path: Path, mode: str) -> str:
    if mode not in ("RGB", "RGBA"):
        what = f"mask {path} has pixel format {mode!r}"
        return f"{what}; an 8-bit palette or greyscale PNG is needed. {RESTORE}"
    return (
        f"mask {path} is a colour image ({mode}), not a palette or greyscale PNG of class ids. "
        "Convert it by looking each colour up in VOC's palette (wsss_bench.io.palettes.indices), "
        "or restore the file from the original archive."
    )


def _check_palette(path: Path, handle: Image, values: Sequence[int]) -> None:
    """Raise `DataError` where a used index has a colour that is neither VOC's nor the grey of that index."""
    from wsss_bench.io.palettes import foreign_colour

    wrong = foreign_colour(handle, values)
    if wrong:
        raise DataError(f"mask {path} has a foreign palette: {wrong}. {RESTORE}")


def _check_size(path: Path, image: Path, shape: tuple[int, ...]) -> None:
    from wsss_bench.io.images import image_size

    try:
        size = image_size(image)
    except DataError as error:
        raise DataError(f"mask {path}: {error}") from error
    if shape == size:
        return
    cause = "One of them was resized: resize the mask (nearest neighbour) or restore both from the same archive."
    if shape == size[::-1] and _rotated(image):
        cause = (
            "The photograph carries an EXIF rotation, which is not applied to pixels: rotate the mask back, "
            "or write the photograph upright and without it."
        )
    mask_is = f"mask {path} is {shape[0]}x{shape[1]} (height x width)"
    image_is = f"its photograph {image} is {size[0]}x{size[1]}"
    raise DataError(f"{mask_is}, {image_is}. {cause}")


def _rotated(image: Path) -> bool:
    """Return whether EXIF asks viewers to turn the photograph by a quarter."""
    from PIL import Image

    orientation = 0x0112
    with Image.open(image) as handle:
        return handle.getexif().get(orientation, 1) >= 5
