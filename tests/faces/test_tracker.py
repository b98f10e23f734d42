import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.faces.align import TEMPLATE
from gate.faces.tracker import Tracker
from gate.types import Face

FRAME_S = 0.04


def face(x: float, y: float, w: float = 60.0, h: float = 80.0, score: float = 0.9) -> Face:
    box = np.array([x, y, w, h], dtype=np.float32)
    return Face(box_xywh=box, landmarks=(TEMPLATE / 112 * box[2:] + box[:2]).astype(np.float32), score=score)


def numbers(tracker: Tracker, faces: list[Face], t_s: float) -> list[int]:
    return [item.track for item in tracker.update(faces, t_s).tracked]


def test_somebody_who_walks_keeps_one_number() -> None:
    tracker = Tracker()
    seen = {numbers(tracker, [face(100 + 5 * i, 200)], i * FRAME_S)[0] for i in range(50)}
    assert seen == {1}


def test_faces_come_back_in_the_order_they_were_given() -> None:
    tracker = Tracker()
    people = [face(100, 100), face(400, 100), face(700, 100)]
    first = tracker.update(people, 0.0)
    assert [item.track for item in first.tracked] == [1, 2, 3]
    again = tracker.update(people[::-1], FRAME_S)
    assert [item.face for item in again.tracked] == people[::-1]
    assert [item.track for item in again.tracked] == [3, 2, 1]


def test_each_tracker_counts_for_itself() -> None:
    one, other = Tracker(), Tracker()
    assert numbers(one, [face(0, 0), face(300, 0)], 0.0) == [1, 2]
    assert numbers(other, [face(0, 0)], 0.0) == [1]


@pytest.mark.parametrize("noise_px", [0.0, 2.0])
def test_two_people_who_cross_keep_their_numbers(noise_px: float) -> None:
    rng = np.random.default_rng(7)
    tracker = Tracker()
    left_to_right, right_to_left = set(), set()
    for i in range(75):
        dx, dy = rng.normal(0, noise_px, 2) if noise_px else (0.0, 0.0)
        a, b = face(100 + 8 * i + dx, 200 + dy), face(700 - 8 * i - dx, 215 - dy)
        track_a, track_b = numbers(tracker, [a, b], i * FRAME_S)
        left_to_right.add(track_a)
        right_to_left.add(track_b)
    assert (left_to_right, right_to_left) == ({1}, {2})


def test_one_who_is_hidden_behind_the_other_while_crossing_comes_back_as_himself() -> None:
    tracker = Tracker()
    for i in range(75):
        a, b = face(100 + 8 * i, 200), face(700 - 8 * i, 215)
        hidden = abs((100 + 8 * i) - (700 - 8 * i)) < 40
        found = numbers(tracker, [a] if hidden else [a, b], i * FRAME_S)
        assert found == ([1] if hidden else [1, 2])


@pytest.mark.parametrize("frames_away", [2, 12, 24])
def test_a_gap_shorter_than_the_limit_is_bridged_at_walking_pace(frames_away: int) -> None:
    tracker = Tracker(max_gap_s=1.0)
    for i in range(80):
        away = 40 <= i < 40 + frames_away
        found = numbers(tracker, [] if away else [face(100 + 3 * i, 200)], i * FRAME_S)
        assert found == ([] if away else [1])


def test_a_gap_longer_than_the_limit_ends_the_track_once_and_starts_another() -> None:
    tracker = Tracker(max_gap_s=1.0)
    tracker.update([face(100, 100)], 0.0)
    assert tracker.update([], 1.0).ended == ()
    assert tracker.update([], 1.001).ended == (1,)
    assert tracker.update([], 5.0).ended == ()
    assert numbers(tracker, [face(100, 100)], 5.1) == [2]


def test_a_late_return_to_the_same_place_is_a_new_track_even_without_frames_between() -> None:
    tracker = Tracker(max_gap_s=1.0)
    tracker.update([face(100, 100)], 0.0)
    update = tracker.update([face(100, 100)], 60.0)
    assert update.ended == (1,)
    assert [item.track for item in update.tracked] == [2]


def test_flush_ends_everybody_once_and_numbers_go_on() -> None:
    tracker = Tracker()
    tracker.update([face(0, 0), face(300, 0)], 0.0)
    assert tracker.flush() == (1, 2)
    assert tracker.flush() == ()
    assert numbers(tracker, [face(0, 0)], 0.1) == [3]


def test_time_that_stands_still_or_goes_back_neither_moves_nor_ages_anybody() -> None:
    tracker = Tracker(max_gap_s=1.0)
    for t_s in (100.0, 100.0, 99.0, 5.0, 5.04, -3.0):
        assert numbers(tracker, [face(100, 100)], t_s) == [1]
    # After the jump, time goes on from there.
    assert tracker.update([], -2.1).ended == ()
    assert tracker.update([], -1.9).ended == (1,)


