"""The default segmentor; see `_deeplab.py`."""

_base_ = "_deeplab.py"
