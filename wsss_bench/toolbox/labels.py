"""Makes label maps of seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.artifacts import Seed


def labels_from_seed(seed: Seed, threshold: float) -> NDArray[np.uint8]:
    """Return per pixel the class of highest score where that exceeds `threshold`, else 0, as ``uint8 [H, W]``.

    The size is the photograph's. A score equal to `threshold` is background; the first class wins among equals.
    """
    scores = seed.upsampled()
    if not len(scores):
        return np.zeros(seed.size, np.uint8)
    best = scores.argmax(axis=0)
    highest = np.take_along_axis(scores, best[None], axis=0)[0]
    # Scores are float32: a threshold of more digits would be above an equal score.
    firm = highest > np.float32(threshold)
    return np.where(firm, seed.class_ids[best], 0).astype(np.uint8)
