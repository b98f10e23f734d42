"""Events reach a real Redis once, in order, and are kept as long as wanted."""

from collections.abc import Callable
from typing import Any

import pytest

from gate.publish.clients import RedisClient
from gate.publish.connect import Client, open_client
from gate.publish.event import Event, FaceEvent, VisitEndEvent, decode
from gate.publish.redis_sink import RedisSink
from gate.publish.sink import FaultCause, SinkError
from tests.publish.conftest import Connect

Make = Callable[..., FaceEvent]


def ids(*events: FaceEvent) -> list[str]:
    return [event.event_id for event in events]


def test_events_come_back_from_the_stream_as_they_were_sent(
    connect: Connect, redis_server: Any, make_face: Make, make_visit_end: Callable[..., VisitEndEvent]
) -> None:
    events: list[Event] = [
        make_face(0),
        make_visit_end(1),
        make_face(2, context=make_face().crop, supersedes=make_face().event_id),
    ]
    connect().send(events)
    assert [decode(fields) for _, fields in redis_server.command("XRANGE", "facegate:faces", "-", "+")] == events


def test_check_names_the_server_and_never_the_password(connect: Connect, redis_server: Any) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "hunter2")
    sink = connect(f"unix://:hunter2@{redis_server.socket}")
    assert sink.check().startswith("Redis ")
    assert "hunter2" not in sink.check()


def test_a_user_with_the_least_commands_is_enough(connect: Connect, redis_server: Any, make_face: Make) -> None:
    commands = ["+ping", "+xadd", "+xrange", "+xrevrange", "+xtrim", "+time"]
    redis_server.command("ACL", "SETUSER", "gate", "on", ">secret", "~facegate:*", *commands)
    sink = connect(f"unix://gate@{redis_server.socket}", password="secret", max_age_s=60)
    assert sink.check().startswith("Redis at ")
    sink.send([make_face(0)])
    sink.tend()
    assert redis_server.event_ids() == ids(make_face(0))


def test_each_camera_can_have_its_own_stream(connect: Connect, redis_server: Any, make_face: Make) -> None:
    connect(stream="faces:{camera}").send([make_face(0, camera="door"), make_face(1, camera="lobby")])
    assert redis_server.event_ids("faces:door") == ids(make_face(0))
    assert redis_server.event_ids("faces:lobby") == ids(make_face(1))


def test_about_as_many_entries_are_kept_as_wanted(connect: Connect, redis_server: Any, make_face: Make) -> None:
    sink = connect(max_events=20)
    for start in range(0, 200, 50):
        sink.send([make_face(number) for number in range(start, start + 50)])
    assert 20 <= redis_server.command("XLEN", "facegate:faces") <= 40
    assert redis_server.event_ids()[-1] == make_face(199).event_id


@pytest.mark.parametrize("context", [False, True])
def test_about_as_many_bytes_are_kept_as_wanted(
    connect: Connect, redis_server: Any, make_face: Make, context: bool
) -> None:
    crop = b"\xff\xd8\xff" + bytes(9_000)
    sink = connect(max_bytes=1_000_000)
    for start in range(0, 400, 50):
        more = {"context": b"\xff\xd8\xff" + bytes(40_000)} if context else {}
        sink.send([make_face(number, crop=crop, **more) for number in range(start, start + 50)])
    used_bytes = redis_server.command("MEMORY", "USAGE", "facegate:faces", "SAMPLES", 0)
    assert 700_000 < used_bytes < 1_300_000
    assert redis_server.event_ids()[-1] == make_face(399).event_id


