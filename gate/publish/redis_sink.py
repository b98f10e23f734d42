"""Events into a Redis stream: pipelined, in order, without duplicates when a reply is lost."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import redis

from gate.clock import Clock
from gate.errors import EventError
from gate.publish.connect import FAULTS, Client, fault, open_client, shown
from gate.publish.event import Event, encode
from gate.publish.rights import check_rights
from gate.publish.sink import FaultCause, SinkError

TAIL_EVENTS = 2_000
"""How many of the newest entries are searched at most for an event whose delivery is in doubt."""

_PAGE = 50
_TRIM_SHARE = 0.1
_TRIM_EVERY_S = (1.0, 60.0)


class RedisSink:
    """Writes events to one stream, or to one stream per camera.

    A reply that is lost leaves it open whether the server stored the events (XADD is not idempotent). Their ids are
    kept, and before they are sent again the stream's tail, back to the last entry the server confirmed, is searched
    for them. What this cannot see is a request that still travels while the search runs; consumers drop that rare
    second copy by its `event_id`. Where the server refuses one event of a batch and takes a later one (memory came
    free in between), the first arrives behind it; `seq` and `supersedes` tell the order.

    An ACL user needs `+ping +xadd +xrevrange`, and `+xtrim +time` where `max_age_s` is set.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        password: str | None = None,
        stream: str = "facegate:faces",
        max_events: int | None = 100_000,
        max_age_s: float | None = None,
        timeout_s: float = 5.0,
        connect: Callable[[str, str | None, float], Client] = open_client,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: `redis://`, `rediss://` or `unix://`.
            clock: decides when entries that are too old are trimmed.
            password: wins over the one in `url`.
            stream: key of the stream; `{camera}` in it makes one stream per camera.
            max_events: approximate most entries kept per stream; None keeps all.
            max_age_s: approximate longest time an entry is kept, by the server's clock; None keeps all.
            timeout_s: for connecting and for each reply.
            connect: makes the client.

        Raises:
            SinkError: `url` cannot be understood.
        """
        self._url = url
        self._clock = clock
        self._stream = stream
        self._max_events = max_events
        self._max_age_s = max_age_s
        self._client = connect(url, password, timeout_s)
        self._reached = False
        self._in_doubt: set[str] = set()
        self._last_ids: dict[str, bytes] = {}
        self._trimmed_s: float | None = None

    def key(self, camera: str) -> str:
        """The stream of a camera."""
        return self._stream.replace("{camera}", camera)

    def check(self) -> str:
        """See `Sink.check`."""
        try:
            info = self._client.execute_command("INFO", "server")
        except redis.ResponseError:
            # An ACL user with the least commands may not ask; PING is enough to know the server is there.
            self._ping()
            return f"Redis at {shown(self._url)}"
        except FAULTS as error:
            raise self._lost(error) from None
        self._reached = True
        return f"Redis {info.get('redis_version', '?')} at {shown(self._url)}"

    def check_streams(self, cameras: Iterable[str]) -> None:
        """Find out that events of these cameras could be written; nothing is. Raises `SinkError`."""
        for key in sorted({self.key(camera) for camera in cameras}):
            check_rights(self._client, key, url=self._url, trims=self._max_age_s is not None)

    def send(self, events: Sequence[Event]) -> None:
        """See `Sink.send`."""
        pending = list(events)
        try:
            if not self._reached:
                self._ping()
            if self._in_doubt:
                pending = self._without_delivered(pending)
            refusal = self._add(pending)
        except SinkError as error:
            raise SinkError(str(error), cause=error.cause, unsent=pending) from None
        if refusal is not None:
            raise refusal
        self._trim_when_due()

    def tend(self) -> None:
        """See `Sink.tend`."""
        self._ping()
        self._trim_when_due()

    def close(self) -> None:
        """See `Sink.close`."""
        self._client.disconnect()

    def _ping(self) -> None:
        # A failure before anything was sent leaves nothing in doubt.
        try:
            self._client.execute_command("PING")
        except FAULTS as error:
            raise self._lost(error) from None
        self._reached = True

    def _add(self, events: Sequence[Event]) -> SinkError | None:
        if not events:
            return None
        limit = () if self._max_events is None else ("MAXLEN", "~", self._max_events)
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.execute_command("XADD", self.key(event.camera), *limit, "*", *_flat(event))
        self._in_doubt.update(event.event_id for event in events)
        try:
            replies = pipeline.execute(raise_on_error=False)
        except FAULTS as error:
            raise self._lost(error) from None
        self._in_doubt.difference_update(event.event_id for event in events)
        refused: list[tuple[Event, Exception]] = []
        for event, reply in zip(events, replies, strict=True):
            if isinstance(reply, Exception):
                refused.append((event, reply))
            else:
                self._last_ids[self.key(event.camera)] = reply
        if not refused:
            return None
        first = fault(refused[0][1], self._url)
        return SinkError(str(first), cause=first.cause, unsent=[event for event, _ in refused])

    def _without_delivered(self, events: Sequence[Event]) -> list[Event]:
        wanted: dict[str, set[str]] = {}
        for event in events:
            if event.event_id in self._in_doubt:
                wanted.setdefault(self.key(event.camera), set()).add(event.event_id)
        try:
            found = {event_id for key, ids in wanted.items() for event_id in self._found_in_tail(key, ids)}
        except FAULTS as error:
            raise self._lost(error) from None
        # What is not among `events` any more was given up by the caller.
        self._in_doubt.clear()
        return [event for event in events if event.event_id not in found]

    def _found_in_tail(self, key: str, wanted: set[str]) -> set[str]:
        """Those of `wanted` that are in the stream, looking back as far as the last entry the server confirmed."""
        oldest = self._last_ids.get(key, b"-")
        found: set[str] = set()
        newest: bytes = b"+"
        for _ in range(TAIL_EVENTS // _PAGE):
            page = self._client.execute_command("XREVRANGE", key, newest, oldest, "COUNT", _PAGE)
            found.update(fields.get(b"event_id", b"").decode("ascii", "replace") for _, fields in page)
            if len(page) < _PAGE or wanted <= found:
                break
            newest = _before(page[-1][0])
        return found & wanted

    def _trim_when_due(self) -> None:
        if self._max_age_s is None or not self._last_ids:
            return
        shortest, longest = _TRIM_EVERY_S
        every_s = min(max(self._max_age_s * _TRIM_SHARE, shortest), longest)
        now_s = self._clock.monotonic_s()
        if self._trimmed_s is not None and now_s - self._trimmed_s < every_s:
            return
        self._trim(self._max_age_s)
        self._trimmed_s = now_s

    def _trim(self, max_age_s: float) -> None:
        # XADD takes MAXLEN or MINID, not both, and a stream nobody writes to must age as well. Entry ids are made
        # from the server's clock, so its clock decides: ours may be a day ahead, and would then trim everything.
        try:
            seconds, micros = self._client.execute_command("TIME")
            oldest_ms = int(seconds) * 1000 + int(micros) // 1000 - round(max_age_s * 1000)
            pipeline = self._client.pipeline(transaction=False)
            for key in self._last_ids:
                pipeline.execute_command("XTRIM", key, "MINID", "~", max(oldest_ms, 0))
            replies = pipeline.execute(raise_on_error=False)
        except FAULTS as error:
            raise self._lost(error) from None
        for reply in replies:
            if isinstance(reply, Exception):
                raise fault(reply, self._url)

    def _lost(self, error: Exception) -> SinkError:
        self._reached = False
        # After a time-out the late reply would be read as the answer to the next command.
        self._client.disconnect()
        return fault(error, self._url)


def _flat(event: Event) -> Iterable[Any]:
    try:
        entry = encode(event)
    except EventError as error:
        raise SinkError(str(error), cause=FaultCause.BAD_EVENT) from None
    return [part for pair in entry.items() for part in pair]


def _before(entry_id: bytes) -> bytes:
    """The largest id below `entry_id`; servers before 6.2 know no exclusive ranges."""
    milliseconds, _, sequence = entry_id.partition(b"-")
    if int(sequence) > 0:
        return b"%b-%d" % (milliseconds, int(sequence) - 1)
    return b"%d-%d" % (max(int(milliseconds) - 1, 0), 2**64 - 1)
