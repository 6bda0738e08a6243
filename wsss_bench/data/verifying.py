"""Verification of any dataset: lists, photographs, masks, sealing, and image-level labels against masks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from wsss_bench.data.agreement import DISAGREEMENT as DISAGREEMENT
from wsss_bench.data.agreement import Agreement
from wsss_bench.data.base import ROLES, Dataset, Finding, Progress
from wsss_bench.data.contents import Contents, check_variety
from wsss_bench.data.findings import Notebook, check_image, values_in
from wsss_bench.data.labels import Labels
from wsss_bench.data.masks import RESTORE, SealedMasks, mask_values, read_mask
from wsss_bench.data.truth import no_border
from wsss_bench.errors import DataError, LeakError

_SUBSET = "Results compare with each other, not with published ones; give the copy a name of its own (--name)."
_OTHER_LABELS = "The labels seem to belong to other data: check --labels."
_HIDDEN = "Some is normal: objects that are tiny, hidden, or inside the ignored border."
_EXCHANGED = "That is the size of {!r}: are two lists exchanged?"

Lists = Mapping[str, tuple[str, ...]]
"""Image ids by split."""

Photograph = tuple[str, Path]
"""Image id and file."""

MaskFiles = Mapping[Photograph, Mapping[Path, Collection[str]]]
"""The mask files of each photograph, each with the splits it is of."""


def verify_images(
    dataset: Dataset,
    progress: Progress | None = None,
    *,
    expected: Mapping[str, int] | None = None,
    complete: bool = True,
    known: Labels | None = None,
) -> list[Finding]:
    """Read every photograph and mask of a dataset, once each, and return what is wrong, errors first.

    Args:
        dataset: what to read; the ids that its skip list leaves out are left out here too.
        progress: told how many images are done.
        expected: sizes of the official lists, as far as there are any.
        complete: whether another number is an error; else it means that this is a part of the data.
        known: labels of images outside of the training splits, to compare masks with.
    """
    book = Notebook()
    lists = _check_lists(dataset, book)
    for split in lists:
        count = len(dataset._ids(split))
        _check_count(book, split, count, expected or {}, complete)
    masks = _mask_files(dataset, book, lists)
    _check_sealed(dataset, book, masks)
    labels = dict(known or {})
    labels |= _check_labels(dataset, book, lists)
    look = _Look(dataset, book, masks, labels, lists)
    photographs = _photographs(dataset, lists)
    for number, photograph in enumerate(photographs, 1):
        look.at(photograph)
        if progress is not None:
            progress(f"verifying {dataset.name}", number, len(photographs))
    look.report()
    _check_twins(dataset, book, lists)
    return book.findings()


class _Look:
    """A look at every photograph and its masks, and what they say all together."""

    def __init__(
        self,
        dataset: Dataset,
        book: Notebook,
        masks: MaskFiles,
        labels: Labels,
        lists: Lists,
    ) -> None:
        self.dataset = dataset
        self.book = book
        self.masks = masks
        self.labels = labels
        self.contents = {split: Contents(split) for split in lists}
        self.sound = Agreement(dataset.classes, dataset.category_ids)
        # Values that are no classes are noted one by one; all together they may tell what they are.
        self.whole = Agreement(dataset.classes, dataset.category_ids)

    def at(self, photograph: Photograph) -> None:
        """Read one photograph and its masks."""
        image_id, file = photograph
        intact = check_image(self.book, file) is not None
        # A broken photograph has been noted, and its mask can still be right.
        image = file if intact else None
        for path, splits in sorted(self.masks.get(photograph, {}).items()):
            count = len(self.dataset.classes)
            values, sound = _check_mask(self.book, path, image, count)
            if values is None:
                continue
            for split in splits:
                self.contents[split].add(values)
            if image_id in self.labels:
                self._compare(image_id, values, sound)

    def _compare(self, image_id: str, values: frozenset[int], sound: bool) -> None:
        labels = self.labels[image_id]
        self.whole.add(image_id, values, labels)
        if sound:
            self.sound.add(image_id, values, labels)

    def report(self) -> None:
        """Note what shows in all masks together."""
        _report_contents(self.dataset, self.book, self.contents)
        told = self.whole if self.whole.slip() else self.sound
        _report_agreement(self.book, told, self.dataset.labels_source)


def _report_contents(
    dataset: Dataset, book: Notebook, contents: Mapping[str, Contents]
) -> None:
    scored = {dataset.splits.seeds, dataset.splits.val}
    for split, found in contents.items():
        expected = dataset.border_published and split == dataset.splits.val
        warning = no_border(f"{dataset.name}/{split}") if expected else ""
        found.report(book, split in scored, warning)


def _report_agreement(book: Notebook, compared: Agreement, where: str) -> None:
    if compared.unlabelled:
        level, fix = "warning", ""
        if compared.disagree:
            level, fix = "error", compared.slip() or _OTHER_LABELS
        who = f"{len(compared.unlabelled):,} of {compared.count:,} masks"
        first = f"(first: {compared.unlabelled[0]!r})"
        what = f"{who} show a class that the image-level labels lack {first}."
        book.note("labels against masks", level, what, where, fix)
    if compared.hidden:
        level = "info" if len(compared.hidden) <= compared.count / 2 else "warning"
        who = f"{len(compared.hidden):,} of {compared.count:,} images"
        first = f"(first: {compared.hidden[0]!r})"
        what = f"{who} carry a label without a pixel in the mask {first}."
        book.note("masks against labels", level, what, where, _HIDDEN)


def _check_twins(dataset: Dataset, book: Notebook, lists: Lists) -> None:
    """Note photographs that are trained on and scored on under two names."""
    val = dataset.splits.val
    if val not in lists:
        return
    scored = _by_content(dataset, val, lists[val])
    for split, ids in lists.items():
        if split == val or not dataset._is_train(split):
            continue
        trained = _by_content(dataset, split, ids)
        both = sorted(trained.keys() & scored.keys(), key=trained.__getitem__)
        if both:
            first = f"{trained[both[0]]!r} is {scored[both[0]]!r} of {val}"
            what = (
                f"{len(both):,} photographs are byte for byte in {val} too ({first})."
            )
            fix = "Remove them from the training list, or restore the photographs."
            book.note("twins", "warning", what, split, fix)


def _by_content(dataset: Dataset, split: str, ids: tuple[str, ...]) -> dict[str, str]:
    """Return the image ids of a split by their photographs' digests; missing ones have been noted."""
    from wsss_bench.io.hashing import digests

    files = {image_id: dataset._image_path(split, image_id) for image_id in ids}
    there = {image_id: path for image_id, path in files.items() if path.is_file()}
    return dict(zip(digests(list(there.values())), there, strict=True))


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
    official: Mapping[str, int],
    complete: bool,
) -> None:
    expected = official.get(split)
    if expected is None:
        book.note("count", "info", f"{count:,} images.", split)
    elif count == expected:
        book.note("count", "info", f"{count:,} images, the official count.", split)
    elif complete:
        what = f"{count:,} images, {expected:,} are expected."
        book.note("count", "error", what, split, _lists_fix(official, split, count))
    else:
        what = f"{count:,} of the official {expected:,} images: a subset."
        book.note("count", "info", what, split, _SUBSET)


