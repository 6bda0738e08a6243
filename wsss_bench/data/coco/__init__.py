"""COCO 2014: layouts, annotations to masks, and their verification."""

from __future__ import annotations

from wsss_bench._moved import forward

__getattr__ = forward(__name__, ("data.coco.dataset", "data.coco.layout"))
