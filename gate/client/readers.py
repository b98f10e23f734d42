"""Two ways to read streams: as a member of a consumer group, or just following along.

Both raise whatever redis-py raises; `FaceStream` decides what to do about it.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import redis

from gate.client.received import Entry
from gate.publish.connect import Client

_GONE = ("NOGROUP", "UNBLOCKED")
"""How the server says that the stream or its group was deleted under us."""


class Reader(Protocol):
    """Gives entries in order."""

    def read(self) -> list[Entry]:
        """The next entries; empty when there were none for a while."""
        ...

    def ack(self, entry: Entry) -> None:
        """This entry is done."""
        ...

    def restart(self) -> None:
        """Give again what was given and not acknowledged, as after a lost connection."""
        ...

    def overdue(self) -> bool:
        """True when entries of the last read may have gone to another consumer by now."""
        ...


class GroupReader:
    """A member of a consumer group: every entry goes to one member, until it is acknowledged."""

    def __init__(
        self,
        client: Client,
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
        self._client = client
        self._streams = tuple(streams)
        self._group = group
        self._consumer = consumer
        self._block_ms = max(1, round(block_s * 1000))
        self._prefetch = prefetch
        self._claim_idle_s = claim_idle_s
        self._first_id = "0" if from_start else "$"
        self._joined = False
        self._unfinished: list[str] = []
        self._claim_from: dict[str, bytes] = {}
        self._claim_due_s = 0.0
        self._read_s = 0.0

    def restart(self) -> None:
        """See `Reader.restart`."""
        self._unfinished = list(self._streams)

    def overdue(self) -> bool:
        """See `Reader.overdue`."""
        return time.monotonic() - self._read_s > self._claim_idle_s / 2

    def read(self) -> list[Entry]:
        """See `Reader.read`: first what this consumer left unfinished, then what the dead left, then what is new."""
        try:
            self._join()
            self._read_s = time.monotonic()
            entries = self._own_unfinished() or self._of_the_dead()
            if entries:
                return entries
            # Blocking may take a while, and what comes is as old as its arrival.
            entries = self._new()
            self._read_s = time.monotonic()
        except redis.ResponseError as error:
            if not str(error).startswith(_GONE):
                raise
            # Whatever a stream that was made anew holds is new to this group.
            self._joined, self._first_id = False, "0"
            return []
        return entries

    def ack(self, entry: Entry) -> None:
        """See `Reader.ack`."""
        self._client.execute_command("XACK", entry.stream, self._group, entry.entry_id)

    def _join(self) -> None:
        if self._joined:
            return
        for stream in self._streams:
            self._create_group(stream)
        self._joined = True

    def _create_group(self, stream: str) -> None:
        try:
            self._client.execute_command("XGROUP", "CREATE", stream, self._group, self._first_id, "MKSTREAM")
        except redis.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _own_unfinished(self) -> list[Entry]:
        while self._unfinished:
            # Reading one's own history also tells the server that this consumer is alive and at work on it.
            entries = self._read_group(self._unfinished[:1], "0")
            if entries:
                return entries
            self._unfinished.pop(0)
        return []

    def _of_the_dead(self) -> list[Entry]:
        now_s = time.monotonic()
        if now_s < self._claim_due_s and not self._claim_from:
            return []
        self._claim_due_s = now_s + self._claim_idle_s / 2
        entries: list[Entry] = []
        idle_ms = round(self._claim_idle_s * 1000)
        for stream in self._streams:
            start = self._claim_from.pop(stream, b"0-0")
            claim = ("XAUTOCLAIM", stream, self._group, self._consumer, idle_ms, start, "COUNT", self._prefetch)
            following, found = self._client.execute_command(*claim)[:2]
            if following != b"0-0":
                self._claim_from[stream] = following
            entries += _entries(stream, found)
        return entries

    def _new(self) -> list[Entry]:
        return self._read_group(self._streams, ">", "BLOCK", self._block_ms)

    def _read_group(self, streams: Sequence[str], after: str, *options: Any) -> list[Entry]:
        who = ("GROUP", self._group, self._consumer, "COUNT", self._prefetch, *options)
        return _reply(self._client.execute_command("XREADGROUP", *who, "STREAMS", *streams, *[after] * len(streams)))


class TailReader:
    """Follows along without a group: sees everything, owes nothing."""

    def __init__(
        self, client: Client, streams: Sequence[str], *, block_s: float, prefetch: int, from_start: bool
    ) -> None:
        """Nothing is sent yet. Parameters as of `gate.client.stream.FaceStream`."""
        self._client = client
        self._streams = tuple(streams)
        self._block_ms = max(1, round(block_s * 1000))
        self._prefetch = prefetch
        self._after: dict[str, str] = dict.fromkeys(self._streams, "0-0") if from_start else {}

    def read(self) -> list[Entry]:
        """See `Reader.read`."""
        for stream in self._streams:
            # Not "$": an entry between two reads would be missed.
            if stream not in self._after:
                newest = self._client.execute_command("XREVRANGE", stream, "+", "-", "COUNT", 1)
                self._after[stream] = newest[0][0].decode("ascii") if newest else "0-0"
        positions = [self._after[stream] for stream in self._streams]
        options = ("COUNT", self._prefetch, "BLOCK", self._block_ms)
        return _reply(self._client.execute_command("XREAD", *options, "STREAMS", *self._streams, *positions))

    def ack(self, entry: Entry) -> None:
        """See `Reader.ack`: only the place in the stream moves on."""
        self._after[entry.stream] = entry.entry_id

    def restart(self) -> None:
        """See `Reader.restart`: the place in the stream is kept here, nothing has to be done."""

    def overdue(self) -> bool:
        """See `Reader.overdue`: nobody else takes anything."""
        return False


def _reply(reply: Any) -> list[Entry]:
    return [entry for stream, found in reply or () for entry in _entries(stream.decode("utf-8"), found)]


def _entries(stream: str, found: Iterable[Any]) -> list[Entry]:
    # Servers before 7.0 hand out pending entries that were trimmed away, without id or without fields.
    return [Entry(stream, entry_id.decode("ascii"), fields or {}) for entry_id, fields in found if entry_id is not None]
