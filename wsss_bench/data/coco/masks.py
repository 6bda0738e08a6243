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


def decode_counts(text: str | bytes) -> list[int]:
    """Run lengths of a compressed RLE string.

    Six bits a character (offset 48): five of payload, least significant group first, bit 5 = more to come, bit 4 of the last
    group = sign. From the fourth run on, the value is the difference to the run two places before.

    Raises:
        ValueError: the string ends within a number or holds a foreign character.
    """
    data = text.encode() if isinstance(text, str) else text
    counts: list[int] = []
    value = shift = 0
    for byte in data:
        group = byte - 48
        if not 0 <= group < 64:
            raise ValueError(
                f"character {chr(byte)!r} is not part of a compressed run-length string"
            )
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("the compressed run-length string ends within a number")
    return counts


def decode_rle(rle: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """A run-length encoded region as ``bool [height, width]``; `rle` holds ``size`` and ``counts`` (list, or compressed string).

    Raises:
        ValueError: a key is missing, ``size`` is not the image's, or the runs do not add up to the image.
    """
    for key in ("size", "counts"):
        if key not in rle:
            raise ValueError(f"the RLE has no {key!r}")
    if list(rle["size"]) != [height, width]:
        raise ValueError(
            f"the RLE's size {list(rle['size'])} is not the image's {[height, width]}"
        )
    raw = rle["counts"]
    counts = np.asarray(
        decode_counts(raw) if isinstance(raw, str | bytes) else raw, dtype=np.int64
    )
    if counts.ndim != 1 or (counts < 0).any() or int(counts.sum()) != height * width:
        raise ValueError(
            f"the runs add up to {int(counts.sum())} pixels, the image has {height * width}"
        )
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def fill_polygon(target: NDArray[np.bool_], polygon: Sequence[float]) -> None:
    """Set the pixels of ``bool [H, W]`` whose centres lie in a polygon ``[x0, y0, x1, y1, …]``; fewer than 3 points fill none.

    Raises:
        ValueError: an odd number of coordinates, or one that is not finite.
    """
    flat = np.asarray(polygon, dtype=np.float64)
    if flat.ndim != 1 or len(flat) % 2 or not np.isfinite(flat).all():
        raise ValueError(
            "a polygon must be a flat list [x0, y0, x1, y1, …] of finite numbers"
        )
    if len(flat) < 6:
        return
    height, width = target.shape
    x, y = flat[0::2], flat[1::2]
    top, bottom = (
        max(0, int(np.ceil(y.min() - 0.5))),
        min(height, int(np.ceil(y.max() - 0.5))),
    )
    if top >= bottom:
        return
    x2, y2 = np.roll(x, -1), np.roll(y, -1)
    centres = np.arange(top, bottom) + 0.5
    edge, row = np.nonzero((y[:, None] <= centres) != (y2[:, None] <= centres))
    at = x[edge] + (centres[row] - y[edge]) * (x2[edge] - x[edge]) / (
        y2[edge] - y[edge]
    )
    # Each crossing flips every pixel whose centre lies at or right of it: one flip per crossing, then a running parity.
    column = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)
    flips = np.bincount(
        row * (width + 1) + column, minlength=(bottom - top) * (width + 1)
    )
    inside = (
        np.cumsum(flips.reshape(bottom - top, width + 1)[:, :width], axis=1) % 2 == 1
    )
    target[top:bottom] |= inside


def region(annotation: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels of one annotation as ``bool [height, width]``: the union of its polygons, or its RLE; raises `ValueError`."""
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
    annotations: Iterable[Mapping[str, Any]],
    mask_ids: Mapping[int, int],
    height: int,
    width: int,
) -> NDArray[np.uint8]:
    """All annotations of one image as a mask ``uint8 [height, width]``: 0 background, mask ids, 255 for crowds.

    Crowd regions are painted first, as 255, then single instances from the largest to the smallest (pixels of the region;
    of equal ones the lower annotation id first), so that a small object in front of a big one survives and the order of the
    file does not matter.

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
        layers.append(
            (not crowd, -int(covered.sum()), int(annotation["id"]), value, covered)
        )
    mask = np.zeros((height, width), np.uint8)
    for *_, value, covered in sorted(layers, key=lambda layer: layer[:3]):
        mask[covered] = value
    return mask
