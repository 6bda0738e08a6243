"""Leaving out images that cannot be used, only where the user asks for it, and always counted and listed.

A skip list is a text file with one image id a line; what follows a ``#`` is the reason. ``data verify --write-skip FILE`` makes
one, ``--skip FILE`` uses it. The ids that are left are part of the data's fingerprint, so such a run never shares a stage or a
table row with one on all images.
"""

from __future__ import annotations

from pathlib import Path

from wsss_bench.data.base import Dataset, Progress
from wsss_bench.errors import DataError, WsssError

SHOWN = 5
"""Ids named in the message; the file names all."""


def skip(dataset: Dataset, path: Path) -> str:
    """Leave the ids that `path` lists out of every split from now on; returns a sentence that counts them.

    Raises:
        DataError: the file cannot be read, or lists an id that no split has (then it belongs to other data).
    """
    ids = read_skip_list(path)
    splits = {split: set(dataset._ids(split)) for split in dataset.available_splits()}
    counted = {split: sum(i in known for i in ids) for split, known in splits.items()}
    known = set().union(*splits.values())
    foreign = [i for i in ids if i not in known]
    if foreign:
        raise DataError(
            f"skip list {path} names {len(foreign)} images that {dataset.name} does not have (first: {foreign[0]!r}). "
            "Write one for these data: wsss-bench data verify --write-skip FILE"
        )
    dataset.skipped = frozenset(ids)
    shares = (
        ", ".join(f"{count} of {split}" for split, count in counted.items() if count)
        or "none"
    )
    names = ", ".join(ids[:SHOWN]) + (
        f", and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    )
    return f"skip: {len(ids)} images are left out as {path} says ({shares}): {names or 'it is empty'}"


def read_skip_list(path: Path) -> tuple[str, ...]:
    """The ids of a skip list, in order; raises `DataError` where the file cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"skip list {path} cannot be read ({error}). Write one: wsss-bench data verify --write-skip FILE"
        ) from error
    return tuple(
        dict.fromkeys(
            name for line in lines if (name := line.partition("#")[0].strip())
        )
    )


def write_skip_list(
    dataset: Dataset, path: Path, progress: Progress | None = None
) -> str:
    """Read every photograph and mask, list the ids of those that cannot be used; returns a sentence that counts them."""
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
    view, found = dataset.image_view(split), {}
    try:
        masks = dataset.masks(split)
    except WsssError:  # a split without masks, such as VOC's test images
        masks = None
    for number, image in enumerate(view, 1):
        try:
            image.read()
            if masks is not None:
                masks[image.id]
        except WsssError as error:
            found[image.id] = " ".join(str(error).split())
        if progress is not None:
            progress(f"reading {dataset.name}/{split}", number, len(view))
    return found
