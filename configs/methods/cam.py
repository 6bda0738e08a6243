"""Class activation maps, the baseline. ``maps`` is "cam" or "gradcam" (equal for this head, and a test says so)."""

_base_ = "_classifier.py"
localize = dict(maps="cam")
