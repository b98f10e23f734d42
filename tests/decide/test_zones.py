import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import ZonesConfig
from gate.decide.zones import Approach, in_zone, inside, trend
from gate.types import Face

SIDE = 240
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
RIGHT_HALF = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
TOP = ((0.0, 0.0), (1.0, 0.0), (1.0, 0.3), (0.0, 0.3))


@st.composite
def stars(draw: st.DrawFn) -> list[tuple[int, int]]:
    """Corners of a simple polygon on a raster: points around a centre, each in its own direction."""
    count = draw(st.integers(3, 9))
    offsets = draw(st.lists(st.floats(0.05, 0.95), min_size=count, max_size=count))
    radii = draw(st.lists(st.integers(12, 110), min_size=count, max_size=count))
    angles = [2 * math.pi * (place + offset) / count for place, offset in enumerate(offsets)]
    return [
        (round(SIDE / 2 + radius * math.cos(angle)), round(SIDE / 2 + radius * math.sin(angle)))
        for radius, angle in zip(radii, angles, strict=True)
    ]


@settings(max_examples=60)
@given(stars())
def test_inside_is_what_a_filled_raster_says(corners: list[tuple[int, int]]) -> None:
    raster = np.zeros((SIDE, SIDE), np.uint8)
    cv2.fillPoly(raster, [np.array(corners, np.int32)], 1)
    # On the outline itself the raster rounds; a pixel away from it there is no doubt.
    outline = np.zeros((SIDE, SIDE), np.uint8)
    cv2.polylines(outline, [np.array(corners, np.int32)], isClosed=True, color=1, thickness=3)
    polygon = [(x / SIDE, y / SIDE) for x, y in corners]
    for y in range(0, SIDE, 7):
        for x in range(0, SIDE, 7):
            if not outline[y, x]:
                assert inside(polygon, x / SIDE, y / SIDE) == bool(raster[y, x]), (x, y)


@given(stars(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 8))
def test_inside_depends_neither_on_the_first_corner_nor_on_the_way_round(
    corners: list[tuple[int, int]], x: float, y: float, turn: int
) -> None:
    polygon = [(a / SIDE, b / SIDE) for a, b in corners]
    turn %= len(polygon)
    assert inside(polygon[turn:] + polygon[:turn], x, y) == inside(polygon, x, y) == inside(polygon[::-1], x, y)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_of_zones_that_share_a_side_a_point_is_in_exactly_one(x: float, y: float) -> None:
    assert inside(LEFT_HALF, x, y) != inside(RIGHT_HALF, x, y)


def face_at(x: float, y: float, height_px: float = 40.0) -> Face:
    """A face whose box has its centre there."""
    width_px = height_px * 0.8
    box = np.array([x - width_px / 2, y - height_px / 2, width_px, height_px], np.float32)
    return Face(box, np.zeros((5, 2), np.float32), 0.9)


@pytest.mark.parametrize(
    ("include", "exclude", "counts"),
    [
        ((), (), [True, True, True, True]),
        ((LEFT_HALF,), (), [True, False, True, False]),
        ((), (TOP,), [False, False, True, True]),
        ((LEFT_HALF,), (TOP,), [False, False, True, False]),
        ((LEFT_HALF, RIGHT_HALF), (), [True, True, True, True]),
    ],
)
def test_a_face_counts_in_one_included_zone_and_in_no_excluded_one(
    include: tuple[tuple[tuple[float, float], ...], ...],
    exclude: tuple[tuple[tuple[float, float], ...], ...],
    counts: list[bool],
) -> None:
    zones = ZonesConfig(include=include, exclude=exclude)
    corners = [(100, 80), (500, 80), (100, 400), (500, 400)]
    assert [in_zone(zones, face_at(x, y), 640, 480) for x, y in corners] == counts


def test_the_centre_of_the_box_decides_however_far_the_box_reaches() -> None:
    zones = ZonesConfig(include=(LEFT_HALF,))
    assert in_zone(zones, face_at(319, 240, height_px=300), 640, 480)
    assert not in_zone(zones, face_at(321, 240, height_px=300), 640, 480)


def test_a_face_whose_centre_is_outside_the_picture_is_in_no_zone() -> None:
    assert not in_zone(ZonesConfig(include=(LEFT_HALF, RIGHT_HALF)), face_at(-5, 240), 640, 480)


def test_a_box_that_is_not_a_number_is_nowhere() -> None:
    zones = ZonesConfig(exclude=(TOP,))
    assert not in_zone(zones, face_at(math.nan, 240), 640, 480)


