"""Draws one scene of `shapes`: a background, one to three objects, light and noise, and the mask that belongs to it.

The order of the draws from the generator is part of the data: another order gives other images for the same seed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsss_bench.contract.view import IGNORE
from wsss_bench.data.shapes.backdrops import background
from wsss_bench.data.shapes.classes import (
    ACCENTS,
    BACKGROUNDS,
    BODIES,
    CLASSES,
    HOME_PROBABILITY,
    NAMES,
    Polygon,
    ShapeClass,
)
from wsss_bench.data.shapes.textures import (
    PATTERNS,
    Flags,
    Float,
    Rng,
    body_texture,
)

Mask = NDArray[np.uint8]
Bytes = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Colour = tuple[int, int, int]
Range = tuple[float, float]

OVERSAMPLING = 2
TRIES = 40
"""How often objects are placed anew before the scene gets one fewer."""

COMPANIONS = (0.4, 0.4, 0.2)
"""P(0, 1, 2 objects besides the main one)."""

MAIN_SIZES: Range = (0.25, 0.5)
OTHER_SIZES: Range = (0.11, 0.34)
"""Half an object's side, as a share of the image's: least and most."""

SPECKS = (0.55, 0.25, 0.12, 0.08)
"""P(0, 1, 2, 3 distractors)."""


@dataclass(frozen=True)
class Placed:
    """An object in the scene.

    Attributes:
        class_id: its mask id.
        matrix: the 2x3 matrix from the unit box to the pixels of the finished image.
    """

    class_id: int
    matrix: Matrix

    @property
    def shape(self) -> ShapeClass:
        """What it looks like."""
        return CLASSES[self.class_id - 1]

    @property
    def outlines(self) -> tuple[Polygon, ...]:
        """Body and part."""
        return (*self.shape.body, *self.shape.part)


def draw_scene(rng: Rng, size: int, main: int) -> tuple[Bytes, Mask]:
    """Draw one image with an object of class `main` in it.

    Returns:
        ``uint8 [size, size, 3]`` RGB, and the mask ``uint8 [size, size]``: 0 background, 1..8 classes, 255 on the two
        pixels that straddle the outline of every object.
    """
    fine = size * OVERSAMPLING
    objects, mask = _arrange(rng, size, main)
    kind = _choose_background(rng, main)
    canvas = background(rng, kind, fine)
    _scatter_distractors(rng, canvas)
    for item in objects:
        _paint(rng, canvas, item)
    image = _shrink(canvas, size)
    return _light(rng, image), mask


def _shrink(canvas: Float, size: int) -> Float:
    image = cv2.resize(
        canvas,
        (size, size),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(image, np.float32)


def _choose_background(rng: Rng, main: int) -> str:
    home = CLASSES[main - 1].home
    others = len(BACKGROUNDS) - 1
    rest = (1 - HOME_PROBABILITY) / others
    odds = dict.fromkeys(BACKGROUNDS, rest)
    odds[home] = HOME_PROBABILITY
    chosen = rng.choice(BACKGROUNDS, p=list(odds.values()))
    return str(chosen)


def _arrange(rng: Rng, size: int, main: int) -> tuple[list[Placed], Mask]:
    """Return the objects, back to front, and their mask; of each, enough can be seen (`_mask_if_visible`)."""
    companions = rng.choice(3, p=COMPANIONS)
    chosen = [main]
    for _ in range(companions):
        chosen.append(_companion(rng, main))
    while True:
        for _ in range(TRIES):
            objects = _place_all(rng, chosen, size)
            mask = _mask_if_visible(objects, size)
            if mask is not None:
                return objects, mask
        # Too many for this size; the main object alone can always be seen in the end.
        if len(chosen) > 1:
            chosen.pop()


def _companion(rng: Rng, main: int) -> int:
    """Return a class to go with `main`: more often than not a friend, else any."""
    if rng.random() < 0.55:
        friends = CLASSES[main - 1].friends
        friend = str(rng.choice(friends))
        return NAMES.index(friend)
    return int(rng.integers(1, len(NAMES)))


def _place_all(
    rng: Rng,
    chosen: Sequence[int],
    size: int,
) -> list[Placed]:
    """Place objects of the given classes, the first one large; return them in any order, back to front."""
    placed = []
    for rank, class_id in enumerate(chosen):
        sizes = MAIN_SIZES if rank == 0 else OTHER_SIZES
        placed.append(_place(rng, class_id, size, sizes))
    order = rng.permutation(len(placed))
    return [placed[k] for k in order]


def _place(
    rng: Rng,
    class_id: int,
    size: int,
    sizes: Range,
) -> Placed:
    low, high = map(math.log, sizes)
    # Even in the logarithm: small objects are as common as large ones.
    half = size * math.exp(rng.uniform(low, high))
    angle = rng.normal(0, 0.16)
    aspect = math.exp(rng.normal(0, 0.12))
    mirror = -1.0 if rng.random() < 0.5 else 1.0
    margin = half * 0.7
    x, y = rng.uniform(margin, size - margin, 2)
    cos = math.cos(angle)
    sin = math.sin(angle)
    # In this order of factors: another one rounds otherwise, and moves outlines by a pixel here and there.
    matrix = np.empty((2, 3))
    matrix[0, 0] = cos * half * aspect * mirror
    matrix[0, 1] = -sin * half / aspect
    matrix[1, 0] = sin * half * aspect * mirror
    matrix[1, 1] = cos * half / aspect
    matrix[:, 2] = x, y
    return Placed(class_id, matrix)


def _mask_if_visible(
    objects: Sequence[Placed],
    size: int,
) -> Mask | None:
    """Paint the objects in order, back to front; return None when one of them is hidden too far.

    Of each at least a quarter must not be covered, and ten pixels must be left inside its ignored outline.
    """
    instance = np.zeros((size, size), np.uint8)
    areas = []
    class_ids = [0]
    for number, item in enumerate(objects, 1):
        inside = _covered(item, size)
        instance[inside] = number
        areas.append(int(inside.sum()))
        class_ids.append(item.class_id)
    border = outline(instance)
    for number, area in enumerate(areas, 1):
        seen = instance == number
        clear = seen & ~border
        if clear.sum() < 10 or seen.sum() < area / 4:
            return None
    lookup = np.array(class_ids, np.uint8)
    mask = lookup[instance]
    mask[border] = IGNORE
    return mask


def _covered(item: Placed, size: int) -> Flags:
    """Return the pixels of the finished image that lie in the object by half or more, ``bool [size, size]``."""
    fine = size * OVERSAMPLING
    cover = _coverage(item.outlines, item, fine)
    share = cv2.resize(
        cover,
        (size, size),
        interpolation=cv2.INTER_AREA,
    )
    return np.asarray(share) >= 128


def outline(instance: Mask) -> Flags:
    """Return the pixels with a differing 4-neighbour in an instance map: one pixel on either side of every outline."""
    border = np.zeros(instance.shape, bool)
    down = instance[1:] != instance[:-1]
    right = instance[:, 1:] != instance[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return border


def _coverage(
    polygons: Sequence[Polygon],
    item: Placed,
    fine: int,
) -> Bytes:
    """Return the filled polygons on the oversampled grid ``[fine, fine]``, 0 or 255."""
    cover = np.zeros((fine, fine), np.uint8)
    # OpenCV takes fixed-point corners: 4 bits behind the point are sixteenths.
    bits = 4
    turn = item.matrix[:, :2].T
    centre = item.matrix[:, 2]
    for polygon in polygons:
        points = np.asarray(polygon) @ turn + centre
        corners = np.rint(points * OVERSAMPLING * 2**bits)
        contour = corners.astype(np.int32).reshape(-1, 1, 2)
        cv2.fillPoly(cover, [contour], 255, cv2.LINE_8, bits)
    return cover


def _unit_coordinates(item: Placed, fine: int) -> tuple[Float, Float]:
    """Return where each pixel of the oversampled grid lies in the object's unit box."""
    turn = item.matrix[:, :2]
    (a, b), (c, d) = np.linalg.inv(turn)
    centre_x, centre_y = item.matrix[:, 2]
    centres = np.arange(fine) + 0.5
    grid = centres / OVERSAMPLING
    dx, dy = np.meshgrid(grid - centre_x, grid - centre_y)
    u = a * dx + b * dy
    v = c * dx + d * dy
    return u.astype(np.float32), v.astype(np.float32)