@pytest.mark.parametrize("t_s", [math.nan, math.inf])
def test_time_that_is_no_number_is_refused(t_s: float) -> None:
    with pytest.raises(ValueError, match="t_s must be finite"):
        Tracker().update([], t_s)


def test_somebody_running_past_a_slow_camera_is_one_track() -> None:
    # 70 pixels between frames with a face of 95: what a crowd video shows at 12 frames a second.
    tracker = Tracker()
    seen = {numbers(tracker, [face(300 + 71 * i, 700, 95, 125)], i * 0.08)[0] for i in range(15)}
    assert seen == {1}


def test_a_face_elsewhere_is_somebody_else() -> None:
    tracker = Tracker()
    tracker.update([face(100, 100)], 0.0)
    assert numbers(tracker, [face(400, 100)], FRAME_S) == [2]


def test_a_face_of_quite_another_size_at_the_same_place_is_somebody_else() -> None:
    tracker = Tracker()
    tracker.update([face(100, 100, 200, 260)], 0.0)
    assert numbers(tracker, [face(180, 200, 30, 40)], FRAME_S) == [2]


def test_a_stricter_overlap_splits_what_a_loose_one_joins() -> None:
    loose, strict = Tracker(min_iou=0.1), Tracker(min_iou=0.9)
    for tracker in (loose, strict):
        tracker.update([face(100, 100)], 0.0)
    moved = [face(125, 100)]
    assert numbers(loose, moved, 0.001) == [1]
    assert numbers(strict, moved, 0.001) == [2]


def test_fifty_people_at_once_keep_their_numbers() -> None:
    rng = np.random.default_rng(1)
    start = np.array([(x * 180.0, y * 200.0) for x in range(10) for y in range(5)])
    velocity = rng.uniform(-1.0, 1.0, start.shape)
    tracker = Tracker()
    for i in range(40):
        places = start + velocity * i + rng.normal(0, 1.0, start.shape)
        order = rng.permutation(50)
        found = numbers(tracker, [face(*places[k]) for k in order], i * FRAME_S)
        if i == 0:
            owner = dict(zip(order.tolist(), found, strict=True))
        assert [owner[k] for k in order.tolist()] == found


def test_memory_stays_bounded_when_time_stands_still_and_faces_keep_changing() -> None:
    tracker = Tracker()
    ended: list[int] = []
    for i in range(40):
        ended += tracker.update([face(200.0 * k, 200.0 * i) for k in range(20)], 0.0).ended
    assert len(tracker._tracks) == 512
    assert ended == list(range(1, 800 - 512 + 1))


def test_a_frame_with_more_faces_than_the_bound_loses_none_of_them() -> None:
    tracker = Tracker()
    crowd = [face(200.0 * (k % 30), 200.0 * (k // 30)) for k in range(600)]
    assert numbers(tracker, crowd, 0.0) == list(range(1, 601))
    assert numbers(tracker, crowd, FRAME_S) == list(range(1, 601))


step = st.tuples(
    st.lists(st.tuples(st.floats(-100, 700), st.floats(-100, 500), st.floats(1, 300), st.floats(1, 300)), max_size=6),
    st.floats(-1.0, 2.0),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(step, max_size=12))
def test_every_track_is_in_a_frame_once_at_most_and_ends_exactly_once(
    story: list[tuple[list[tuple[float, float, float, float]], float]],
) -> None:
    tracker, t_s = Tracker(), 0.0
    born: set[int] = set()
    ended: list[int] = []
    for boxes, dt_s in story:
        t_s += dt_s
        update = tracker.update([face(*box) for box in boxes], t_s)
        found = [item.track for item in update.tracked]
        assert len(found) == len(set(found)) == len(boxes)
        ended += update.ended
        assert not set(found) & set(ended)
        born |= set(found)
    ended += tracker.flush()
    assert sorted(ended) == sorted(born)


def test_after_a_cut_a_face_near_the_last_one_is_somebody_else() -> None:
    tracker = Tracker()
    for i in range(10):
        tracker.update([face(100, 100)], i * FRAME_S)
    near = face(125, 100)
    assert numbers(tracker, [near], 10 * FRAME_S) == [1]
    after = tracker.update([face(150, 100)], 11 * FRAME_S, changed=True)
    assert [item.track for item in after.tracked] == [2]
    assert after.ended == (1,)


def test_who_stands_still_while_the_light_goes_on_keeps_the_number_and_who_is_gone_has_left() -> None:
    tracker = Tracker()
    for i in range(10):
        tracker.update([face(100, 100), face(400, 100)], i * FRAME_S)
    after = tracker.update([face(104, 98)], 10 * FRAME_S, changed=True)
    assert [item.track for item in after.tracked] == [1]
    assert after.ended == (2,)
    assert numbers(tracker, [face(104, 98), face(400, 100)], 11 * FRAME_S) == [1, 3]
