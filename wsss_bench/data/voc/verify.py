"""`wsss-bench data verify` for folders in VOC's layout, and the notebook both verifiers write in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.findings import Notebook, check_image, present_in
from wsss_bench.data.masks import RESTORE, read_mask
from wsss_bench.errors import DataError, LeakError

if TYPE_CHECKING:
    from wsss_bench.data.voc.dataset import VocLayout


DISAGREEMENT = 0.1
"""Share of images whose mask shows an unlabelled class above which the labels must belong to something else (VOC: below 1 %)."""

FULL_SIZE = 17_125
"""Images in JPEGImages of the complete devkit."""


def verify_layout(
    dataset: VocLayout, progress: Progress | None = None
) -> list[Finding]:
    """Everything that is wrong with a folder in VOC's layout, as findings."""
    book = Notebook()
    lists = _check_lists(dataset, book)
    _check_counts(dataset, book, lists)
    images = sorted({i for ids in lists.values() for i in ids})
    pairs = _mask_pairs(dataset, book, lists)
    labels = _check_labels(dataset, book, lists)
    missed: dict[str, list[str]] = {"mask": [], "label": []}
    compared = 0
    for number, image_id in enumerate(images, 1):
        intact = check_image(book, dataset._image_path("", image_id)) is not None
        for path in sorted(pairs.get(image_id, ())):
            present = _check_mask(dataset, book, path, image_id if intact else None)
            if present is not None and image_id in labels:
                compared += 1
                _compare(image_id, present, set(labels[image_id]), missed)
        if progress is not None:
            progress(f"verifying {dataset.name}", number, len(images))
    _report_disagreement(dataset, book, missed, compared)
    return book.findings()


def _check_lists(dataset: VocLayout, book: Notebook) -> dict[str, tuple[str, ...]]:
    lists = {}
    for split in dataset.available_splits():
        try:
            lists[split] = dataset._kept(split)
        except DataError as error:
            book.error("list", error, split)
    for role in ("train", "seeds", "val"):
        split = getattr(dataset.splits, role)
        if split not in dataset.available_splits():
            fix = f"Choose one with --{role}-split."
            book.note(
                "split",
                "error",
                f"split {split!r} (role: {role}) does not exist.",
                split,
                fix,
            )
    return lists


def _check_counts(
    dataset: VocLayout, book: Notebook, lists: Mapping[str, tuple[str, ...]]
) -> None:
    from wsss_bench.data.voc.lists import OFFICIAL_COUNTS

    official = (
        OFFICIAL_COUNTS if dataset.kind == "voc2012" else getattr(dataset, "counts", {})
    )
    folder = dataset.root / "JPEGImages"
    full = dataset.kind != "voc2012" or sum(1 for _ in folder.iterdir()) >= FULL_SIZE
    for split in lists:
        ids, expected = dataset._ids(split), official.get(split)
        if expected is None or len(ids) == expected:
            book.note(
                "count",
                "info",
                f"{len(ids):,} images" + (", the official count." if expected else "."),
                split,
            )
        elif full:
            book.note(
                "count",
                "error",
                f"{len(ids):,} images, {expected:,} are expected.",
                split,
                "Restore the official list.",
            )
        else:
            book.note(
                "count",
                "info",
                f"{len(ids):,} of the official {expected:,} images: a subset.",
                split,
                _SUBSET,
            )


_SUBSET = "Results compare with each other, not with published ones; give the copy a name of its own (--name)."


def _mask_pairs(
    dataset: VocLayout, book: Notebook, lists: Mapping[str, tuple[str, ...]]
) -> dict[str, set[Path]]:
    """The mask files of each image; an image may have two, the devkit's and the augmented one."""
    pairs: dict[str, set[Path]] = {}
    for split, ids in lists.items():
        try:
            masks = dataset.masks(split)
        except DataError as error:
            scored = split in (dataset.splits.seeds, dataset.splits.val)
            book.note("no masks", "error" if scored else "info", str(error), split)
            continue
        for image_id in ids:
            pairs.setdefault(image_id, set()).add(masks.path(image_id))
    return pairs


def _check_labels(
    dataset: VocLayout, book: Notebook, lists: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[int, ...]]:
    """Labels of every training split; with labels taken from the masks there is nothing to compare."""
    labels: dict[str, tuple[int, ...]] = {}
    for split, ids in lists.items():
        if not dataset._is_train(split):
            continue
        try:
            dataset._refuse_overlap(split, ids)
            found = (
                {} if dataset.labels_source == "masks" else dataset._labels(split, ids)
            )
        except (DataError, LeakError) as error:
            book.error("labels", error, split)
            continue
        for image_id in (i for i, present in found.items() if not present):
            book.note(
                "no label",
                "warning",
                f"image {image_id!r} has no image-level label at all.",
                split,
            )
        labels.update(found)
    return labels


def _check_mask(
    dataset: VocLayout, book: Notebook, path: Path, image_id: str | None
) -> set[int] | None:
    try:
        if path.exists() and path.stat().st_size == 0:
            book.note(
                "empty mask",
                "error",
                "the mask file is empty (0 bytes).",
                path,
                RESTORE,
            )
            return None
        image = dataset._image_path("", image_id) if image_id is not None else None
        return present_in(read_mask(path, image, len(dataset.classes)))
    except DataError as error:
        book.error("mask", error, path)
        return None


def _compare(
    image_id: str, present: set[int], labels: set[int], missed: Mapping[str, list[str]]
) -> None:
    if present - labels:
        missed["label"].append(image_id)
    if labels - present:
        missed["mask"].append(image_id)


def _report_disagreement(
    dataset: VocLayout, book: Notebook, missed: Mapping[str, list[str]], compared: int
) -> None:
    where = dataset.labels_source
    if missed["label"]:
        share = len(missed["label"]) / compared
        book.note(
            "labels against masks",
            "error" if share > DISAGREEMENT else "warning",
            f"{len(missed['label']):,} of {compared:,} masks show a class that the image-level labels lack "
            f"(first: {missed['label'][0]!r}).",
            where,
            "The labels seem to belong to other data: check --labels."
            if share > DISAGREEMENT
            else "",
        )
    if missed["mask"]:
        book.note(
            "masks against labels",
            "info" if len(missed["mask"]) <= compared / 2 else "warning",
            f"{len(missed['mask']):,} of {compared:,} images carry a label without a pixel in the mask "
            f"(first: {missed['mask'][0]!r}).",
            where,
            "Some is normal: objects that are tiny, hidden, or inside the ignored border.",
        )
