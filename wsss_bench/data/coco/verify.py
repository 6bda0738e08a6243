"""`wsss-bench data verify` for COCO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

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
from wsss_bench.data.coco.layout import YEARS, mask_places, number_of, split_of
from wsss_bench.data.contents import Contents, check_variety
from wsss_bench.data.findings import Notebook, check_image, values_in
from wsss_bench.data.labels import Labels
from wsss_bench.data.masks import read_mask
from wsss_bench.data.verifying import verify_images
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HIDDEN = "Normal: crowds are ignored, and small objects lie over others."
_OTHER_YEAR = "Published numbers of weak supervision are on the splits of 2014; these do not compare with them."
_STALE = "Delete its folder: the masks are made again."


def verify_coco(
    dataset: CocoDataset, progress: Progress | None = None
) -> list[Finding]:
    """Return everything that is wrong with a COCO root, errors first; no mask is made.

    Where masks are made from the annotations, every annotation is decoded, and masks that are made already are compared
    with it. Masks of a folder are read as in any other dataset.
    """
    book = Notebook()
    _check_year(dataset, book)
    splits = dataset.available_splits()
    for split in splits:
        _check_names(dataset, book, split)
    if dataset.rasterises:
        _verify_annotations(dataset, book, progress)
    else:
        for split in splits:
            if split in SPLITS:
                _check_listed(dataset, book, split)
        book.add(verify_images(dataset, progress, known=_known_labels(dataset)))
    return book.findings()


def _check_year(dataset: CocoDataset, book: Notebook) -> None:
    if dataset.year != YEARS[0]:
        what = f"these are the splits of {dataset.year}."
        book.note("year", "warning", what, dataset.root, _OTHER_YEAR)
    found = mask_places(dataset.root)
    if dataset.rasterises and found:
        what = f"masks lie in {found[0].name}, and are not used: masks are made from the annotations."
        fix = f"To score on them: --data-option masks={found[0].name}"
        book.note("masks", "info", what, found[0], fix)


# Not `verify_images`: that would read the masks, which would have to be made first, and a look must write nothing.
def _verify_annotations(
    dataset: CocoDataset, book: Notebook, progress: Progress | None
) -> None:
    there = {split_of(split) for split in dataset.available_splits()}
    for split in SPLITS:
        path = dataset.annotation_file(split)
        if not path.is_file():
            what = f"{path.name} is missing."
            book.note("annotations", "error", what, path, RESTORE)
            there.discard(split)
    for split in sorted(there):
        path = dataset.annotation_file(split)
        try:
            data = read_annotations(path)
            images = index_images(path, data)
        except DataError as error:
            book.error("annotations", error, path)
            continue
        _check_counts(dataset, book, split, images)
        kept = [image for image in images if image.id not in dataset.skipped]
        _check_images(dataset, book, split, kept, by_image(data), progress)


def _check_listed(dataset: CocoDataset, book: Notebook, split: str) -> None:
    """Say which convention a list of somebody's follows."""
    try:
        count = len(dataset._ids(split))
    except DataError:
        # It is noted with the other lists.
        return
    for lists, counts in OFFICIAL_COUNTS[dataset.year].items():
        if count == counts[split]:
            what = f"{count:,} images, the official count of lists={lists}."
            book.note("count", "info", what, split)


def _check_names(dataset: CocoDataset, book: Notebook, split: str) -> None:
    """Note annotations or lists of one split that name photographs of the other."""
    try:
        ids = dataset._ids(split)
    except DataError:
        return
    base = split_of(split)
    foreign = []
    for image_id in ids:
        number = number_of(image_id)
        if number is not None and number[1] not in ("", base):
            foreign.append(image_id)
    # In 2017 photographs of both splits of 2014 were mixed.
    if foreign and dataset.year == YEARS[0]:
        who = f"{len(foreign):,} of {len(ids):,} images"
        what = f"{who} are of the other split by their names (first: {foreign[0]!r})."
        fix = "Are two annotation files exchanged? " + RESTORE
        book.note("exchanged", "error", what, split, fix)


def _known_labels(dataset: CocoDataset) -> Labels:
    """Return the labels that annotations give images outside of training splits, to compare masks with."""
    found: dict[str, tuple[int, ...]] = {}
    for split in dataset.available_splits():
        if dataset.annotation_file(split).is_file():
            with suppress(DataError):
                found |= {image.id: image.labels for image in dataset.index(split)}
    return found


def _check_counts(
    dataset: CocoDataset,
    book: Notebook,
    split: str,
    images: Sequence[CocoImage],
) -> None:
    tagged = [image for image in images if image.tagged]
    counts = {"all": len(images), "tagged": len(tagged)}
    official = OFFICIAL_COUNTS[dataset.year]
    # With as many images as there should be, untagged ones say that annotations are lost.
    whole = len(images) >= official["all"][split]
    for lists, count in counts.items():
        expected = official[lists][split]
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
) -> None:
    """Check photographs, annotations and the masks made of them."""
    # Numpy is needed here only, and the command line reads this module for less.
    from wsss_bench.data.coco.masks import paint

    hidden = []
    contents = Contents(split)
    folder = _made(dataset, book, split)
    for number, image in enumerate(images, 1):
        _check_size(dataset, book, split, image)
        try:
            mask = paint(groups[image.id], MASK_IDS, image.height, image.width)
        except ValueError as error:
            where = f"{dataset.annotation_file(split)}, image {image.id}"
            book.note("annotation", "error", f"{error}.", where, RESTORE)
        else:
            values = values_in(mask)
            contents.add(values)
            if set(image.labels) - values:
                hidden.append(image.id)
            if folder is not None:
                _check_made(book, folder / f"{image.id}.png", mask)
        if progress is not None:
            progress(f"verifying {dataset.name}/{split}", number, len(images))
    contents.report(book, scored=split in (dataset.splits.seeds, dataset.splits.val))
    labels = [image.labels for image in images]
    check_variety(book, split, labels, len(dataset.classes))
    if hidden:
        who = f"{len(hidden):,} of {len(images):,} images"
        first = f"(first: {hidden[0]!r})"
        what = f"{who} carry a label without a pixel in the mask {first}."
        book.note("hidden", "info", what, split, _HIDDEN)


def _made(dataset: CocoDataset, book: Notebook, split: str) -> Path | None:
    """Return the folder of masks that are made already; None where they are not."""
    raster = dataset.raster(split)
    try:
        return raster.place if raster.ready() else None
    except DataError as error:
        book.error("made masks", error, split)
        return None


def _check_made(book: Notebook, path: Path, mask: NDArray[np.uint8]) -> None:
    try:
        kept = read_mask(path, None, len(MASK_IDS) + 1)
    except DataError as error:
        book.error("made mask", error, path)
        return
    if kept.shape != mask.shape or (kept != mask).any():
        what = "the mask differs from the annotations it was made from."
        book.note("changed mask", "error", what, path, _STALE)


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
