"""Draws one scene of `shapes`: a background, one to three objects, light and noise, and the mask that belongs to it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.data.shapes.classes import (
    ACCENTS,
    BACKGROUNDS,
    BODIES,
    CLASSES,
    HOME_PROBABILITY,
    Polygon,
    ShapeClass,
)

Float = NDArray[np.float32]
Rng = np.random.Generator
OVERSAMPLING = 2
TRIES = 40


@dataclass(frozen=True)
class Placed:
    """An object in the scene: its class id, and the 2x3 matrix from the unit box to the pixels of the finished image."""

    class_id: int
    matrix: NDArray[np.float64]

    @property
    def shape(self) -> ShapeClass:
        """What it looks like."""
        return CLASSES[self.class_id - 1]


def draw_scene(
    rng: Rng, size: int, main: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one image with an object of class `main` in it.

    Returns:
        ``uint8 [size, size, 3]`` RGB, and the mask ``uint8 [size, size]``: 0 background, 1..8 classes, 255 on the two pixels
        that straddle the outline of every object.
    """
    fine = size * OVERSAMPLING
    objects, mask = _arrange(rng, size, main)
    canvas = _background(rng, _choose_background(rng, main), fine)
    _scatter_distractors(rng, canvas)
    for item in objects:
        _paint(rng, canvas, item)
    image = np.asarray(
        cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.float32
    )
    return _light(rng, image), mask


def _choose_background(rng: Rng, main: int) -> str:
    home = CLASSES[main - 1].home
    rest = (1 - HOME_PROBABILITY) / (len(BACKGROUNDS) - 1)
    return str(
        rng.choice(
            BACKGROUNDS,
            p=[HOME_PROBABILITY if b == home else rest for b in BACKGROUNDS],
        )
    )


def _arrange(rng: Rng, size: int, main: int) -> tuple[list[Placed], NDArray[np.uint8]]:
    """Place objects so that of each at least a quarter, and ten pixels, stay visible; occlusion beyond that is drawn anew."""
    chosen = [
        main,
        *(_companion(rng, main) for _ in range(rng.choice(3, p=[0.4, 0.4, 0.2]))),
    ]
    while True:
        for _ in range(TRIES):
            objects = [_place(rng, c, size, k) for k, c in enumerate(chosen)]
            objects = [objects[k] for k in rng.permutation(len(objects))]
            mask = _mask_if_visible(objects, size)
            if mask is not None:
                return objects, mask
        chosen = chosen[: max(1, len(chosen) - 1)]


def _companion(rng: Rng, main: int) -> int:
    names = [c.name for c in CLASSES]
    if rng.random() < 0.55:
        return names.index(str(rng.choice(CLASSES[main - 1].friends))) + 1
    return int(rng.integers(1, len(CLASSES) + 1))


def _place(rng: Rng, class_id: int, size: int, rank: int) -> Placed:
    low, high = (0.25, 0.5) if rank == 0 else (0.11, 0.34)
    half = size * math.exp(rng.uniform(math.log(low), math.log(high)))
    angle, aspect = rng.normal(0, 0.16), math.exp(rng.normal(0, 0.12))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    centre = rng.uniform(half * 0.7, size - half * 0.7, 2)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array(
        [
            [cos * half * aspect * mirror, -sin * half / aspect, centre[0]],
            [sin * half * aspect * mirror, cos * half / aspect, centre[1]],
        ]
    )
    return Placed(class_id, matrix)


def _mask_if_visible(objects: list[Placed], size: int) -> NDArray[np.uint8] | None:
    """Paint the objects in order, back to front; None when one of them is hidden too far."""
    instance = np.zeros((size, size), np.uint8)
    areas = []
    for number, item in enumerate(objects, 1):
        cover = _coverage(
            (*item.shape.body, *item.shape.part), item, size * OVERSAMPLING
        )
        inside = cv2.resize(cover, (size, size), interpolation=cv2.INTER_AREA) >= 128
        instance[inside] = number
        areas.append(int(inside.sum()))
    border = outline(instance)
    for number, area in enumerate(areas, 1):
        seen = int(((instance == number) & ~border).sum())
        if seen < 10 or int((instance == number).sum()) < area / 4:
            return None
    lookup = np.array([0, *(item.class_id for item in objects)], np.uint8)
    mask = lookup[instance]
    mask[border] = IGNORE
    return mask


