"""PASCAL VOC 2012: lists, masks, SBD's annotations, and their verification."""

from __future__ import annotations

from wsss_bench._moved import forward

__getattr__ = forward(
    __name__,
    (
        "data.voc.dataset",
        "data.voc.lists",
    ),
)
