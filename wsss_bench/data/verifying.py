"""Verification of any dataset: lists, photographs, masks, sealing, and image-level labels against masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wsss_bench.data.base import ROLES, Dataset, Finding, Progress
from wsss_bench.data.findings import Notebook, check_image, present_in
from wsss_bench.data.labels import Labels
from wsss_bench.data.masks import RESTORE, SealedMasks, read_mask
from wsss_bench.errors import DataError, LeakError

DISAGREEMENT = 0.1
"""Share of images whose mask shows an unlabelled class; above it the labels must belong to something else.

VOC has below 1 %.
"""

_SUBSET = "Results compare with each other, not with published ones; give the copy a name of its own (--name)."
_OTHER_LABELS = "The labels seem to belong to other data: check --labels."
_HIDDEN = "Some is normal: objects that are tiny, hidden, or inside the ignored border."

Lists = Mapping[str, tuple[str, ...]]
"""Image ids by split."""

Photograph = tuple[str, Path]
"""Image id and file."""


def verify_images(
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    expected: Mapping[str, int] | None = None,
    complete: bool = True,
) -> list[Finding]:
    """Read every photograph and mask of a dataset, once each, and return what is wrong, errors first.

    Args:
        dataset: what to read; the ids that its skip list leaves out are left out here too.
        progress: told how many images are done.
        expected: sizes of the official lists, as far as there are any.
        complete: whether another number is an error; else it means that this is a part of the data.
    """
    book = Notebook()
    lists = _check_lists(dataset, book)
    official = expected or {}
    for split in lists:
        count = len(dataset._ids(split))
        _check_count(book, split, count, official.get(split), complete)
    photographs = _photographs(dataset, lists)
    masks = _mask_files(dataset, book, lists)
    _check_sealed(dataset, book, masks)
    labels = _check_labels(dataset, book, lists)
    compared = _Compared()
    for number, photograph in enumerate(photographs, 1):
        image_id, file = photograph
        intact = check_image(book, file) is not None
        # A broken photograph has been noted, and its mask can still be right.
        image = file if intact else None
        for path in sorted(masks.get(photograph, ())):
            present = _check_mask(book, path, image, len(dataset.classes))
            if present is not None and image_id in labels:
                compared.add(image_id, present, set(labels[image_id]))
        if progress is not None:
            progress(f"verifying {dataset.name}", number, len(photographs))
    compared.report(book, dataset.labels_source)
    return book.findings()


def _check_lists(dataset: Dataset, book: Notebook) -> Lists:
    lists = {}
    splits = dataset.available_splits()
    for split in splits:
        try:
            lists[split] = dataset._kept(split)
        except DataError as error:
            book.error("list", error, split)
    for role in ROLES:
        split = getattr(dataset.splits, role)
        if split not in splits:
            what = f"split {split!r} (role: {role}) does not exist."
            fix = f"Choose one with --{role}-split."
            book.note("split", "error", what, split, fix)
    return lists


def _check_count(
    book: Notebook,
    split: str,
    count: int,
    expected: int | None,
    complete: bool,
) -> None:
    if expected is None:
        book.note("count", "info", f"{count:,} images.", split)
    elif count == expected:
        book.note("count", "info", f"{count:,} images, the official count.", split)
    elif complete:
        what = f"{count:,} images, {expected:,} are expected."
        book.note("count", "error", what, split, "Restore the official list.")
    else:
        what = f"{count:,} of the official {expected:,} images: a subset."
        book.note("count", "info", what, split, _SUBSET)


def _photographs(dataset: Dataset, lists: Lists) -> list[Photograph]:
    """Return every photograph once, however many lists name it."""
    found = set()
    for split, ids in lists.items():
        for image_id in ids:
            file = dataset._image_path(split, image_id)
            found.add((image_id, file))
    return sorted(found)


def _mask_files(
    dataset: Dataset, book: Notebook, lists: Lists
) -> dict[Photograph, set[Path]]:
    """Return the mask files of each photograph; it may have two, as in VOC the devkit's and the augmented one."""
    files: dict[Photograph, set[Path]] = {}
    for split, ids in lists.items():
        masks = _masks(dataset, book, split)
        if masks is None:
            continue
        for image_id in ids:
            photograph = image_id, dataset._image_path(split, image_id)
            try:
                mask = masks.path(image_id)
            except DataError as error:
                book.error("no mask", error, split)
            else:
                files.setdefault(photograph, set()).add(mask)
    return files


