import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import build_config
from gate.errors import ConfigError

Points = list[tuple[float, float]]


def zones_of(**zones: Any) -> Any:
    return build_config({"cameras": [{"name": "door", "url": "virtual:", "zones": zones}]}).cameras[0].zones


def is_accepted(points: Points) -> bool:
    try:
        zones_of(include=[[list(point) for point in points]])
    except ConfigError:
        return False
    return True


def test_no_zones_is_the_default() -> None:
    zones = zones_of()
    assert (zones.include, zones.exclude) == ((), ())


def test_polygons_come_as_lists_of_points() -> None:
    zones = zones_of(include=[[[0, 0], [1, 0], [0.5, 1]]], exclude=[[[0, 0], [0.2, 0], [0.2, 0.2], [0, 0.2]]])
    assert zones.include == (((0.0, 0.0), (1.0, 0.0), (0.5, 1.0)),)
    assert len(zones.exclude[0]) == 4


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "a zone needs at least 3 points, this one has 0"),
        ([[0, 0], [1, 1]], "a zone needs at least 3 points, this one has 2"),
        ([[0, 0], [0, 0], [1, 1]], "point 1 and the next are both 0, 0; remove one"),
        ([[0, 0], [1, 0], [1, 1], [0, 0]], "point 4 and the next are both 0, 0; remove one"),
        (
            [[0, 0], [1, 1], [1, 0], [0, 1]],
            r"from point 1 \(0, 0\) meets the one from point 3 \(1, 0\); give the corners in order",
        ),
        ([[0, 0], [0.5, 0.5], [1, 1]], "crosses or touches itself"),
        ([[0, 0], [1, 0], [0.5, 0], [0.5, 1]], "crosses or touches itself"),
    ],
)
def test_an_outline_that_is_none_is_explained(points: list[list[float]], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^config: cameras\.0\.zones\.exclude\.0: .*{words}") as caught:
        zones_of(exclude=[points])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("bad", [-0.01, 1.01, 320, float("nan"), "left"])
def test_a_point_outside_the_picture_is_refused_where_it_stands(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"^config: cameras\.0\.zones\.include\.0\.1\.0: "):
        zones_of(include=[[[0, 0], [bad, 0], [1, 1]]])


def test_a_point_needs_two_numbers() -> None:
    with pytest.raises(ConfigError, match=r"cameras\.0\.zones\.include\.0\.2"):
        zones_of(include=[[[0, 0], [1, 0], [1]]])


def test_an_unknown_key_is_refused_and_the_nearest_one_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'cameras\.0\.zones\.exclud'; did you mean 'exclude'\?"):
        zones_of(exclud=[])


def meet(first: tuple[Any, Any], second: tuple[Any, Any]) -> list[tuple[Fraction, Fraction]]:
    """Points of the second side that lie on the first: the ends of what they share, found in whole numbers."""
    (ax, ay), (bx, by) = [[Fraction(v) for v in point] for point in first]
    (cx, cy), (dx, dy) = [[Fraction(v) for v in point] for point in second]
    across = (bx - ax) * (dy - cy) - (by - ay) * (dx - cx)
    if across:
        t = ((cx - ax) * (dy - cy) - (cy - ay) * (dx - cx)) / across
        u = ((cx - ax) * (by - ay) - (cy - ay) * (bx - ax)) / across
        return [(ax + t * (bx - ax), ay + t * (by - ay))] if 0 <= t <= 1 and 0 <= u <= 1 else []
    if (bx - ax) * (cy - ay) != (by - ay) * (cx - ax):
        return []
    length = (bx - ax) ** 2 + (by - ay) ** 2
    places = sorted(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length for x, y in ((cx, cy), (dx, dy)))
    low, high = max(Fraction(0), places[0]), min(Fraction(1), places[1])
    return [(ax + t * (bx - ax), ay + t * (by - ay)) for t in sorted({low, high})] if low <= high else []


def is_simple(points: Points) -> bool:
    """Neighbouring sides share their corner alone, other sides nothing."""
    sides = list(zip(points, points[1:] + points[:1], strict=True))
    if any(start == end for start, end in sides):
        return False
    for (i, first), (j, second) in itertools.combinations(enumerate(sides), 2):
        corners = {end for end in first if end in second}
        shared = set(meet(first, second))
        neighbours = j == i + 1 or (i == 0 and j == len(sides) - 1)
        if shared != ({(Fraction(x), Fraction(y)) for x, y in corners} if neighbours else set()):
            return False
    return True


GRID = st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])] * 2)


@given(st.lists(GRID, min_size=3, max_size=6))
def test_simple_polygons_and_no_others_are_accepted(points: Points) -> None:
    assert is_accepted(points) == is_simple(points)
