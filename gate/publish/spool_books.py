"""Where every event of a spool is: in memory for delivery, on the disk, or both. No disk and no thread in here."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from gate.clock import Clock
from gate.publish.spool_file import Candidate, Stored
from gate.publish.waiting import DropReason, Waiting, WaitingEvents

READY_EVENTS = 256
"""Most events that wait in memory as well: four batches, so that delivery never waits for the disk to be read."""

READY_BYTES = 32_000_000
"""No further event waits in memory as well when so many bytes do."""


class SpoolBooks:
    """Says of every event where it is, and which of them come next. Whoever calls holds a lock.

    Every event has a ticket, which counts up.

    Attributes:
        ready: wait in memory for delivery, on the disk or not.
        in_memory: these, and those that were taken; by ticket, as all below.
        unwritten: are not on the disk yet.
        spilled: those of the unwritten that are not in memory for delivery.
        unwanted: arrived or were given up, and are to be removed from the disk.
        behind: how many are on the disk alone.
        behind_bytes: of those.
        loaded_to: the ticket up to which everything was read back.
    """

    def __init__(self, memory_events: int, memory_bytes: float) -> None:
        """Nothing waits. `ready` holds so much at most."""
        self.ready = WaitingEvents(memory_events, memory_bytes)
        self.in_memory: dict[int, Waiting] = {}
        self.unwritten: dict[int, Waiting] = {}
        self.spilled: dict[int, Waiting] = {}
        self.unwanted: set[int] = set()
        self.behind = 0
        self.behind_bytes = 0
        self.loaded_to = 0

    def __len__(self) -> int:
        return len(self.ready) + len(self.spilled) + self.behind

    @property
    def size_bytes(self) -> int:
        """Bytes of what waits, without what was taken."""
        return self.ready.size_bytes + sum(w.size_bytes for w in self.spilled.values()) + self.behind_bytes

    @property
    def wants_more(self) -> bool:
        """Whether it is time to read something back."""
        return self.behind > 0 and len(self.ready) < READY_EVENTS // 4

    @property
    def settled(self) -> set[int]:
        """What cannot be given up: it is being delivered, or is to be removed anyway."""
        return (self.in_memory.keys() - {waiting.ticket for waiting in self.ready}) | self.unwanted

    def push(self, waiting: Waiting) -> None:
        """Append: for the disk, and for delivery too where nothing waits on the disk alone and memory has room."""
        self.unwritten[waiting.ticket] = waiting
        enough = len(self.ready) >= READY_EVENTS or self.ready.size_bytes >= READY_BYTES
        if self.behind or self.spilled or enough:
            self.spilled[waiting.ticket] = waiting
        else:
            self._push_ready(waiting)
            self.loaded_to = waiting.ticket

    def push_without_disk(self, waiting: Waiting) -> Mapping[DropReason, int]:
        """Append for delivery, while the disk keeps none; what had to be given up for it, by reason."""
        self.unwritten[waiting.ticket] = waiting
        return self._push_to_memory(waiting)

    def arrived(self, waiting: Waiting) -> None:
        """Forget one that was taken and is where it belongs."""
        del self.in_memory[waiting.ticket]
        # One that is being written right now is removed when that is done.
        if self.unwritten.pop(waiting.ticket, None) is None:
            self.unwanted.add(waiting.ticket)

    def written(self, waiting: Waiting) -> None:
        """It is on the disk."""
        if self.unwritten.pop(waiting.ticket, None) is None:
            # It arrived, or was given up, while it was being written.
            self.unwanted.add(waiting.ticket)
        elif self.spilled.pop(waiting.ticket, None) is not None:
            self.behind += 1
            self.behind_bytes += waiting.size_bytes

    def loaded(self, waiting: Waiting) -> None:
        """It was read back, behind everything that was before."""
        self.loaded_to = waiting.ticket
        if waiting.ticket not in self.in_memory and waiting.ticket not in self.unwanted:
            self.behind -= 1
            self.behind_bytes -= waiting.size_bytes
            self._push_ready(waiting)

    def found_nothing(self) -> int:
        """What was counted is not there: look once more from the beginning, then own up to it; how many are lost."""
        lost, self.loaded_to = (0 if self.loaded_to else self.behind), 0
        if lost:
            self.forget(lost, self.behind_bytes)
        return lost

    def forget(self, events: int, size_bytes: int) -> None:
        """So much of what was on the disk alone is lost."""
        self.behind -= events
        self.behind_bytes -= size_bytes

    def give_up(self, candidates: Sequence[Candidate]) -> Counter[DropReason]:
        """Drop events, in memory and on the disk, but none that was taken meanwhile; how many, by reason."""
        settled = self.settled
        lost = {candidate.ticket: candidate for candidate in candidates if candidate.ticket not in settled}
        if lost:
            for waiting in self.ready.take(len(self.ready)):
                del self.in_memory[waiting.ticket]
                if waiting.ticket not in lost:
                    self._push_ready(waiting)
                else:
                    self.behind += 1
                    self.behind_bytes += waiting.size_bytes
            self.unwanted.update(lost)
            self.forget(len(lost), sum(candidate.size_bytes for candidate in lost.values()))
        return Counter(candidate.reason for candidate in lost.values())

    def spill_to_memory(self) -> Counter[DropReason]:
        """The disk is away: what was to be there alone waits in memory; what had to be given up for it, by reason."""
        spilled, self.spilled = self.spilled, {}
        dropped: Counter[DropReason] = Counter()
        for waiting in spilled.values():
            dropped.update(self._push_to_memory(waiting))
        return dropped

    def unload(self) -> None:
        """Let go of what is ready in memory; it is on the disk, or will be, and is read back in order."""
        for waiting in self.ready.take(len(self.ready)):
            del self.in_memory[waiting.ticket]
            if waiting.ticket in self.unwritten:
                self.spilled[waiting.ticket] = waiting
            else:
                self._leave_on_disk(waiting)

    def reconcile(self, on_disk: set[int], size_bytes: int) -> int:
        """Take over what a file that was opened again holds; how many events it has lost.

        A commit that failed may have been made, and rows may be gone.
        """
        expected = self.behind
        self.unwanted &= on_disk
        for ticket in [ticket for ticket in self.unwritten if ticket in on_disk]:
            del self.unwritten[ticket]
            expected += self.spilled.pop(ticket, None) is not None
        for ticket, waiting in self.in_memory.items():
            if ticket not in on_disk:
                self.unwritten[ticket] = waiting
        self.unwritten = dict(sorted(self.unwritten.items()))
        self._recount(on_disk, size_bytes)
        self.loaded_to = 0
        return max(expected - self.behind, 0)

    def _recount(self, on_disk: set[int], size_bytes: int) -> None:
        elsewhere = on_disk & (self.in_memory.keys() | self.unwanted)
        self.behind = len(on_disk) - len(elsewhere)
        in_memory = (self.in_memory[ticket].size_bytes for ticket in elsewhere if ticket in self.in_memory)
        self.behind_bytes = size_bytes - sum(in_memory) if self.behind else 0

    def _push_to_memory(self, waiting: Waiting) -> Counter[DropReason]:
        dropped: Counter[DropReason] = Counter()
        for given_up, reason in self.ready.make_room_for(waiting):
            del self.in_memory[given_up.ticket]
            if self.unwritten.pop(given_up.ticket, None) is None:
                self._leave_on_disk(given_up)
            else:
                dropped[reason] += 1
        self._push_ready(waiting)
        return dropped

    def _push_ready(self, waiting: Waiting) -> None:
        self.ready.push(waiting)
        self.in_memory[waiting.ticket] = waiting

    def _leave_on_disk(self, waiting: Waiting) -> None:
        self.behind += 1
        self.behind_bytes += waiting.size_bytes
        self.loaded_to = min(self.loaded_to, waiting.ticket - 1)


def for_disk(waiting: Waiting, clock: Clock) -> Stored:
    """A waiting event as it is written: a latency counts on by the wall clock, the only one that outlives a process."""
    age_s = clock.monotonic_s() - waiting.since_s
    return Stored(
        ticket=waiting.ticket,
        event=waiting.event,
        improvable=waiting.improvable,
        stored_ms=waiting.stored_ms,
        since_ms=None if math.isnan(age_s) else clock.unix_ms() - round(age_s * 1000),
        size_bytes=waiting.size_bytes,
    )


def from_disk(stored: Stored, clock: Clock, *, replayed: bool) -> Waiting:
    """The waiting event that was written; `replayed` when an earlier process left it behind."""
    since_s = math.nan
    if stored.since_ms is not None:
        since_s = clock.monotonic_s() - (clock.unix_ms() - stored.since_ms) / 1000
    return Waiting(
        stored.event,
        stored.size_bytes,
        since_s,
        ticket=stored.ticket,
        stored_ms=stored.stored_ms,
        replayed=replayed,
    )
