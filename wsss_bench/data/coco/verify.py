"""`wsss-bench data verify` for COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.coco.dataset import OFFICIAL_COUNTS, SPLITS, CocoDataset
from wsss_bench.data.coco.index import (
    MASK_IDS,
    RESTORE,
    CocoImage,
    Content,
    by_image,
    index_images,
    read_annotations,
)
from wsss_bench.data.findings import Notebook, check_image, present_in
from wsss_bench.errors import DataError

_HIDDEN = "Normal: crowds are ignored, and small objects lie over others."


# Not `verify_images`: that would rasterise the masks first, and a look must write nothing.
def verify_coco(
    dataset: CocoDataset, progress: Progress | None = None
) -> list[Finding]:
    """Return everything that is wrong with a COCO root; every annotation is decoded, nothing is written."""
    book = Notebook()
    splits = dataset.available_splits()
    for split in sorted({*SPLITS}.difference(splits)):
        file = dataset.annotation_file(split)
        book.note("annotations", "error", f"{file.name} is missing.", file, RESTORE)
    for split in splits:
        path = dataset.annotation_file(split)
        try:
            data = read_annotations(path)
            images = index_images(path, data)
        except DataError as error:
            book.error("annotations", error, path)
            continue
        _check_counts(dataset, book, split, images)
        kept = [image for image in images if image.id not in dataset.skipped]
        hidden = _check_images(dataset, book, split, kept, by_image(data), progress)
        if hidden:
            who = f"{len(hidden):,} of {len(kept):,} images"
            first = f"(first: {hidden[0]!r})"
            what = f"{who} carry a label without a pixel in the mask {first}."
            book.note("hidden", "info", what, split, _HIDDEN)
    return book.findings()


def _check_counts(
    dataset: CocoDataset,
    book: Notebook,
    split: str,
    images: Sequence[CocoImage],
) -> None:
    tagged = [image for image in images if image.tagged]
    counts = {"all": len(images), "tagged": len(tagged)}
    # With as many images as there should be, untagged ones say that annotations are lost.
    whole = len(images) >= OFFICIAL_COUNTS["all"][split]
    for lists, count in counts.items():
        expected = OFFICIAL_COUNTS[lists][split]
        used = " (in use)" if lists == dataset.lists else ""
        which = f"lists={lists}{used}"
        if count == expected:
            what = f"{which}: {count:,} images, the official count."
            book.note("count", "info", what, split)
        elif whole:
            what = f"lists={lists}: {count:,} images, {expected:,} are expected."
            book.note("count", "error", what, split, RESTORE)
        else:
            what = f"{which}: {count:,} of the official {expected:,} images: a subset."
            book.note("count", "info", what, split)


def _check_images(
    dataset: CocoDataset,
    book: Notebook,
    split: str,
    images: Sequence[CocoImage],
    groups: Mapping[str, list[Content]],
    progress: Progress | None,
) -> list[str]:
    """Check photographs and annotations; return the ids of images of which some label has no pixel in the mask."""
    # Numpy is needed here only, and the command line reads this module for less.
    from wsss_bench.data.coco.masks import paint

    hidden = []
    for number, image in enumerate(images, 1):
        _check_size(dataset, book, split, image)
        try:
            mask = paint(groups[image.id], MASK_IDS, image.height, image.width)
        except ValueError as error:
            where = f"{dataset.annotation_file(split)}, image {image.id}"
            book.note("annotation", "error", f"{error}.", where, RESTORE)
        else:
            if set(image.labels) - present_in(mask):
                hidden.append(image.id)
        if progress is not None:
            progress(f"verifying {dataset.name}/{split}", number, len(images))
    return hidden


def _check_size(
    dataset: CocoDataset, book: Notebook, split: str, image: CocoImage
) -> None:
    path = dataset._image_path(split, image.id)
    size = check_image(book, path)
    if size is not None and size != (image.height, image.width):
        height, width = size
        said = f"its annotations {image.height}x{image.width}"
        what = f"the photograph is {height}x{width} (height x width), {said}."
        fix = "Restore both from COCO 2014's archives."
        book.note("size", "error", what, path, fix)
