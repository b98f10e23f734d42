"""Publisher and a real Redis together: servers die, replies are lost, memory fills; nothing is lost or doubled."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gate.clock import SystemClock
from gate.publish.event import FaceEvent
from gate.publish.publisher import Publisher
from gate.publish.redis_sink import RedisSink
from gate.publish.retry import RetryDelays

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


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def build(told: Told) -> Iterator[Build]:
    made: list[Publisher] = []

    def make(url: str, capacity: int = 10_000, **options: Any) -> Publisher:
        clock = SystemClock()
        sink = RedisSink(url, clock=clock, timeout_s=1.0, **options)
        retry = RetryDelays(first_s=0.005, longest_s=0.02)
        publisher = Publisher(
            sink, capacity=capacity, clock=clock, observer=told, retry=retry, heartbeat_s=0.05, rng=random.Random(3)
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
