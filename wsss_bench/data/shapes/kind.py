"""`shapes` as a kind of dataset."""

from __future__ import annotations

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.kind import DatasetKind
from wsss_bench.data.shapes.dataset import ShapesDataset


def _verify(dataset: ShapesDataset, progress: Progress | None) -> list[Finding]:
    from wsss_bench.data.verifying import verify_images

    return verify_images(dataset, progress, expected=dataset.counts)


KIND = DatasetKind(
    name="shapes",
    loader=ShapesDataset,
    verify=_verify,
    options={
        "train": "training images",
        "val": "validation images",
        "size": "pixels a side",
        "seed": "of the drawing",
    },
)
"""Drawn from a seed on first use; needs nothing."""
