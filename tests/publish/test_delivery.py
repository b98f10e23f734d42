"""Publisher and a real Redis together: servers die, replies are lost, memory fills; nothing is lost or doubled."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from gate.clock import SystemClock
from gate.publish.clients import Client, RedisClient
from gate.publish.connect import open_client
from gate.publish.event import FaceEvent
from gate.publish.publisher import Publisher
from gate.publish.redis_sink import RedisSink
from gate.publish.retry import RetryDelays
from gate.publish.spool import SpooledBacklog, SpoolLimits
from gate.publish.waiting import Waiting

Make = Callable[..., FaceEvent]
Build = Callable[..., Publisher]


class Told:
    """What the observer of these tests has heard."""

    def __init__(self) -> None:
        self.published_events = 0
        self.causes: Counter[str] = Counter()
        self.lost = 0
        self.failing = threading.Event()

    def published(self, camera: str, type: str, capture_to_publish_s: float, publish_s: float) -> None:  # noqa: A002
        self.published_events += 1

    def failed(self, cause: str, message: str) -> None:
        self.causes[cause] += 1
        self.failing.set()

    def dropped(self, reason: str, n: int) -> None:
        self.lost += n

    def depth(self, events: int, bytes: int) -> None:  # noqa: A002
        pass

    def connected(self) -> None:
        pass

    def spool_failed(self, cause: str, message: str) -> None:
        self.causes[cause] += 1

    def spool_kept(self) -> None:
        pass


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def build(told: Told) -> Iterator[Build]:
    made: list[Publisher] = []

    def make(url: str, capacity: int = 10_000, **options: Any) -> Publisher:
        clock = SystemClock()
        backlog = options.pop("backlog", None)
        sink = RedisSink(url, clock=clock, timeout_s=1.0, **options)
        retry = RetryDelays(first_s=0.005, longest_s=0.02)
        publisher = Publisher(
            sink,
            capacity=capacity,
            backlog=backlog,
            clock=clock,
            observer=told,
            retry=retry,
            heartbeat_s=0.05,
            rng=random.Random(3),
        )
        publisher.start()
        made.append(publisher)
        return publisher

    yield make
    for publisher in made:
        publisher.close()


def test_a_server_killed_mid_stream_costs_no_event_and_no_order(
    build: Build, told: Told, redis_server: Any, make_face: Make
) -> None:
    # Persistent, for what the server itself forgets is not the gate's to keep.
    redis_server.kill()
    redis_server.start("--appendonly", "yes", "--appendfsync", "always")
    publisher = build(redis_server.url)
    events = [make_face(number) for number in range(600)]
    for number, event in enumerate(events):
        publisher.offer(event)
        if number in {200, 400}:
            redis_server.kill()
        if number in {250, 450}:
            told.failing.clear()
            assert told.failing.wait(5)
            redis_server.start("--appendonly", "yes", "--appendfsync", "always")
    assert publisher.drain(10) == 0
    assert redis_server.event_ids() == [event.event_id for event in events]
    assert told.published_events == 600
    assert told.lost == 0


def test_replies_lost_again_and_again_double_nothing(
    build: Build, told: Told, redis_server: Any, lossy_proxy: Any, make_face: Make
) -> None:
    publisher = build(lossy_proxy.url)
    events = [make_face(number) for number in range(40)]
    for start in range(0, 40, 10):
        lossy_proxy.lose_reply_to(b"XADD")
        for event in events[start : start + 10]:
            publisher.offer(event)
        assert publisher.drain(10) == 0
    assert lossy_proxy.lost == 4
    assert redis_server.event_ids() == [event.event_id for event in events]
    assert told.published_events == 40


def test_what_does_not_fit_while_the_server_is_away_is_counted(
    build: Build, told: Told, redis_server: Any, make_face: Make
) -> None:
    redis_server.kill()
    publisher = build(redis_server.url, capacity=10)
    assert told.failing.wait(5)
    for number in range(50):
        publisher.offer(make_face(number))
    redis_server.start()
    assert publisher.drain(10) == 0
    arrived = redis_server.event_ids()
    assert arrived == sorted(arrived)
    assert arrived[-1] == make_face(49).event_id
    assert told.lost == 50 - len(arrived) > 0
    assert told.published_events == len(arrived)


def test_a_full_server_is_reported_and_delivery_goes_on_when_it_has_room(
    build: Build, told: Told, redis_server: Any, make_face: Make
) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", "1")
    publisher = build(redis_server.url)
    for number in range(5):
        publisher.offer(make_face(number))
    deadline_s = time.monotonic() + 5
    while told.causes["full"] < 2 and time.monotonic() < deadline_s:
        time.sleep(0.005)
    redis_server.command("CONFIG", "SET", "maxmemory", "0")
    assert publisher.drain(10) == 0
    assert told.causes["full"] >= 2
    # Room may come in the middle of a batch: what was refused arrives behind what was taken.
    assert sorted(redis_server.event_ids()) == [make_face(number).event_id for number in range(5)]


def test_a_spoilt_key_is_reported_until_it_is_repaired(
    build: Build, told: Told, redis_server: Any, make_face: Make
) -> None:
    redis_server.command("SET", "facegate:faces", "not a stream")
    publisher = build(redis_server.url)
    publisher.offer(make_face(0))
    deadline_s = time.monotonic() + 5
    while told.causes["wrong_type"] < 3 and time.monotonic() < deadline_s:
        time.sleep(0.005)
    assert told.causes["wrong_type"] >= 3
    redis_server.command("DEL", "facegate:faces")
    assert publisher.drain(10) == 0
    assert redis_server.event_ids() == [make_face(0).event_id]


def open_spool(folder: Path, told: Told) -> SpooledBacklog:
    return SpooledBacklog(folder, limits=SpoolLimits(max_bytes=10**9), clock=SystemClock(), observer=told)


def test_a_day_without_redis_and_a_restart_in_it_cost_nothing(
    build: Build, told: Told, redis_server: Any, make_face: Make, tmp_path: Path
) -> None:
    redis_server.kill()
    events = [make_face(number) for number in range(900)]
    for start in range(0, 900, 300):
        publisher = build(redis_server.url, backlog=open_spool(tmp_path, told))
        for event in events[start : start + 300]:
            publisher.offer(event)
        # A busy machine may still be writing: nobody waits for the disk for longer than half a frame.
        deadline_s = time.monotonic() + 20
        while publisher.drain(0.05) and time.monotonic() < deadline_s:
            pass
        assert publisher.drain(0.05) == 0, "nothing would be lost"
        assert publisher.left == start + 300
        publisher.close()
    assert told.lost == 0
    redis_server.start()
    publisher = build(redis_server.url, backlog=open_spool(tmp_path, told))
    assert wait_for_arrival(publisher)
    assert redis_server.event_ids() == [event.event_id for event in events]
    assert told.lost == 0


def wait_for_arrival(publisher: Publisher) -> bool:
    publisher.drain(30)
    return publisher.left == 0


@pytest.mark.parametrize("known", [True, False], ids=["continues from a position", "knows no position"])
def test_what_was_sent_before_a_crash_and_not_noted_is_not_sent_again(
    build: Build, redis_server: Any, make_face: Make, tmp_path: Path, known: bool
) -> None:
    told = Told()
    before = [make_face(number) for number in range(5)]
    batch = [make_face(number) for number in range(5, 15)]
    sink = RedisSink(redis_server.url, clock=SystemClock())
    sink.send(before)
    positions = sink.positions if known else {}
    died = open_spool(tmp_path, told)
    with died.changed:
        for event in batch:
            died.push(Waiting(event, 10_000))
    died.turn()
    # The server has seven of them; the process is killed before it hears of that, while others write on.
    sink.send(batch[:7])
    for number in range(60):
        redis_server.command("XADD", "facegate:faces", "*", "event_id", f"other-{number}")
    assert died._file is not None
    died._file.write((), (), positions)
    died._file.close()
    backlog = open_spool(tmp_path, told)
    publisher = build(redis_server.url, backlog=backlog, positions=backlog.positions)
    assert wait_for_arrival(publisher)
    ours = [event_id for event_id in redis_server.event_ids() if not event_id.startswith("other")]
    assert ours == [event.event_id for event in [*before, *batch]]
    sink.close()


def test_a_day_s_backlog_costs_one_search(redis_server: Any, make_face: Make) -> None:
    searches: list[str] = []

    class Counting(RedisClient):
        def execute_command(self, *args: Any) -> Any:
            searches.append(args[0])
            return super().execute_command(*args)

    def connect(url: str, password: str | None, timeout_s: float) -> Client:
        client = open_client(url, password, timeout_s)
        assert isinstance(client, RedisClient)
        return Counting(client._redis)

    sink = RedisSink(redis_server.url, clock=SystemClock(), connect=connect, positions={"facegate:faces": b"1-1"})
    for start in range(0, 200, 50):
        batch = [make_face(number) for number in range(start, start + 50)]
        sink.doubt(batch)
        sink.send(batch)
    assert searches.count("XRANGE") == 1
    assert searches.count("XREVRANGE") == 0
    sink.close()


class Knowing(RedisClient):
    """A server that knows XADD's IDMP, as those from 8.6 on, in front of one that does not."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.stored: dict[tuple[Any, Any], bytes] = {}
        self.copies = 0

    def execute_command(self, *args: Any) -> Any:
        if args == ("XCFGSET",):
            raise redis.ResponseError("wrong number of arguments for 'xcfgset' command")
        if args[0] == "XADD" and args[2] == "IDMP":
            if args[3:5] in self.stored:
                self.copies += 1
                return self.stored[args[3:5]]
            reply = self.stored[args[3:5]] = super().execute_command("XADD", args[1], *args[5:])
            return reply
        return super().execute_command(*args)

    def pipeline(self, *, transaction: bool) -> Any:
        return Together(self)


