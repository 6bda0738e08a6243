"""Palettes of PNGs that hold class indices: whether the indices are still what was meant.

An image editor, or Pillow's ``convert("P")``, writes a palette of the colours that occur and numbers them anew. The
picture looks as before; its indices are no class ids any more. The colours tell: VOC draws each class in a fixed one,
and a plain index image is a grey ramp.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from wsss_bench.io.images import voc_palette

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

_BORDER = 255

LOOK_UP = "wsss_bench.io.palettes.indices"
"""Where the function lies that turns VOC's colours into class indices; for messages."""


def foreign_colour(handle: Image, values: Iterable[int]) -> str:
    """Return what is wrong with the palette of an open image of mode ``P``; empty where nothing is.

    Args:
        handle: the image.
        values: the indices that occur in it.

    Returns:
        A clause about the first index whose colour is neither VOC's nor the grey of that index. Indices without any
        colour, and the border (255), which is drawn in any, are left out.
    """
    palette = handle.getpalette("RGB") or []
    expected = voc_palette()
    for value in values:
        place = slice(3 * value, 3 * value + 3)
        got, voc = tuple(palette[place]), tuple(expected[place])
        if value == _BORDER or not got:
            continue
        if got not in (voc, (value,) * 3):
            drawn = f"index {value} is drawn {got}, VOC draws it {voc}"
            return f"{drawn}, so its indices need not be class ids (an image editor may have re-indexed it)"
    return ""


def indices(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the class indices ``uint8 [H, W]`` of a picture ``uint8 [H, W, 3]`` (RGB) in VOC's colours.

    Raises:
        ValueError: a colour is none of VOC's 256.
    """
    import numpy as np

    shades = np.asarray(voc_palette(), np.int64).reshape(-1, 3)
    # One number a colour; VOC's are all different.
    weights = np.asarray([1 << 16, 1 << 8, 1])
    keys = shades @ weights
    order = np.argsort(keys)
    wanted = colours.astype(np.int64) @ weights
    place = np.searchsorted(keys, wanted, sorter=order)
    found = order[np.minimum(place, len(order) - 1)]
    strange = keys[found] != wanted
    if strange.any():
        first = tuple(colours[strange][0].tolist())
        raise ValueError(f"the colour {first} is none of VOC's")
    return found.astype(np.uint8)
