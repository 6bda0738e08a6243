"""The embedded data: drawn photographs in VOC's layout."""

from __future__ import annotations

from wsss_bench._moved import forward

__getattr__ = forward(__name__, ("data.shapes.dataset",))
