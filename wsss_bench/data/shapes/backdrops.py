"""Backgrounds of `shapes`: one drawing for each name in `wsss_bench.data.shapes.classes.BACKGROUNDS`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wsss_bench.data.shapes.textures import Float, Rng, noise

Colour = tuple[int, int, int]


def background(rng: Rng, kind: str, fine: int) -> Float:
    """Return one of the backgrounds, ``float32 [fine, fine, 3]`` RGB."""
    y, x = np.mgrid[0:fine, 0:fine].astype(np.float32) / fine
    canvas = _BACKDROPS[kind](rng, x, y)
    # Large and small blotches: a plain background would give objects away by their edges alone.
    large = noise(rng, fine, 6, 0.07)
    small = noise(rng, fine, 40, 0.04)
    canvas *= (1 + large + small)[..., None]
    return canvas


def _fill(x: Float, colour: Colour, rng: Rng) -> Float:
    """Return a canvas of the size of `x` in about `colour`."""
    cast = rng.normal(0, 12, 3).astype(np.float32)
    shade = np.asarray(colour, np.float32) + cast
    return np.ones((*x.shape, 3), np.float32) * shade


def _above(inside: NDArray[np.bool_], upper: Float, lower: Float) -> Float:
    return np.where(inside[..., None], upper, lower)


def _water(rng: Rng, x: Float, y: Float) -> Float:
    frequency = rng.uniform(60, 110)
    swell = x * rng.uniform(6, 14) + rng.uniform(0, 6)
    ripples = np.sin(y * frequency + 2.5 * np.sin(swell))
    canvas = _fill(x, (66, 112, 146), rng) * (1 + 0.16 * ripples)[..., None]
    horizon = rng.uniform(0, 0.4)
    return _above(y < horizon, _fill(x, (168, 190, 205), rng), canvas)


def _meadow(rng: Rng, x: Float, y: Float) -> Float:
    blades = noise(rng, len(x), len(x) // 4, 0.2)
    canvas = _fill(x, (96, 132, 62), rng) * (1 + blades)[..., None]
    horizon = rng.uniform(0, 0.45)
    return _above(y < horizon, _fill(x, (160, 184, 202), rng), canvas)


def _street(rng: Rng, x: Float, y: Float) -> Float:
    canvas = _fill(x, (112, 110, 112), rng)
    kerb = rng.uniform(0.2, 0.5)
    course = np.floor(y * 24)
    # Every other course is set off by half a brick.
    brick = np.floor(x * 10 + 0.5 * (course % 2))
    dark = ((course + brick) % 3 == 0) * 0.14
    light = (1 - dark)[..., None].astype(np.float32)
    wall = _fill(x, (150, 122, 104), rng) * light
    canvas = _above(y < kerb, wall, canvas)
    lane = np.abs(y - rng.uniform(0.7, 0.9)) < 0.012
    dashes = np.mod(x * 5, 1) < 0.55
    canvas[lane & dashes] = (205, 200, 180)
    return canvas


def _sky(rng: Rng, x: Float, y: Float) -> Float:
    clouds = np.clip(noise(rng, len(x), 5, 0.7), 0, 1)[..., None]
    canvas = _fill(x, (110, 152, 196), rng) * (0.85 + 0.3 * y)[..., None]
    return canvas * (1 - clouds) + 225 * clouds


def _room(rng: Rng, x: Float, y: Float) -> Float:
    waves = np.sin(x * rng.uniform(35, 60))
    stripes = waves > rng.uniform(0.2, 0.8)
    canvas = _fill(x, (188, 170, 146), rng) * (1 - 0.13 * stripes)[..., None]
    floor = rng.uniform(0.6, 0.85)
    gaps = np.mod(x * 7 + y * 1.5, 1) < 0.08
    planks = _fill(x, (122, 90, 66), rng) * (1 - 0.18 * gaps)[..., None]
    return _above(y > floor, planks, canvas).astype(np.float32)


_BACKDROPS: dict[str, Callable[[Rng, Float, Float], Float]] = {
    "water": _water,
    "meadow": _meadow,
    "street": _street,
    "sky": _sky,
    "room": _room,
}