class Together:
    """Commands one after the other."""

    def __init__(self, client: Knowing) -> None:
        self._client = client
        self._commands: list[tuple[Any, ...]] = []

    def execute_command(self, *args: Any) -> None:
        self._commands.append(args)

    def execute(self, *, raise_on_error: bool) -> list[Any]:
        return [self._client.execute_command(*command) for command in self._commands]


def test_a_server_that_knows_producers_refuses_the_copy_that_a_search_came_too_early_for(
    redis_server: Any, make_face: Make
) -> None:
    inner = open_client(redis_server.url)
    assert isinstance(inner, RedisClient)
    server = Knowing(inner._redis)
    first = RedisSink(redis_server.url, clock=SystemClock(), producer="gate-1", connect=lambda *_: server)
    first.send([make_face(0), make_face(1)])
    # As if the first request had arrived behind the search: nobody doubts, and the server alone can tell.
    second = RedisSink(redis_server.url, clock=SystemClock(), producer="gate-1", connect=lambda *_: server)
    second.send([make_face(0), make_face(1), make_face(2)])
    assert server.copies == 2
    assert redis_server.event_ids() == [make_face(number).event_id for number in range(3)]
    first.close()


def test_a_server_that_claims_to_know_producers_and_does_not_gets_the_plain_form(
    redis_server: Any, make_face: Make
) -> None:
    class Claiming(RedisClient):
        def execute_command(self, *args: Any) -> Any:
            if args == ("XCFGSET",):
                raise redis.ResponseError("wrong number of arguments for 'xcfgset' command")
            return super().execute_command(*args)

    inner = open_client(redis_server.url)
    assert isinstance(inner, RedisClient)
    client = Claiming(inner._redis)
    sink = RedisSink(redis_server.url, clock=SystemClock(), connect=lambda *_: client)
    sink.send([make_face(number) for number in range(3)])
    sink.send([make_face(3)])
    assert redis_server.event_ids() == [make_face(number).event_id for number in range(4)]
    sink.close()
