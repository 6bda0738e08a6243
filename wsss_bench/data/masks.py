"""Sealed masks: ground truth that only the evaluator opens, checked at every read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

RESTORE = "Restore the file from the original archive."


class SealedMasks:
    """Ground-truth masks of one split by image id; reachable through `Dataset.masks` alone, never through a view.

    ``masks[id]`` is ``uint8 [H, W]`` of the photograph's size: 0 background, 1..C classes, 255 ignored.
    """

    def __init__(
        self,
        where: str,
        ids: Sequence[str],
        files: Mapping[str, tuple[Path, Path]],
        num_classes: int,
    ) -> None:
        self.where, self.ids, self.num_classes = where, tuple(ids), num_classes
        self._files = files

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._files

    def __getitem__(self, image_id: str) -> NDArray[np.uint8]:
        """One mask; raises `DataError` (file and remedy) when it is missing, unreadable, or breaks the format."""
        mask, image = self._pair(image_id)
        return read_mask(mask, image, self.num_classes)

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        return ((image_id, self[image_id]) for image_id in self.ids)

    def path(self, image_id: str) -> Path:
        """File of one mask; raises `DataError` for an id that the split does not hold."""
        return self._pair(image_id)[0]

    def _pair(self, image_id: str) -> tuple[Path, Path]:
        try:
            return self._files[image_id]
        except KeyError:
            raise DataError(
                f"{self.where} has no mask for image {image_id!r}."
            ) from None

    @property
    def fingerprint(self) -> str:
        """Hex digest of ids and mask file sizes; raises `DataError` when a mask is missing."""
        digest = hashlib.sha256(str(self.num_classes).encode())
        for image_id in self.ids:
            path = self.path(image_id)
            try:
                digest.update(f"{image_id}|{path.stat().st_size}\n".encode())
            except OSError:
                raise missing_mask(path) from None
        return digest.hexdigest()


def missing_mask(path: Path) -> DataError:
    """The error for a mask that is not on disk."""
    return DataError(f"mask {path} does not exist. Run: wsss-bench data verify")


def read_mask(path: Path, image: Path | None, num_classes: int) -> NDArray[np.uint8]:
    """Read a mask PNG as ``uint8 [H, W]`` in {0..num_classes-1, 255}.

    Palette PNGs (in VOC's colours, or a grey ramp) and 8-bit greyscale PNGs are accepted; nothing is converted silently.

    Args:
        path: the mask.
        image: the photograph whose size the mask must have; None to leave that unchecked.
        num_classes: number of mask ids, background included.

    Raises:
        DataError: missing or broken file, colour image, foreign palette, values out of range, size unlike the photograph's.
    """
    import numpy as np
    from PIL import Image

    from wsss_bench.io.images import check_png

    try:
        with Image.open(path) as handle:
            if handle.mode not in ("P", "L"):
                raise DataError(_wrong_mode(path, handle.mode))
            check_png(path)
            array = np.asarray(handle, dtype=np.uint8)
            values = np.flatnonzero(np.bincount(array.ravel(), minlength=256))
            foreign = _foreign_colour(handle, values) if handle.mode == "P" else None
    except FileNotFoundError:
        raise missing_mask(path) from None
    except DataError:
        raise
    except Exception as error:  # a damaged file may raise anything inside its decoder
        raise DataError(f"mask {path} cannot be read ({error}). {RESTORE}") from error
    if foreign is not None:
        raise DataError(
            f"mask {path} has a foreign palette: index {foreign[0]} is drawn {foreign[1]}, VOC draws it {foreign[2]}, so its "
            "indices need not be class ids (an image editor may have re-indexed it). "
            + RESTORE
        )
    outside = values[(values >= num_classes) & (values != IGNORE)].tolist()
    if outside:
        raise DataError(
            f"mask {path} holds values {outside[:8]}; only 0..{num_classes - 1} and {IGNORE} are class ids here. "
            "Map the values to class ids, or check that --dataset names the right dataset."
        )
    _check_size(path, image, array.shape)
    return array


def _wrong_mode(path: Path, mode: str) -> str:
    if mode in ("RGB", "RGBA"):
        return (
            f"mask {path} is a colour image ({mode}), not a palette or greyscale PNG of class ids. Convert it by looking each "
            "colour up in VOC's palette (wsss_bench.io.images.voc_palette), or restore the file from the original archive."
        )
    return f"mask {path} has pixel format {mode!r}; an 8-bit palette or greyscale PNG is needed. {RESTORE}"


def _foreign_colour(
    handle: Image, values: NDArray[np.int64]
) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """The first used index whose colour is neither VOC's nor the grey of that index; the border's colour is not checked."""
    from wsss_bench.io.images import voc_palette

    palette = handle.getpalette("RGB") or []
    expected = voc_palette()
    for value in values.tolist():
        got = tuple(palette[3 * value : 3 * value + 3])
        if value != IGNORE and got not in (
            tuple(expected[3 * value : 3 * value + 3]),
            (value,) * 3,
        ):
            return value, got, tuple(expected[3 * value : 3 * value + 3])
    return None


def _check_size(path: Path, image: Path | None, shape: tuple[int, ...]) -> None:
    from wsss_bench.io.images import image_size

    if image is None:
        return
    try:
        size = image_size(image)
    except DataError as error:
        raise DataError(f"mask {path}: {error}") from error
    if tuple(shape) != size:
        cause = "One of them was resized: resize the mask (nearest neighbour) or restore both from the same archive."
        if tuple(shape) == size[::-1] and _rotated(image):
            cause = (
                "The photograph carries an EXIF rotation, which is not applied to pixels: rotate the mask back, or write the "
                "photograph upright and without it."
            )
        raise DataError(
            f"mask {path} is {shape[0]}x{shape[1]} (height x width), its photograph {image} is {size[0]}x{size[1]}. {cause}"
        )


def _rotated(image: Path) -> bool:
    """Whether EXIF asks viewers to turn the photograph by a quarter."""
    from PIL import Image

    with Image.open(image) as handle:
        return handle.getexif().get(0x0112, 1) >= 5
