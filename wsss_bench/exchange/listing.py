"""Which file of a folder belongs to which image."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from wsss_bench.contract.sets import FOLDERS, ITEMS, LAYOUT, MANIFEST, PACKED
from wsss_bench.errors import DataError
from wsss_bench.io.files import read_json
from wsss_bench.io.packs import Pack

# Of two files of one image, the first suffix counts.
SUFFIXES = {
    "seeds": (".npz", ".npy"),
    "labels": (".png",),
    "prediction": (".png",),
}

# The years are kept apart by their folders; a number names one image of COCO.
_COCO = re.compile(r"COCO_(?:train|val|test)20\d\d_(\d{12})")


@dataclass(frozen=True)
class Listing:
    """The files of a folder that are of some kind, whatever the case of their suffixes.

    Attributes:
        folder: where they lie.
        suffixes: those that count, in lower case, best first.
        files: by image id, the file that counts.
    """

    folder: Path
    suffixes: tuple[str, ...]
    files: Mapping[str, Path]

    def of(self, ids: Sequence[str]) -> dict[str, Path]:
        """Return the file of every image; raises `DataError` where one has none.

        Images of COCO are found by their number as well: ``000000000139.npy`` is ``COCO_val2014_000000000139``.
        """
        found: dict[str, Path] = {}
        for image_id in ids:
            path = self.files.get(image_id) or self._by_number(image_id)
            if path is not None:
                found[image_id] = path
        missing = [image_id for image_id in ids if image_id not in found]
        if not missing:
            return found
        wanted = " or ".join(self.suffixes)
        what = f"{len(missing)} of {len(ids)} images have no {wanted} file"
        # A mean over the files that happen to be there would be a number of another split.
        rule = "Every image of the split is scored"
        fix = "name another split, or write the missing files."
        first = f"(first: {missing[0]!r})"
        hint = self._per_class(missing[0])
        raise DataError(f"{self.folder}: {what} {first}. {rule}; {fix}{hint}")

    def unused(self, used: Mapping[str, Path]) -> int:
        """Return how many of the files are not among those of `of`."""
        return len(self.files) - len(set(used.values()))

    def _by_number(self, image_id: str) -> Path | None:
        coco = _COCO.fullmatch(image_id)
        if coco is None:
            return None
        number = coco[1]
        return self.files.get(number) or self.files.get(number.lstrip("0"))

    def _per_class(self, image_id: str) -> str:
        """Return a hint where the folder holds one picture per class: ``ID_3.png``."""
        start = f"{image_id}_"
        parts = [
            name.removeprefix(start) for name in self.files if name.startswith(start)
        ]
        if not any(part.isdecimal() for part in parts):
            return ""
        what = f" There is {start}{min(parts)}: one heat map per class (as OAA and L2G write)."
        return f"{what} Pack those of an image into one .npz with class_ids and scores."


def listing(folder: Path, kind: str) -> Listing:
    """Return the files of `folder` that may hold `kind`, a key of `SUFFIXES`; raises `DataError` for no folder."""
    source = item_folder(folder)
    suffixes = SUFFIXES[kind]
    found: dict[str, Path] = {}
    # Sorted, so that which of ``a.PNG`` and ``a.png`` counts is the same everywhere: the latter.
    for path in sorted(_files(folder, source)):
        suffix = path.suffix.lower()
        if suffix not in suffixes:
            continue
        before = found.get(path.stem)
        rank = suffixes.index(suffix)
        if before is None or rank <= suffixes.index(before.suffix.lower()):
            found[path.stem] = path
    return Listing(source, suffixes, found)


def _files(folder: Path, source: Path) -> Iterator[Path]:
    """Yield what lies in a folder; of a stage's packs and folders of a thousand, what lies in those."""
    layout = ""
    if source != folder:
        layout = str(read_json(folder / MANIFEST).get(LAYOUT, ""))
    for path in source.iterdir():
        if layout == PACKED and path.suffix == ".npz":
            yield from (path / f"{image_id}.npz" for image_id in Pack(path).ids)
        elif layout == FOLDERS and path.is_dir():
            yield from path.iterdir()
        else:
            yield path


def guess_kind(folder: Path) -> str:
    """Return ``seeds`` for a folder of score files, ``prediction`` for one of PNGs; raises `DataError` for neither."""
    source = item_folder(folder)
    suffixes = {path.suffix.lower() for path in _files(folder, source)}
    if ".png" in suffixes:
        return "prediction"
    if suffixes & {".npz", ".npy"}:
        return "seeds"
    fix = "Name the folder that the files themselves lie in."
    raise DataError(f"{folder} holds no .png, .npz or .npy file. {fix}")


def item_folder(folder: Path) -> Path:
    """Return the folder itself, or ``items/`` inside a stage's folder; raises `DataError` if there is none."""
    if not folder.is_dir():
        fix = "Name the folder that holds one file per image."
        raise DataError(f"{folder} is no folder. {fix}")
    items = folder / ITEMS
    is_stage = items.is_dir() and (folder / MANIFEST).exists()
    return items if is_stage else folder
