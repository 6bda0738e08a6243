"""Archives for evaluation servers."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.exchange.folders import item_folder, read_label
from wsss_bench.io.files import write_atomic
from wsss_bench.io.images import write_mask

_PLACE = "results/VOC2012/Segmentation/comp6_test_cls"
_VOC_CLASSES = 21


@dataclass(frozen=True)
class Exported:
    """What was written: the archive, the number of masks in it, and its digest."""

    archive: Path
    images: int
    sha256: str


def export_voc(folder: Path, archive: Path, ids: Path | None = None) -> Exported:
    """Pack test predictions as the PASCAL VOC server takes them: ``results/VOC2012/Segmentation/comp6_test_cls/ID.png``.

    Every mask is checked and written again with VOC's palette; the same masks give the same bytes.

    Args:
        folder: one class-index PNG per image.
        archive: the ``.tgz`` to write.
        ids: text file of the ids that must be there, one a line; None packs every PNG of the folder.

    Raises:
        DataError: an id has no file, or there is no PNG at all.
        ArtifactError: a mask is unreadable or holds anything but 0..20 (the server knows no 255).
    """
    source = item_folder(folder)
    names = (
        sorted(p.stem for p in source.glob("*.png")) if ids is None else _read_ids(ids)
    )
    missing = [name for name in names if not (source / f"{name}.png").exists()]
    if missing or not names:
        what = (
            f"{len(missing)} of {len(names)} masks are missing (first: {missing[0]!r})"
            if missing
            else "there is no PNG"
        )
        raise DataError(f"{folder}: {what}. Predict the whole test list first.")
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in names:
            content = _checked_png(source / f"{name}.png")
            info = tarfile.TarInfo(f"{_PLACE}/{name}.png")
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    write_atomic(archive, lambda handle: handle.write(packed.getvalue()))
    return Exported(archive, len(names), hashlib.sha256(packed.getvalue()).hexdigest())


def _read_ids(path: Path) -> list[str]:
    try:
        return [
            line.split()[0] for line in path.read_text().splitlines() if line.strip()
        ]
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}). Pass the official test.txt."
        ) from error


def _checked_png(path: Path) -> bytes:
    mask = read_label(path)
    foreign = (
        np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[_VOC_CLASSES:])
        + _VOC_CLASSES
    )
    if foreign.size:
        raise ArtifactError(
            f"{path} holds {foreign[:5].tolist()}; the server takes 0..20 only. Predict a class for every pixel."
        )
    out = io.BytesIO()
    write_mask(out, mask)
    return out.getvalue()
