"""What was handled already: in this process, and with the whole group."""

from collections import OrderedDict
from enum import Enum

from gate.client.received import Entry
from gate.client.steps import Steps, send

_DONE = b"done"


class Recent:
    """The newest `most` ids that were added."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def add(self, event_id: str) -> None:
        """Remember an id, and forget the oldest where there are too many."""
        self._ids[event_id] = None
        self._ids.move_to_end(event_id)
        while len(self._ids) > self._most:
            self._ids.popitem(last=False)


class Claim(Enum):
    """Whether this consumer may handle an event."""

    OURS = "ours"
    DONE = "done"
    BUSY = "busy"


class GroupMemory:
    """A key in Redis for each event: first which entry of it is being handled, then that it was.

    Two entries of one event that two consumers hold at the same time are told apart by the entry that the key names.
    The key of an entry whose consumer died goes with the entry to whoever takes that over.
    """

    def __init__(self, group: str, *, keep_s: float, lease_s: float) -> None:
        """Nothing is sent yet.

        Args:
            group: the consumer group that shares the keys.
            keep_s: how long a handled event is known.
            lease_s: how long an event may be in the hands of one consumer.
        """
        self._group = group
        self._keep_ms = max(1, round(keep_s * 1000))
        self._lease_ms = max(1, round(lease_s * 1000))

    def claim(self, entry: Entry, event_id: str) -> Steps[Claim]:
        """Take the event for `entry`, unless it is done or taken."""
        key = self.key(entry.stream, event_id)
        ours = entry.entry_id.encode("ascii")
        if (yield from send("SET", key, ours, "NX", "PX", self._lease_ms)):
            return Claim.OURS
        holder = yield from send("GET", key)
        if holder == _DONE:
            return Claim.DONE
        if holder != ours:
            return Claim.BUSY
        yield from send("SET", key, ours, "PX", self._lease_ms)
        return Claim.OURS

    def done(self, entry: Entry, event_id: str) -> Steps[None]:
        """The event was handled."""
        yield from send("SET", self.key(entry.stream, event_id), _DONE, "PX", self._keep_ms)

    def key(self, stream: str, event_id: str) -> str:
        """In a cluster the key lives beside its stream."""
        tagged = "{" in stream and "}" in stream.partition("{")[2][1:]
        return f"{stream if tagged else f'{{{stream}}}'}:handled:{self._group}:{event_id}"
