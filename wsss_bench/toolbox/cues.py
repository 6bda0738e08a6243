"""From class scores to seed cues: thresholds, and the rule that settles overlaps (SEC, DSRG)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.toolbox.arrays import Bytes, Flags, Floats


def foreground_cues(
    scores: Floats,
    class_ids: Sequence[int],
    threshold: float = 0.2,
) -> Flags:
    """Return the cells whose score exceeds `threshold` times the maximum of their class's map (SEC, DSRG: 20 %).

    Args:
        scores: ``float32 [K, h, w]``, one map per class; negative scores never become cues.
        class_ids: the K mask ids (1..C), unique, in the order of `scores`.
        threshold: fraction of the class maximum, strict.

    Returns:
        ``bool [K, h, w]``; empty for a class without a positive score.

    Raises:
        ValueError: ids and maps do not match.
    """
    _check_ids("foreground_cues", scores, class_ids)
    if not len(scores):
        return np.zeros(scores.shape, np.bool_)
    peak = np.maximum(scores.max(axis=(1, 2), keepdims=True), 0)
    # In float32 like the scores: a product in double precision would decide otherwise
    # for scores that lie on the bound.
    bound = np.float32(threshold) * peak
    return (scores > bound) & (scores > 0)


def background_cues(
    saliency: NDArray[np.floating],
    fraction: float = 0.1,
) -> Flags:
    """Return the least salient cells: those below the value at sorted index ``floor(fraction * h * w)``.

    SEC's released rule.

    Args:
        saliency: ``[h, w]``, high on objects; of any scale.
        fraction: in [0, 1); with distinct values exactly ``floor(fraction * h * w)`` cells are marked, with ties fewer.

    Returns:
        ``bool [h, w]``.

    Raises:
        ValueError: `fraction` lies outside [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"background_cues: fraction must lie in [0, 1), not {fraction}."
        )
    ranked = np.sort(saliency, axis=None)
    bound = ranked[int(fraction * ranked.size)]
    return np.asarray(saliency < bound)


def stack_cues(
    foreground: Flags,
    class_ids: Sequence[int],
    background: Flags | None = None,
) -> Bytes:
    """Paint cue masks from the largest to the smallest, so that where they overlap the class of smallest area wins.

    Background takes part as class 0. Of equal areas the higher id wins, so foreground wins over background.

    Args:
        foreground: ``bool [K, h, w]``.
        class_ids: the K mask ids (1..C), unique, in the order of `foreground`.
        background: ``bool [h, w]`` or None.

    Returns:
        ``uint8 [h, w]``, 255 where there is no cue.

    Raises:
        ValueError: ids and maps do not match, or background lies on another grid.
    """
    _check_ids("stack_cues", foreground, class_ids)
    masks = list(zip(class_ids, foreground, strict=True))
    if background is not None:
        if background.shape != foreground.shape[1:]:
            raise ValueError(
                f"stack_cues: background {background.shape} must lie on the grid of "
                f"foreground {foreground.shape}."
            )
        masks.append((0, background))

    def painted_first(item: tuple[int, Flags]) -> tuple[int, int]:
        class_id, mask = item
        return -int(mask.sum()), class_id

    out = np.full(foreground.shape[1:], IGNORE, np.uint8)
    # Whoever is painted last wins, so the smallest area comes last.
    for class_id, mask in sorted(masks, key=painted_first):
        out[mask] = class_id
    return out


def resize_scores(
    scores: Floats,
    size: tuple[int, int],
) -> Floats:
    """Resize maps bilinearly, with half-pixel centres and without smoothing when shrinking.

    Args:
        scores: ``float32 [K, h, w]``.
        size: (height, width) of the result.

    Returns:
        ``float32 [K, height, width]``.

    Raises:
        ValueError: scores are not three-dimensional.
    """
    import cv2

    if scores.ndim != 3:
        raise ValueError(f"resize_scores: scores {scores.shape} must be [K, h, w].")
    out = np.empty((len(scores), *size), np.float32)
    width_height = (size[1], size[0])
    # One map at a time: OpenCV wants channels innermost, and only few of them at once.
    for source, target in zip(scores, out, strict=True):
        plane = np.ascontiguousarray(source, np.float32)
        target[:] = cv2.resize(plane, width_height, interpolation=cv2.INTER_LINEAR)
    return out


def _check_ids(where: str, maps: NDArray[np.generic], class_ids: Sequence[int]) -> None:
    if maps.ndim != 3 or len(maps) != len(class_ids):
        raise ValueError(
            f"{where}: {len(class_ids)} class ids for maps of shape {maps.shape}; "
            "give [K, h, w] and K ids."
        )
    distinct = len(set(class_ids)) == len(class_ids)
    if not distinct or any(not 1 <= c < IGNORE for c in class_ids):
        raise ValueError(
            f"{where}: class ids {list(class_ids)} must be distinct mask ids in 1..254 "
            "(background is not among them)."
        )
