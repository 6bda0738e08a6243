"""Textures of `shapes`: smooth noise, what bodies are covered with, and the patterns that give a class away."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Numbers = NDArray[np.floating]
Flags = NDArray[np.bool_]
Rng = np.random.Generator
Pattern = Callable[[Float, Float], Flags]
"""Called with u and v, where pixels lie in the unit box; true where the first of two colours is painted."""


def noise(rng: Rng, fine: int, cells: int, amplitude: float) -> Float:
    """Return smooth noise ``[fine, fine]`` with about `cells` bumps across and standard deviation about `amplitude`."""
    coarse = rng.normal(0, amplitude, (cells, cells))
    smooth = cv2.resize(
        coarse.astype(np.float32),
        (fine, fine),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.asarray(smooth, np.float32)


def body_texture(rng: Rng, u: Float, v: Float) -> Float:
    """Return one of four faint textures over the unit box, values about 0."""
    # Dealt out regardless of class: a body's texture must give nothing away.
    choice = rng.integers(4)
    if choice >= 2:
        cells = 24 if choice == 2 else 5
        return noise(rng, len(u), cells, 0.13)
    along = v if choice == 0 else u
    waves = np.sin(along * rng.uniform(12, 20))
    return (0.1 * waves).astype(np.float32)


def _stripes(u: Float, v: Float) -> Flags:
    stripe = np.floor((u + v) * 3.5)
    return stripe % 2 == 0


def _checks(u: Float, v: Float) -> Flags:
    column = np.floor(u * 4.2)
    row = np.floor(v * 4.2)
    return (column + row) % 2 == 0


def _dots(u: Float, v: Float) -> Flags:
    across = np.mod(u * 3.6, 1) - 0.5
    down = np.mod(v * 3.6, 1) - 0.5
    return across**2 + down**2 < 0.1


def _zigzag(u: Float, v: Float) -> Flags:
    rise = np.mod(u * 3, 2)
    teeth = np.abs(rise - 1)
    return np.mod(v * 3.3 + teeth, 1) < 0.5


def _wheels(u: Float, v: Float) -> Flags:
    # Folded at the middle, so that both wheels have their rings about their own hubs.
    across = np.abs(u) - 0.55
    return _rings(across, v - 0.55)


def _bulb(u: Float, v: Float) -> Flags:
    return _rings(u, v + 0.25)


def _rings(across: Numbers, down: Numbers) -> Flags:
    radius = np.hypot(across, down)
    return np.mod(radius * 5.5, 1) < 0.5


PATTERNS: dict[str, Pattern] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "zigzag": _zigzag,
    "wheels": _wheels,
    "bulb": _bulb,
}
"""Textures of parts; true where the first accent colour is painted."""
