"""Short names of the arrays that the toolbox passes around; shapes are said where they are used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
"""Scores, probabilities, energies, marginals."""

Bytes = NDArray[np.uint8]
"""Photographs and label maps."""

Flags = NDArray[np.bool_]
"""Masks."""

Integers = NDArray[np.int64]
"""Offsets and indices."""

Doubles = NDArray[np.float64]
"""What needs more digits than `Floats` have."""
