"""The publisher: takes accepted events without ever blocking, and delivers them from a thread of its own.

While the sink is away events wait in order, in memory or in a spool on the disk. Whatever fails is tried again for
ever, with a capped and jittered delay, and every failure is told to the observer: an event the server will never take
does not block in silence.
"""

import math
import random
import threading
from collections.abc import Sequence
from typing import Protocol

import structlog

from gate.clock import Clock
from gate.errors import EventError
from gate.publish.backlog import Backlog, MemoryBacklog
from gate.publish.event import Event, encode
from gate.publish.retry import RetryDelays
from gate.publish.sink import FaultCause, Sink, SinkError
from gate.publish.waiting import DropReason, Waiting

log = structlog.get_logger(__name__)

BATCH_EVENTS = 64
"""Most events sent together: some 600 kB of crops, far below what a server buffers for one client."""

BATCH_BYTES = 16_000_000
"""No further event joins a batch that is this large: faces with a context picture may take 9 MB each."""

HEARTBEAT_S = 5.0
"""How often the sink is looked at while nobody is at the door, so that readiness notices that it died."""

DRAIN_RETRY_S = 0.25
"""Longest time between attempts while somebody waits for the queue to empty."""


class PublishObserver(Protocol):
    """Who is told how delivery goes. Calls come from the publisher's thread and from `offer`; they must be quick."""

    def published(self, camera: str, type: str, capture_to_publish_s: float, publish_s: float) -> None:  # noqa: A002 - the event's own field name
        """One event arrived; `capture_to_publish_s` is NaN for those that keep nobody waiting."""
        ...

    def failed(self, cause: str, message: str) -> None:
        """An attempt failed; `cause` is a value of `FaultCause`, `message` says what to do."""
        ...

    def dropped(self, reason: str, n: int) -> None:
        """`n` accepted events were lost; `reason` is a value of `DropReason`."""
        ...

    def depth(self, events: int, bytes: int) -> None:  # noqa: A002 - named as the metric spool_bytes
        """So much waits now, what is being sent included."""
        ...

    def connected(self) -> None:
        """The sink answered."""
        ...


