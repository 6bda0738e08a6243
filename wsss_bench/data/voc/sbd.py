"""SBD's masks and the augmented training list that the field trains on."""

from __future__ import annotations

import zlib
from pathlib import Path

from wsss_bench.data.base import Progress
from wsss_bench.data.places import find_folder
from wsss_bench.data.voc.lists import HOW, VOC_CLASSES, read_ids
from wsss_bench.errors import DataError


def convert_sbd(root: Path, progress: Progress | None = None) -> None:
    """Write ``SegmentationClassAug/*.png`` and ``train_aug.txt`` from SBD's ``sbd/**/dataset/{train,val}.txt`` and ``cls/*.mat``.

    The list is (VOC train, in its order) followed by (SBD train and val, sorted) without VOC train and VOC val: 10,582 ids.
    VOC train keeps the devkit's masks. Nothing is done where the list exists or no SBD was unpacked; the list is written last.

    Raises:
        DataError: no devkit under `root`, or a damaged ``.mat`` file.
    """
    voc = find_folder(
        "voc2012", root, (".", "VOC2012", "VOCdevkit/VOC2012"), "JPEGImages", HOW
    )
    lists = voc / "ImageSets" / "Segmentation"
    sources = sorted((root / "sbd").glob("**/dataset/cls"))
    if (lists / "train_aug.txt").exists() or not sources:
        return
    dataset = sources[0].parent
    train, val = read_ids(lists / "train.txt"), read_ids(lists / "val.txt")
    known = set(train) | set(val)
    extra = sorted(
        {i for name in ("train.txt", "val.txt") for i in read_ids(dataset / name)}
        - known
    )
    for number, image_id in enumerate(extra, 1):
        _convert(
            dataset / "cls" / f"{image_id}.mat",
            voc / "SegmentationClassAug" / f"{image_id}.png",
        )
        if progress is not None:
            progress("converting SBD", number, len(extra))
    from wsss_bench.io.files import write_atomic

    text = "\n".join((*train, *extra)) + "\n"
    write_atomic(lists / "train_aug.txt", lambda handle: handle.write(text.encode()))


def _convert(source: Path, target: Path) -> None:
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    from wsss_bench.io.files import write_atomic
    from wsss_bench.io.images import write_mask

    if target.exists():
        return
    try:
        mask = np.asarray(loadmat(source)["GTcls"]["Segmentation"][0, 0])
    except (
        MatReadError,
        zlib.error,
        OSError,
        ValueError,
        LookupError,
        TypeError,
        NotImplementedError,
    ) as error:
        raise DataError(
            f"SBD mask {source} cannot be read ({error}). Unpack benchmark.tgz again."
        ) from error
    if (
        mask.ndim != 2
        or mask.dtype != np.uint8
        or mask.max(initial=0) >= len(VOC_CLASSES)
    ):
        raise DataError(
            f"SBD mask {source} is no uint8 map of classes 0..20. Unpack benchmark.tgz again."
        )
    write_atomic(target, lambda handle: write_mask(handle, mask))
