"""Under which convention masks score: which folder they come from, and whether pixels at borders are left out.

Numbers under two conventions do not compare. Published ones on PASCAL VOC leave out the drawn border (255); masks
without it count those pixels, which are the hardest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wsss_bench.data.agreement import Agreement
from wsss_bench.data.masks import NONE_IGNORED, convention
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    from wsss_bench.data.base import Dataset

__all__ = [
    "NONE_IGNORED",
    "SAMPLE",
    "border_warning",
    "convention",
    "no_border",
    "shift_warning",
    "truth_warning",
]

SAMPLE = 100
"""Masks that are compared with image-level labels before a run."""


def truth_warning(dataset: Dataset) -> str | None:
    """Return what is doubtful about the masks that results are scored on, in one sentence or two; None: nothing.

    That is a validation split without the border where published numbers have one, and masks whose values belong to
    other classes than the image-level labels say.

    Raises:
        DataError: the validation split has no masks, or one that cannot be read.
    """
    found = [border_warning(dataset), shift_warning(dataset)]
    return " ".join(filter(None, found)) or None


def border_warning(dataset: Dataset) -> str | None:
    """Return a sentence where the validation masks lack the border that published numbers leave out; else None."""
    if not dataset.border_published:
        return None
    if not dataset.truth("val").endswith(NONE_IGNORED):
        return None
    return no_border(f"{dataset.name}/{dataset.splits.val}")


def no_border(where: str) -> str:
    """Return the warning for a split without any pixel 255."""
    what = f"{where}: no mask has an ignored border (255)."
    effect = "Published numbers leave the border out, so these will be lower and do not compare with them."
    fix = "Score on the devkit's SegmentationClass; augmented masks have no border."
    return f"{what} {effect} {fix}"


def shift_warning(dataset: Dataset) -> str | None:
    """Return a sentence where a sample of masks shows other classes than the image-level labels; else None.

    Looks at up to `SAMPLE` images of the training split; says nothing where labels and masks have one source.
    """
    split = dataset.splits.train
    if dataset.labels_source == "masks":
        return None
    try:
        masks = dataset.masks(split)
    except DataError:
        # Methods need no masks of the training split, and whoever scores seeds is told so there.
        return None
    if masks.derived:
        return None
    # Missing masks are told of when they are read.
    ids = [i for i in _spread(masks.ids) if masks.path(i).is_file()]
    labels = dataset._labels(split, tuple(ids))
    agreement = Agreement(dataset.classes, dataset.category_ids)
    for image_id in ids:
        agreement.add(image_id, masks.values(image_id), labels[image_id])
    return agreement.doubt(f"{dataset.name}/{split}")


def _spread(ids: Sequence[str]) -> Sequence[str]:
    """Return at most `SAMPLE` of the ids, evenly from all of the list."""
    step = max(1, -(-len(ids) // SAMPLE))
    return ids[::step]
