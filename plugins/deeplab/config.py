"""The default segmentor; see `configs/methods/_deeplab.py`."""

_base_ = "wsss_bench::methods/_deeplab.py"