def _masks(dataset: Dataset, book: Notebook, split: str) -> SealedMasks | None:
    try:
        return dataset.masks(split)
    except DataError as error:
        # A test split without masks is as it should be; nothing can be scored on it.
        scored = split in (dataset.splits.seeds, dataset.splits.val)
        level = "error" if scored else "info"
        book.note("no masks", level, str(error), split)
        return None


def _check_sealed(
    dataset: Dataset,
    book: Notebook,
    masks: Mapping[Photograph, set[Path]],
) -> None:
    """Note every mask that a method could open behind the harness's back."""
    declared = dataset.sealed().get("masks", ())
    sealed = {path.resolve() for path in declared}
    files = set().union(*masks.values())
    # Resolved once a folder: a root may lie behind a link, and large sets have a hundred thousand files.
    folders = {path.parent for path in files}
    resolved = {folder: folder.resolve() for folder in folders}
    for path in sorted(files):
        folder = resolved[path.parent]
        if sealed.isdisjoint((folder / path.name, folder, *folder.parents)):
            what = "this mask is not sealed: any method could open it during a run."
            fix = "Add it, or its folder, to what the dataset's sealed() returns."
            book.note("open mask", "error", what, path, fix)


def _check_labels(dataset: Dataset, book: Notebook, lists: Lists) -> Labels:
    """Return the labels of every training split; none where they are taken from the masks, so nothing is compared."""
    labels: dict[str, tuple[int, ...]] = {}
    for split, ids in lists.items():
        if not dataset._is_train(split):
            continue
        try:
            dataset._refuse_overlap(split, ids)
            if dataset.labels_source == "masks":
                continue
            found = dataset._labels(split, ids)
        except (DataError, LeakError) as error:
            book.error("labels", error, split)
            continue
        for image_id, present in found.items():
            if not present:
                what = f"image {image_id!r} has no image-level label at all."
                book.note("no label", "warning", what, split)
        labels.update(found)
    return labels


def _check_mask(
    book: Notebook, path: Path, image: Path | None, classes: int
) -> set[int] | None:
    """Return the classes in a mask, or None after noting what is wrong with it."""
    try:
        if path.exists() and path.stat().st_size == 0:
            what = "the mask file is empty (0 bytes)."
            book.note("empty mask", "error", what, path, RESTORE)
            return None
        return present_in(read_mask(path, image, classes))
    except DataError as error:
        book.error("mask", error, path)
        return None


@dataclass
class _Compared:
    """Labels against masks: how many were compared, and on which images one lacks what the other has."""

    count: int = 0
    unlabelled: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)

    def add(self, image_id: str, present: set[int], labels: set[int]) -> None:
        self.count += 1
        if present - labels:
            self.unlabelled.append(image_id)
        if labels - present:
            self.hidden.append(image_id)

    def report(self, book: Notebook, where: str) -> None:
        if self.unlabelled:
            many = len(self.unlabelled) > DISAGREEMENT * self.count
            level, fix = ("error", _OTHER_LABELS) if many else ("warning", "")
            who = f"{len(self.unlabelled):,} of {self.count:,} masks"
            first = f"(first: {self.unlabelled[0]!r})"
            what = f"{who} show a class that the image-level labels lack {first}."
            book.note("labels against masks", level, what, where, fix)
        if self.hidden:
            level = "info" if len(self.hidden) <= self.count / 2 else "warning"
            who = f"{len(self.hidden):,} of {self.count:,} images"
            first = f"(first: {self.hidden[0]!r})"
            what = f"{who} carry a label without a pixel in the mask {first}."
            book.note("masks against labels", level, what, where, _HIDDEN)
