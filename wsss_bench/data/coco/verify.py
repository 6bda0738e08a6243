"""`wsss-bench data verify` for COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.coco.index import (
    MASK_IDS,
    RESTORE,
    CocoImage,
    by_image,
    index_images,
    read_annotations,
)
from wsss_bench.data.findings import Notebook, check_image, present_in
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    from wsss_bench.data.coco.dataset import CocoDataset


def verify_coco(
    dataset: CocoDataset, progress: Progress | None = None
) -> list[Finding]:
    """Everything that is wrong with a COCO root, as findings; every annotation is decoded, nothing is written."""
    book = Notebook()
    for split in sorted({"train", "val"} - set(dataset.available_splits())):
        file = dataset.annotation_file(split)
        book.note("annotations", "error", f"{file.name} is missing.", file, RESTORE)
    for split in dataset.available_splits():
        path = dataset.annotation_file(split)
        try:
            data = read_annotations(path)
            images = index_images(path, data)
        except DataError as error:
            book.error("annotations", error, path)
            continue
        _check_counts(dataset, book, split, images)
        images = tuple(image for image in images if image.id not in dataset.skipped)
        hidden = _check_images(dataset, book, split, images, by_image(data), progress)
        if hidden:
            what = f"{len(hidden):,} of {len(images):,} images carry a label without a pixel in the mask (first: {hidden[0]!r})."
            book.note(
                "hidden",
                "info",
                what,
                split,
                "Normal: crowds are ignored, and small objects lie over others.",
            )
    return book.findings()


def _check_counts(
    dataset: CocoDataset, book: Notebook, split: str, images: Sequence[CocoImage]
) -> None:
    from wsss_bench.data.coco.dataset import OFFICIAL_COUNTS

    for lists, count in (
        ("all", len(images)),
        ("tagged", sum(image.tagged for image in images)),
    ):
        expected = OFFICIAL_COUNTS[lists][split]
        used = " (in use)" if lists == dataset.lists else ""
        if count == expected:
            book.note(
                "count",
                "info",
                f"lists={lists}{used}: {count:,} images, the official count.",
                split,
            )
        elif len(images) >= OFFICIAL_COUNTS["all"][split]:
            book.note(
                "count",
                "error",
                f"lists={lists}: {count:,} images, {expected:,} are expected.",
                split,
                RESTORE,
            )
        else:
            book.note(
                "count",
                "info",
                f"lists={lists}{used}: {count:,} of the official {expected:,} images: a subset.",
                split,
            )


def _check_images(
    dataset: CocoDataset,
    book: Notebook,
    split: str,
    images: Sequence[CocoImage],
    groups: Mapping[str, list[Mapping[str, Any]]],
    progress: Progress | None,
) -> list[str]:
    """Check photographs and annotations; the ids of images of which some label has no pixel in the mask."""
    from wsss_bench.data.coco.masks import paint

    hidden = []
    for number, image in enumerate(images, 1):
        path = dataset._image_path(split, image.id)
        size = check_image(book, path)
        if size is not None and size != (image.height, image.width):
            what = f"the photograph is {size[0]}x{size[1]} (height x width), its annotations {image.height}x{image.width}."
            book.note(
                "size", "error", what, path, "Restore both from COCO 2014's archives."
            )
        try:
            present = present_in(
                paint(groups[image.id], MASK_IDS, image.height, image.width)
            )
            if set(image.labels) - present:
                hidden.append(image.id)
        except ValueError as error:
            where = f"{dataset.annotation_file(split)}, image {image.id}"
            book.note("annotation", "error", f"{error}.", where, RESTORE)
        if progress is not None:
            progress(f"verifying {dataset.name}/{split}", number, len(images))
    return hidden
