"""The publisher never blocks, keeps the order, counts what is lost, and never gives up."""

import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import structlog

from gate.publish.event import Event, FaceEvent, VisitEndEvent, encode
from gate.publish.publisher import BATCH_EVENTS, Publisher
from gate.publish.retry import RetryDelays
from gate.publish.sink import FaultCause, SinkError

Make = Callable[..., FaceEvent]
JPEG_START = b"\xff\xd8\xff"
FAST = RetryDelays(first_s=0.001, longest_s=0.005)


class FakeSink:
    """Keeps events; fails as long as it is told to."""

    def __init__(self) -> None:
        self.kept: list[Event] = []
        self.calls: list[int] = []
        self.tended = 0
        self.closed = 0
        self.doubted: list[str] = []
        self.failure: Callable[[Sequence[Event]], Exception | None] = lambda _events: None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def send(self, events: Sequence[Event]) -> None:
        self.entered.set()
        assert self.gate.wait(5)
        self.calls.append(len(events))
        failure = self.failure(events)
        if failure is not None:
            unsent = failure.unsent if isinstance(failure, SinkError) else events
            self.kept += [event for event in events if event not in unsent]
            raise failure
        self.kept += events

    @property
    def positions(self) -> Mapping[str, bytes]:
        return {"faces": b"%d-0" % len(self.kept)}

    def doubt(self, events: Sequence[Event]) -> None:
        self.doubted += [event.event_id for event in events]

    def tend(self) -> None:
        self.tended += 1
        failure = self.failure(())
        if failure is not None:
            raise failure

    def check(self) -> str:
        return "fake"

    def close(self) -> None:
        self.closed += 1


class Observer:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, float, float]] = []
        self.causes: list[str] = []
        self.messages: list[str] = []
        self.lost: Counter[str] = Counter()
        self.depths: list[tuple[int, int]] = []
        self.reached = threading.Event()
        self.failing = threading.Event()

    def published(self, camera: str, type: str, capture_to_publish_s: float, publish_s: float) -> None:  # noqa: A002
        self.seen.append((camera, type, capture_to_publish_s, publish_s))

    def failed(self, cause: str, message: str) -> None:
        self.causes.append(cause)
        self.messages.append(message)
        if len(self.causes) >= 3:
            self.failing.set()

    def dropped(self, reason: str, n: int) -> None:
        self.lost[reason] += n

    def depth(self, events: int, bytes: int) -> None:  # noqa: A002
        self.depths.append((events, bytes))

    def connected(self) -> None:
        self.reached.set()


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def observer() -> Observer:
    return Observer()


Build = Callable[..., Publisher]


@pytest.fixture
def build(sink: FakeSink, observer: Observer, fake_clock: Any) -> Iterator[Build]:
    made: list[Publisher] = []

    def make(capacity: int = 100, **options: Any) -> Publisher:
        options = {"retry": FAST, "rng": random.Random(1), "heartbeat_s": 60.0, **options}
        made.append(Publisher(sink, capacity=capacity, clock=fake_clock, observer=observer, **options))
        return made[-1]

    yield make
    sink.gate.set()
    for publisher in made:
        publisher.close()


def away(events: Sequence[Event]) -> SinkError:
    return SinkError("Redis at redis://host: nothing listens there", cause=FaultCause.REFUSED, unsent=events)


def seqs(events: Sequence[Event]) -> list[int]:
    return [event.seq for event in events if isinstance(event, FaceEvent)]


def test_events_arrive_in_the_order_they_were_offered(build: Build, sink: FakeSink, make_face: Make) -> None:
    publisher = build(capacity=1000)
    for number in range(300):
        publisher.offer(make_face(number))
    publisher.start()
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == list(range(300))
    assert max(sink.calls) <= BATCH_EVENTS


def test_offer_returns_while_the_sink_hangs(build: Build, sink: FakeSink, observer: Observer, make_face: Make) -> None:
    publisher = build(capacity=10)
    publisher.start()
    sink.gate.clear()
    publisher.offer(make_face(0))
    assert sink.entered.wait(5)
    for number in range(1, 30):
        publisher.offer(make_face(number))
    assert publisher.drain(0.01) == 11
    assert observer.lost == {"overflow": 19}
    sink.gate.set()
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == [0, *range(20, 30)]


