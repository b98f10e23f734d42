"""The durable backlog: accepted events are on a disk until Redis has confirmed them.

One thread does everything that touches the disk, in groups: what was pushed is committed, what was confirmed is
removed. Delivery does not wait for it. As long as Redis keeps up, events go to it from memory while they are being
written; when it does not, the newest are kept on the disk alone and are read back in order. `push` waits for the
commit, half a millisecond, so that an event that was accepted outlives SIGKILL; but for `PATIENCE_S` at
most, and once only: a disk that fails or hangs turns this into the bounded queue in memory that a gate without a
spool has, until everything could be written again.
"""

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import structlog

from gate.clock import Clock
from gate.errors import ConfigError, SpoolError
from gate.publish.backlog import BacklogObserver
from gate.publish.sealing import Seal
from gate.publish.spool_file import Candidate, SpoolCause, SpoolFile, Stored, set_aside, spool_error
from gate.publish.waiting import DropReason, Waiting, WaitingEvents

log = structlog.get_logger(__name__)

READY_EVENTS = 256
"""Most events that wait in memory as well: four batches, so that delivery never waits for the disk to be read."""

READY_BYTES = 32_000_000
"""No further event waits in memory as well when so many bytes do."""

GROUP_EVENTS = 256
"""Most events that are committed together."""

PATIENCE_S = 0.02
"""Longest that `push` waits for the disk: half a frame, a hundred commits."""

STALL_S = 2.0
"""A commit that takes this long counts as a disk that hangs."""

SYNC_AFTER_S = 1.0
"""How long after its commit what waits is made to survive a power cut too. Mostly Redis has it by then."""

HOUSEKEEPING_S = 30.0
"""How often old events are looked for, and whether the file is still there."""