def _lists_fix(official: Mapping[str, int], split: str, count: int) -> str:
    """Return what to do about a list of the wrong size: it may be another one."""
    sizes = {size: name for name, size in official.items() if name != split}
    other = sizes.get(count)
    hint = f" {_EXCHANGED.format(other)}" if other else ""
    return f"Restore the official list.{hint}"


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
) -> dict[Photograph, dict[Path, set[str]]]:
    """Return the mask files of each photograph, each with the splits it is of.

    A photograph may have two, as in VOC the devkit's and the augmented one.
    """
    files: dict[Photograph, dict[Path, set[str]]] = {}
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
                of = files.setdefault(photograph, {})
                of.setdefault(mask, set()).add(split)
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
    masks: MaskFiles,
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
        check_variety(book, split, found.values(), len(dataset.classes))
        labels.update(found)
    return labels


def _check_mask(
    book: Notebook, path: Path, image: Path | None, classes: int
) -> tuple[frozenset[int] | None, bool]:
    """Return the values in a mask (None where there are none) and whether it is sound; what is wrong is noted."""
    try:
        if path.exists() and path.stat().st_size == 0:
            what = "the mask file is empty (0 bytes)."
            book.note("empty mask", "error", what, path, RESTORE)
            return None, False
        return values_in(read_mask(path, image, classes)), True
    except DataError as error:
        book.error("mask", error, path)
    try:
        return mask_values(path), False
    except DataError:
        return None, False
