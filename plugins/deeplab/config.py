"""The default segmentor; see `configs/methods/segmentor.py`."""

inherit = ["methods/segmentor.py"]
