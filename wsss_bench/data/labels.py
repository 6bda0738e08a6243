"""Image-level labels: from a table, from XML annotations, or (on explicit wish) from the masks."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks

TABLE_NAMES = ("cls_labels.csv", "voc12_cls_labels.csv")
"""Names under which a table is found in a dataset's root, best first."""

Labels = Mapping[str, tuple[int, ...]]
"""Class ids in each image, sorted, background left out; by image id."""

HOW_TO_LABEL = (
    "Image-level labels come from a table (--labels FILE.csv with the header id,<class names> and 0/1 cells, "
    "or cls_labels.csv in the root), from the devkit's Annotations/*.xml, or, where you decide so, from --labels masks."
)


def find_table(root: Path) -> Path | None:
    """Return the label table that lies in a dataset's root, or None."""
    for name in TABLE_NAMES:
        if (root / name).is_file():
            return root / name
    return None


def refuse_pickle(path: Path) -> None:
    """Raise `DataError` for a pickled label file, as other repositories have them, and say the way round."""
    if path.suffix in (".npy", ".pkl", ".pickle"):
        what = "pickled files are not loaded, because loading one can run code."
        fix = "Write it out once as CSV, with the header id,<class names> and 0/1 cells, and pass that."
        raise DataError(f"labels {path}: {what} {fix}")


def read_label_table(path: Path, classes: Sequence[str], ids: Sequence[str]) -> Labels:
    """Return the labels of `ids` from a CSV with the header ``id,<class names>`` and cells 0 or 1.

    Args:
        path: the table; may hold more images than asked for.
        classes: class names by mask id, background first; the table has a column for each but the background, in any
            order.
        ids: the images wanted.

    Raises:
        DataError: missing file, unknown or missing column, a cell that is neither 0 nor 1, an id that is given twice or
            missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = csv.reader(handle)
            columns = _columns(path, next(rows, []), classes)
            table = _rows(path, rows, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        what = f"label table {path} cannot be read ({error})."
        raise DataError(f"{what} {HOW_TO_LABEL}") from error
    missing = [i for i in ids if i not in table]
    if missing:
        which = f"{len(missing)} of {len(ids)} images (first: {missing[0]!r})"
        what = f"label table {path} has no row for {which}."
        raise DataError(f"{what} Use a table that covers the split.")
    return {i: table[i] for i in ids}


def _columns(path: Path, header: list[str], classes: Sequence[str]) -> list[int]:
    """Return the mask id of each column after the first."""
    known = _known(classes)
    if not header or _plain(header[0]) != "id":
        begins = ",".join(header)[:60]
        what = f"must begin with the header id,<class names>, not {begins!r}."
        raise DataError(f"label table {path} {what}")
    columns = []
    for name in header[1:]:
        mask_id = known.get(_plain(name))
        if mask_id is None:
            hint = did_you_mean(name, classes[1:])
            what = f"column {name!r} is no class here."
            raise DataError(f"label table {path}: {what}{hint}")
        columns.append(mask_id)
    absent = set(known.values()).difference(columns)
    what = ""
    if absent:
        first = classes[min(absent)]
        what = f"lacks a column for {first!r}"
    elif len(columns) != len(known):
        what = "has two columns for one class"
    if what:
        fix = "Its header must name each class once."
        raise DataError(f"label table {path} {what}. {fix}")
    return columns


def _rows(path: Path, rows: Iterable[list[str]], columns: list[int]) -> Labels:
    table: dict[str, tuple[int, ...]] = {}
    # The header was line 1.
    for number, row in enumerate(rows, 2):
        # The `csv` module gives a blank line as no cells.
        if not row:
            continue
        where = f"label table {path}, line {number}"
        image_id, *cells = (cell.strip() for cell in row)
        foreign = set(cells) - {"0", "1"}
        if foreign or len(cells) != len(columns):
            needed = f"{len(columns)} cells of 0 or 1 are needed"
            raise DataError(f"{where}: {needed}, not {cells!r}.")
        if image_id in table:
            what = f"image {image_id!r} has a row already."
            raise DataError(f"{where}: {what} Remove one of them.")
        marked = zip(columns, cells, strict=True)
        present = [mask_id for mask_id, cell in marked if cell == "1"]
        table[image_id] = tuple(sorted(present))
    return table


def _known(classes: Sequence[str]) -> dict[str, int]:
    """Return the mask id of each foreground class by its plain name."""
    return {_plain(name): k for k, name in enumerate(classes) if k}


def _plain(name: str) -> str:
    # Class names differ between sources in spaces, slashes and capitals only ("tv/monitor", "potted plant").
    return "".join(filter(str.isalnum, name.lower()))


def labels_from_masks(masks: SealedMasks) -> Labels:
    """Return the classes that occur in each mask; 255 and background do not count."""
    import numpy as np

    found = {}
    for image_id, mask in masks:
        counts = np.bincount(mask.ravel(), minlength=256)
        values = np.flatnonzero(counts).tolist()
        found[image_id] = tuple(v for v in values if v not in (0, IGNORE))
    return found


class XmlLabels:
    """Image-level labels from VOC's ``Annotations/<id>.xml``: the names of all objects, "difficult" ones included.

    Names of parts (head, hand, foot) live inside ``part`` elements and are not read.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.known = _known(classes)

    def read(self, ids: Sequence[str]) -> Labels:
        """Return the labels of `ids`.

        Raises:
            DataError: a missing or malformed file, or an object of an unknown class.
        """
        if not self.folder.is_dir():
            where = f"neither a label table nor {self.folder} exists"
            what = f"there are no image-level labels: {where}."
            raise DataError(f"{what} {HOW_TO_LABEL}")
        return {i: self._one(self.folder / f"{i}.xml") for i in ids}

    def _one(self, path: Path) -> tuple[int, ...]:
        present = set()
        for item in _parse(path).findall("object"):
            name = (item.findtext("name") or "").strip()
            mask_id = self.known.get(_plain(name))
            if mask_id is None:
                hint = did_you_mean(name, self.known)
                what = f"object {name!r} is no class here."
                raise DataError(f"annotation {path}: {what}{hint}")
            present.add(mask_id)
        return tuple(sorted(present))


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        what = f"annotation {path} does not exist."
        raise DataError(f"{what} {HOW_TO_LABEL}") from None
    # Foreign encodings raise the last two.
    except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
        what = f"annotation {path} cannot be read ({error})."
        raise DataError(f"{what} Restore it from the original archive.") from error
