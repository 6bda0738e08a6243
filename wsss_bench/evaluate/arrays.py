"""Short names for the types of arrays that the evaluator counts with; shapes are stated where they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

AnyArray = NDArray[Any]

Ints = NDArray[np.int64]
"""Pixel counts and class ids."""

Floats = NDArray[np.float64]
"""IoUs, thresholds, weights."""

Mask = NDArray[np.uint8]
"""Mask ids by pixel, ``[H, W]``, or flat."""

Scores = NDArray[np.float32]
"""Class scores, ``[K, H, W]``."""
