"""Image-level labels from the devkit's XML annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from wsss_bench.data.labels.common import HOW_TO_LABEL, Labels, known_classes, plain
from wsss_bench.errors import DataError, did_you_mean


class XmlLabels:
    """Image-level labels from VOC's ``Annotations/<id>.xml``: the names of all objects, "difficult" ones included.

    Names of parts (head, hand, foot) live inside ``part`` elements and are not read.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.known = known_classes(classes)

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
            mask_id = self.known.get(plain(name))
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