def outline(instance: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels with a differing 4-neighbour in an instance map: one pixel on either side of every outline."""
    border = np.zeros(instance.shape, bool)
    down, right = instance[1:] != instance[:-1], instance[:, 1:] != instance[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border


def _coverage(
    polygons: tuple[Polygon, ...], item: Placed, fine: int
) -> NDArray[np.uint8]:
    """Filled polygons at the oversampled grid, 0 or 255."""
    cover = np.zeros((fine, fine), np.uint8)
    for polygon in polygons:
        points = np.asarray(polygon) @ item.matrix[:, :2].T + item.matrix[:, 2]
        pixels = np.rint(points * OVERSAMPLING * 16).astype(np.int32)
        cv2.fillPoly(cover, [pixels.reshape(-1, 1, 2)], 255, cv2.LINE_8, 4)
    return cover


def _unit_coordinates(item: Placed, fine: int) -> tuple[Float, Float]:
    """Where each pixel of the oversampled grid lies in the object's unit box."""
    inverse = np.linalg.inv(item.matrix[:, :2])
    grid = (np.arange(fine) + 0.5) / OVERSAMPLING
    dx, dy = np.meshgrid(grid - item.matrix[0, 2], grid - item.matrix[1, 2])
    return (
        (inverse[0, 0] * dx + inverse[0, 1] * dy).astype(np.float32),
        (inverse[1, 0] * dx + inverse[1, 1] * dy).astype(np.float32),
    )


def _stripes(u: Float, v: Float) -> NDArray[np.bool_]:
    return np.floor((u + v) * 3.5) % 2 == 0


def _checks(u: Float, v: Float) -> NDArray[np.bool_]:
    return (np.floor(u * 4.2) + np.floor(v * 4.2)) % 2 == 0


def _dots(u: Float, v: Float) -> NDArray[np.bool_]:
    return (np.mod(u * 3.6, 1) - 0.5) ** 2 + (np.mod(v * 3.6, 1) - 0.5) ** 2 < 0.1


def _zigzag(u: Float, v: Float) -> NDArray[np.bool_]:
    return np.mod(v * 3.3 + np.abs(np.mod(u * 3, 2) - 1), 1) < 0.5


def _wheels(u: Float, v: Float) -> NDArray[np.bool_]:
    return np.mod(np.hypot(np.abs(u) - 0.55, v - 0.55) * 5.5, 1) < 0.5


def _bulb(u: Float, v: Float) -> NDArray[np.bool_]:
    return np.mod(np.hypot(u, v + 0.25) * 5.5, 1) < 0.5


PATTERNS: dict[str, Callable[[Float, Float], NDArray[np.bool_]]] = {
    "stripes": _stripes,
    "checks": _checks,
    "dots": _dots,
    "zigzag": _zigzag,
    "wheels": _wheels,
    "bulb": _bulb,
}
"""Textures of parts over the unit box; true where the first accent colour is painted."""


def _paint(rng: Rng, canvas: Float, item: Placed) -> None:
    """Paint body and part into `canvas`, in place."""
    fine = len(canvas)
    u, v = _unit_coordinates(item, fine)
    body = _coverage(item.shape.body, item, fine) > 0
    colour = np.asarray(BODIES[rng.integers(len(BODIES))], np.float32) + rng.normal(
        0, 12, 3
    )
    shade = 1 + rng.uniform(-0.15, 0.15) * u + rng.uniform(-0.2, 0.05) * v
    shade += _body_texture(rng, u, v)
    canvas[body] = (shade[..., None] * colour)[body]
    part = _coverage(item.shape.part, item, fine) > 0
    pattern = PATTERNS[item.shape.pattern]
    first, second = (
        np.asarray(c, np.float32) + rng.normal(0, 6, 3)
        for c in ACCENTS[item.shape.accent]
    )
    canvas[part] = np.where(pattern(u, v)[..., None], first, second)[part]


def _body_texture(rng: Rng, u: Float, v: Float) -> Float:
    """One of four faint textures, dealt out regardless of class."""
    choice = rng.integers(4)
    if choice == 0:
        return (0.1 * np.sin(v * rng.uniform(12, 20))).astype(np.float32)
    if choice == 1:
        return (0.1 * np.sin(u * rng.uniform(12, 20))).astype(np.float32)
    return _noise(rng, len(u), 24 if choice == 2 else 5, 0.13)


def _noise(rng: Rng, fine: int, cells: int, amplitude: float) -> Float:
    """Smooth noise ``[fine, fine]`` with about `cells` bumps across and standard deviation about `amplitude`."""
    coarse = rng.normal(0, amplitude, (cells, cells)).astype(np.float32)
    return np.asarray(
        cv2.resize(coarse, (fine, fine), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _background(rng: Rng, kind: str, fine: int) -> Float:
    """One of the backgrounds, ``float32 [fine, fine, 3]`` RGB."""
    y, x = np.mgrid[0:fine, 0:fine].astype(np.float32) / fine
    canvas = _BACKDROPS[kind](rng, x, y)
    canvas *= (1 + _noise(rng, fine, 6, 0.07) + _noise(rng, fine, 40, 0.04))[..., None]
    return canvas


def _fill(x: Float, colour: tuple[int, int, int], rng: Rng) -> Float:
    return np.ones((*x.shape, 3), np.float32) * (
        np.asarray(colour, np.float32) + rng.normal(0, 12, 3).astype(np.float32)
    )


def _water(rng: Rng, x: Float, y: Float) -> Float:
    ripples = np.sin(
        y * rng.uniform(60, 110)
        + 2.5 * np.sin(x * rng.uniform(6, 14) + rng.uniform(0, 6))
    )
    canvas = _fill(x, (66, 112, 146), rng) * (1 + 0.16 * ripples)[..., None]
    horizon = rng.uniform(0, 0.4)
    return np.where((y < horizon)[..., None], _fill(x, (168, 190, 205), rng), canvas)


def _meadow(rng: Rng, x: Float, y: Float) -> Float:
    blades = _noise(rng, len(x), len(x) // 4, 0.2)
    canvas = _fill(x, (96, 132, 62), rng) * (1 + blades)[..., None]
    horizon = rng.uniform(0, 0.45)
    return np.where((y < horizon)[..., None], _fill(x, (160, 184, 202), rng), canvas)


def _street(rng: Rng, x: Float, y: Float) -> Float:
    canvas = _fill(x, (112, 110, 112), rng)
    kerb = rng.uniform(0.2, 0.5)
    bricks = (
        (np.floor(y * 24) + np.floor(x * 10 + 0.5 * (np.floor(y * 24) % 2))) % 3 == 0
    ) * 0.14
    wall = _fill(x, (150, 122, 104), rng) * (1 - bricks)[..., None].astype(np.float32)
    canvas = np.where((y < kerb)[..., None], wall, canvas)
    lane = (np.abs(y - rng.uniform(0.7, 0.9)) < 0.012) & (np.mod(x * 5, 1) < 0.55)
    canvas[lane] = (205, 200, 180)
    return canvas


def _sky(rng: Rng, x: Float, y: Float) -> Float:
    clouds = np.clip(_noise(rng, len(x), 5, 0.7), 0, 1)[..., None]
    canvas = _fill(x, (110, 152, 196), rng) * (0.85 + 0.3 * y)[..., None]
    return canvas * (1 - clouds) + 225 * clouds


def _room(rng: Rng, x: Float, y: Float) -> Float:
    wallpaper = np.sin(x * rng.uniform(35, 60)) > rng.uniform(0.2, 0.8)
    canvas = _fill(x, (188, 170, 146), rng) * (1 - 0.13 * wallpaper)[..., None]
    floor = rng.uniform(0.6, 0.85)
    planks = (
        _fill(x, (122, 90, 66), rng)
        * (1 - 0.18 * (np.mod(x * 7 + y * 1.5, 1) < 0.08))[..., None]
    )
    return np.where((y > floor)[..., None], planks, canvas).astype(np.float32)


_BACKDROPS: dict[str, Callable[[Rng, Float, Float], Float]] = {
    "water": _water,
    "meadow": _meadow,
    "street": _street,
    "sky": _sky,
    "room": _room,
}


def _scatter_distractors(rng: Rng, canvas: Float) -> None:
    """Plain specks in accent colours (flowers, signs, balls), so that an accent colour alone proves nothing."""
    fine = len(canvas)
    for _ in range(int(rng.choice(4, p=[0.55, 0.25, 0.12, 0.08]))):
        colour = np.asarray(
            ACCENTS[rng.integers(len(ACCENTS))][0], np.float32
        ) + rng.normal(0, 12, 3)
        centre = rng.integers(0, fine, 2)
        axes = rng.integers(max(2, fine // 60), max(3, fine // 18), 2)
        layer = np.zeros((fine, fine), np.uint8)
        middle, radii = (int(centre[0]), int(centre[1])), (int(axes[0]), int(axes[1]))
        cv2.ellipse(layer, middle, radii, float(rng.uniform(0, 180)), 0, 360, 255, -1)
        canvas[layer > 0] = colour


def _light(rng: Rng, image: Float) -> NDArray[np.uint8]:
    """Exposure, colour cast, a falling-off light, blur and sensor noise."""
    size = len(image)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    angle, fall = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.4)
    gain = math.exp(rng.normal(0, 0.15)) * (
        1 + fall * (math.cos(angle) * x + math.sin(angle) * y)
    )
    image = image * gain[..., None] * np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
    if rng.random() < 0.4:
        image = np.asarray(
            cv2.GaussianBlur(image, (3, 3), rng.uniform(0.3, 0.8)), np.float32
        )
    noisy = image + rng.normal(0, rng.uniform(2, 8), image.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
