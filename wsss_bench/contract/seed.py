"""`Seed`: the class scores of one image, and the rules that they keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SLACK = 1e-3
"""How far a score may lie above 1: a division by a maximum in half precision does not hit it exactly."""


@dataclass(frozen=True)
class Seed:
    """Class scores of one image.

    Attributes:
        class_ids: ``int64 [K]`` mask ids (1..C), strictly increasing.
        scores: ``float32 [K, h, w]`` in [0, 1], at any grid; each class's maximum is about 1 where it fires.
        size: (H, W) of the photograph.
        background: ``float32 [h, w]`` in [0, 1], how surely each cell is background, or None where the method has no
            such cue.
        rank: ``float32 [K, h, w]`` in [0, 1] that settles which class wins where several fire, or None where `scores`
            do.
    """

    class_ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    size: tuple[int, int]
    background: NDArray[np.float32] | None = None
    rank: NDArray[np.float32] | None = None

    def upsampled(self) -> NDArray[np.float32]:
        """Return the scores at image size, ``float32 [K, H, W]``, bilinear between cell centres (half pixels)."""
        import cv2

        height, width = self.size
        if self.scores.shape[1:] == (height, width):
            return self.scores
        out = np.empty((len(self.scores), height, width), np.float32)
        for plane, target in zip(self.scores, out, strict=True):
            # OpenCV counts sizes as (width, height).
            size = (width, height)
            target[...] = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
        return out

    def problems(self, allowed: tuple[int, ...] | None) -> list[str]:
        """Return everything that breaks the contract, as sentences.

        `allowed` are the image's labels, each of which must have a map; None where they are not known.
        """
        ids = self.class_ids
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            what = f"not {ids.dtype} {ids.shape}."
            return [f"class_ids must be a 1-D integer array, {what}"]
        found = []
        if len(ids) and (np.diff(ids) <= 0).any():
            found.append(f"class_ids must increase strictly, not {ids.tolist()}.")
        if not self._fits(len(ids)):
            shape = list(self.scores.shape)
            need = f"[{len(ids)}, h, w] for {len(ids)} class ids"
            # What follows compares shapes and would only say the same in other words.
            return [*found, f"scores must have shape {need}, not {shape}."]
        found += self._wrong_size()
        found += self._wrong_values()
        found += self._wrong_shapes()
        return found + self._wrong_classes(allowed)

    def _fits(self, classes: int) -> bool:
        shape = self.scores.shape
        return len(shape) == 3 and shape[0] == classes and 0 not in shape[1:]

    def _wrong_size(self) -> Iterator[str]:
        if len(self.size) != 2 or min(self.size) < 1:
            yield f"size must be (height, width) of the image, not {self.size}."

    def _wrong_values(self) -> Iterator[str]:
        arrays = {"scores": self.scores, "background": self.background}
        for name, array in {**arrays, "rank": self.rank}.items():
            # An image without classes has scores of no values, which have no minimum either.
            if array is not None and array.size:
                yield from _wrong_range(name, array)

    def _wrong_shapes(self) -> Iterator[str]:
        scores, background, rank = self.scores, self.background, self.rank
        grid = scores.shape[1:]
        if background is not None and background.shape != grid:
            shape = list(background.shape)
            yield f"background must have shape {list(grid)}, not {shape}."
        if rank is not None and rank.shape != scores.shape:
            shape = list(rank.shape)
            yield f"rank must have shape {list(scores.shape)}, not {shape}."

    def _wrong_classes(self, allowed: tuple[int, ...] | None) -> list[str]:
        if allowed is None:
            return []
        ids = set(self.class_ids.tolist())
        foreign, missing = sorted(ids - set(allowed)), sorted(set(allowed) - ids)
        found = []
        if foreign:
            labels = list(allowed)
            found.append(
                f"classes {foreign} are not among the image's labels {labels}."
            )
        if missing:
            fix = "write zeros where nothing was found."
            found.append(f"labelled classes {missing} have no score map; {fix}")
        return found


def _wrong_range(name: str, array: NDArray[np.float32]) -> Iterator[str]:
    if not np.issubdtype(array.dtype, np.floating):
        yield f"{name} must be floating point, not {array.dtype}."
    elif not np.isfinite(array).all():
        yield f"{name} hold NaN or infinity. Guard divisions by a map's maximum."
    elif array.min() < 0 or array.max() > 1 + _SLACK:
        span = f"[{array.min():.4g}, {array.max():.4g}]"
        yield f"{name} must lie in [0, 1], found {span}."
