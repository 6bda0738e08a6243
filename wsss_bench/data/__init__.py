"""Datasets: images and image-level labels for methods, sealed masks for the evaluator.

A distribution that brings a dataset of its own needs no more than what is named here; see "Add a dataset" in
docs/data.md.
"""

from __future__ import annotations

from wsss_bench.data.base import Dataset, Finding, Progress, Splits
from wsss_bench.data.kind import Archive, DatasetKind
from wsss_bench.data.labels import labels_from_masks, read_label_table
from wsss_bench.data.masks import SealedMasks, read_mask
from wsss_bench.data.opening import open_dataset, verify_dataset
from wsss_bench.data.options import choose_splits, integer_option
from wsss_bench.data.places import find_folder
from wsss_bench.data.registry import KINDS

__all__ = [
    "KINDS",
    "Archive",
    "Dataset",
    "DatasetKind",
    "Finding",
    "Progress",
    "SealedMasks",
    "Splits",
    "choose_splits",
    "find_folder",
    "integer_option",
    "labels_from_masks",
    "open_dataset",
    "read_label_table",
    "read_mask",
    "verify_dataset",
]