class Publisher:
    """Delivers events to a sink, in the order in which they were offered."""

    def __init__(
        self,
        sink: Sink,
        *,
        capacity: int = 10_000,
        capacity_bytes: float = math.inf,
        backlog: Backlog | None = None,
        clock: Clock,
        observer: PublishObserver,
        retry: RetryDelays | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        rng: random.Random | None = None,
    ) -> None:
        """The thread starts with `start`.

        Args:
            sink: Where events go; closed by `close`.
            capacity: Most events that wait in memory.
            capacity_bytes: Most bytes that do; what is being sent (some `BATCH_BYTES`) comes on top of both.
            backlog: Where events wait, in place of a memory of these capacities; closed by `close`.
            clock: Measures delays for the observer.
            observer: Is told how delivery goes.
            retry: Delays between attempts.
            heartbeat_s: How often an idle sink is looked at.
            rng: Jitter.
        """
        self._sink = sink
        self._clock = clock
        self._observer = observer
        self._retry = retry if retry is not None else RetryDelays()
        self._heartbeat_s = heartbeat_s
        self._rng = rng if rng is not None else random.Random()
        self._batch_events = min(BATCH_EVENTS, capacity)
        self._waiting = MemoryBacklog(capacity, capacity_bytes) if backlog is None else backlog
        self._changed = self._waiting.changed
        self._in_flight: list[Waiting] = []
        self._failures = 0
        self._draining = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Start delivering; events offered before wait."""
        self._waiting.start()
        self._thread.start()

    def offer(self, event: Event, *, since_s: float = math.nan) -> None:
        """Take an event for delivery. Never waits for the sink; what is lost is told to the observer.

        Its latency counts from `since_s`, in seconds of the clock's `monotonic_s`; not-a-number for one without.
        """
        try:
            size_bytes = sum(map(len, encode(event).values()))
        except EventError as error:
            log.warning("event_invalid", problem=str(error))
            self._observer.dropped(DropReason.INVALID.value, 1)
            return
        waiting = Waiting(event, size_bytes, since_s)
        with self._changed:
            dropped = {DropReason.CLOSED: 1} if self._stopping else self._waiting.push(waiting)
        for reason, events in dropped.items():
            self._observer.dropped(reason.value, events)
        self._tell_depth()

    def drain(self, timeout_s: float) -> int:
        """Wait until everything is delivered, or for `timeout_s`; returns how many events would be lost with us."""
        with self._changed:
            # A thread in a long back-off would sleep through the whole time-out: it tries again now.
            self._draining = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.left == 0, timeout_s)
            self._draining = False
            return self.left - self._waiting.kept(self._in_flight)

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop the thread after the attempt under way and close the sink; what then is not kept counts as dropped.

        Safe to call twice. `timeout_s` bounds the wait for that attempt; the sink's own time-outs should be shorter.
        """
        with self._changed:
            first_call = not self._stopping
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._sink.close()
        if not first_call:
            return
        self._waiting.close(timeout_s)
        with self._changed:
            lost = self.left - self._waiting.kept(self._in_flight)
        if lost:
            self._observer.dropped(DropReason.CLOSED.value, lost)

    @property
    def left(self) -> int:
        """How many events have not arrived yet."""
        return len(self._waiting) + len(self._in_flight)

    def _run(self) -> None:
        # The first attempt needs no event: readiness wants to know about the server before the first face.
        self._attempt()
        while self._await_work():
            self._attempt()

    def _await_work(self) -> bool:
        """Wait until there is something to do; false when the publisher stops."""
        with self._changed:
            draining = self._draining
            if self._failures:
                delay_s = self._retry.after(self._failures, self._rng)
                delay_s = min(delay_s, DRAIN_RETRY_S) if draining else delay_s
                self._changed.wait_for(lambda: self._stopping or self._draining is not draining, delay_s)
            else:
                self._changed.wait_for(lambda: self._stopping or self._has_work(), self._heartbeat_s)
            return not self._stopping

    def _has_work(self) -> bool:
        return bool(self._in_flight) or self._waiting.ready

    def _attempt(self) -> None:
        with self._changed:
            room_bytes = BATCH_BYTES - self._bytes_in_flight()
            taken = self._waiting.take(self._batch_events - len(self._in_flight), room_bytes)
            self._in_flight += taken
            batch = list(self._in_flight)
        left_behind = [waiting.event for waiting in taken if waiting.replayed]
        if left_behind:
            self._sink.doubt(left_behind)
        start_s = self._clock.monotonic_s()
        failure = self._try(batch)
        unsent = set() if failure is None else {event.event_id for event in failure.unsent}
        arrived = [waiting for waiting in batch if waiting.event.event_id not in unsent]
        self._tell(arrived, failure, self._clock.monotonic_s() - start_s)
        # Told first, so that whoever drains and then reads the counts finds them complete.
        with self._changed:
            self._in_flight = [waiting for waiting in batch if waiting.event.event_id in unsent]
            self._waiting.confirm(arrived, self._sink.positions if arrived else {})
            self._changed.notify_all()
        if arrived:
            self._tell_depth()

    def _try(self, batch: Sequence[Waiting]) -> SinkError | None:
        events = [waiting.event for waiting in batch]
        try:
            if events:
                self._sink.send(events)
            else:
                self._sink.tend()
        except SinkError as error:
            return error
        except Exception:
            # Delivery must survive a defect of a sink; the gate would go on looking and nobody would be told.
            log.exception("publish_failed_unexpectedly")
            return SinkError("the sink failed unexpectedly; see the log", cause=FaultCause.OTHER, unsent=events)
        return None

    def _tell(self, arrived: Sequence[Waiting], failure: SinkError | None, publish_s: float) -> None:
        now_s = self._clock.monotonic_s()
        for waiting in arrived:
            self._observer.published(waiting.event.camera, waiting.event.type, now_s - waiting.since_s, publish_s)
        if failure is None:
            self._failures = 0
            self._observer.connected()
        else:
            self._failures += 1
            self._observer.failed(failure.cause.value, str(failure))

    def _tell_depth(self) -> None:
        with self._changed:
            events, size_bytes = self.left, self._waiting.size_bytes + self._bytes_in_flight()
        self._observer.depth(events, size_bytes)

    def _bytes_in_flight(self) -> int:
        return sum(waiting.size_bytes for waiting in self._in_flight)
