"""Image-level labels: from a table, from XML annotations, or (on explicit wish) from the masks."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from wsss_bench.contract.view import IGNORE
from wsss_bench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from wsss_bench.data.masks import SealedMasks

TABLE_NAMES = ("cls_labels.csv", "voc12_cls_labels.csv")
Labels = Mapping[str, tuple[int, ...]]

HOW_TO_LABEL = (
    "Image-level labels come from a table (--labels FILE.csv with the header id,<class names> and 0/1 cells, or "
    "cls_labels.csv in the root), from the devkit's Annotations/*.xml, or, where you decide so, from --labels masks."
)


def find_table(root: Path) -> Path | None:
    """The label table that lies in a dataset's root, or None."""
    return next((root / name for name in TABLE_NAMES if (root / name).is_file()), None)


def refuse_pickle(path: Path) -> None:
    """Pickled label files of other repositories can run code when loaded; raises `DataError` with the way round."""
    if path.suffix in (".npy", ".pkl", ".pickle"):
        raise DataError(
            f"labels {path}: pickled files are not loaded, because loading one can run code. "
            "Write it out once as CSV, with the header id,<class names> and 0/1 cells, and pass that."
        )


def read_label_table(path: Path, classes: Sequence[str], ids: Sequence[str]) -> Labels:
    """Labels of `ids` from a CSV with the header ``id,<class names>`` (any column order) and cells 0 or 1.

    Args:
        path: the table; may hold more images than asked for.
        classes: class names by mask id, background first; the table has a column for each but the background.
        ids: the images wanted.

    Raises:
        DataError: missing file, unknown or missing column, a cell that is neither 0 nor 1, an id given twice or missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            rows = csv.reader(handle)
            columns = _columns(path, next(rows, []), classes)
            table = _rows(path, rows, columns)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"label table {path} cannot be read ({error}). {HOW_TO_LABEL}"
        ) from error
    missing = [i for i in ids if i not in table]
    if missing:
        raise DataError(
            f"label table {path} has no row for {len(missing)} of {len(ids)} images (first: {missing[0]!r}). "
            "Use a table that covers the split."
        )
    return {i: table[i] for i in ids}


def _columns(path: Path, header: list[str], classes: Sequence[str]) -> list[int]:
    """The mask id of each column after the first."""
    known = {_plain(name): index for index, name in enumerate(classes) if index}
    if not header or _plain(header[0]) != "id":
        raise DataError(
            f"label table {path} must begin with the header id,<class names>, not {','.join(header)[:60]!r}."
        )
    columns = []
    for name in header[1:]:
        if _plain(name) not in known:
            raise DataError(
                f"label table {path}: column {name!r} is no class here.{did_you_mean(name, classes[1:])}"
            )
        columns.append(known[_plain(name)])
    absent = sorted(set(known.values()) - set(columns))
    if absent or len(columns) != len(set(columns)):
        what = (
            f"lacks a column for {classes[absent[0]]!r}"
            if absent
            else "has two columns for one class"
        )
        raise DataError(
            f"label table {path} {what}. Its header must name each class once."
        )
    return columns


def _rows(path: Path, rows: object, columns: list[int]) -> dict[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}
    for number, row in enumerate(rows, 2):  # type: ignore[arg-type,var-annotated]
        if not row:
            continue
        image_id, cells = row[0].strip(), [cell.strip() for cell in row[1:]]
        if len(cells) != len(columns) or set(cells) - {"0", "1"}:
            raise DataError(
                f"label table {path}, line {number}: {len(columns)} cells of 0 or 1 are needed, not {cells!r}."
            )
        if image_id in table:
            raise DataError(
                f"label table {path}, line {number}: image {image_id!r} has a row already. Remove one of them."
            )
        table[image_id] = tuple(
            sorted(c for c, cell in zip(columns, cells, strict=True) if cell == "1")
        )
    return table


def _plain(name: str) -> str:
    """Class names differ between sources in spaces, slashes and capitals only ("tv/monitor", "potted plant")."""
    return "".join(ch for ch in name.lower() if ch.isalnum())


def labels_from_masks(masks: SealedMasks) -> Labels:
    """Classes that occur in each mask; 255 and background do not count."""
    import numpy as np

    found = {}
    for image_id, mask in masks:
        values = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist()
        found[image_id] = tuple(v for v in values if v not in (0, IGNORE))
    return found


class XmlLabels:
    """Image-level labels from VOC's ``Annotations/<id>.xml``: the names of all objects, "difficult" ones included.

    Names of parts (head, hand, foot) live inside ``part`` elements and are not read.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.known = {
            _plain(name): index for index, name in enumerate(classes) if index
        }

    def read(self, ids: Sequence[str]) -> Labels:
        """Labels of `ids`; raises `DataError` for a missing or malformed file, or an object of an unknown class."""
        if not self.folder.is_dir():
            raise DataError(
                f"there are no image-level labels: neither a label table nor {self.folder} exists. {HOW_TO_LABEL}"
            )
        return {
            image_id: self._one(self.folder / f"{image_id}.xml") for image_id in ids
        }

    def _one(self, path: Path) -> tuple[int, ...]:
        try:
            tree = ElementTree.parse(path)
        except FileNotFoundError:
            raise DataError(
                f"annotation {path} does not exist. {HOW_TO_LABEL}"
            ) from None
        except (OSError, ElementTree.ParseError, LookupError, ValueError) as error:
            raise DataError(
                f"annotation {path} cannot be read ({error}). Restore it from the original archive."
            ) from error
        present = set()
        for item in tree.getroot().findall("object"):
            name = (item.findtext("name") or "").strip()
            if _plain(name) not in self.known:
                raise DataError(
                    f"annotation {path}: object {name!r} is no class here.{did_you_mean(name, self.known)}"
                )
            present.add(self.known[_plain(name)])
        return tuple(sorted(present))
