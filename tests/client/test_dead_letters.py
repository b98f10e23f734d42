"""An entry that nobody can handle is put aside with its reason, and takes nothing else along."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from gate.client.dead import DEAD_FIELDS
from gate.publish.event import FaceEvent, UnknownSchemaError, encode

Make = Callable[..., FaceEvent]
Open = Callable[..., Any]
DEAD = "facegate:faces:dead:recognizers"


def dead_letters(server: Any) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in server.command("XRANGE", DEAD, "-", "+")]


def work(stream: Any, poison: int, most: int) -> list[int]:
    """What a body handles that raises at `poison`, restarted as by a supervisor, until it has handled `most`."""
    handled: list[int] = []

    def body(number: int) -> None:
        if number == poison:
            raise RuntimeError
        handled.append(number)
        if len(handled) == most:
            stream.stop()

    while len(handled) < most:
        with suppress(RuntimeError):
            for face in stream:
                body(face.event.seq)
    return handled


def read_until_dead(server: Any, stream: Any, make_face: Make) -> list[int]:
    """What a consumer is given, one new face after another, until it has put something aside."""
    seen: list[int] = []
    faces = iter(stream)
    while not dead_letters(server):
        server.add(make_face(100 + len(seen)))
        seen.append(next(faces).event.seq)
    return seen


def test_a_face_that_was_given_too_often_is_put_aside_with_its_reason(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(make_face(0), make_face(1), make_face(2))
    stream = open_stream(max_deliveries=3)
    assert work(stream, poison=1, most=2) == [0, 2]
    assert stream.counts["dead"] == 1
    (letter,) = dead_letters(server)
    assert letter[b"dead_reason"] == b"deliveries"
    assert letter[b"dead_error"] == b"given 3 times and never acknowledged"
    assert letter[b"dead_consumer"] == b"r1"
    assert {name.encode() for name in DEAD_FIELDS} <= set(letter)
    assert server.pending() == 0


def test_its_neighbours_of_the_same_fetch_are_not_counted_along(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add(*map(make_face, range(8)))
    assert work(open_stream(max_deliveries=2, prefetch=8), poison=0, most=7) == [1, 2, 3, 4, 5, 6, 7]
    assert len(dead_letters(server)) == 1


def test_deliveries_to_consumers_that_died_count_as_well(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    for consumer in ("a", "b"):
        face = next(iter(open_stream(consumer=consumer, claim_idle_s=0.05)))
        assert face.event.seq == 0
    seen = read_until_dead(server, open_stream(consumer="c", claim_idle_s=0.05, max_deliveries=2), make_face)
    assert 0 not in seen
    assert dead_letters(server)[0][b"dead_deliveries"] == b"2"


def test_without_a_limit_a_face_is_given_for_ever(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(0))
    stream = open_stream(max_deliveries=None)
    assert [next(iter(stream)).entry.deliveries for _ in range(8)] == list(range(1, 9))


def test_a_dead_letter_can_be_read_like_any_event(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add(make_face(7))
    stream = open_stream(max_deliveries=1)
    next(iter(stream))
    server.add(make_face(8))
    assert next(iter(stream)).event == make_face(8)
    assert next(iter(open_stream(stream=DEAD, group="again"))).event == make_face(7)


def test_what_is_no_event_is_put_aside_as_it_was(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add_entry({"hello": b"\xff\x00"})
    server.add(make_face(1))
    stream = open_stream()
    assert next(iter(stream)).event.seq == 1
    (letter,) = dead_letters(server)
    assert letter[b"hello"] == b"\xff\x00"
    assert letter[b"dead_reason"] == b"unreadable"
    assert b"'schema' is missing" in letter[b"dead_error"]


def test_an_unknown_schema_can_be_put_aside_instead_of_ending_the_loop(
    server: Any, open_stream: Open, make_face: Make
) -> None:
    server.add_entry({**encode(make_face(0)), "schema": b"2"})
    server.add(make_face(1))
    with pytest.raises(UnknownSchemaError, match="Update"):
        next(iter(open_stream()))
    assert dead_letters(server) == []
    assert next(iter(open_stream(unknown_schema="dead-letter"))).event.seq == 1
    assert dead_letters(server)[0][b"dead_reason"] == b"schema"


def test_what_cannot_be_put_aside_stays_and_holds_nothing_up(
    server: Any, open_stream: Open, make_face: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("SET", DEAD, "in the way")
    server.add_entry({"hello": b"world"})
    server.add(make_face(1))
    stream = open_stream(claim_idle_s=0.05)
    assert next(iter(stream)).event.seq == 1
    assert stream.counts["postponed"] == 1
    assert "cannot be written off" in caplog.text
    server.command("DEL", DEAD)
    assert len(read_until_dead(server, stream, make_face)) > 0
    assert stream.counts["dead"] == 1


def test_without_a_group_it_is_skipped_and_nothing_is_written(server: Any, open_stream: Open, make_face: Make) -> None:
    server.add_entry({"hello": b"world"})
    server.add(make_face(1))
    stream = open_stream(group=None, consumer=None)
    assert next(iter(stream)).event.seq == 1
    assert stream.counts["skipped"] == 1
    assert server.command("KEYS", "*dead*") == []