def _paint(rng: Rng, canvas: Float, item: Placed) -> None:
    """Paint body and part into `canvas`, in place."""
    shape = item.shape
    fine = len(canvas)
    u, v = _unit_coordinates(item, fine)
    body = _coverage(shape.body, item, fine) > 0
    choice = rng.integers(len(BODIES))
    colour = _varied(rng, BODIES[choice], 12)
    across = rng.uniform(-0.15, 0.15)
    down = rng.uniform(-0.2, 0.05)
    shade = 1 + across * u + down * v
    shade += body_texture(rng, u, v)
    shaded = shade[..., None] * colour
    canvas[body] = shaded[body]
    part = _coverage(shape.part, item, fine) > 0
    light, dark = ACCENTS[shape.accent]
    first = _varied(rng, light, 6)
    second = _varied(rng, dark, 6)
    pattern = PATTERNS[shape.pattern]
    chosen = pattern(u, v)
    painted = np.where(chosen[..., None], first, second)
    canvas[part] = painted[part]


def _varied(rng: Rng, colour: Colour, deviation: float) -> NDArray[np.float64]:
    """Return a colour near `colour`."""
    cast = rng.normal(0, deviation, 3)
    return np.asarray(colour, np.float32) + cast


def _scatter_distractors(rng: Rng, canvas: Float) -> None:
    """Paint up to three plain specks in accent colours (flowers, signs, balls)."""
    # They are there so that an accent colour alone proves nothing.
    fine = len(canvas)
    least = max(2, fine // 60)
    most = max(3, fine // 18)
    specks = rng.choice(4, p=SPECKS)
    for _ in range(specks):
        choice = rng.integers(len(ACCENTS))
        accent, _second = ACCENTS[choice]
        colour = _varied(rng, accent, 12)
        centre = rng.integers(0, fine, 2).tolist()
        axes = rng.integers(least, most, 2).tolist()
        angle = rng.uniform(0, 180)
        layer = np.zeros((fine, fine), np.uint8)
        cv2.ellipse(layer, centre, axes, angle, 0, 360, 255, cv2.FILLED)
        canvas[layer > 0] = colour


def _light(rng: Rng, image: Float) -> Bytes:
    """Return the image under an exposure, a colour cast, a light that falls off, blur and sensor noise."""
    size = len(image)
    pixels = np.mgrid[0:size, 0:size]
    y, x = pixels.astype(np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * math.pi)
    fall = rng.uniform(0, 0.4)
    across = math.cos(angle) * x
    down = math.sin(angle) * y
    slope = across + down
    exposure = math.exp(rng.normal(0, 0.15))
    gain = exposure * (1 + fall * slope)
    cast = np.exp(rng.normal(0, 0.03, 3))
    image = image * gain[..., None]
    image = image * cast.astype(np.float32)
    if rng.random() < 0.4:
        sigma = rng.uniform(0.3, 0.8)
        blurred = cv2.GaussianBlur(image, (3, 3), sigma)
        image = np.asarray(blurred, np.float32)
    grain = rng.uniform(2, 8)
    noisy = image + rng.normal(0, grain, image.shape)
    levels = np.rint(noisy)
    return np.clip(levels, 0, 255).astype(np.uint8)
