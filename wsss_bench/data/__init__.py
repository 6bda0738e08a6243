"""Datasets: images and image-level labels for methods, sealed masks for the evaluator."""

from __future__ import annotations

from wsss_bench.data.base import Dataset, Finding, Splits
from wsss_bench.data.masks import SealedMasks, read_mask
from wsss_bench.data.opening import KINDS, open_dataset

__all__ = [
    "KINDS",
    "Dataset",
    "Finding",
    "SealedMasks",
    "Splits",
    "open_dataset",
    "read_mask",
]