def test_old_entries_go_even_when_nobody_comes(
    connect: Connect, redis_server: Any, make_face: Make, fake_clock: Any
) -> None:
    redis_server.command("CONFIG", "SET", "stream-node-max-entries", "1")
    sink = connect(max_age_s=60)
    # Old by the server's clock, as if they had been written two minutes ago.
    seconds, _ = redis_server.command("TIME")
    for number in range(3):
        entry = {"event_id": make_face(number).event_id}
        redis_server.command("XADD", "facegate:faces", f"{(seconds - 120) * 1000 + number}-0", *_flat(entry))
    sink.send([make_face(3)])
    assert redis_server.event_ids() == ids(make_face(3))
    redis_server.command("DEL", "facegate:faces")
    redis_server.command("XADD", "facegate:faces", f"{(seconds - 120) * 1000}-0", "event_id", "old")
    sink.tend()
    assert redis_server.event_ids() == ["old"], "trimming runs now and then, not every time"
    fake_clock.advance(61)
    sink.tend()
    assert redis_server.event_ids() == []


def _flat(entry: dict[str, str]) -> list[str]:
    return [part for pair in entry.items() for part in pair]


@pytest.mark.parametrize("sent_before", [0, 3])
def test_a_lost_reply_makes_no_duplicates(
    connect: Connect, redis_server: Any, lossy_proxy: Any, make_face: Make, sent_before: int
) -> None:
    sink = connect(lossy_proxy.url)
    before = [make_face(number) for number in range(sent_before)]
    sink.send(before)
    batch = [make_face(number) for number in range(10, 15)]
    lossy_proxy.lose_reply_to(b"XADD")
    with pytest.raises(SinkError) as caught:
        sink.send(batch)
    assert caught.value.unsent == tuple(batch)
    assert lossy_proxy.lost == 1
    assert redis_server.event_ids() == ids(*before, *batch), "the server had stored them"
    sink.send([*batch, make_face(20)])
    assert redis_server.event_ids() == ids(*before, *batch, make_face(20))


def test_a_reply_lost_twice_makes_no_duplicates(
    connect: Connect, redis_server: Any, lossy_proxy: Any, make_face: Make
) -> None:
    sink = connect(lossy_proxy.url)
    batch = [make_face(0), make_face(1)]
    for command in (b"XADD", b"XREVRANGE", b"PING"):
        lossy_proxy.lose_reply_to(command)
        with pytest.raises(SinkError) as caught:
            sink.send(batch)
        assert list(caught.value.unsent) == batch
    sink.send(batch)
    assert redis_server.event_ids() == ids(*batch)


def test_doubtful_events_are_found_behind_what_others_wrote_since(
    connect: Connect, redis_server: Any, lossy_proxy: Any, make_face: Make
) -> None:
    sink = connect(lossy_proxy.url)
    lossy_proxy.lose_reply_to(b"XADD")
    with pytest.raises(SinkError):
        sink.send([make_face(0)])
    connect().send([make_face(number) for number in range(100, 330)])
    sink.send([make_face(0)])
    assert redis_server.event_ids().count(make_face(0).event_id) == 1


def test_an_event_that_never_arrived_is_sent_again(connect: Connect, redis_server: Any, make_face: Make) -> None:
    sink = connect(timeout_s=0.2)
    sink.send([make_face(0)])
    redis_server.command("SAVE")
    redis_server.kill()
    with pytest.raises(SinkError) as caught:
        sink.send([make_face(1)])
    assert caught.value.cause in {FaultCause.DISCONNECTED, FaultCause.REFUSED}
    redis_server.start()
    sink.send([make_face(1)])
    assert redis_server.event_ids() == ids(make_face(0), make_face(1))


def test_a_frozen_server_that_wakes_up_stores_an_event_once(
    connect: Connect, redis_server: Any, make_face: Make
) -> None:
    sink = connect(timeout_s=0.05)
    sink.send([make_face(0)])
    redis_server.freeze()
    for _ in range(2):
        with pytest.raises(SinkError) as caught:
            sink.send([make_face(1)])
        assert caught.value.cause is FaultCause.TIMEOUT
    redis_server.thaw()
    sink.send([make_face(1), make_face(2)])
    assert redis_server.event_ids() == ids(make_face(0), make_face(1), make_face(2))