def test_delivery_goes_on_in_order_when_the_sink_comes_back(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    sink.failure = away
    publisher = build()
    publisher.start()
    for number in range(20):
        publisher.offer(make_face(number))
    assert observer.failing.wait(5)
    assert not observer.reached.is_set()
    sink.failure = lambda _events: None
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == list(range(20))
    assert set(observer.causes) == {"refused"}
    assert not observer.lost


def test_what_arrived_of_a_batch_is_not_sent_again(build: Build, sink: FakeSink, make_face: Make) -> None:
    def once(events: Sequence[Event]) -> SinkError | None:
        return away(events[1:3]) if len(sink.calls) == 1 and events else None

    sink.failure = once
    publisher = build()
    for number in range(5):
        publisher.offer(make_face(number))
    publisher.start()
    assert publisher.drain(5) == 0
    assert sorted(seqs(sink.kept)) == [0, 1, 2, 3, 4]


def test_a_defect_of_a_sink_does_not_end_delivery(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    sink.failure = lambda events: RuntimeError("secret") if events and len(sink.calls) == 1 else None
    publisher = build()
    publisher.offer(make_face(0))
    publisher.start()
    assert publisher.drain(5) == 0
    assert observer.causes == ["other"]
    assert "secret" not in observer.messages[0]


def test_an_event_the_server_never_takes_is_reported_again_and_again(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    sink.failure = lambda events: SinkError("not a stream", cause=FaultCause.WRONG_TYPE, unsent=events)
    publisher = build()
    publisher.start()
    publisher.offer(make_face(0))
    assert observer.failing.wait(5)
    assert set(observer.causes) == {"wrong_type"}
    assert publisher.drain(0.02) == 1


def test_a_server_that_is_away_is_noticed_before_the_first_face(
    build: Build, sink: FakeSink, observer: Observer
) -> None:
    sink.failure = away
    build().start()
    assert observer.failing.wait(5)
    assert sink.calls == []


def test_a_server_that_dies_while_nobody_comes_is_noticed(build: Build, sink: FakeSink, observer: Observer) -> None:
    build(heartbeat_s=0.005).start()
    assert observer.reached.wait(5)
    sink.failure = away
    assert observer.failing.wait(5)


def test_draining_does_not_wait_for_a_long_back_off(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    sink.failure = away

    class Slow(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    publisher = build(retry=RetryDelays(first_s=60, longest_s=60), rng=Slow())
    publisher.offer(make_face(0))
    publisher.start()
    while not observer.causes:
        threading.Event().wait(0.001)
    sink.failure = lambda _events: None
    assert publisher.drain(5) == 0


def test_what_could_not_be_delivered_counts_as_lost_at_the_end(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    sink.failure = away
    publisher = build()
    publisher.start()
    for number in range(3):
        publisher.offer(make_face(number))
    assert publisher.drain(0.01) == 3
    publisher.close()
    publisher.close()
    publisher.offer(make_face(3))
    assert observer.lost == {"closed": 4}


def test_an_invalid_event_is_counted_and_holds_nobody_up(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    publisher = build()
    publisher.start()
    publisher.offer(make_face(0, quality=float("nan")))
    publisher.offer(make_face(1))
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == [1]
    assert observer.lost == {"invalid": 1}


def test_depth_counts_events_and_bytes_and_returns_to_nothing(
    build: Build, observer: Observer, make_face: Make
) -> None:
    publisher = build()
    publisher.offer(make_face(0))
    publisher.offer(make_face(1))
    assert [events for events, _ in observer.depths] == [1, 2]
    assert observer.depths[1][1] > observer.depths[0][1] > len(make_face().crop)
    publisher.start()
    assert publisher.drain(5) == 0
    publisher.close()
    assert observer.depths[-1] == (0, 0)


def test_latency_counts_from_the_moment_given_by_the_clock_that_never_jumps(
    build: Build, observer: Observer, make_face: Make, make_visit_end: Callable[..., VisitEndEvent], fake_clock: Any
) -> None:
    publisher = build()
    publisher.offer(make_face(0, captured_ms=fake_clock.now_ms - 9000), since_s=fake_clock.now_s - 0.25)
    publisher.offer(make_visit_end(1))
    # The machine's clock is set while the event waits.
    fake_clock.now_ms += 3_600_000
    publisher.start()
    assert publisher.drain(5) == 0
    (camera, kind, latency_s, took_s), (_, other, no_latency_s, _) = observer.seen
    assert (camera, kind, latency_s, took_s, other) == ("door", "face", 0.25, 0.0, "visit_end")
    assert math.isnan(no_latency_s)


def test_the_queue_is_bounded_by_bytes_and_what_had_to_go_is_counted(
    build: Build, sink: FakeSink, observer: Observer, make_face: Make
) -> None:
    size = sum(map(len, encode(make_face()).values()))
    publisher = build(capacity_bytes=3 * size)
    for number in range(4):
        publisher.offer(make_face(number))
    publisher.offer(make_face(4, context=JPEG_START + bytes(size - 100)))
    assert observer.lost == {"overflow": 3}
    assert all(waiting_bytes <= 3 * size for _, waiting_bytes in observer.depths)
    publisher.start()
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == [3, 4]


def test_large_events_are_sent_a_few_at_a_time(
    build: Build, sink: FakeSink, make_face: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.publish.publisher.BATCH_BYTES", 2 * len(make_face().crop))
    publisher = build()
    for number in range(9):
        publisher.offer(make_face(number))
    # What fails is sent again before anything joins it.
    sink.failure = lambda events: away(events) if len(sink.calls) < 3 else None
    publisher.start()
    assert publisher.drain(5) == 0
    assert seqs(sink.kept) == list(range(9))
    assert max(sink.calls) == 2


def test_a_loss_of_redis_is_told_to_the_observer_and_to_nobody_else(
    build: Build, sink: FakeSink, observer: Observer
) -> None:
    sink.failure = away
    with structlog.testing.capture_logs() as lines:
        publisher = build()
        publisher.start()
        assert observer.failing.wait(5)
        sink.failure = lambda _events: None
        assert observer.reached.wait(5)
        publisher.close()
    assert observer.messages[0] == "Redis at redis://host: nothing listens there"
    assert lines == []


def test_delays_grow_to_their_cap_and_are_spread() -> None:
    delays = RetryDelays(first_s=0.2, longest_s=10)
    rng = random.Random(7)
    assert all(0 <= delays.after(failures, rng) <= min(0.2 * 2 ** (failures - 1), 10) for failures in range(1, 200))
    many = [delays.after(50, rng) for _ in range(200)]
    assert min(many) < 2.5
    assert max(many) > 7.5
    assert delays.after(10**9, rng) <= 10
