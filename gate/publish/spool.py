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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import structlog

from gate.clock import Clock
from gate.errors import ConfigError, SpoolError
from gate.publish.backlog import BacklogObserver
from gate.publish.sealing import Seal
from gate.publish.spool_books import READY_BYTES, READY_EVENTS, SpoolBooks, for_disk, from_disk
from gate.publish.spool_file import Candidate, SpoolCause, SpoolFile, set_aside, spool_error
from gate.publish.waiting import DropReason, Waiting

log = structlog.get_logger(__name__)

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
    """A `Backlog` that outlives the process. `SpoolBooks` says where every event is; this brings it there."""

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
        self._books = SpoolBooks(limits.memory_events, limits.memory_bytes)
        self._positions: dict[str, bytes] = {}
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
        return len(self._books.ready) > 0

    @property
    def size_bytes(self) -> int:
        """See `Backlog.size_bytes`."""
        return self._books.size_bytes

    def __len__(self) -> int:
        return len(self._books)

    def push(self, waiting: Waiting) -> Mapping[DropReason, int]:
        """See `Backlog.push`. Waits for the disk, though not for long."""
        self._notice_stall()
        self._last_ticket += 1
        waiting = replace(waiting, ticket=self._last_ticket, stored_ms=self._clock.unix_ms())
        dropped: Mapping[DropReason, int] = {}
        if self._fault is not None:
            dropped = self._books.push_without_disk(waiting)
        else:
            self._books.push(waiting)
        self.changed.notify_all()
        self._settle(waiting.ticket)
        return dropped

    def take(self, most: int, enough_bytes: float) -> list[Waiting]:
        """See `Backlog.take`. What is too old is dropped instead."""
        self._notice_stall()
        oldest_ms = self._oldest_ms()
        taken = self._books.ready.take(most, enough_bytes)
        old = [waiting for waiting in taken if waiting.stored_ms < oldest_ms]
        if old:
            self.confirm(old, {})
            self._observer.dropped(DropReason.EXPIRED.value, len(old))
        return [waiting for waiting in taken if waiting.stored_ms >= oldest_ms]

    def confirm(self, arrived: Sequence[Waiting], positions: Mapping[str, bytes]) -> None:
        """See `Backlog.confirm`."""
        for waiting in arrived:
            self._books.arrived(waiting)
        self._positions.update(positions)
        self.changed.notify_all()

    def kept(self, taken: Sequence[Waiting]) -> int:
        """See `Backlog.kept`."""
        return len(self) + len(taken) - len(self._books.unwritten)

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
                if last_turn and (self._fault is not None or not self._has_changes()):
                    break
        self._close_file()

    def _has_work(self) -> bool:
        if self._stopping or self._file is None:
            return self._stopping
        return self._has_changes() or self._wants_more()

    def _has_changes(self) -> bool:
        return bool(self._books.unwritten or self._books.unwanted)

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
            lost = self._books.reconcile(on_disk, file.size_bytes)
            self._tell_dropped({DropReason.UNREADABLE: lost})
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

    def _remove_unwanted(self, file: SpoolFile) -> None:
        # Before anything is added: on a file without room this is what makes some.
        with self.changed:
            unwanted, positions = frozenset(self._books.unwanted), dict(self._positions)
        if not unwanted and not (positions and self._stopping):
            return
        self._begin_write()
        file.write((), unwanted, positions)
        with self.changed:
            self._end_write()
            self._books.unwanted -= unwanted
            self._positions = {key: value for key, value in self._positions.items() if positions.get(key) != value}

    def _write(self, file: SpoolFile) -> None:
        with self.changed:
            group = list(islice(self._books.unwritten.values(), GROUP_EVENTS))
            self._patient = self._patient or not group
        if not group:
            return
        self._begin_write()
        file.write([for_disk(waiting, self._clock) for waiting in group])
        with self.changed:
            self._end_write()
            for waiting in group:
                self._books.written(waiting)
            self._patient = self._patient or not self._books.unwritten
            self.changed.notify_all()

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
            kept = self._books.settled
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
        with self.changed:
            self._tell_dropped(self._books.give_up(candidates))

    def _load(self, file: SpoolFile) -> None:
        """Read back what comes next, when it is time."""
        if not self._wants_more():
            return
        found, unreadable = file.read(self._books.loaded_to, READY_EVENTS, READY_BYTES)
        before_bytes = file.size_bytes
        if unreadable:
            file.write((), unreadable)
        with self.changed:
            if unreadable:
                self._books.forget(len(unreadable), before_bytes - file.size_bytes)
            for stored in found:
                self._books.loaded(from_disk(stored, self._clock, replayed=stored.ticket <= self._left_to))
            lost = len(unreadable) if found or unreadable else self._books.found_nothing()
            self._tell_dropped({DropReason.UNREADABLE: lost})
            self.changed.notify_all()

    def _wants_more(self) -> bool:
        return self._fault is None and self._books.wants_more

    def _sync_when_due(self, file: SpoolFile) -> None:
        if file.rows == 0:
            self._unsynced_s = math.inf
        elif self._clock.monotonic_s() - self._unsynced_s >= SYNC_AFTER_S:
            self._begin_write()
            file.sync()
            self._write_began_s = self._unsynced_s = math.inf

    def _restore_when_whole(self, *, tell: bool = False) -> None:
        with self.changed:
            if self._books.unwritten or (self._fault is None and not tell):
                return
            if self._books.behind:
                # What was accepted while the disk was away went ahead of what lies there; from now on in order again.
                self._books.unload()
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
        self._tell_dropped(self._books.spill_to_memory())
        self._observer.spool_failed(error.cause, str(error))
        self.changed.notify_all()

    def _tell_dropped(self, dropped: Mapping[DropReason, int]) -> None:
        for reason, count in dropped.items():
            if count:
                self._observer.dropped(reason.value, count)

    def _settle(self, ticket: int) -> None:
        if not self._patient or self._fault is not None or not self._thread.is_alive():
            return
        self._patient = self.changed.wait_for(
            lambda: ticket not in self._books.unwritten or self._fault is not None, PATIENCE_S
        )

    def _oldest_ms(self) -> float:
        return self._clock.unix_ms() - self._limits.max_age_s * 1000

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
