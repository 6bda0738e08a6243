"""COCO 2014: annotations to masks, and their verification."""

from __future__ import annotations

from wsss_bench._moved import forward

__getattr__ = forward(__name__, ("data.coco.dataset",))
