"""From COCO's polygons and run lengths to class-id masks, in NumPy alone.

Coordinates are continuous: pixel (row r, column c) covers [c, c+1) x [r, r+1), and belongs to a polygon when its centre
(c + 0.5, r + 0.5) lies inside by the even-odd rule. Run lengths are column-major and begin with a run of zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE

RULE = 1
"""Version of the painting rule; part of the cache folder's name."""

Annotation = Mapping[str, Any]
"""One entry of the annotation file."""

Mask = NDArray[np.uint8]
Pixels = NDArray[np.bool_]
"""``bool [H, W]``: the pixels that belong to something."""

Floats = NDArray[np.float64]


def decode_counts(text: str | bytes) -> list[int]:
    """Return the run lengths of a compressed RLE string.

    Six bits a character (offset 48): five of payload, least significant group first, bit 5 = more to come, bit 4 of the
    last group = sign. From the fourth run on, the value is the difference to the run two places before.

    Raises:
        ValueError: the string ends within a number or holds a foreign character.
    """
    if isinstance(text, str):
        text = text.encode()
    counts: list[int] = []
    value = shift = 0
    for byte in text:
        group = byte - 48
        if not 0 <= group < 64:
            what = "is not part of a compressed run-length string"
            raise ValueError(f"character {chr(byte)!r} {what}")
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        # The third run is not a difference: so COCO's own code has written all files there are.
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    if shift:
        raise ValueError("the compressed run-length string ends within a number")
    return counts


def decode_rle(rle: Annotation, height: int, width: int) -> Pixels:
    """Return a run-length encoded region as ``bool [height, width]``.

    Args:
        rle: holds ``size`` and ``counts``: a list of run lengths, or a compressed string.
        height: of the image that the region belongs to.
        width: of that image.

    Raises:
        ValueError: a key is missing, ``size`` is not the image's, or the runs do not add up to the image.
    """
    for key in ("size", "counts"):
        if key not in rle:
            raise ValueError(f"the RLE has no {key!r}")
    size = list(rle["size"])
    if size != [height, width]:
        raise ValueError(f"the RLE's size {size} is not the image's {[height, width]}")
    runs = rle["counts"]
    if isinstance(runs, str | bytes):
        runs = decode_counts(runs)
    counts = np.asarray(runs, dtype=np.int64)
    total = int(counts.sum())
    pixels = height * width
    # A negative run could make up for one that is too long.
    negative = (counts < 0).any()
    if counts.ndim != 1 or negative or total != pixels:
        has = f"the image has {pixels}"
        raise ValueError(f"the runs add up to {total} pixels, {has}")
    inside = np.arange(len(counts)) % 2 == 1
    flat = np.repeat(inside, counts)
    columns = flat.reshape(width, height)
    return columns.T


def fill_polygon(target: Pixels, polygon: Sequence[float]) -> None:
    """Set the pixels of `target`, ``bool [H, W]``, whose centres lie in a polygon ``[x0, y0, x1, y1, …]``.

    Fewer than 3 points fill none.

    Raises:
        ValueError: an odd number of coordinates, or one that is not finite.
    """
    flat = np.asarray(polygon, dtype=np.float64)
    pairs = flat.ndim == 1 and len(flat) % 2 == 0
    if not pairs or not np.isfinite(flat).all():
        form = "a flat list [x0, y0, x1, y1, …] of finite numbers"
        raise ValueError(f"a polygon must be {form}")
    if len(flat) < 6:
        return
    height, width = target.shape
    x = flat[0::2]
    y = flat[1::2]
    # Only rows whose centres the polygon can reach: most objects are far smaller than their image.
    top = max(0, _first_centre(y.min()))
    bottom = min(height, _first_centre(y.max()))
    if top < bottom:
        rows = range(top, bottom)
        target[top:bottom] |= _inside(x, y, rows, width)


def _first_centre(y: float) -> int:
    """Return the first row whose centre lies at `y` or below."""
    return int(np.ceil(y - 0.5))


def _inside(x: Floats, y: Floats, rows: range, width: int) -> Pixels:
    """Return which centres of the given rows lie inside, ``bool [len(rows), width]``."""
    centres = np.arange(rows.start, rows.stop) + 0.5
    # Every edge goes from (x, y) to (x2, y2).
    x2 = np.roll(x, -1)
    y2 = np.roll(y, -1)
    starts_above = y[:, None] <= centres
    ends_above = y2[:, None] <= centres
    edge, row = np.nonzero(starts_above != ends_above)
    run = x2[edge] - x[edge]
    rise = y2[edge] - y[edge]
    below = centres[row] - y[edge]
    # Multiplied first: with the slope instead, some pixels on the very edge would change sides.
    at = x[edge] + below * run / rise
    # Each crossing flips every pixel whose centre lies at or right of it: one flip per crossing, then a running parity.
    column = np.ceil(at - 0.5)
    column = np.clip(column, 0, width).astype(np.int64)
    # One column more than there are, for crossings beyond the right border.
    stride = width + 1
    place = row * stride + column
    flips = np.bincount(place, minlength=len(rows) * stride)
    flips = flips.reshape(len(rows), stride)
    crossed = np.cumsum(flips[:, :width], axis=1)
    return crossed % 2 == 1


def region(annotation: Annotation, height: int, width: int) -> Pixels:
    """Return the pixels of one annotation, ``bool [height, width]``: the union of its polygons, or its RLE.

    Raises:
        ValueError: the segmentation is malformed.
    """
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, Mapping):
        return decode_rle(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise ValueError("the segmentation is neither a list of polygons nor an RLE")
    covered = np.zeros((height, width), bool)
    for polygon in segmentation:
        fill_polygon(covered, polygon)
    return covered


def paint(
    annotations: Iterable[Annotation],
    mask_ids: Mapping[int, int],
    height: int,
    width: int,
) -> Mask:
    """Return all annotations of one image as a mask ``uint8 [height, width]``: 0 background, mask ids, 255 for crowds.

    Crowd regions are painted first, as 255, then single instances from the largest to the smallest (pixels of the
    region; of equal ones the lower annotation id first), so that a small object in front of a big one survives and the
    order of the file does not matter.

    Raises:
        ValueError: an annotation is malformed; the message begins with its id.
    """
    layers = []
    for annotation in annotations:
        try:
            covered = region(annotation, height, width)
            crowd = bool(annotation.get("iscrowd", 0))
            value = IGNORE if crowd else mask_ids[annotation["category_id"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"annotation {annotation.get('id')}: {error}") from error
        size = int(covered.sum())
        # Counted, not taken from the file: the `area` of a damaged file may be anything.
        order = (not crowd, -size, int(annotation["id"]))
        layers.append((order, value, covered))
    mask = np.zeros((height, width), np.uint8)
    layers.sort(key=lambda layer: layer[0])
    for _, value, covered in layers:
        mask[covered] = value
    return mask
