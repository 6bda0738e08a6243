"""`cam`'s parameters under the path that the tutorial of version 0.1 named; they lie with the method now. Gone in 0.3."""

_base_ = "../../plugins/cam/config.py"
