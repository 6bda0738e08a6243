"""What the options of a COCO dataset name: folders of lists and of masks."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.data.coco.layout import list_files, mask_places
from wsss_bench.errors import DataError, did_you_mean

CONVENTIONS = ("all", "tagged")
"""Values of the option `lists` besides a folder."""

ANNOTATIONS = "annotations"
"""The value of the option `masks` that asks for masks made from the annotations."""


def list_folder(name: str, choice: str) -> Path | None:
    """Return the folder of lists that the option `lists` names; None for a convention.

    Raises:
        DataError: it is neither.
    """
    if choice in CONVENTIONS:
        return None
    folder = Path(choice).expanduser()
    if folder.is_dir():
        return folder
    hint = did_you_mean(choice, CONVENTIONS)
    what = f"there is no list convention, and no folder of lists, {choice!r}."
    raise DataError(f"{name}: {what}{hint}")


def own_lists(name: str, folder: Path) -> dict[str, Path]:
    """Return the lists in a folder by split; raises `DataError` where there is none."""
    found = list_files(folder)
    if found:
        return found
    what = f"{name}: {folder} holds no list train.txt or val.txt."
    raise DataError(f"{what} Name the folder that holds them: lists=FOLDER")


def masks_of(name: str, root: Path, choice: object, annotated: bool) -> Path | None:
    """Return the folder that masks are read from; None: they are made from the annotations.

    Args:
        name: the dataset, for messages.
        root: the data's root.
        choice: the option `masks`.
        annotated: whether there are annotations; without them, a folder of masks is looked for.

    Raises:
        DataError: the folder does not exist.
    """
    if choice is None:
        found = mask_places(root)
        return found[0] if found and not annotated else None
    if str(choice) == ANNOTATIONS:
        return None
    given = Path(str(choice)).expanduser()
    # A name in the root first: the working directory may hold a folder of that name for other data.
    for folder in (root / given, given):
        if folder.is_dir():
            return folder
    what = f"{name}: masks={choice}: there is no such folder."
    fix = f"Name one with PNGs of class ids, or {ANNOTATIONS!r} to have them made."
    raise DataError(f"{what} {fix}")
