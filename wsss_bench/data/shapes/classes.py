"""The eight classes of `shapes`: outlines, discriminative parts, and the company they keep.

Every class has a plain body, whose colours and textures all classes share, and one small part that gives it away: a
pattern in one of four pairs of accent colours. Two classes share each pair of colours, and stripes, dots and rings
belong to two classes each, so only both together name a class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Polygon = tuple[tuple[float, float], ...]
"""Points (x, y) of a closed outline, in a box of about [-1, 1] x [-1, 1]; x to the right, y down."""


@dataclass(frozen=True)
class ShapeClass:
    """One foreground class.

    Attributes:
        name: its name.
        body: outlines of the plain body.
        part: outlines of the telling part; they are painted over the body, and both belong to the object.
        pattern: texture of the part (a key of `wsss_bench.data.shapes.textures.PATTERNS`).
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


# From here on numbers are drawn with: any change is a new `GENERATOR_VERSION`, in wsss_bench.data.shapes.dataset.

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

# Mask id k is the k-th line.
_COMPANY = """
# name   pattern  accent  home    friends
boat     stripes  0       water   bird   fish
car      wheels   2       street  house  lamp
bird     dots     1       sky     tree   boat
cat      zigzag   3       room    lamp   house
tree     dots     3       meadow  bird   house
house    checks   0       meadow  tree   car
fish     stripes  2       water   boat   bird
lamp     bulb     1       street  car    cat
"""

# Of a box: left, top, right, bottom. Of an ellipse: its centre and its two radii. Of a polygon: its points.
# Later lines are painted over earlier ones.
_OUTLINES = """
boat   body  polygon  -1.0 0.25     1.0 0.25    0.62 0.9   -0.68 0.9
boat   body  box      -0.02 -0.95   0.1 0.3
boat   body  box      0.2 -0.1      0.75 0.3
boat   part  polygon  -0.08 -0.95   -0.08 0.15  -0.75 0.15

car    body  box      -1.0 -0.05    1.0 0.55
car    body  polygon  -0.6 0.0      -0.35 -0.55  0.42 -0.55  0.7 0.0
car    part  ellipse  -0.55 0.55    0.38 0.38
car    part  ellipse  0.55 0.55     0.38 0.38

bird   body  ellipse  -0.1 0.1      0.72 0.46
bird   body  polygon  -0.6 -0.05    -1.1 -0.35  -1.05 0.2
bird   body  box      -0.15 0.5     -0.05 0.95
bird   part  ellipse  0.6 -0.4      0.4 0.4
bird   part  polygon  0.86 -0.65    1.25 -0.35  0.82 -0.2

cat    body  ellipse  -0.15 0.4     0.75 0.5
cat    body  polygon  -0.8 0.35     -1.05 -0.55  -0.9 -0.6  -0.6 0.2
cat    body  box      0.3 0.5       0.5 0.98
cat    part  ellipse  0.55 -0.25    0.38 0.36
cat    part  polygon  0.2 -0.4      0.25 -0.95  0.5 -0.55
cat    part  polygon  0.6 -0.55     0.88 -0.95  0.92 -0.4

tree   body  ellipse  0.0 -0.35     0.72 0.62
tree   body  ellipse  -0.4 -0.05    0.4 0.35
tree   body  ellipse  0.42 -0.1     0.4 0.35
tree   body  box      -0.15 0.1     0.15 1.0
tree   part  ellipse  -0.22 -0.4    0.34 0.34
tree   part  ellipse  0.35 -0.12    0.3 0.3

house  body  box      -0.8 -0.15    0.8 0.95
house  body  polygon  -1.0 -0.15    0.0 -0.9  1.0 -0.15
house  part  box      -0.55 0.05    0.2 0.75

fish   body  ellipse  0.15 0.0      0.82 0.46
fish   body  polygon  0.0 -0.35     0.3 -0.75  0.5 -0.3
fish   part  polygon  -0.5 0.0      -1.1 -0.55  -0.92 0.0  -1.1 0.55
fish   part  ellipse  -0.48 0.0     0.2 0.28

lamp   body  box      -0.12 -0.3    0.12 0.75
lamp   body  polygon  -0.55 0.95    -0.3 0.65  0.3 0.65  0.55 0.95
lamp   body  polygon  -0.7 -0.2     -0.4 -0.95  0.4 -0.95  0.7 -0.2
lamp   part  ellipse  0.0 -0.25     0.44 0.4
"""


def ellipse(cx: float, cy: float, rx: float, ry: float) -> Polygon:
    """Return an ellipse as a polygon of 28 points."""
    points = []
    for k in range(28):
        angle = 2 * math.pi * k / 28
        x = cx + rx * math.cos(angle)
        y = cy + ry * math.sin(angle)
        points.append((x, y))
    return tuple(points)


def box(left: float, top: float, right: float, bottom: float) -> Polygon:
    """Return an axis-parallel rectangle as a polygon."""
    return (
        (left, top),
        (right, top),
        (right, bottom),
        (left, bottom),
    )


def polygon(*numbers: float) -> Polygon:
    """Return the points of ``x0, y0, x1, y1, …``."""
    xs = numbers[::2]
    ys = numbers[1::2]
    return tuple(zip(xs, ys, strict=True))


_FORMS: dict[str, Callable[..., Polygon]] = {
    "ellipse": ellipse,
    "box": box,
    "polygon": polygon,
}


def _rows(table: str) -> Iterator[list[str]]:
    for line in table.splitlines():
        if line and not line.startswith("#"):
            yield line.split()


def _outlines(name: str, where: str) -> tuple[Polygon, ...]:
    found = []
    for of, kind, form, *numbers in _rows(_OUTLINES):
        if (of, kind) == (name, where):
            make = _FORMS[form]
            found.append(make(*map(float, numbers)))
    return tuple(found)


def _classes() -> Iterator[ShapeClass]:
    for name, pattern, accent, home, *friends in _rows(_COMPANY):
        first, second = friends
        yield ShapeClass(
            name,
            body=_outlines(name, "body"),
            part=_outlines(name, "part"),
            pattern=pattern,
            accent=int(accent),
            home=home,
            friends=(first, second),
        )


CLASSES = tuple(_classes())
"""The foreground classes; mask id k is the k-th of them."""

NAMES = ("background", *(one.name for one in CLASSES))
"""Names by mask id."""
