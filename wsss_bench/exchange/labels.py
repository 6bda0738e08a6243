"""Label maps of others: PNGs of class indices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsss_bench.errors import ArtifactError
from wsss_bench.io.images import check_png
from wsss_bench.io.palettes import LOOK_UP, foreign_colour, indices

if TYPE_CHECKING:
    from PIL.Image import Image

_COLOURED = ("RGB", "RGBA")
_FIX = "Write class indices: a palette or 8-bit greyscale PNG."


def read_label(path: Path) -> NDArray[np.uint8]:
    """Return the class indices of a palette or 8-bit greyscale PNG, ``uint8 [H, W]``.

    Raises:
        ArtifactError: the file is missing, damaged, a picture in colours, or has a palette in which the indices that
            occur are drawn neither in VOC's colours nor as a grey ramp.
    """
    from PIL import Image

    try:
        with Image.open(path) as handle:
            if handle.mode not in ("P", "L"):
                raise ArtifactError(_wrong_mode(path, handle))
            check_png(path)
            # Not converted: the indices of a palette image are the labels, its colours are for the eye.
            label = np.asarray(handle, dtype=np.uint8)
            if handle.mode == "P":
                _check_palette(path, handle, label)
            return label
    except ArtifactError:
        raise
    except Exception as error:  # a damaged file may raise anything inside its decoder
        message = f"{path} cannot be read ({error}). Write the file again."
        raise ArtifactError(message) from error


def _check_palette(path: Path, handle: Image, label: NDArray[np.uint8]) -> None:
    counts = np.bincount(label.ravel(), minlength=256)
    wrong = foreign_colour(handle, np.flatnonzero(counts).tolist())
    if wrong:
        fix = "Save the class indices themselves: as 8-bit greyscale, or in VOC's palette."
        raise ArtifactError(f"{path} has a foreign palette: {wrong}. {fix}")


def _wrong_mode(path: Path, handle: Image) -> str:
    if handle.mode not in _COLOURED:
        return f"{path} is a {handle.mode} image: not 8 bits of class indices. {_FIX}"
    what = f"{path} is a {handle.mode} image: colours."
    pixels = np.asarray(handle.convert("RGB"))
    first = pixels[..., 0]
    if (pixels == first[..., None]).all() and first.max() > 0:
        return f"{what} Its three channels are equal: save one of them. {_FIX}"
    try:
        indices(pixels)
    except ValueError as error:
        return f"{what} {_FIX} They are not VOC's: {error}."
    # Not looked up here: with red and blue exchanged, as OpenCV writes them, most of VOC's colours are VOC's again.
    return f"{what} {_FIX} They are VOC's: look them up with {LOOK_UP}, red first."
