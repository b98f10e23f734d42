"""The queue gives up the least important event first, and says so."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.publish.event import FaceEvent, VisitEndEvent
from gate.publish.waiting import DropReason, Waiting, WaitingEvents

Make = Callable[..., FaceEvent]


def numbers(queue: WaitingEvents) -> list[int]:
    return [waiting.event.seq for waiting in queue.take(99) if isinstance(waiting.event, FaceEvent)]


def test_events_come_out_in_the_order_they_went_in(make_face: Make) -> None:
    queue = WaitingEvents(5)
    for number in range(5):
        assert queue.push(Waiting(make_face(number, final=number % 2 == 0), 10)) == []
    assert queue.size_bytes == 50
    assert [waiting.event.event_id[-1] for waiting in queue.take(2)] == ["0", "1"]
    assert numbers(queue) == [2, 3, 4]
    assert queue.size_bytes == 0


def test_best_shots_outlive_faces_that_may_still_be_replaced(make_face: Make) -> None:
    queue = WaitingEvents(3)
    for number, final in enumerate([True, False, False]):
        queue.push(Waiting(make_face(number, final=final), 1))
    assert queue.push(Waiting(make_face(3, final=True), 1)) == [DropReason.IMPROVABLE_OVERFLOW]
    assert queue.push(Waiting(make_face(4, final=True), 1)) == [DropReason.IMPROVABLE_OVERFLOW]
    assert queue.push(Waiting(make_face(5, final=True), 1)) == [DropReason.FINAL_OVERFLOW]
    assert numbers(queue) == [3, 4, 5]


def test_visit_ends_outlive_faces_that_may_still_be_replaced(
    make_face: Make, make_visit_end: Callable[..., VisitEndEvent]
) -> None:
    queue = WaitingEvents(2)
    queue.push(Waiting(make_visit_end(0), 1))
    queue.push(Waiting(make_face(1), 1))
    queue.push(Waiting(make_face(2), 1))
    assert [waiting.event.type for waiting in queue.take(9)] == ["visit_end", "face"]


def test_a_large_event_takes_the_place_of_as_many_as_it_needs(make_face: Make) -> None:
    queue = WaitingEvents(99, 100)
    for number, final in enumerate([True, False, False, True]):
        assert queue.push(Waiting(make_face(number, final=final), 25)) == []
    assert queue.push(Waiting(make_face(4), 60)) == [
        DropReason.IMPROVABLE_OVERFLOW,
        DropReason.IMPROVABLE_OVERFLOW,
        DropReason.FINAL_OVERFLOW,
    ]
    assert queue.size_bytes == 85
    assert numbers(queue) == [3, 4]


def test_an_event_larger_than_the_queue_waits_alone(make_face: Make) -> None:
    queue = WaitingEvents(99, 100)
    queue.push(Waiting(make_face(0), 10))
    assert len(queue.push(Waiting(make_face(1), 101))) == 1
    assert len(queue.push(Waiting(make_face(2), 1))) == 1
    assert numbers(queue) == [2]


def test_no_further_event_is_taken_when_enough_bytes_are_together(make_face: Make) -> None:
    queue = WaitingEvents(9)
    for number in range(4):
        queue.push(Waiting(make_face(number), 10))
    assert queue.take(9, 0) == []
    assert len(queue.take(9, 11)) == 2
    assert len(queue.take(9, 10)) == 1
    assert len(queue.take(9, 1)) == 1


@pytest.mark.parametrize("room", [(0, 1), (1, 0), (1, float("nan"))])
def test_a_queue_without_room_is_refused(room: tuple[int, float]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        WaitingEvents(*room)


@given(
    capacity=st.integers(1, 6),
    capacity_bytes=st.integers(1, 99),
    steps=st.lists(
        st.one_of(st.booleans().map(lambda final: ("push", final)), st.integers(1, 3).map(lambda n: ("take", n)))
    ),
)
def test_every_event_is_taken_in_order_or_counted_as_dropped(
    make_face: Make, capacity: int, capacity_bytes: int, steps: list[tuple[str, Any]]
) -> None:
    queue = WaitingEvents(capacity, capacity_bytes)
    pushed = dropped = 0
    taken: list[int] = []
    for kind, value in steps:
        if kind == "push":
            dropped += len(queue.push(Waiting(make_face(pushed, final=value), pushed)))
            pushed += 1
        else:
            taken += [waiting.size_bytes for waiting in queue.take(value)]
        assert len(queue) <= capacity
        assert queue.size_bytes <= capacity_bytes or len(queue) == 1
    taken += [waiting.size_bytes for waiting in queue.take(len(queue))]
    assert taken == sorted(set(taken))
    assert len(taken) + dropped == pushed
    assert queue.size_bytes == 0
