"""Photographs and beliefs about them, for tests of the CRF."""

from __future__ import annotations

import numpy as np


def photo(rng: np.random.Generator, h: int, w: int, noise: float = 8.0) -> np.ndarray:
    """A smooth colour field with noise."""
    import cv2

    field = cv2.resize(
        rng.integers(0, 256, (5, 6, 3), dtype=np.uint8),
        (w, h),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.clip(field + rng.normal(0, noise, field.shape), 0, 255).astype(np.uint8)


def beliefs(rng: np.random.Generator, k: int, h: int, w: int) -> np.ndarray:
    import cv2

    logits = np.stack(
        [
            cv2.resize(rng.normal(0, 2, (5, 6)).astype(np.float32), (w, h))
            for _ in range(k)
        ]
    )
    powers = np.exp(logits - logits.max(axis=0))
    return (powers / powers.sum(axis=0)).astype(np.float32)