def test_a_full_server_refuses_and_recovers(connect: Connect, redis_server: Any, make_face: Make) -> None:
    sink = connect()
    sink.send([make_face(0)])
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(SinkError) as caught:
        sink.send([make_face(1), make_face(2)])
    assert caught.value.cause is FaultCause.FULL
    assert list(caught.value.unsent) == [make_face(1), make_face(2)]
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    sink.send(caught.value.unsent)
    assert redis_server.event_ids() == ids(make_face(0), make_face(1), make_face(2))


def test_one_spoilt_key_does_not_hold_up_other_cameras(connect: Connect, redis_server: Any, make_face: Make) -> None:
    redis_server.command("SET", "faces:door", "not a stream")
    with pytest.raises(SinkError) as caught:
        connect(stream="faces:{camera}").send([make_face(0, camera="door"), make_face(1, camera="lobby")])
    assert caught.value.cause is FaultCause.WRONG_TYPE
    assert [event.camera for event in caught.value.unsent] == ["door"]
    assert redis_server.event_ids("faces:lobby") == ids(make_face(1))


def test_an_event_that_breaks_the_schema_is_refused_before_it_is_sent(
    connect: Connect, redis_server: Any, make_face: Make
) -> None:
    with pytest.raises(SinkError, match="quality") as caught:
        connect().send([make_face(0, quality=float("nan"))])
    assert caught.value.cause is FaultCause.BAD_EVENT
    assert redis_server.event_ids() == []


def test_the_connection_is_made_by_what_was_injected(redis_server: Any, fake_clock: Any) -> None:
    asked: list[tuple[str, str | None, float]] = []

    def record(url: str, password: str | None, timeout_s: float) -> Client:
        asked.append((url, password, timeout_s))
        return open_client(redis_server.url)

    sink = RedisSink("redis://elsewhere", clock=fake_clock, password="p", timeout_s=2, connect=record)
    sink.tend()
    sink.close()
    assert asked == [("redis://elsewhere", "p", 2)]


def test_a_connection_whose_replies_make_no_sense_is_given_up(fake_clock: Any, make_face: Make) -> None:
    class Garbled:
        """A server whose replies were corrupted on the way."""

        dropped = 0

        def execute_command(self, *args: Any) -> Any:
            return True

        def pipeline(self, *, transaction: bool) -> Any:
            return self

        def execute(self, *, raise_on_error: bool) -> list[Any]:
            raise ValueError("invalid literal for int() with base 10: b'\\x00'")

        def disconnect(self) -> None:
            self.dropped += 1

    client = Garbled()
    sink = RedisSink("redis://host", clock=fake_clock, connect=lambda *_args: client)
    with pytest.raises(SinkError, match="redis://host") as caught:
        sink.send([make_face(0)])
    assert caught.value.unsent == (make_face(0),)
    assert client.dropped == 1


@pytest.mark.parametrize("damaged", [b"17953998793\xb72", b"", b"OK", None])
def test_a_damaged_id_is_a_lost_reply_and_leaves_no_copy(
    connect: Connect, redis_server: Any, make_face: Make, damaged: bytes | None
) -> None:
    class Damaging(RedisClient):
        """The first replies to a batch are changed on their way."""

        intact = False

        def pipeline(self, *, transaction: bool) -> Any:
            pipeline: Any = super().pipeline(transaction=transaction)
            carry_out = pipeline.execute

            def execute(**options: Any) -> list[Any]:
                replies: list[Any] = carry_out(**options)
                if not self.intact:
                    self.intact, replies[1] = True, damaged
                return replies

            pipeline.execute = execute
            return pipeline

    def dial(url: str, password: str | None, timeout_s: float) -> Client:
        client = open_client(url, password, timeout_s)
        assert isinstance(client, RedisClient)
        return Damaging(client._redis)

    sink, events = connect(connect=dial), [make_face(number) for number in range(3)]
    with pytest.raises(SinkError) as caught:
        sink.send(events)
    assert caught.value.unsent == tuple(events)
    sink.send(events)

    entries = redis_server.command("XRANGE", "facegate:faces", "-", "+")
    assert [decode(fields) for _, fields in entries] == events
