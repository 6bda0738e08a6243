"""SBD's masks and the augmented training list that the field trains on."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from wsss_bench.data.base import Progress
from wsss_bench.data.places import find_folder
from wsss_bench.data.voc.lists import HOW, VOC_CLASSES, read_ids
from wsss_bench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PLACES = (".", "VOC2012", "VOCdevkit/VOC2012")
"""Where under the root the devkit's archive unpacks to."""


def convert_sbd(root: Path, progress: Progress | None = None) -> None:
    """Write ``SegmentationClassAug/*.png`` and ``train_aug.txt`` from what SBD's archive has unpacked to ``root/sbd``.

    The list is (VOC train, in its order) followed by (SBD train and val, sorted) without VOC train and VOC val: 10,582
    ids. VOC train keeps the devkit's masks. Nothing is done where the list exists or no SBD was unpacked.

    Raises:
        DataError: no devkit under `root`, or a damaged ``.mat`` file.
    """
    voc = find_folder("voc2012", root, PLACES, "JPEGImages", HOW)
    lists = voc / "ImageSets" / "Segmentation"
    sources = sorted((root / "sbd").glob("**/dataset/cls"))
    if (lists / "train_aug.txt").exists() or not sources:
        return
    source = sources[0]
    train = read_ids(lists / "train.txt")
    val = read_ids(lists / "val.txt")
    annotated = {
        *read_ids(source.parent / "train.txt"),
        *read_ids(source.parent / "val.txt"),
    }
    # SBD's lists hold half of VOC val, on which results are scored.
    extra = sorted(annotated - set(train) - set(val))
    for number, image_id in enumerate(extra, 1):
        target = voc / "SegmentationClassAug" / f"{image_id}.png"
        _convert(source / f"{image_id}.mat", target)
        if progress is not None:
            progress("converting SBD", number, len(extra))
    from wsss_bench.io.files import write_atomic

    # Last, since its presence says that all masks are there.
    text = "\n".join((*train, *extra)) + "\n"
    write_atomic(lists / "train_aug.txt", lambda handle: handle.write(text.encode()))


def _convert(source: Path, target: Path) -> None:
    from wsss_bench.io.files import write_atomic
    from wsss_bench.io.images import write_mask

    if target.exists():
        return
    mask = _read_mat(source)
    write_atomic(target, lambda handle: write_mask(handle, mask))


def _read_mat(source: Path) -> NDArray[np.uint8]:
    """Return the mask in one of SBD's MATLAB files, ``uint8 [H, W]``; raises `DataError` for a damaged one."""
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        mask = np.asarray(loadmat(source)["GTcls"]["Segmentation"][0, 0])
    # All that `loadmat` was seen to raise on damaged files; `NotImplementedError` is for other versions of the format.
    except (
        MatReadError,
        zlib.error,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        NotImplementedError,
    ) as error:
        what = f"SBD mask {source} cannot be read ({error})."
        raise DataError(f"{what} Unpack benchmark.tgz again.") from error
    usual = mask.ndim == 2 and mask.dtype == np.uint8
    if not usual or mask.max(initial=0) >= len(VOC_CLASSES):
        what = f"SBD mask {source} is no uint8 map of classes 0..20."
        raise DataError(f"{what} Unpack benchmark.tgz again.")
    return mask
