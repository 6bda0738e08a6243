"""Leaving out images that cannot be used, only where the user asks for it, and always counted and listed.

A skip list is a text file with one image id a line; what follows a ``#`` is the reason. ``data verify --write-skip
FILE`` makes one, ``--skip FILE`` uses it. The ids that are left are part of the data's fingerprint, so such a run never
shares a stage or a table row with one on all images.
"""

from __future__ import annotations

from pathlib import Path

from wsss_bench.data.base import Dataset, Progress
from wsss_bench.data.lists import read_lines
from wsss_bench.errors import DataError, WsssError

_WRITE_ONE = "Write one for these data: wsss-bench data verify --write-skip FILE"

SHOWN = 5
"""Ids named in the message; the file names all."""


def skip(dataset: Dataset, path: Path) -> str:
    """Leave the ids that `path` lists out of every split from now on; return a sentence that counts them.

    Raises:
        DataError: the file cannot be read, or lists an id that no split has (then it belongs to other data).
    """
    ids = read_skip_list(path)
    splits = {split: set(dataset._ids(split)) for split in dataset.available_splits()}
    known = set().union(*splits.values())
    foreign = [i for i in ids if i not in known]
    if foreign:
        has = f"names {len(foreign)} images that {dataset.name} does not have"
        what = f"skip list {path} {has} (first: {foreign[0]!r})."
        raise DataError(f"{what} {_WRITE_ONE}")
    dataset.skipped = frozenset(ids)
    shares = [
        f"{len(dataset.skipped & of)} of {split}"
        for split, of in splits.items()
        if dataset.skipped & of
    ]
    names = ", ".join(ids[:SHOWN]) or "it is empty"
    if len(ids) > SHOWN:
        names += f", and {len(ids) - SHOWN} more"
    counted = f"{len(ids)} images are left out as {path} says"
    return f"skip: {counted} ({', '.join(shares) or 'none'}): {names}"


def read_skip_list(path: Path) -> tuple[str, ...]:
    """Return the ids of a skip list, in order; it may be empty, and name an id twice.

    Raises:
        DataError: the file cannot be read, or a line in it cannot be understood.
    """
    images = read_lines(path, kind="skip list", fix=_WRITE_ONE)
    # Lists of several looks may have been put together, so an id may come twice.
    return tuple(dict.fromkeys(image.id for image in images))


def write_skip_list(
    dataset: Dataset, path: Path, progress: Progress | None = None
) -> str:
    """Read every photograph and mask, list the ids of those that cannot be used; return a sentence that counts them."""
    from wsss_bench.io.files import write_atomic

    found: dict[str, str] = {}
    for split in dataset.available_splits():
        found |= _unusable(dataset, split, progress)
    text = "".join(f"{image_id}  # {reason}\n" for image_id, reason in found.items())
    write_atomic(path, lambda handle: handle.write(text.encode()))
    return f"{path}: {len(found)} images cannot be used."


def _unusable(
    dataset: Dataset, split: str, progress: Progress | None
) -> dict[str, str]:
    """Return why an image cannot be used, by id."""
    view = dataset.image_view(split)
    try:
        masks = dataset.masks(split)
    except WsssError:
        # A split without masks, such as VOC's test images; photographs are all there is to read.
        masks = None
    found = {}
    for number, image in enumerate(view, 1):
        try:
            image.read()
            if masks is not None:
                masks[image.id]
        except WsssError as error:
            # A reason is a comment in the list, and those end with their line.
            found[image.id] = " ".join(str(error).split())
        if progress is not None:
            progress(f"reading {dataset.name}/{split}", number, len(view))
    return found