REOPEN_S = (0.5, 30.0)
"""Shortest and longest time between attempts to use a disk that failed."""


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much is kept."""

    max_bytes: int
    """On the disk, of all events together."""

    max_age_s: float = math.inf
    """Longest that an event waits."""

    memory_events: int = 10_000
    """Most events that wait in memory while the disk keeps none."""

    memory_bytes: float = 256_000_000
    """Most bytes that do."""


class SpooledBacklog:
    """A `Backlog` that outlives the process.

    Every event has a ticket, which counts up. `_in_memory` holds those that are ready or were taken, on the disk or
    not; `_unwritten` those that are not on the disk yet, of which the `_spilled` are not in memory for delivery;
    `_behind` counts those that are on the disk alone; the `_unwanted` arrived or were given up, and are to be removed
    from it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        limits: SpoolLimits,
        clock: Clock,
        observer: BacklogObserver,
        seal: Seal | None = None,
    ) -> None:
        """Open the file and take over what an earlier process left.

        A disk that cannot be used is told to the observer, and events wait in memory until it can.

        Args:
            folder: where the file lies.
            limits: how much is kept.
            clock: ages of events, and time-outs.
            observer: is told of losses and of a disk that fails.
            seal: encrypts; None writes in the clear.

        Raises:
            ConfigError: what lies there was encrypted with another key, or another gate uses it.
        """
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._observer = observer
        self._seal = seal
        self.changed = threading.Condition()
        self._ready = WaitingEvents(limits.memory_events, limits.memory_bytes)
        self._in_memory: dict[int, Waiting] = {}
        self._unwritten: dict[int, Waiting] = {}
        self._spilled: dict[int, Waiting] = {}
        self._unwanted: set[int] = set()
        self._positions: dict[str, bytes] = {}
        self._behind = 0
        self._behind_bytes = 0
        self._loaded_to = 0
        self._file: SpoolFile | None = None
        self._damaged = False
        self._fault: SpoolError | None = None
        self._failures = 0
        self._patient = True
        self._write_began_s = math.inf
        self._unsynced_s = math.inf
        self._housekept_s = -math.inf
        self._untidy = True
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        # Should the disk appear later, what lies there is older than what is accepted until then.
        self._last_ticket = self._left_to = clock.unix_ms() << 20
        self._begin()

    @property
    def positions(self) -> Mapping[str, bytes]:
        """Stream -> id of the last entry that an earlier process knew to be there."""
        return {} if self._file is None else dict(self._file.positions)

    def producer(self, fresh: str) -> str:
        """The name under which this spool's events are produced: kept from the first time on, `fresh` until then."""
        try:
            return fresh if self._file is None else self._file.fact("producer", fresh)
        except SpoolError:
            return fresh

    @property
    def ready(self) -> bool:
        """See `Backlog.ready`."""
        return len(self._ready) > 0

    @property
    def size_bytes(self) -> int:
        """See `Backlog.size_bytes`."""
        return self._ready.size_bytes + sum(w.size_bytes for w in self._spilled.values()) + self._behind_bytes

    def __len__(self) -> int:
        return len(self._ready) + len(self._spilled) + self._behind

    def push(self, waiting: Waiting) -> Mapping[DropReason, int]:
        """See `Backlog.push`. Waits for the disk, though not for long."""
        self._notice_stall()
        self._last_ticket += 1
        waiting = replace(waiting, ticket=self._last_ticket, stored_ms=self._clock.unix_ms())
        dropped: Mapping[DropReason, int] = {}
        self._unwritten[waiting.ticket] = waiting
        if self._fault is not None:
            dropped = self._push_to_memory(waiting)
        elif self._behind or self._spilled or self._is_enough():
            self._spilled[waiting.ticket] = waiting
        else:
            self._push_ready(waiting)
            self._loaded_to = waiting.ticket
        self.changed.notify_all()
        self._settle(waiting.ticket)
        return dropped

    def take(self, most: int, enough_bytes: float) -> list[Waiting]:
        """See `Backlog.take`. What is too old is dropped instead."""
        self._notice_stall()
        oldest_ms = self._oldest_ms()
        taken = self._ready.take(most, enough_bytes)
        old = [waiting for waiting in taken if waiting.stored_ms < oldest_ms]
        if old:
            self.confirm(old, {})
            self._observer.dropped(DropReason.EXPIRED.value, len(old))
        return [waiting for waiting in taken if waiting.stored_ms >= oldest_ms]

    def confirm(self, arrived: Sequence[Waiting], positions: Mapping[str, bytes]) -> None:
        """See `Backlog.confirm`."""
        for waiting in arrived:
            del self._in_memory[waiting.ticket]
            # One that is being written right now is removed when that is done.
            if self._unwritten.pop(waiting.ticket, None) is None:
                self._unwanted.add(waiting.ticket)
        self._positions.update(positions)
        self.changed.notify_all()

    def kept(self, taken: Sequence[Waiting]) -> int:
        """See `Backlog.kept`."""
        return len(self) + len(taken) - len(self._unwritten)

    def start(self) -> None:
        """See `Backlog.start`."""
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """See `Backlog.close`. Writes what is not written yet."""
        with self.changed:
            self._stopping = True
            self.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        elif self._file is not None:
            self.turn()
            self._close_file()

    def turn(self) -> None:
        """Everything there is to do with the disk, once. The thread calls it; without a thread its owner does."""
        try:
            file = self._file or self._reopen()
            self._remove_unwanted(file)
            self._write(file)
            self._restore_when_whole()
            self._shrink(file)
            self._keep_house(file)
            self._load(file)
            self._sync_when_due(file)
        except SpoolError as error:
            self._fail(error)
        except ConfigError as error:
            # The folder was exchanged for another one, as when a mount comes late.
            self._fail(SpoolError(str(error), cause=SpoolCause.OTHER_KEY.value))
        except Exception:
            # Delivery must survive a defect in here; the disk is tried again.
            log.exception("spool_failed_unexpectedly")
            self._fail(spool_error(SpoolCause.FAILING, self._folder))

    def _run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(self._has_work, self._pause_s())
                last_turn = self._stopping
            self.turn()
            with self.changed:
                if last_turn and (self._fault is not None or not (self._unwritten or self._unwanted)):
                    break
        self._close_file()

    def _has_work(self) -> bool:
        if self._stopping or self._file is None:
            return self._stopping
        return bool(self._unwritten or self._unwanted) or self._wants_more()

    def _pause_s(self) -> float:
        if self._file is None:
            shortest_s, longest_s = REOPEN_S
            return min(shortest_s * 2.0 ** min(self._failures - 1, 16), longest_s)
        if math.isfinite(self._unsynced_s):
            return max(self._unsynced_s + SYNC_AFTER_S - self._clock.monotonic_s(), 0.0)
        return HOUSEKEEPING_S

    def _begin(self) -> None:
        try:
            self._reopen()
        except SpoolError as error:
            if error.cause == SpoolCause.IN_USE.value:
                raise ConfigError(str(error)) from None
            self._fail(error)
            return
        self._left_to = self._last_ticket
        self._restore_when_whole(tell=True)

    def _reopen(self) -> SpoolFile:
        file = self._opened()
        try:
            on_disk = file.tickets()
        except SpoolError:
            file.close()
            raise
        with self.changed:
            self._reconcile(file, on_disk)
            self._last_ticket = max(self._last_ticket, *on_disk, 0)
            self._file = file
            self._housekept_s = -math.inf
        return file

    def _opened(self) -> SpoolFile:
        if self._damaged:
            set_aside(self._folder)
            self._damaged = False
        try:
            return SpoolFile(self._folder, seal=self._seal, max_bytes=self._limits.max_bytes)
        except SpoolError as error:
            if error.cause != SpoolCause.DAMAGED.value:
                raise
        set_aside(self._folder)
        return SpoolFile(self._folder, seal=self._seal, max_bytes=self._limits.max_bytes)

    def _reconcile(self, file: SpoolFile, on_disk: set[int]) -> None:
        """Find out what a file that was opened again holds: a commit that failed may have been made, rows be gone."""
        expected = self._behind
        self._unwanted &= on_disk
        for ticket in [ticket for ticket in self._unwritten if ticket in on_disk]:
            del self._unwritten[ticket]
            expected += self._spilled.pop(ticket, None) is not None
        for ticket, waiting in self._in_memory.items():
            if ticket not in on_disk:
                self._unwritten[ticket] = waiting
        self._unwritten = dict(sorted(self._unwritten.items()))
        self._recount(file, on_disk)
        self._loaded_to = 0
        if self._behind < expected:
            self._observer.dropped(DropReason.UNREADABLE.value, expected - self._behind)

    def _recount(self, file: SpoolFile, on_disk: set[int]) -> None:
        elsewhere = on_disk & (self._in_memory.keys() | self._unwanted)
        self._behind = len(on_disk) - len(elsewhere)
        in_memory = (self._in_memory[ticket].size_bytes for ticket in elsewhere if ticket in self._in_memory)
        self._behind_bytes = file.size_bytes - sum(in_memory) if self._behind else 0

    def _remove_unwanted(self, file: SpoolFile) -> None:
        # Before anything is added: on a file without room this is what makes some.
        with self.changed:
            unwanted, positions = frozenset(self._unwanted), dict(self._positions)
        if not unwanted and not (positions and self._stopping):
            return
        self._begin_write()
        file.write((), unwanted, positions)
        with self.changed:
            self._end_write()
            self._unwanted -= unwanted
            self._positions = {key: value for key, value in self._positions.items() if positions.get(key) != value}

    def _write(self, file: SpoolFile) -> None:
        with self.changed:
            group = list(islice(self._unwritten.values(), GROUP_EVENTS))
            self._patient = self._patient or not group
        if not group:
            return
        self._begin_write()
        file.write([self._stored(waiting) for waiting in group])
        with self.changed:
            self._end_write()
            for waiting in group:
                self._note_written(waiting)
            self._patient = self._patient or not self._unwritten
            self.changed.notify_all()

    def _note_written(self, waiting: Waiting) -> None:
        if self._unwritten.pop(waiting.ticket, None) is None:
            # It arrived, or was given up, while it was being written.
            self._unwanted.add(waiting.ticket)
        elif self._spilled.pop(waiting.ticket, None) is not None:
            self._behind += 1
            self._behind_bytes += waiting.size_bytes

    def _begin_write(self) -> None:
        self._write_began_s = self._clock.monotonic_s()

    def _end_write(self) -> None:
        self._write_began_s = math.inf
        self._untidy = True
        self._unsynced_s = min(self._unsynced_s, self._clock.monotonic_s())

    def _shrink(self, file: SpoolFile) -> None:
        excess_bytes = file.size_bytes - self._limits.max_bytes
        if excess_bytes <= 0:
            return
        with self.changed:
            kept = self._taken() | self._unwanted
        self._give_up(file.least_wanted(excess_bytes, kept))
        self._remove_unwanted(file)

    def _keep_house(self, file: SpoolFile) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._housekept_s < HOUSEKEEPING_S:
            return
        self._housekept_s = now_s
        if not file.is_there():
            raise spool_error(SpoolCause.FAILING, self._folder)
        self._give_up(file.older_than(self._oldest_ms()))
        self._remove_unwanted(file)
        if file.rows == 0 and self._untidy:
            file.tidy()
            self._untidy = False

    def _give_up(self, candidates: Sequence[Candidate]) -> None:
        """Drop events, in memory and on the disk, but none that was taken meanwhile."""
        with self.changed:
            beyond = self._taken() | self._unwanted
            lost = {candidate.ticket: candidate for candidate in candidates if candidate.ticket not in beyond}
            if not lost:
                return
            for waiting in self._ready.take(len(self._ready)):
                del self._in_memory[waiting.ticket]
                if waiting.ticket not in lost:
                    self._push_ready(waiting)
                else:
                    self._behind += 1
                    self._behind_bytes += waiting.size_bytes
            self._unwanted.update(lost)
            reasons = Counter(candidate.reason for candidate in lost.values())
            self._forget_behind(reasons, sum(candidate.size_bytes for candidate in lost.values()))

    def _taken(self) -> set[int]:
        return self._in_memory.keys() - {waiting.ticket for waiting in self._ready}

    def _load(self, file: SpoolFile) -> None:
        """Read back what comes next, when it is time."""
        if not self._wants_more():
            return
        found, unreadable = file.read(self._loaded_to, READY_EVENTS, READY_BYTES)
        before_bytes = file.size_bytes
        if unreadable:
            file.write((), unreadable)
        with self.changed:
            if unreadable:
                self._forget_behind({DropReason.UNREADABLE: len(unreadable)}, before_bytes - file.size_bytes)
            for stored in found:
                self._loaded_to = stored.ticket
                if stored.ticket not in self._in_memory and stored.ticket not in self._unwanted:
                    self._behind -= 1
                    self._behind_bytes -= stored.size_bytes
                    self._push_ready(self._waiting(stored))
            if not found and not unreadable:
                # What was counted is not there; look once more from the beginning, then own up to it.
                lost, self._loaded_to = (0 if self._loaded_to else self._behind), 0
                self._forget_behind({DropReason.UNREADABLE: lost} if lost else {}, self._behind_bytes if lost else 0)
            self.changed.notify_all()

    def _wants_more(self) -> bool:
        return self._fault is None and self._behind > 0 and len(self._ready) < READY_EVENTS // 4

    def _sync_when_due(self, file: SpoolFile) -> None:
        if file.rows == 0:
            self._unsynced_s = math.inf
        elif self._clock.monotonic_s() - self._unsynced_s >= SYNC_AFTER_S:
            self._begin_write()
            file.sync()
            self._write_began_s = self._unsynced_s = math.inf

    def _restore_when_whole(self, *, tell: bool = False) -> None:
        with self.changed:
            if self._unwritten or (self._fault is None and not tell):
                return
            if self._behind:
                # What was accepted while the disk was away went ahead of what lies there; from now on in order again.
                self._unload()
            self._fault, self._failures, self._patient = None, 0, True
            self._observer.spool_kept()

    def _fail(self, error: SpoolError) -> None:
        self._close_file()
        with self.changed:
            self._damaged = error.cause == SpoolCause.DAMAGED.value
            self._failures += 1
            self._write_began_s = self._unsynced_s = math.inf
            self._degrade(error)

    def _notice_stall(self) -> None:
        if self._fault is None and self._clock.monotonic_s() - self._write_began_s > STALL_S:
            self._degrade(spool_error(SpoolCause.SLOW, self._folder))

    def _degrade(self, error: SpoolError) -> None:
        """From now on events wait in memory; those that were to be on the disk alone do too."""
        self._fault = error
        spilled, self._spilled = self._spilled, {}
        dropped: Counter[DropReason] = Counter()
        for waiting in spilled.values():
            dropped.update(self._push_to_memory(waiting))
        for reason, count in dropped.items():
            self._observer.dropped(reason.value, count)
        self._observer.spool_failed(error.cause, str(error))
        self.changed.notify_all()

    def _push_to_memory(self, waiting: Waiting) -> Mapping[DropReason, int]:
        dropped: Counter[DropReason] = Counter()
        for given_up, reason in self._ready.make_room_for(waiting):
            del self._in_memory[given_up.ticket]
            if self._unwritten.pop(given_up.ticket, None) is None:
                self._leave_on_disk(given_up)
            else:
                dropped[reason] += 1
        self._push_ready(waiting)
        return dropped

    def _push_ready(self, waiting: Waiting) -> None:
        self._ready.push(waiting)
        self._in_memory[waiting.ticket] = waiting

    def _unload(self) -> None:
        """Let go of what is ready in memory; it is on the disk, or will be."""
        for waiting in self._ready.take(len(self._ready)):
            del self._in_memory[waiting.ticket]
            if waiting.ticket in self._unwritten:
                self._spilled[waiting.ticket] = waiting
            else:
                self._leave_on_disk(waiting)

    def _leave_on_disk(self, waiting: Waiting) -> None:
        self._behind += 1
        self._behind_bytes += waiting.size_bytes
        self._loaded_to = min(self._loaded_to, waiting.ticket - 1)

    def _forget_behind(self, dropped: Mapping[DropReason, int], size_bytes: int) -> None:
        self._behind -= sum(dropped.values())
        self._behind_bytes -= size_bytes
        for reason, count in dropped.items():
            self._observer.dropped(reason.value, count)

    def _is_enough(self) -> bool:
        return len(self._ready) >= READY_EVENTS or self._ready.size_bytes >= READY_BYTES

    def _settle(self, ticket: int) -> None:
        if not self._patient or self._fault is not None or not self._thread.is_alive():
            return
        self._patient = self.changed.wait_for(
            lambda: ticket not in self._unwritten or self._fault is not None, PATIENCE_S
        )

    def _oldest_ms(self) -> float:
        return self._clock.unix_ms() - self._limits.max_age_s * 1000

    def _stored(self, waiting: Waiting) -> Stored:
        age_s = self._clock.monotonic_s() - waiting.since_s
        return Stored(
            ticket=waiting.ticket,
            event=waiting.event,
            improvable=waiting.improvable,
            stored_ms=waiting.stored_ms,
            since_ms=None if math.isnan(age_s) else self._clock.unix_ms() - round(age_s * 1000),
            size_bytes=waiting.size_bytes,
        )

    def _waiting(self, stored: Stored) -> Waiting:
        since_s = math.nan
        if stored.since_ms is not None:
            since_s = self._clock.monotonic_s() - (self._clock.unix_ms() - stored.since_ms) / 1000
        return Waiting(
            stored.event,
            stored.size_bytes,
            since_s,
            ticket=stored.ticket,
            stored_ms=stored.stored_ms,
            replayed=stored.ticket <= self._left_to,
        )

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
