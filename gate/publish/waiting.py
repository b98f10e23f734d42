"""Events that wait in memory for delivery: in order, bounded, and honest about what had to go."""

import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from gate.publish.event import Event, FaceEvent


class DropReason(str, Enum):
    """Why an accepted event was lost; the value is what the metric carries."""

    IMPROVABLE_OVERFLOW = "overflow"
    """The queue was full, and this was the oldest face of a visit that may still be replaced by a better one."""

    FINAL_OVERFLOW = "overflow_final"
    """The queue was full of best shots and visit ends, and this was the oldest of them."""

    INVALID = "invalid"
    """The event breaks the schema, as a NaN does; sending it again would not help."""

    CLOSED = "closed"
    """The process ended before it could be delivered."""

    EXPIRED = "expired"
    """It waited for longer than `spool.max_age_h`."""

    UNREADABLE = "unreadable"
    """It was on a disk that has lost it."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event in the queue."""

    event: Event
    size_bytes: int
    since_s: float = math.nan
    """Monotonic seconds from which its latency counts; not-a-number where it has none."""

    ticket: int = 0
    """Its place in the order, where a spool keeps it."""

    stored_ms: int = 0
    """Unix milliseconds at which it was accepted, where a spool keeps it."""

    replayed: bool = False
    """Whether an earlier process left it behind, which may have sent it and died before it knew."""

    @property
    def improvable(self) -> bool:
        """Whether a later face of the visit may replace it."""
        return isinstance(self.event, FaceEvent) and not self.event.final


class WaitingEvents:
    """A bounded queue that gives up faces a later one may replace before best shots and visit ends.

    It is full with `capacity` events or `capacity_bytes` bytes, whichever comes first; an event that is larger than
    that waits alone. Not thread-safe: its owner holds a lock.
    """

    def __init__(self, capacity: int, capacity_bytes: float = math.inf) -> None:
        if capacity < 1 or not capacity_bytes >= 1:
            raise ValueError(f"capacity must be at least 1, got {capacity} events and {capacity_bytes} bytes")
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._by_ticket: OrderedDict[int, Waiting] = OrderedDict()
        self._improvable: deque[int] = deque()
        self._next_ticket = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._by_ticket)

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._by_ticket.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all values that wait."""
        return self._size_bytes

    def push(self, waiting: Waiting) -> list[DropReason]:
        """Append; where the queue was full, say of each event that was given up for it what kind it was."""
        dropped = [reason for _, reason in self.make_room_for(waiting)]
        self._by_ticket[self._next_ticket] = waiting
        if waiting.improvable:
            self._improvable.append(self._next_ticket)
        self._next_ticket += 1
        self._size_bytes += waiting.size_bytes
        return dropped

    def make_room_for(self, waiting: Waiting) -> list[tuple[Waiting, DropReason]]:
        """Give up what has to go before `waiting` can be pushed, and say what that was and why."""
        dropped = []
        while self and not self._has_room_for(waiting):
            dropped.append(self._make_room())
        return dropped

    def take(self, most: int, enough_bytes: float = math.inf) -> list[Waiting]:
        """Remove and return the oldest: at most `most`, and no further one when `enough_bytes` are together."""
        taken: list[Waiting] = []
        while self and len(taken) < most and enough_bytes > 0:
            taken.append(self._remove(next(iter(self._by_ticket))))
            enough_bytes -= taken[-1].size_bytes
        return taken

    def _has_room_for(self, waiting: Waiting) -> bool:
        return len(self) < self._capacity and self._size_bytes + waiting.size_bytes <= self._capacity_bytes

    def _make_room(self) -> tuple[Waiting, DropReason]:
        if self._improvable:
            return self._remove(self._improvable[0]), DropReason.IMPROVABLE_OVERFLOW
        return self._remove(next(iter(self._by_ticket))), DropReason.FINAL_OVERFLOW

    def _remove(self, ticket: int) -> Waiting:
        # Both run in ticket order, so whichever is removed stands at the front of `_improvable` or not in it at all.
        if self._improvable and self._improvable[0] == ticket:
            self._improvable.popleft()
        waiting = self._by_ticket.pop(ticket)
        self._size_bytes -= waiting.size_bytes
        return waiting
