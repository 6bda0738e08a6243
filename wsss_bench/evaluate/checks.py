"""What the evaluator refuses about one image; every message names the image.

Wrong truth is a `DataError`, for the dataset is at fault; anything else is an `ArtifactError`, for the method is.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.evaluate.arrays import AnyArray, Mask

# As seeds themselves are checked (`contract.artifacts`): rounding may leave a maximum a little above 1.
_HIGHEST_SCORE = 1 + 1e-3


def check_once(image_id: str, known: Container[str]) -> None:
    """Raise `ArtifactError` for an image that was counted before."""
    if image_id in known:
        what = f"image {image_id!r} was scored twice."
        raise ArtifactError(f"{what} Pass each image once.")


def check_masks(
    image_id: str,
    pred: AnyArray,
    truth: AnyArray,
) -> None:
    """Raise for a mask that is not ``uint8 [H, W]``, or for two of different size."""
    check_truth(image_id, truth)
    if not _is_mask(pred):
        found = f"{pred.dtype} {list(pred.shape)}"
        what = f"image {image_id!r}: the prediction must be uint8 [H, W]"
        raise ArtifactError(f"{what}, not {found}.")
    # Never resized: there is more than one way to do it, and each gives another number.
    if pred.shape != truth.shape:
        found = f"{list(pred.shape)}, the truth {list(truth.shape)} [H, W]"
        what = f"image {image_id!r}: the prediction is {found}."
        fix = "Write predictions at the photograph's own size"
        raise ArtifactError(f"{what} {fix}; the evaluator never resizes.")


def check_truth(image_id: str, truth: AnyArray) -> None:
    """Raise `DataError` for a true mask that is not ``uint8 [H, W]``."""
    if not _is_mask(truth):
        found = f"{truth.dtype} {list(truth.shape)}"
        what = f"image {image_id!r}: the truth must be uint8 [H, W]"
        raise DataError(f"{what}, not {found}.")


def _is_mask(mask: AnyArray) -> bool:
    return mask.dtype == np.uint8 and mask.ndim == 2 and mask.size > 0


def foreign_values(
    image_id: str,
    name: str,
    mask: Mask,
    n_classes: int,
) -> str:
    """Return a sentence that names the values of a mask that are no class and not 255, "" where there are none."""
    known = [*range(n_classes), IGNORE]
    foreign = np.setdiff1d(mask, known).tolist()
    if not foreign:
        return ""
    allowed = f"0..{n_classes - 1} and {IGNORE}"
    # Ten tell what is wrong; a photograph taken for a mask holds all of them.
    return (
        f"image {image_id!r}: the {name} holds {foreign[:10]}; allowed are {allowed}."
    )


def check_class_ids(
    image_id: str,
    class_ids: Any,
    n_classes: int,
) -> None:
    """Raise `ArtifactError` for class ids that are not integers, strictly increasing, within 1..C."""
    ids = np.asarray(class_ids)
    who = f"image {image_id!r}"
    # numpy makes an empty list an array of floats, so the type of no ids at all says nothing.
    integers = not ids.size or np.issubdtype(ids.dtype, np.integer)
    if ids.ndim != 1 or not integers:
        found = f"{ids.dtype} {list(ids.shape)}"
        what = "class ids must be a 1-D integer array"
        raise ArtifactError(f"{who}: {what}, not {found}.")
    if not ids.size:
        return
    increasing = (np.diff(ids) > 0).all()
    if not increasing or ids[0] < 1 or ids[-1] >= n_classes:
        what = f"class ids must increase strictly within 1..{n_classes - 1}"
        raise ArtifactError(f"{who}: {what}, not {ids.tolist()}.")


def check_scores(
    image_id: str,
    scores: AnyArray,
    shape: Sequence[int],
) -> None:
    """Raise `ArtifactError` for scores that are not finite floats in [0, 1] of the given shape ``[K, H, W]``."""
    who = f"image {image_id!r}"
    if scores.shape != tuple(shape):
        wanted = f"shape {list(shape)} (the photograph's size)"
        what = f"{who}: scores must have {wanted}, not {list(scores.shape)}."
        raise ArtifactError(f"{what} Upsample them first: Seed.upsampled().")
    if not scores.size:
        return
    if not np.issubdtype(scores.dtype, np.floating):
        what = f"scores must be floating point, not {scores.dtype}"
        raise ArtifactError(f"{who}: {what}.")
    low = float(scores.min())
    high = float(scores.max())
    # Put so that NaN, of which every comparison is false, is refused.
    if not (low >= 0 and high <= _HIGHEST_SCORE):
        found = f"[{low:g}, {high:g}]"
        what = f"{who}: scores must be finite and lie in [0, 1], found {found}."
        raise ArtifactError(f"{what} Divide each map by its maximum.")
