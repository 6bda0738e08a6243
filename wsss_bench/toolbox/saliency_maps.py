"""Saliency maps of others (DRFI and what came after it), read from the folder that ``saliency_dir`` names."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from wsss_bench.data.files import PHOTOGRAPHS, FolderIndex
from wsss_bench.errors import DataError
from wsss_bench.io.images import check_png
from wsss_bench.toolbox.arrays import Bytes, Floats

ENDINGS = ("", "_DRFI", "_drfi", "_sal", "_saliency")
"""What stands between an image's id and the suffix of its map; DRFI's own program writes ``<id>_DRFI.png``."""

SUFFIXES = (".png", *PHOTOGRAPHS)
"""Suffixes of maps, in capitals too."""

GREY = 8
"""How far apart red, green and blue of a pixel may lie in a grey map; JPEG shifts them a little."""

_NEEDED = (
    "saliency_dir needs one 8-bit grey map per training image, ID.png or ID_DRFI.png."
)


def read_saliency(
    folder: Path, image_id: str, size: tuple[int, int] | None = None
) -> Floats:
    """Return the saliency map of an image.

    Args:
        folder: where the maps lie: ``<id>.png``, or an ending of `ENDINGS` before the suffix.
        image_id: the image's id.
        size: (H, W) of the photograph. The map has it, or its proportions, or is the square that a network saw; None
            leaves that unchecked.

    Returns:
        ``float32 [h, w]`` in [0, 1], 1 = salient, in the map's own size.

    Raises:
        DataError: no map or several, an unreadable or colour image, a map saved as 0 and 1, or one that is turned or of
            other proportions.
    """
    path = _find(folder, image_id)
    grey = _decoded(path)
    if grey.max(initial=0) == 1:
        what = f"saliency map {path} holds 0 and 1 only: values of 0..1 seem to be saved as whole numbers."
        raise DataError(f"{what} Multiply the maps by 255 before they are saved.")
    if size is not None:
        _check_size(path, (grey.shape[0], grey.shape[1]), size)
    return grey.astype(np.float32) / np.float32(255)


def _find(folder: Path, image_id: str) -> Path:
    if not folder.is_dir():
        what = f"saliency_dir={folder} is no folder."
        raise DataError(f"{what} {_NEEDED}")
    index = _index(folder, folder.stat().st_mtime_ns)
    found = _matches(index, image_id)
    if not found:
        # Files may have come within one tick of the folder's clock.
        found = _matches(FolderIndex(folder, SUFFIXES), image_id)
    if not found:
        path = index.default(image_id)
        raise DataError(f"saliency map {path} is missing. {_NEEDED}")
    if len(found) > 1:
        both = " and ".join(path.name for path in found)
        what = f"{folder} holds {both}, of which one only can be meant."
        raise DataError(f"{what} Remove the other.")
    return found[0]


@lru_cache(maxsize=4)
def _index(folder: Path, changed: int) -> FolderIndex:
    """Return the files of a folder; `changed`, its time stamp, makes a changed one another."""
    # Ten thousand maps are asked for one by one.
    return FolderIndex(folder, SUFFIXES)


def _matches(index: FolderIndex, image_id: str) -> list[Path]:
    candidates = (index.find(f"{image_id}{ending}") for ending in ENDINGS)
    return [path for path in candidates if path is not None]


def _decoded(path: Path) -> Bytes:
    """Return the grey values ``uint8 [h, w]`` of a map; raises `DataError` for whatever goes wrong."""
    try:
        with Image.open(path) as handle:
            check_png(path)
            # Pillow would cut off values of 16 bits at 255.
            if handle.mode.startswith("I;16"):
                deep = np.asarray(handle, dtype=np.uint16)
                return (deep >> 8).astype(np.uint8)
            pixels = np.asarray(handle.convert("RGB"))
    # A damaged file may raise anything inside its decoder.
    except Exception as error:
        what = f"saliency map {path} cannot be read ({error})."
        raise DataError(f"{what} {_NEEDED}") from error
    spread = np.ptp(pixels, axis=2)
    if spread.max(initial=0) > GREY:
        what = f"saliency map {path} has colours."
        fix = "Photographs and masks of classes are no saliency maps. "
        raise DataError(f"{what} {fix}{_NEEDED}")
    return pixels[..., 1]


def _check_size(path: Path, shape: tuple[int, int], size: tuple[int, int]) -> None:
    height, width = shape
    # Networks see squares, and many repositories save what they give.
    if height == width or _alike(shape, size):
        return
    cause = "Its proportions are others, so it belongs to another image or was cropped."
    if _alike(shape[::-1], size):
        cause = "It is turned by a quarter."
    map_is = f"saliency map {path} is {height}x{width} (height x width)"
    image_is = f"its photograph {size[0]}x{size[1]}"
    raise DataError(f"{map_is}, {image_is}. {cause} Make the map anew.")


def _alike(shape: tuple[int, ...], size: tuple[int, int]) -> bool:
    """Return whether a map has a photograph's proportions, to the pixel."""
    height, width = shape
    wide = abs(width - size[1] * height / size[0])
    high = abs(height - size[0] * width / size[1])
    return min(wide, high) <= 1