def walk(
    approach: Approach, heights_px: list[float], *, fps: float = 25.0, start_s: float = 0.0, track: int = 1
) -> list[bool]:
    """Show one box after the other; what was known after each."""
    known = []
    for number, height_px in enumerate(heights_px):
        approach.see(track, face_at(100, 100, height_px), start_s + number / fps)
        known.append(approach.receding(track))
    return known


def distances(start_m: float, speed_ms: float, seconds: float, fps: float = 25.0) -> list[float]:
    """Heights of the box of somebody who walks; 400 pixels at a metre."""
    return [400 / (start_m + speed_ms * number / fps) for number in range(int(seconds * fps))]


@pytest.mark.parametrize("fps", [5.0, 12.5, 25.0, 120.0])
@pytest.mark.parametrize("jitter", [0.0, 0.03])
def test_who_walks_away_is_told_after_half_a_window_or_a_whole_one(fps: float, jitter: float) -> None:
    rng = np.random.default_rng(1)
    heights = [height * math.exp(jitter * rng.standard_normal()) for height in distances(3, 1.2, 3, fps)]
    known = walk(Approach(1.0), heights, fps=fps)
    assert not any(known[: int(fps * 0.5)])
    late = known[math.ceil(fps * 1.0) :]
    assert sum(late) >= 0.9 * len(late)


@pytest.mark.parametrize("fps", [5.0, 25.0])
def test_who_comes_closer_or_stands_still_is_never_told_to_leave(fps: float) -> None:
    assert not any(walk(Approach(1.0), distances(6, -1.2, 4, fps), fps=fps))
    assert not any(walk(Approach(1.0), [120.0] * int(5 * fps), fps=fps))


def test_jitter_alone_hardly_ever_looks_like_leaving() -> None:
    rng = np.random.default_rng(2)
    known = walk(Approach(1.0), [120 * math.exp(0.04 * rng.standard_normal()) for _ in range(25 * 120)])
    assert sum(known) < 0.02 * len(known)


def test_a_few_boxes_that_are_far_off_change_nothing() -> None:
    coming = distances(6, -1.2, 3)
    coming[40] = coming[60] = 40.0
    assert not any(walk(Approach(1.0), coming))
    leaving = distances(3, 1.2, 3)
    leaving[40] = leaving[60] = 500.0
    assert all(walk(Approach(1.0), leaving)[30:])


def test_who_turns_back_is_told_so_within_a_window() -> None:
    approach = Approach(1.0)
    assert walk(approach, distances(3, 1.2, 2))[-1]
    assert not any(walk(approach, distances(5.4, -1.2, 2), start_s=2.0)[25:])


def test_a_slow_camera_gives_too_few_sights_to_tell() -> None:
    assert not any(walk(Approach(1.0), distances(3, 1.2, 10, fps=2.0), fps=2.0))
    assert any(walk(Approach(4.0), distances(3, 1.2, 10, fps=2.0), fps=2.0))


def test_tracks_are_told_apart_and_forgotten_when_they_end() -> None:
    approach = Approach(1.0)
    assert walk(approach, distances(3, 1.2, 2), track=1)[-1]
    assert not approach.receding(2)
    approach.end([1, 7])
    assert not approach.receding(1)
    assert walk(approach, distances(3, 1.2, 2), track=3)[-1]
    approach.end_all()
    assert not approach.receding(3)


def test_a_file_that_begins_again_forgets_its_first_time() -> None:
    approach = Approach(1.0)
    assert walk(approach, distances(3, 1.2, 2), start_s=100.0)[-1]
    assert not any(walk(approach, distances(3, 1.2, 2), start_s=0.0)[:12])
    assert approach.receding(1)


def test_a_track_keeps_a_bounded_number_of_sights_however_fast_the_camera() -> None:
    approach = Approach(1.0)
    for number in range(5000):
        approach.see(1, face_at(100, 100), number / 1000)
    assert len(approach._sights[1]) <= 65


@pytest.mark.parametrize("height_px", [0.0, -3.0, math.nan])
def test_a_box_without_height_is_no_sight(height_px: float) -> None:
    approach = Approach(1.0)
    approach.see(1, face_at(10, 10, height_px), 0.0)
    assert not approach._sights


@given(st.floats(-3, 3), st.floats(-5, 5), st.integers(3, 20))
def test_the_slope_of_a_line_is_found_exactly(slope: float, offset: float, count: int) -> None:
    times = np.linspace(0.0, 2.0, count, dtype=np.float64)
    found, _ = trend(times, slope * times + offset)
    assert found == pytest.approx(slope, abs=1e-9)


def test_the_trend_of_one_moment_is_none() -> None:
    assert trend(np.zeros(4), np.arange(4.0)) == (0.0, 0.0)
