"""A consumer handles every face once, whatever dies in between; every test holds for threads and for asyncio."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis

from gate.client import FaceStream, ReceivedFace, ReceivedVisitEnd
from gate.errors import EventError, PublishError
from gate.publish.connect import Client, open_client
from gate.publish.event import FaceEvent, UnknownSchemaError, VisitEndEvent, encode

Make = Callable[..., FaceEvent]
Open = Callable[..., FaceStream]


def take(stream: FaceStream, count: int) -> list[int]:
    """Numbers of the next `count` faces, all acknowledged."""
    numbers = []
    for face in stream:
        numbers.append(face.event.seq)
        if len(numbers) == count:
            stream.stop()
    return numbers


def first(stream: FaceStream) -> ReceivedFace:
    """The next face, not acknowledged."""
    return next(iter(stream))


def test_a_face_arrives_with_its_picture_and_everything_of_its_event(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(200, context=make_face(7).crop))
    face = first(open_stream())
    assert face.event == make_face(200, context=make_face(7).crop)
    assert face.crop.shape == (112, 112, 3)
    assert np.abs(face.crop.astype(int) - (200, 0, 0)).max() < 6
    assert face.context is not None
    assert face.context.shape == (112, 112, 3)
    assert (face.camera, face.quality, face.event_id) == ("door", 71.5, make_face(200).event_id)
    assert (face.visit, face.final, face.captured_ms) == (make_face().visit, False, 1_700_000_000_200)
    assert abs(face.entry.stored_ms - time.time() * 1000) < 60_000


def test_a_broken_picture_is_the_bodys_business_and_told_as_such(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(1, crop=make_face(1).crop[:40]))
    face = first(open_stream())
    with pytest.raises(EventError, match="JPEG"):
        _ = face.crop


def test_a_face_is_acknowledged_when_the_body_comes_back(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0), make_face(1))
    stream = open_stream(prefetch=1)
    faces = iter(stream)
    next(faces)
    assert server.pending() == 1
    next(faces)
    assert server.pending() == 1
    stream.stop()
    assert list(faces) == []
    assert server.pending() == 0


def test_a_body_that_raises_gets_its_face_again(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(3)))
    seen: list[int] = []

    def work(stream: FaceStream) -> None:
        for face in stream:
            seen.append(face.event.seq)
            if seen == [0, 1]:
                raise RuntimeError("recognizer failed")
            if len(seen) == 4:
                stream.stop()

    stream = open_stream()
    with pytest.raises(RuntimeError):
        work(stream)
    assert server.pending() == 2
    work(stream)
    assert seen == [0, 1, 1, 2]
    assert server.pending() == 0


def test_a_restarted_consumer_first_gets_what_it_had_not_finished(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(*map(make_face, range(3)))
    first(open_stream())
    server.add(make_face(3))
    assert take(open_stream(), 4) == [0, 1, 2, 3]


def test_leaving_the_with_block_acknowledges_the_last_face(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    with open_stream() as stream:
        for _ in stream:
            break
    assert server.pending() == 0


def test_an_exception_that_leaves_the_with_block_acknowledges_nothing(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(0))

    def work() -> None:
        with open_stream() as stream:
            for _ in stream:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        work()
    assert server.pending() == 1


def test_visit_ends_are_skipped_among_faces_and_given_among_events(
    server: Any, open_stream: Open, make_face: Make, make_visit_end: Callable[..., VisitEndEvent]
) -> None:
    server.add(make_visit_end(0), make_face(1))
    assert take(open_stream(), 1) == [1]
    assert server.pending() == 0
    events = open_stream(group="doors").events()
    end, face = next(events), next(events)
    assert isinstance(end, ReceivedVisitEnd)
    assert isinstance(face, ReceivedFace)
    assert end.event == make_visit_end(0)
    assert (end.camera, end.event_id) == ("door", make_visit_end(0).event_id)


def test_every_face_goes_to_one_consumer_of_the_group(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(4)))
    first_two = take(open_stream(prefetch=1), 2)
    the_others = take(open_stream(consumer="r2", prefetch=1), 2)
    assert first_two + the_others == [0, 1, 2, 3]


def test_what_a_dead_consumer_held_is_taken_over(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(5)))
    first(open_stream(consumer="dead"))
    alive = open_stream(consumer="alive", claim_idle_s=0.1, prefetch=2)
    assert take(alive, 5) == [0, 1, 2, 3, 4]
    assert server.pending() == 0


def test_what_a_live_consumer_holds_is_left_alone(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    first(open_stream(consumer="slow"))
    server.add(make_face(1))
    assert take(open_stream(consumer="quick", claim_idle_s=60), 1) == [1]
    assert server.pending() == 1


def test_a_slow_consumer_leaves_what_another_took_over_meanwhile(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(*map(make_face, range(4)))
    seen = []
    stream = open_stream(consumer="slow", claim_idle_s=0.1)
    for face in stream:
        seen.append(face.event.seq)
        if len(seen) == 1:
            time.sleep(0.06)
            ids = [entry_id for entry_id, _ in server.command("XRANGE", "facegate:faces", "-", "+")]
            server.command("XCLAIM", "facegate:faces", "recognizers", "other", 0, ids[1], ids[2])
        else:
            stream.stop()
    assert seen == [0, 3]


def test_the_same_event_twice_is_given_once(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0), make_face(1), make_face(0), make_face(0), make_face(2))
    assert take(open_stream(), 3) == [0, 1, 2]
    assert server.pending() == 0


def test_the_memory_of_handled_events_is_bounded(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0), make_face(1), make_face(2), make_face(0))
    assert take(open_stream(remember=2), 4) == [0, 1, 2, 0]


def test_an_event_whose_body_raised_is_not_taken_for_handled(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0), make_face(0), make_face(1))
    stream = open_stream()
    first(stream)
    assert take(stream, 2) == [0, 1]
    assert server.pending() == 0


def test_a_new_group_begins_now_unless_told_otherwise(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    stream = open_stream(from_start=False)
    timer = threading.Timer(0.1, lambda: server.add(make_face(1)))
    timer.start()
    assert take(stream, 1) == [1]
    timer.join()


def test_without_a_group_everything_from_now_on_is_seen(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    stream = open_stream(group=None, consumer=None, from_start=False)
    timer = threading.Timer(0.1, lambda: server.add(make_face(1), make_face(2)))
    timer.start()
    assert take(stream, 2) == [1, 2]
    timer.join()
    assert server.command("XINFO", "GROUPS", "facegate:faces") == []


def test_without_a_group_the_past_can_be_seen_as_well(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(40)))
    assert take(open_stream(group=None, from_start=True), 40) == list(range(40))


def test_several_streams_are_read_as_one(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0), stream="faces:door")
    server.add(make_face(1, camera="lobby"), stream="faces:lobby")
    assert sorted(take(open_stream(stream=["faces:door", "faces:lobby"]), 2)) == [0, 1]
    assert server.pending(stream="faces:door") == server.pending(stream="faces:lobby") == 0
    assert sorted(take(open_stream(group=None, stream=["faces:door", "faces:lobby"]), 2)) == [0, 1]


@pytest.mark.parametrize("group", ["recognizers", None])
def test_a_server_that_comes_back_empty_is_read_from_its_beginning(
    server: Any, open_stream: Open, make_face: Make, group: str | None
) -> None:
    stream = open_stream(group=group)
    server.add(make_face(0))
    seen = []
    for face in stream:
        seen.append(face.event.seq)
        if face.event.seq == 0:
            server.stop()
            threading.Timer(0.1, lambda: (server.start(), server.add(make_face(1)))).start()
        else:
            stream.stop()
    assert seen == [0, 1]


def test_a_deleted_stream_is_taken_up_again(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    stream = open_stream()
    seen = []
    for face in stream:
        seen.append(face.event.seq)
        if face.event.seq == 0:
            server.command("DEL", "facegate:faces")
            server.add(make_face(1))
        else:
            stream.stop()
    assert seen == [0, 1]


class CutOnce:
    """A client that loses its connection at the first command with `word`, which the server has done where `done`."""

    def __init__(self, inner: Client, word: str, *, done: bool) -> None:
        self._inner = inner
        self._word: str | None = word
        self._done = done

    def execute_command(self, *args: Any, **options: Any) -> Any:
        if self._word in args:
            self._word = None
            if self._done:
                self._inner.execute_command(*args, **options)
            raise redis.ConnectionError("Connection closed by server.")
        return self._inner.execute_command(*args, **options)

    def pipeline(self, *, transaction: bool) -> Any:
        return self._inner.pipeline(transaction=transaction)

    def disconnect(self) -> None:
        self._inner.disconnect()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("word", ["XACK", "XREADGROUP", ">", "XGROUP", "XAUTOCLAIM"])
def test_a_connection_that_breaks_anywhere_loses_and_doubles_nothing(
    server: Any, open_stream: Open, make_face: Make, word: str, done: bool
) -> None:
    server.add(*map(make_face, range(4)))

    def connect(*args: Any) -> Client:
        return CutOnce(open_client(*args), word, done=done)

    assert take(open_stream(connect=connect, prefetch=2), 4) == [0, 1, 2, 3]
    assert server.pending() == 0


def test_entries_that_are_no_events_are_skipped_and_counted(
    server: Any, open_stream: Open, make_face: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.add_entry({"hello": b"world"})
    server.add_entry({**encode(make_face(1)), "quality": b"nan"})
    server.add(make_face(2))
    stream = open_stream()
    assert take(stream, 1) == [2]
    assert stream.counts["dead"] == 2
    assert server.pending() == 0
    assert "quality: " in caplog.text


def test_entries_trimmed_before_they_were_handled_are_let_go(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(*map(make_face, range(3)))
    first(open_stream())
    server.command("XTRIM", "facegate:faces", "MAXLEN", 1)
    stream = open_stream()
    assert take(stream, 1) == [2]
    assert stream.counts["trimmed"] == 2
    assert server.pending() == 0


def test_a_newer_schema_stops_the_consumer_instead_of_skipping_faces(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add_entry({**encode(make_face(0)), "schema": b"2"})
    with pytest.raises(UnknownSchemaError, match="Update"):
        first(open_stream())
    assert server.pending() == 1


def test_a_wrong_password_is_raised_at_once_and_not_shown(server: Any, open_stream: Open) -> None:
    server.command("CONFIG", "SET", "requirepass", "right")
    with pytest.raises(PublishError, match="password") as caught:
        first(open_stream(password="hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("group", "commands"),
    [
        ("recognizers", ["+ping", "+xgroup|create", "+xreadgroup", "+xack", "+xautoclaim", "+xclaim", "+xpending"]),
        (None, ["+ping", "+xread", "+xrevrange"]),
    ],
)
def test_a_user_with_the_least_commands_is_enough(
    server: Any, open_stream: Open, make_face: Make, group: str | None, commands: list[str]
) -> None:
    server.add(make_face(0))
    server.command("ACL", "SETUSER", "default", "resetpass", "nopass", "-@all", *commands, "+acl")
    stream = open_stream(group=group, from_start=True)
    stream.check()
    assert take(stream, 1) == [0]


def test_a_key_that_is_no_stream_is_raised_at_once(server: Any, open_stream: Open) -> None:
    server.command("SET", "facegate:faces", "text")
    with pytest.raises(PublishError, match="not a stream"):
        first(open_stream())
    with pytest.raises(PublishError, match="not a stream"):
        first(open_stream(group=None))


def test_a_server_that_is_not_there_yet_is_waited_for(
    server: Any, open_stream: Open, make_face: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    stream = open_stream()
    with pytest.raises(PublishError, match="nothing listens"):
        stream.check()
    threading.Timer(0.1, lambda: (server.start(), server.add(make_face(0)))).start()
    assert take(stream, 1) == [0]
    assert "nothing listens" in caplog.text


def test_stop_ends_a_loop_that_waits(open_stream: Open) -> None:
    stream = open_stream()
    timer = threading.Timer(0.05, stream.stop)
    timer.start()
    assert list(stream) == []
    timer.join()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"consumer": None}, "needs a consumer"),
        ({"stream": []}, "name the streams"),
        ({"stream": "faces:{camera}"}, "name the streams"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_built(open_stream: Open, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        open_stream(**options)
