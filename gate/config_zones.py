"""Where in a camera's picture faces count. `gate.config` offers these names too."""

import itertools
from collections.abc import Sequence
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field

from gate.config_section import Section

Share = Annotated[float, Field(ge=0, le=1)]
Point: TypeAlias = tuple[Share, Share]


def _simple(points: tuple[Point, ...]) -> tuple[Point, ...]:
    """The corners as they are; raises `ValueError` where their outline touches itself."""
    if len(points) < 3:
        raise ValueError(f"a zone needs at least 3 points, this one has {len(points)}")
    sides = list(zip(points, (*points[1:], points[0]), strict=True))
    for number, (start, end) in enumerate(sides, 1):
        if start == end:
            raise ValueError(f"point {number} and the next are both {_shown(start)}; remove one of them")
    for (i, first), (j, second) in itertools.combinations(enumerate(sides, 1), 2):
        neighbours = j == i + 1 or (i == 1 and j == len(sides))
        if _folded(first, second, j == i + 1) if neighbours else _touch(first, second):
            raise ValueError(
                f"the outline crosses or touches itself: the side from point {i} ({_shown(first[0])}) meets the one "
                f"from point {j} ({_shown(second[0])}); give the corners in order around the zone"
            )
    return points


Polygon = Annotated[tuple[Point, ...], AfterValidator(_simple), Field(json_schema_extra={"minItems": 3})]


class ZonesConfig(Section):
    """Where faces count: polygons of [x, y] points, shares of the picture's width and height from its top left corner.

    A face is where the centre of its box is.
    """

    include: tuple[Polygon, ...] = ()
    """Faces outside all of these are rejected as `outside_zone`; none is the whole picture."""

    exclude: tuple[Polygon, ...] = ()
    """Faces inside one of these are rejected as `outside_zone`, such as a screen or a poster."""


_Side: TypeAlias = tuple[Point, Point]


def _turn(a: Point, b: Point, c: Point) -> float:
    """Above 0 where the way from a over b to c turns one way, below where the other, 0 where it goes straight."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: Point, b: Point, c: Point) -> bool:
    """Whether c, on the line through a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _touch(first: _Side, second: _Side) -> bool:
    """Whether two sides have a point in common."""
    (a, b), (c, d) = first, second
    around_first, around_second = (_turn(a, b, c), _turn(a, b, d)), (_turn(c, d, a), _turn(c, d, b))
    if _apart(around_first) and _apart(around_second):
        return True
    ends: Sequence[tuple[_Side, Point, float]] = (
        (first, c, around_first[0]),
        (first, d, around_first[1]),
        (second, a, around_second[0]),
        (second, b, around_second[1]),
    )
    return any(turn == 0 and _between(*side, point) for side, point, turn in ends)


def _apart(turns: tuple[float, float]) -> bool:
    return min(turns) < 0 < max(turns)


def _folded(first: _Side, second: _Side, in_order: bool) -> bool:  # noqa: FBT001 - says which end they share
    """Whether two sides that share a corner lie on one another."""
    (a, b), (c, d) = (first, second) if in_order else (second, first)
    back = (b[0] - a[0]) * (d[0] - c[0]) + (b[1] - a[1]) * (d[1] - c[1]) < 0
    return _turn(a, b, d) == 0 and back


def _shown(point: Point) -> str:
    return f"{point[0]:g}, {point[1]:g}"
