"""Seeds to label maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed


def labels_from_seed(seed: Seed, threshold: float) -> NDArray[np.uint8]:
    """Per pixel the class of highest score where that exceeds `threshold` (a tie is background), else 0.

    Returns:
        ``uint8 [H, W]`` at the photograph's size; the first class wins among equals.
    """
    scores = seed.upsampled()
    if not len(scores):
        return np.zeros(seed.size, np.uint8)
    best = scores.argmax(axis=0)
    firm = np.take_along_axis(scores, best[None], axis=0)[0] > np.float32(threshold)
    return np.where(firm, seed.class_ids[best], 0).astype(np.uint8)
