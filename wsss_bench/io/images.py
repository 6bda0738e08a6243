"""Photographs and palette masks on disk."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from wsss_bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PillowImage


_RESTORE = "Restore the file from the original archive."


def image_size(path: Path) -> tuple[int, int]:
    """Return ``(H, W)`` of an image file, from its header alone; raises `DataError` where there is none."""
    from PIL import Image

    try:
        with Image.open(path) as handle:
            return handle.height, handle.width
    except Exception as error:  # a damaged file may raise anything inside its decoder
        message = f"image {path} cannot be read ({error}). {_RESTORE}"
        raise DataError(message) from error


def check_png(path: Path) -> None:
    """Raise an error of Pillow's where a checksum of a PNG is wrong; does nothing for other formats.

    Without this check, decoding such a file gives other pixels than were written, and no error.
    """
    from PIL import Image

    # `verify` uses the handle up, so the file is opened for it alone.
    with Image.open(path) as handle:
        if handle.format == "PNG":
            handle.verify()


def voc_palette() -> list[int]:
    """Return VOC's palette of 256 colours as a flat list of 768 values.

    The bits of a class index are dealt out to red, green and blue in turn, highest bits first, so that neighbouring
    classes get colours that differ much.
    """
    palette = []
    for index in range(256):
        colour, rest = [0, 0, 0], index
        for shift in range(7, -1, -1):
            for channel in range(3):
                colour[channel] |= ((rest >> channel) & 1) << shift
            rest >>= 3
        palette += colour
    return palette


_PALETTE = voc_palette()


def write_mask(target: Path | IO[bytes], mask: NDArray[np.uint8]) -> None:
    """Write ``uint8 [H, W]`` as a palette PNG in VOC's colours."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(mask, dtype=np.uint8))
    image.putpalette(_PALETTE)
    image.save(target, format="PNG")


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a photograph as ``uint8 [H, W, 3]`` RGB, pixels as stored; the array may be written to.

    Greyscale, CMYK, palette and 16-bit files are converted; an alpha channel is dropped. An EXIF rotation is not
    applied: masks are not rotated either.

    Raises:
        DataError: the file is missing, empty, truncated or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as handle:
            if handle.format == "PNG":
                check_png(path)
            return _rgb(handle)
    except FileNotFoundError:
        fix = "Check the data root, or run: wsss-bench data verify"
        raise DataError(f"image {path} does not exist. {fix}") from None
    except Exception as error:  # a damaged file may raise anything inside its decoder
        message = f"image {path} cannot be read ({error}). {_RESTORE}"
        raise DataError(message) from error


def _rgb(handle: PillowImage) -> NDArray[np.uint8]:
    import numpy as np

    if handle.mode in ("I;16", "I;16B", "I;16L", "I"):
        # Pillow's own conversion clips 16-bit values at 255 and leaves nearly all of them white.
        grey = (np.asarray(handle, dtype=np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    # A copy: what Pillow lends out is read-only.
    return np.array(handle.convert("RGB"))
