"""Events into a Redis stream: pipelined, in order, without duplicates when a reply is lost."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import redis

from gate.clock import Clock
from gate.errors import EventError
from gate.publish.connect import FAULTS, Client, fault, open_client, shown
from gate.publish.event import Event, encode
from gate.publish.retention import Retention
from gate.publish.rights import check_rights
from gate.publish.sink import FaultCause, SinkError

SEARCHED_EVENTS = 2_000
"""How many entries are searched at most for events whose delivery is in doubt."""

_PAGE = 50
_TRIM_SHARE = 0.1
_TRIM_EVERY_S = (1.0, 60.0)


class RedisSink:
    """Writes events to one stream, or to one stream per camera.

    A reply that is lost leaves it open whether the server stored the events (XADD is not idempotent). Their ids are
    kept, and before they are sent again the stream is searched for them, onwards from the last entry the server
    confirmed. What this cannot see is a request that still travels while the search runs. Servers from 8.6 on, which
    know XADD's IDMP, refuse that second copy themselves; on others consumers drop it by its `event_id`. Where the
    server refuses one event of a batch and takes a later one (memory came free in between), the first arrives behind
    it; `seq` and `supersedes` tell the order.

    An ACL user needs `+ping +xadd +xrange +xrevrange`, and `+xtrim +time` where `max_age_s` is set.
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
        max_bytes: int | None = None,
        timeout_s: float = 5.0,
        positions: Mapping[str, bytes] | None = None,
        producer: str | None = None,
        connect: Callable[[str, str | None, float], Client] = open_client,
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: as `open_client` takes it.
            clock: decides when entries that are too old are trimmed.
            password: wins over the one in `url`.
            stream: key of the stream; `{camera}` in it makes one stream per camera.
            max_events: approximate most entries kept per stream; None keeps all.
            max_age_s: approximate longest time an entry is kept, by the server's clock; None keeps all.
            max_bytes: approximate most bytes of the server's memory per stream, by the mean size of what is sent;
                None keeps all.
            timeout_s: for connecting and for each reply.
            positions: those that the sink of an earlier process had last.
            producer: name under which events are produced, the same after a restart; None takes a random one.
            connect: makes the client.

        Raises:
            SinkError: `url` cannot be understood.
        """
        self._url = url
        self._clock = clock
        self._stream = stream
        self._max_age_s = max_age_s
        self._retention = Retention(max_events, max_bytes)
        self._client = connect(url, password, timeout_s)
        self._producer = secrets.token_hex(8) if producer is None else producer
        self._knows_producers = True
        self._reached = False
        self._in_doubt: set[str] = set()
        self._beyond_doubt: set[str] = set()
        self._last_ids: dict[str, bytes] = dict(positions or {})
        self._trimmed_s: float | None = None

    @property
    def positions(self) -> Mapping[str, bytes]:
        """See `Sink.positions`: stream -> id of the last entry the server confirmed."""
        return dict(self._last_ids)

    def doubt(self, events: Sequence[Event]) -> None:
        """See `Sink.doubt`.

        An earlier process sent its events in order, so once a search of a stream found none, none that follows is
        there either: a day's backlog costs one search.
        """
        self._in_doubt.update(event.event_id for event in events if self.key(event.camera) not in self._beyond_doubt)

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
            if not self._reached:
                self._knows_producers = _knows_producers(self._client)
        except FAULTS as error:
            raise self._lost(error) from None
        self._reached = True

    def _add(self, events: Sequence[Event]) -> SinkError | None:
        if not events:
            return None
        pipeline = self._client.pipeline(transaction=False)
        for event in events:
            pipeline.execute_command("XADD", *self._entry(event))
        self._in_doubt.update(event.event_id for event in events)
        try:
            replies = pipeline.execute(raise_on_error=False)
            # A reply that is no id was damaged on its way, and so may be the others: all stays in doubt.
            _check_ids(replies)
        except FAULTS as error:
            raise self._lost(error) from None
        self._in_doubt.difference_update(event.event_id for event in events)
        refused: list[tuple[Event, Exception]] = []
        for event, reply in zip(events, replies, strict=True):
            if isinstance(reply, Exception):
                refused.append((event, reply))
            else:
                self._note(self.key(event.camera), reply)
        if not refused:
            return None
        if self._knows_producers and any(_knows_no_producers(reply) for _, reply in refused):
            # Refused for its form, so nothing was stored: the same again in the form that every server knows.
            self._knows_producers = False
            return self._add([event for event, _ in refused])
        first = fault(refused[0][1], self._url)
        if first.cause is FaultCause.MOVED:
            self._client.disconnect()
        return SinkError(str(first), cause=first.cause, unsent=[event for event, _ in refused])

    def _entry(self, event: Event) -> list[Any]:
        key, entry = self.key(event.camera), _flat(event)
        once = ("IDMP", self._producer, event.event_id) if self._knows_producers else ()
        most = self._retention.most_entries(key, entry)
        limit = () if most is None else ("MAXLEN", "~", most)
        return [key, *once, *limit, "*", *entry]

    def _without_delivered(self, events: Sequence[Event]) -> list[Event]:
        wanted: dict[str, set[str]] = {}
        for event in events:
            if event.event_id in self._in_doubt:
                wanted.setdefault(self.key(event.camera), set()).add(event.event_id)
        found: set[str] = set()
        try:
            for key, ids in wanted.items():
                there = self._found(key, ids)
                if there:
                    found |= there
                else:
                    self._beyond_doubt.add(key)
        except FAULTS as error:
            raise self._lost(error) from None
        # What is not among `events` any more was given up by the caller.
        self._in_doubt.clear()
        return [event for event in events if event.event_id not in found]

    def _found(self, key: str, wanted: set[str]) -> set[str]:
        """Those of `wanted` that are in the stream: behind the last entry the server confirmed, else at its end."""
        known = self._last_ids.get(key)
        found: set[str] = set()
        command, start, end = ("XREVRANGE", b"+", b"-") if known is None else ("XRANGE", _after(known), b"+")
        for _ in range(SEARCHED_EVENTS // _PAGE):
            page = self._client.execute_command(command, key, start, end, "COUNT", _PAGE)
            for entry_id, fields in page:
                event_id = fields.get(b"event_id", b"").decode("ascii", "replace")
                if event_id in wanted:
                    found.add(event_id)
                    self._note(key, entry_id)
            if len(page) < _PAGE or wanted <= found:
                break
            start = _before(page[-1][0]) if known is None else _after(page[-1][0])
        return found

    def _note(self, key: str, entry_id: bytes) -> None:
        if _order(entry_id) > _order(self._last_ids.get(key, b"0-0")):
            self._last_ids[key] = entry_id

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


def _flat(event: Event) -> list[Any]:
    try:
        entry = encode(event)
    except EventError as error:
        raise SinkError(str(error), cause=FaultCause.BAD_EVENT) from None
    return [part for pair in entry.items() for part in pair]


def _knows_producers(client: Client) -> bool:
    """Whether the server knows XADD's option IDMP; asked at each connection, for another server may have taken over.

    XCFGSET came with it. Without arguments it runs nowhere, and is refused for that before anybody's rights are looked
    at, so that no right is needed to ask. What cannot be asked so, as a cluster, is told by the first XADD.
    """
    try:
        client.execute_command("XCFGSET")
    except redis.ResponseError as error:
        return "unknown command" not in str(error)
    except redis.RedisClusterException:
        pass
    return True


def _knows_no_producers(reply: Exception) -> bool:
    """Whether a server refused XADD for the option IDMP, which it took for something else."""
    words = ("Invalid stream ID", "syntax error", "wrong number of arguments")
    return isinstance(reply, redis.ResponseError) and any(word in str(reply) for word in words)


def _check_ids(replies: Iterable[Any]) -> None:
    """Raise one of `FAULTS` unless all are refusals or ids of entries."""
    for reply in replies:
        if not isinstance(reply, Exception):
            _order(reply)


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence or 0)


def _after(entry_id: bytes) -> bytes:
    """The smallest id above `entry_id`; servers before 6.2 know no exclusive ranges."""
    milliseconds, sequence = _order(entry_id)
    return b"%d-%d" % (milliseconds, sequence + 1)


def _before(entry_id: bytes) -> bytes:
    """The largest id below `entry_id`."""
    milliseconds, sequence = _order(entry_id)
    if sequence > 0:
        return b"%d-%d" % (milliseconds, sequence - 1)
    return b"%d-%d" % (max(milliseconds - 1, 0), 2**64 - 1)
