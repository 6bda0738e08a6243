"""The eight classes of `shapes`: outlines, discriminative parts, and the company they keep.

Outlines live in a box of about [-1, 1] x [-1, 1], x to the right, y down. Every class has a plain body, whose colours and
textures all classes share, and one small part that gives it away: a pattern in one of four pairs of accent colours. Two
classes share each pair of colours, and stripes, dots and rings belong to two classes each, so only both together name a class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Polygon = tuple[tuple[float, float], ...]


def ellipse(cx: float, cy: float, rx: float, ry: float, points: int = 28) -> Polygon:
    """An ellipse as a polygon."""
    angles = [2 * math.pi * k / points for k in range(points)]
    return tuple((cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles)


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    """An axis-parallel rectangle as a polygon."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@dataclass(frozen=True)
class ShapeClass:
    """One foreground class.

    Attributes:
        body, part: outlines; parts are painted over the body, and both belong to the object.
        pattern: texture of the part (a key of `wsss_bench.data.shapes.draw.PATTERNS`).
        accent: index into `ACCENTS`, the part's two colours.
        home: the background it comes with more often than with any other.
        friends: classes it is often seen with.
    """

    name: str
    body: tuple[Polygon, ...]
    part: tuple[Polygon, ...]
    pattern: str
    accent: int
    home: str
    friends: tuple[str, str]


ACCENTS = (
    ((205, 45, 40), (245, 240, 230)),
    ((240, 200, 40), (45, 35, 30)),
    ((40, 190, 205), (30, 35, 60)),
    ((205, 60, 170), (240, 235, 245)),
)
"""Pairs of RGB colours (0..255) of the parts; each pair belongs to two classes."""

BODIES = (
    (150, 112, 80),
    (128, 128, 132),
    (205, 198, 186),
    (74, 92, 116),
    (98, 116, 78),
)
"""RGB base colours of bodies; every class draws from all of them."""

BACKGROUNDS = ("water", "meadow", "street", "sky", "room")
HOME_PROBABILITY = 0.6
"""P(background = home | main class); the other four share the rest evenly."""

CLASSES = (
    ShapeClass(
        "boat",
        body=(
            ((-1.0, 0.25), (1.0, 0.25), (0.62, 0.9), (-0.68, 0.9)),
            box(-0.02, -0.95, 0.1, 0.3),
            box(0.2, -0.1, 0.75, 0.3),
        ),
        part=(((-0.08, -0.95), (-0.08, 0.15), (-0.75, 0.15)),),
        pattern="stripes",
        accent=0,
        home="water",
        friends=("bird", "fish"),
    ),
    ShapeClass(
        "car",
        body=(
            box(-1.0, -0.05, 1.0, 0.55),
            ((-0.6, 0.0), (-0.35, -0.55), (0.42, -0.55), (0.7, 0.0)),
        ),
        part=(ellipse(-0.55, 0.55, 0.38, 0.38), ellipse(0.55, 0.55, 0.38, 0.38)),
        pattern="wheels",
        accent=2,
        home="street",
        friends=("house", "lamp"),
    ),
    ShapeClass(
        "bird",
        body=(
            ellipse(-0.1, 0.1, 0.72, 0.46),
            ((-0.6, -0.05), (-1.1, -0.35), (-1.05, 0.2)),
            box(-0.15, 0.5, -0.05, 0.95),
        ),
        part=(
            ellipse(0.6, -0.4, 0.4, 0.4),
            ((0.86, -0.65), (1.25, -0.35), (0.82, -0.2)),
        ),
        pattern="dots",
        accent=1,
        home="sky",
        friends=("tree", "boat"),
    ),
    ShapeClass(
        "cat",
        body=(
            ellipse(-0.15, 0.4, 0.75, 0.5),
            ((-0.8, 0.35), (-1.05, -0.55), (-0.9, -0.6), (-0.6, 0.2)),
            box(0.3, 0.5, 0.5, 0.98),
        ),
        part=(
            ellipse(0.55, -0.25, 0.38, 0.36),
            ((0.2, -0.4), (0.25, -0.95), (0.5, -0.55)),
            ((0.6, -0.55), (0.88, -0.95), (0.92, -0.4)),
        ),
        pattern="zigzag",
        accent=3,
        home="room",
        friends=("lamp", "house"),
    ),
    ShapeClass(
        "tree",
        body=(
            ellipse(0.0, -0.35, 0.72, 0.62),
            ellipse(-0.4, -0.05, 0.4, 0.35),
            ellipse(0.42, -0.1, 0.4, 0.35),
            box(-0.15, 0.1, 0.15, 1.0),
        ),
        part=(ellipse(-0.22, -0.4, 0.34, 0.34), ellipse(0.35, -0.12, 0.3, 0.3)),
        pattern="dots",
        accent=3,
        home="meadow",
        friends=("bird", "house"),
    ),
    ShapeClass(
        "house",
        body=(box(-0.8, -0.15, 0.8, 0.95), ((-1.0, -0.15), (0.0, -0.9), (1.0, -0.15))),
        part=(box(-0.55, 0.05, 0.2, 0.75),),
        pattern="checks",
        accent=0,
        home="meadow",
        friends=("tree", "car"),
    ),
    ShapeClass(
        "fish",
        body=(
            ellipse(0.15, 0.0, 0.82, 0.46),
            ((0.0, -0.35), (0.3, -0.75), (0.5, -0.3)),
        ),
        part=(
            ((-0.5, 0.0), (-1.1, -0.55), (-0.92, 0.0), (-1.1, 0.55)),
            ellipse(-0.48, 0.0, 0.2, 0.28),
        ),
        pattern="stripes",
        accent=2,
        home="water",
        friends=("boat", "bird"),
    ),
    ShapeClass(
        "lamp",
        body=(
            box(-0.12, -0.3, 0.12, 0.75),
            ((-0.55, 0.95), (-0.3, 0.65), (0.3, 0.65), (0.55, 0.95)),
            ((-0.7, -0.2), (-0.4, -0.95), (0.4, -0.95), (0.7, -0.2)),
        ),
        part=(ellipse(0.0, -0.25, 0.44, 0.4),),
        pattern="bulb",
        accent=1,
        home="street",
        friends=("car", "cat"),
    ),
)

NAMES = ("background", *(c.name for c in CLASSES))
