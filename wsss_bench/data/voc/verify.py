"""`wsss-bench data verify` for PASCAL VOC 2012."""

from __future__ import annotations

from wsss_bench.data.base import Finding, Progress
from wsss_bench.data.verifying import verify_images
from wsss_bench.data.voc.dataset import VocDataset
from wsss_bench.data.voc.lists import OFFICIAL_COUNTS

FULL_SIZE = 17_125
"""Images in JPEGImages of the complete devkit."""


def verify_voc(dataset: VocDataset, progress: Progress | None = None) -> list[Finding]:
    """Return everything that is wrong with a VOC root, errors first."""
    # A small folder is somebody's part of VOC; with all photographs there, a short list is a damaged one.
    folder = dataset.root / "JPEGImages"
    photographs = list(folder.iterdir())
    return verify_images(
        dataset,
        progress,
        expected=OFFICIAL_COUNTS,
        complete=len(photographs) >= FULL_SIZE,
    )
