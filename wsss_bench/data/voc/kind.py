"""VOC 2012 as a kind of dataset."""

from __future__ import annotations

from pathlib import Path

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.kind import Archive, DatasetKind
from wsss_bench.data.voc.dataset import VocDataset

_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_SBD = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours"


def _verify(dataset: VocDataset, progress: Progress | None) -> list[Finding]:
    from wsss_bench.data.voc.verify import verify_voc

    return verify_voc(dataset, progress)


def _convert(root: Path, progress: Progress | None) -> None:
    from wsss_bench.data.voc.sbd import convert_sbd

    convert_sbd(root, progress)


KIND = DatasetKind(
    name="voc2012",
    loader=VocDataset,
    verify=_verify,
    options={
        "labels": "a CSV table, cls_labels.npy, xml, main or masks",
        "masks": "a folder of masks, such as SegmentationClassAug",
    },
    get="wsss-bench data prepare --dataset voc2012 --data-root ROOT --download",
    archives=(
        Archive(
            f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
            md5="6cd6e144f989b92b3379bac3b3de84fd",
        ),
        Archive(
            f"{_SBD}/benchmark.tgz",
            md5="82b4d87ceb2ed10f6038a1cba92111cb",
            into="sbd",
        ),
    ),
    unpacked=_convert,
)
"""As downloaded, with SBD's masks and its `train_aug` list."""
