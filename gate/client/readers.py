"""Two ways to read streams: as a member of a consumer group, or just following along.

Both are programs of `gate.client.steps` and raise whatever redis-py raises; `gate.client.consumer` decides what to do
about it.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import redis

from gate.client.received import Entry
from gate.client.steps import Steps, send
from gate.publish.connect import FAULTS

_GONE = ("NOGROUP", "UNBLOCKED")
"""How the server says that the stream or its group was deleted under us."""


class Reader(Protocol):
    """Gives entries in order."""

    def read(self) -> Steps[list[Entry]]:
        """The next entries; empty when there were none for a while."""
        ...

    def ack(self, entry: Entry) -> Steps[None]:
        """This entry is done."""
        ...

    def restart(self) -> None:
        """Give again what was given and not acknowledged, as after a lost connection."""
        ...

    def overdue(self) -> bool:
        """True when entries of the last read may have gone to another consumer by now."""
        ...


class GroupReader:
    """A member of a consumer group: every entry goes to one member, until it is acknowledged.

    What comes again comes one at a time. The server counts how often an entry was handed out, and one that kills its
    consumers must not drag along the counts of those fetched with it.
    """

    def __init__(
        self,
        streams: Sequence[str],
        *,
        group: str,
        consumer: str,
        block_s: float,
        prefetch: int,
        claim_idle_s: float,
        from_start: bool,
    ) -> None:
        """Nothing is sent yet. Parameters as of `gate.client.stream.FaceStream`."""
        self._group = group
        self._consumer = consumer
        self._claim_idle_s = claim_idle_s
        self._first_id = "0" if from_start else "$"
        self._joined = False
        self._new = _Streams("XREADGROUP", streams, ("GROUP", group, consumer, "COUNT", prefetch), block_s)
        self._streams = tuple(streams)
        self._unfinished: dict[str, str] = {}
        self._claim_from: dict[str, Any] = {}
        self._claim_due_s = 0.0
        self._read_s = 0.0

    def restart(self) -> None:
        """See `Reader.restart`."""
        self._unfinished = dict.fromkeys(self._streams, "-")

    def overdue(self) -> bool:
        """See `Reader.overdue`."""
        return time.monotonic() - self._read_s > self._claim_idle_s / 2

    def read(self) -> Steps[list[Entry]]:
        """See `Reader.read`: first what this consumer left unfinished, then what the dead left, then what is new."""
        try:
            yield from self._join()
            entries = (yield from self._own_unfinished()) or (yield from self._of_the_dead())
            if not entries:
                entries = yield from self._new.read(dict.fromkeys(self._streams, ">"))
        except redis.ResponseError as error:
            if not str(error).startswith(_GONE):
                raise
            # Whatever a stream that was made anew holds is new to this group.
            self._joined, self._first_id = False, "0"
            self._unfinished, self._claim_from = {}, {}
            return []
        # Only now: blocking may take a while, and what comes is as old as its arrival.
        self._read_s = time.monotonic()
        return entries

    def ack(self, entry: Entry) -> Steps[None]:
        """See `Reader.ack`."""
        yield from send("XACK", entry.stream, self._group, entry.entry_id)

    def _join(self) -> Steps[None]:
        if self._joined:
            return
        for stream in self._streams:
            yield from self._create_group(stream)
        self._joined = True

    def _create_group(self, stream: str) -> Steps[None]:
        try:
            yield from send("XGROUP", "CREATE", stream, self._group, self._first_id, "MKSTREAM")
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _own_unfinished(self) -> Steps[list[Entry]]:
        while self._unfinished:
            stream, start = next(iter(self._unfinished.items()))
            held = yield from self._held(stream, start, "+", self._consumer)
            if held is None:
                del self._unfinished[stream]
                continue
            entry_id = held["message_id"].decode("ascii")
            self._unfinished[stream] = f"({entry_id}"
            # Whoever took it over meanwhile has set its idle time back, and then this claims nothing.
            claim = ("XCLAIM", stream, self._group, self._consumer, held["time_since_delivered"], entry_id)
            found = yield from send(*claim)
            if found:
                return [Entry(stream, entry_id, found[0][1] or {}, held["times_delivered"] + 1)]
            if (yield from self._held(stream, entry_id, entry_id)) is None:
                # Servers from 7.0 let go of what was trimmed away.
                return [Entry(stream, entry_id, {})]
        return []

    def _held(self, stream: str, start: str, end: str, *consumer: str) -> Steps[dict[str, Any] | None]:
        """What the server knows of the first entry between two ids that was given and not acknowledged."""
        query = ("XPENDING", stream, self._group, start, end, 1, *consumer)
        found = yield from send(*query, parse_detail=True)
        return found[0] if found else None

    def _of_the_dead(self) -> Steps[list[Entry]]:
        now_s = time.monotonic()
        if not self._claim_from and now_s >= self._claim_due_s:
            self._claim_due_s = now_s + self._claim_idle_s / 2
            self._claim_from = dict.fromkeys(self._streams, "0-0")
        while self._claim_from:
            stream, start = next(iter(self._claim_from.items()))
            claim = ("XAUTOCLAIM", stream, self._group, self._consumer, round(self._claim_idle_s * 1000), start)
            following, found, *trimmed = yield from send(*claim, "COUNT", 1)
            if following == b"0-0":
                del self._claim_from[stream]
            else:
                self._claim_from[stream] = following
            gone = [Entry(stream, entry_id.decode("ascii"), {}) for ids in trimmed for entry_id in ids]
            entries = yield from self._claimed(stream, found)
            if gone or entries:
                return gone + entries
        return []

    def _claimed(self, stream: str, found: Iterable[Any]) -> Steps[list[Entry]]:
        entries = []
        for entry_id, fields in found:
            if entry_id is None:
                # Servers before 7.0 hand over what was trimmed away, and do not say what it was.
                self._unfinished[stream] = "-"
                continue
            name = entry_id.decode("ascii")
            held = yield from self._held(stream, name, name)
            entries.append(Entry(stream, name, fields or {}, 1 if held is None else held["times_delivered"]))
        return entries


class TailReader:
    """Follows along without a group: sees everything, owes nothing."""

    def __init__(self, streams: Sequence[str], *, block_s: float, prefetch: int, from_start: bool) -> None:
        """Nothing is sent yet. Parameters as of `gate.client.stream.FaceStream`."""
        self._streams = tuple(streams)
        self._new = _Streams("XREAD", streams, ("COUNT", prefetch), block_s)
        self._after: dict[str, str] = dict.fromkeys(self._streams, "0-0") if from_start else {}

    def read(self) -> Steps[list[Entry]]:
        """See `Reader.read`."""
        for stream in self._streams:
            # Not "$": an entry between two reads would be missed.
            if stream not in self._after:
                newest = yield from send("XREVRANGE", stream, "+", "-", "COUNT", 1)
                self._after[stream] = newest[0][0].decode("ascii") if newest else "0-0"
        return (yield from self._new.read({stream: self._after[stream] for stream in self._streams}))

    def ack(self, entry: Entry) -> Steps[None]:
        """See `Reader.ack`: only the place in the stream moves on."""
        self._after[entry.stream] = entry.entry_id
        yield from ()

    def restart(self) -> None:
        """See `Reader.restart`: the place in the stream is kept here, nothing has to be done."""

    def overdue(self) -> bool:
        """See `Reader.overdue`: nobody else takes anything."""
        return False


class _Streams:
    """Waits for entries of several streams, with one command where the server allows that."""

    def __init__(self, command: str, streams: Sequence[str], options: tuple[Any, ...], block_s: float) -> None:
        self._command = command
        self._turns = list(streams)
        self._options = options
        self._block_ms = max(1, round(block_s * 1000))
        self._apart = False

    def read(self, after: dict[str, str]) -> Steps[list[Entry]]:
        """Entries behind the given ids; waits for the first one."""
        if not self._apart:
            try:
                return (yield from self._entries(after, self._block_ms))
            except FAULTS as error:
                # A cluster reads streams of different slots one by one; redis-py may say so before the server does.
                if len(after) == 1 or "slot" not in str(error).lower():
                    raise
                self._apart = True
        entries: list[Entry] = []
        for stream, entry_id in after.items():
            entries += yield from self._entries({stream: entry_id})
        if entries:
            return entries
        self._turns.append(self._turns.pop(0))
        waited_for = self._turns[0]
        return (yield from self._entries({waited_for: after[waited_for]}, max(1, self._block_ms // len(after))))

    def _entries(self, after: dict[str, str], block_ms: int | None = None) -> Steps[list[Entry]]:
        wait = () if block_ms is None else ("BLOCK", block_ms)
        reply = yield from send(self._command, *self._options, *wait, "STREAMS", *after, *after.values())
        return [
            Entry(stream.decode("utf-8"), entry_id.decode("ascii"), fields or {})
            for stream, found in reply or ()
            for entry_id, fields in found
        ]
