"""What passes between stages: folders of ordinary files, with writers that check and commit atomically.

A folder is finished when it has a ``manifest.json``; the manifest is written last. Items of an unfinished folder are
complete files (each is renamed into place), so a writer can say which ids are done and a stage resumes inside.
"""

from __future__ import annotations

from wsss_bench.contract.seed import Seed
from wsss_bench.contract.segmentor import (
    SEGMENTOR,
    Segmentor,
    read_segmentor,
    write_segmentor,
)
from wsss_bench.contract.sets import MANIFEST, ArraySet, LabelSet, SeedSet
from wsss_bench.contract.writers import ArrayWriter, LabelWriter, SeedWriter

__all__ = [
    "MANIFEST",
    "SEGMENTOR",
    "ArraySet",
    "ArrayWriter",
    "LabelSet",
    "LabelWriter",
    "Seed",
    "SeedSet",
    "SeedWriter",
    "Segmentor",
    "read_segmentor",
    "write_segmentor",
]
