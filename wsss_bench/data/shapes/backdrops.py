"""Backgrounds of `shapes`: one drawing for each name in `wsss_bench.data.shapes.classes.BACKGROUNDS`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from wsss_bench.data.shapes.textures import Flags, Float, Numbers, Rng, noise

Colour = tuple[int, int, int]
Backdrop = Callable[[Rng, Float, Float], Float]
"""Called with the generator and with x and y, ``float32 [fine, fine]`` in [0, 1); returns ``[fine, fine, 3]`` RGB."""

WATER = (66, 112, 146)
OVER_WATER = (168, 190, 205)
GRASS = (96, 132, 62)
OVER_GRASS = (160, 184, 202)
ASPHALT = (112, 110, 112)
BRICKS = (150, 122, 104)
LANE = (205, 200, 180)
SKY = (110, 152, 196)
WALLPAPER = (188, 170, 146)
PLANKS = (122, 90, 66)


def background(rng: Rng, kind: str, fine: int) -> Float:
    """Return one of the backgrounds, ``float32 [fine, fine, 3]`` RGB."""
    pixels = np.mgrid[0:fine, 0:fine]
    y, x = pixels.astype(np.float32) / fine
    draw = _BACKDROPS[kind]
    canvas = draw(rng, x, y)
    # Large and small blotches: a plain background would give objects away by their edges alone.
    large = noise(rng, fine, 6, 0.07)
    small = noise(rng, fine, 40, 0.04)
    light = 1 + large + small
    canvas *= light[..., None]
    return canvas


def _fill(rng: Rng, x: Float, colour: Colour) -> Float:
    """Return a canvas of the size of `x` in about `colour`."""
    cast = rng.normal(0, 12, 3)
    shade = np.asarray(colour, np.float32)
    shade = shade + cast.astype(np.float32)
    height, width = x.shape
    canvas = np.ones((height, width, 3), np.float32)
    return canvas * shade


def _lit(canvas: Float, light: Numbers) -> Float:
    """Return `canvas` with every pixel times its value in `light`, ``[H, W]``."""
    return np.multiply(canvas, light[..., None])


def _where(chosen: Flags, these: Float, others: Float) -> Float:
    return np.where(chosen[..., None], these, others)


def _water(rng: Rng, x: Float, y: Float) -> Float:
    frequency = rng.uniform(60, 110)
    swell = rng.uniform(6, 14)
    phase = rng.uniform(0, 6)
    bend = 2.5 * np.sin(x * swell + phase)
    ripples = np.sin(y * frequency + bend)
    water = _fill(rng, x, WATER)
    water = _lit(water, 1 + 0.16 * ripples)
    horizon = rng.uniform(0, 0.4)
    air = _fill(rng, x, OVER_WATER)
    return _where(y < horizon, air, water)


def _meadow(rng: Rng, x: Float, y: Float) -> Float:
    fine = len(x)
    blades = noise(rng, fine, fine // 4, 0.2)
    grass = _fill(rng, x, GRASS)
    grass = _lit(grass, 1 + blades)
    horizon = rng.uniform(0, 0.45)
    air = _fill(rng, x, OVER_GRASS)
    return _where(y < horizon, air, grass)


def _street(rng: Rng, x: Float, y: Float) -> Float:
    road = _fill(rng, x, ASPHALT)
    kerb = rng.uniform(0.2, 0.5)
    course = np.floor(y * 24)
    # Every other course is set off by half a brick.
    offset = 0.5 * (course % 2)
    brick = np.floor(x * 10 + offset)
    dark = (course + brick) % 3 == 0
    light = 1 - dark * 0.14
    wall = _fill(rng, x, BRICKS)
    wall = _lit(wall, light.astype(np.float32))
    canvas = _where(y < kerb, wall, road)
    middle = rng.uniform(0.7, 0.9)
    lane = np.abs(y - middle) < 0.012
    dashes = np.mod(x * 5, 1) < 0.55
    canvas[lane & dashes] = LANE
    return canvas


def _sky(rng: Rng, x: Float, y: Float) -> Float:
    blotches = noise(rng, len(x), 5, 0.7)
    clouds = np.clip(blotches, 0, 1)
    sky = _fill(rng, x, SKY)
    # Brighter towards the horizon.
    sky = _lit(sky, 0.85 + 0.3 * y)
    white = 225 * clouds
    return _lit(sky, 1 - clouds) + white[..., None]


def _room(rng: Rng, x: Float, y: Float) -> Float:
    frequency = rng.uniform(35, 60)
    waves = np.sin(x * frequency)
    stripes = waves > rng.uniform(0.2, 0.8)
    wall = _fill(rng, x, WALLPAPER)
    wall = _lit(wall, 1 - 0.13 * stripes)
    skirting = rng.uniform(0.6, 0.85)
    # The gaps lean: the floor is seen from the side.
    across = x * 7 + y * 1.5
    gaps = np.mod(across, 1) < 0.08
    floor = _fill(rng, x, PLANKS)
    floor = _lit(floor, 1 - 0.18 * gaps)
    room = _where(y > skirting, floor, wall)
    return room.astype(np.float32)


_BACKDROPS: dict[str, Backdrop] = {
    "water": _water,
    "meadow": _meadow,
    "street": _street,
    "sky": _sky,
    "room": _room,
}
