"""COCO 2014 as a kind of dataset."""

from __future__ import annotations

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.coco.dataset import CocoDataset
from wsss_bench.data.kind import Archive, DatasetKind

_PLACE = "http://images.cocodataset.org"


def _verify(dataset: CocoDataset, progress: Progress | None) -> list[Finding]:
    from wsss_bench.data.coco.verify import verify_coco

    return verify_coco(dataset, progress)


KIND = DatasetKind(
    name="coco2014",
    loader=CocoDataset,
    verify=_verify,
    options={
        "lists": "all or tagged images, or a folder with train.txt and val.txt",
        "labels": "a file such as cls_labels_coco.npy, or masks",
        "masks": "a folder of PNGs, or annotations",
        "cache": "folder for the masks that are made",
        "year": "2014 or 2017",
    },
    get="wsss-bench data prepare --dataset coco2014 --data-root ROOT --download",
    # Without digests: none is known for certain.
    archives=(
        Archive(f"{_PLACE}/annotations/annotations_trainval2014.zip"),
        Archive(f"{_PLACE}/zips/train2014.zip"),
        Archive(f"{_PLACE}/zips/val2014.zip"),
    ),
)
"""As downloaded, or as other repositories lay it out; masks are made from the annotations once."""
