"""Rights are found out before the first face, and finding out leaves nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gate.publish.event import FaceEvent
from gate.publish.redis_sink import RedisSink
from gate.publish.sink import FaultCause, SinkError
from tests.publish.conftest import Connect

REPOSITORY = Path(__file__).resolve().parents[2]
KEY = "facegate:faces"
LEAST = ("+ping", "+xadd", "+xrange", "+xrevrange")


def as_user(connect: Connect, redis_server: Any, *rights: str, **options: Any) -> RedisSink:
    redis_server.command("ACL", "SETUSER", "gate", "reset", "on", ">hunter2", *rights)
    return connect(f"unix://gate@{redis_server.socket}", password="hunter2", **options)


def refusal(sink: RedisSink, *cameras: str) -> SinkError:
    with pytest.raises(SinkError) as caught:
        sink.check_streams(cameras or ("door",))
    assert "hunter2" not in str(caught.value)
    return caught.value


def test_looking_makes_no_stream_and_adds_nothing_to_one(
    connect: Connect, redis_server: Any, make_face: Callable[..., FaceEvent]
) -> None:
    sink = connect(max_age_s=60)
    sink.check_streams(["door"])
    assert redis_server.command("KEYS", "*") == []
    sink.send([make_face(0), make_face(1)])
    before = redis_server.command("XINFO", "STREAM", KEY)
    sink.check_streams(["door"])
    assert redis_server.command("XINFO", "STREAM", KEY) == before


def test_the_least_rights_that_deliver_are_enough(connect: Connect, redis_server: Any) -> None:
    as_user(connect, redis_server, *LEAST, f"~{KEY}").check_streams(["door"])
    trims = ("+xtrim", "+time")
    as_user(connect, redis_server, *LEAST, *trims, f"~{KEY}", max_age_s=60).check_streams(["door"])


def test_the_user_in_the_documentation_can_do_all_that_a_gate_does_and_nothing_else(
    connect: Connect, redis_server: Any, lossy_proxy: Any, make_face: Callable[..., FaceEvent]
) -> None:
    page = (REPOSITORY / "docs" / "delivery.md").read_text(encoding="utf-8")
    (line,) = (line.split() for line in page.splitlines() if line.strip().startswith("ACL SETUSER gate "))
    redis_server.command(*(word.replace("PASSWORD", "hunter2") for word in line))
    options = {"password": "hunter2", "max_age_s": 60, "max_bytes": 10_000_000}
    sink = connect(f"unix://gate@{lossy_proxy.path}", **options)
    sink.check()
    sink.check_streams(["door"])
    for start in (0, 10):
        batch = [make_face(number) for number in range(start, start + 10)]
        lossy_proxy.lose_reply_to(b"XADD")
        with pytest.raises(SinkError):
            sink.send(batch)
        sink.send(batch)
    sink.tend()
    assert redis_server.event_ids() == [make_face(number).event_id for number in range(20)]
    given = {word for word in line if word.startswith("+")}
    assert given == {*LEAST, "+xtrim", "+time"}
    for missing in sorted(given - {"+ping"}):
        assert missing in str(refusal(as_user(connect, redis_server, *(given - {missing}), f"~{KEY}", max_age_s=60)))


@pytest.mark.parametrize("missing", ["+xadd", "+xrange", "+xrevrange", "+xtrim", "+time"])
def test_a_command_that_the_user_may_not_run_is_named(connect: Connect, redis_server: Any, missing: str) -> None:
    rights = {*LEAST, "+xtrim", "+time"} - {missing}
    problem = refusal(as_user(connect, redis_server, *rights, f"~{KEY}", max_age_s=60))
    assert problem.cause is FaultCause.DENIED
    assert f"extend its ACL by {missing}" in str(problem)


def test_a_key_that_the_user_may_not_touch_is_named(connect: Connect, redis_server: Any) -> None:
    sink = as_user(connect, redis_server, *LEAST, "~faces:door", stream="faces:{camera}")
    sink.check_streams(["door"])
    problem = refusal(sink, "door", "lobby")
    assert problem.cause is FaultCause.DENIED
    assert "~faces:lobby" in str(problem)


def test_a_user_who_may_only_read_the_key_is_refused(connect: Connect, redis_server: Any) -> None:
    if int(redis_server.command("INFO", "server")["redis_version"].split(".")[0]) < 7:
        pytest.skip("rights of a key are told apart from Redis 7 on")
    assert "XADD" in str(refusal(as_user(connect, redis_server, *LEAST, f"%R~{KEY}")))


def test_a_key_that_holds_something_else_is_named_and_kept(connect: Connect, redis_server: Any) -> None:
    redis_server.command("RPUSH", KEY, "a list")
    problem = refusal(connect())
    assert problem.cause is FaultCause.WRONG_TYPE
    assert f"the key {KEY!r} holds something that is not a stream; set redis.stream to another" in str(problem)
    assert redis_server.command("LRANGE", KEY, 0, -1) == [b"a list"]


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        (("CONFIG", "SET", "maxmemory", "1"), FaultCause.FULL),
        (("REPLICAOF", "127.0.0.1", "1"), FaultCause.READ_ONLY),
        (("CONFIG", "SET", "requirepass", "hunter2"), FaultCause.AUTH),
    ],
)
def test_a_server_that_takes_no_events_is_told_as_such(
    connect: Connect, redis_server: Any, setting: tuple[str, ...], cause: FaultCause
) -> None:
    redis_server.command(*setting)
    assert refusal(connect()).cause is cause


def test_a_server_that_does_not_know_streams_is_refused(fake_clock: Any) -> None:
    class Old:
        """A server from before streams."""

        def execute_command(self, *args: Any) -> Any:
            import redis

            raise redis.ResponseError(f"unknown command '{args[0]}'")

        def pipeline(self, *, transaction: bool) -> Any:
            raise NotImplementedError

        def disconnect(self) -> None:
            pass

    assert refusal(RedisSink("redis://host", clock=fake_clock, connect=lambda *_: Old())).cause is FaultCause.OTHER
