"""Archives for evaluation servers."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wsss_bench.data.lists import read_ids
from wsss_bench.errors import ArtifactError, DataError
from wsss_bench.exchange.labels import read_label
from wsss_bench.exchange.listing import listing
from wsss_bench.io.files import write_atomic
from wsss_bench.io.images import write_mask

# VOC's server looks here, and scores nothing that lies elsewhere. "comp6" is the competition that allows outside data.
_PLACE = "results/VOC2012/Segmentation/comp6_test_cls"
_VOC_CLASSES = 21


@dataclass(frozen=True)
class Exported:
    """What was written: the archive, the number of masks in it, and its SHA-256 in hex."""

    archive: Path
    images: int
    sha256: str


def export_voc(folder: Path, archive: Path, ids: Path | None = None) -> Exported:
    """Pack test predictions as the PASCAL VOC server takes them.

    That is as ``results/VOC2012/Segmentation/comp6_test_cls/ID.png`` in a ``.tgz``. Every mask is checked and written
    again with VOC's palette; the same masks give the same bytes.

    Args:
        folder: one class-index PNG per image.
        archive: the ``.tgz`` to write.
        ids: list of the ids that must be there, as `wsss_bench.data.lists.read_ids` takes it; None packs every PNG of
            the folder.

    Raises:
        DataError: an id has no file, there is no PNG at all, or the list cannot be read or names an id twice.
        ArtifactError: a mask is unreadable, has a foreign palette, or holds anything but 0..20 (the server knows no
            255).
    """
    files = listing(folder, "prediction").files
    names = sorted(files) if ids is None else read_ids(ids)
    problem = _incomplete(files, names)
    if problem:
        raise DataError(f"{folder}: {problem}. Predict the whole test list first.")
    # Packed in memory first, so that a mask that is refused leaves no archive behind.
    content = _packed({name: files[name] for name in names})
    write_atomic(archive, lambda handle: handle.write(content))
    return Exported(archive, len(names), hashlib.sha256(content).hexdigest())


def _incomplete(files: Mapping[str, Path], names: Sequence[str]) -> str:
    """Return what is missing of the masks `names`, "" for nothing."""
    if not names:
        return "there is no PNG"
    missing = [name for name in names if name not in files]
    if not missing:
        return ""
    share = f"{len(missing)} of {len(names)}"
    return f"{share} masks are missing (first: {missing[0]!r})"


def _packed(files: Mapping[str, Path]) -> bytes:
    """Return the bytes of the archive of masks by image id."""
    packed = io.BytesIO()
    # No file name and no time in gzip's header, no owner and no time in tar's: they would differ from one run to the
    # next.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, path in files.items():
            content = _checked_png(path)
            info = tarfile.TarInfo(f"{_PLACE}/{name}.png")
            info.size = len(content)
            info.mode = 0o644
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _checked_png(path: Path) -> bytes:
    """Return a mask as a PNG in VOC's palette; raises `ArtifactError` for values that the server does not know."""
    mask = read_label(path)
    pixels = np.bincount(mask.ravel(), minlength=256)
    foreign = np.flatnonzero(pixels[_VOC_CLASSES:]) + _VOC_CLASSES
    if foreign.size:
        what = f"{path} holds {foreign[:5].tolist()}; the server takes 0..20 only."
        raise ArtifactError(f"{what} Predict a class for every pixel.")
    out = io.BytesIO()
    write_mask(out, mask)
    return out.getvalue()
