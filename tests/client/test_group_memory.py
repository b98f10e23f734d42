"""With `remember_s` the whole group knows what was handled, across consumers and restarts."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from gate.client.memory import GroupMemory, Recent
from gate.publish.event import FaceEvent

Make = Callable[..., FaceEvent]
Open = Callable[..., Any]


def take(stream: Any, count: int) -> list[int]:
    numbers = []
    for face in stream:
        numbers.append(face.event.seq)
        if len(numbers) == count:
            stream.stop()
    return numbers


@pytest.mark.parametrize("consumer", ["r1", "r2"])
def test_an_event_that_was_handled_is_not_given_again_after_a_restart_or_elsewhere(
    server: Any, open_stream: Open, make_face: Make, consumer: str
) -> None:
    server.add(make_face(0))
    assert take(open_stream(remember_s=60), 1) == [0]
    server.add(make_face(0), make_face(1))
    stream = open_stream(remember_s=60, consumer=consumer)
    assert take(stream, 1) == [1]
    assert stream.counts["duplicate"] == 1
    assert server.pending() == 0


def test_without_it_a_restart_forgets(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    assert take(open_stream(), 1) == [0]
    server.add(make_face(0), make_face(1))
    assert take(open_stream(), 2) == [0, 1]


def test_two_consumers_are_never_at_work_on_two_copies_of_one_event(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(0), make_face(0), make_face(1))
    slow, quick = open_stream(remember_s=60, prefetch=1), open_stream(remember_s=60, consumer="r2", claim_idle_s=0.3)
    at_work = iter(slow)
    assert next(at_work).event.seq == 0
    faces = iter(quick)
    assert next(faces).event.seq == 1
    assert quick.counts["postponed"] == 1
    slow.stop()
    assert list(at_work) == []
    threading.Timer(1.0, quick.stop).start()
    assert list(faces) == []
    assert quick.counts["duplicate"] == 1
    assert server.pending() == 0


def test_what_a_dead_consumer_had_begun_is_taken_over(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    next(iter(open_stream(remember_s=60, consumer="dead")))
    assert take(open_stream(remember_s=60, consumer="alive", claim_idle_s=0.05), 1) == [0]
    assert server.pending() == 0


def test_a_body_that_raised_gets_its_face_again(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    stream = open_stream(remember_s=60)
    next(iter(stream))
    assert take(stream, 1) == [0]


def test_keys_expire_and_are_few(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    assert take(open_stream(remember_s=60), 1) == [0]
    (key,) = server.command("KEYS", "*handled*")
    assert key.decode() == f"{{facegate:faces}}:handled:recognizers:{make_face(0).event_id}"
    assert 0 < server.command("PTTL", key) <= 60_000


def test_a_key_lives_in_the_slot_of_its_stream() -> None:
    from redis.crc import key_slot

    memory = GroupMemory("g", keep_s=1, lease_s=1)
    for stream in ("facegate:faces", "faces:{site}:door", "odd{"):
        assert key_slot(memory.key(stream, "id").encode()) == key_slot(stream.encode()), stream


def test_the_newest_ids_are_kept() -> None:
    recent = Recent(2)
    for event_id in ("a", "b", "a", "c"):
        recent.add(event_id)
    assert [event_id in recent for event_id in ("a", "b", "c")] == [True, False, True]


def test_faces_that_a_fetched_one_improves_on_are_dropped_where_asked(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    chain = [make_face(0), make_face(1, supersedes=make_face(0).event_id), make_face(2)]
    server.add(*chain, make_face(3, supersedes=make_face(1).event_id, final=True))
    stream = open_stream(skip_superseded=True)
    assert take(stream, 2) == [2, 3]
    assert stream.counts["superseded"] == 2
    assert server.pending() == 0
    assert take(open_stream(group="all"), 4) == [0, 1, 2, 3]


def test_without_a_group_there_is_nobody_to_share_with(open_stream: Open) -> None:
    with pytest.raises(ValueError, match="needs a group"):
        open_stream(group=None, remember_s=60)
