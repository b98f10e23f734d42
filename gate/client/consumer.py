"""What a consumer does with its entries: give, drop, write off, acknowledge, try again."""

import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import redis

from gate.client.dead import DeadLetters, DeadReason
from gate.client.memory import Claim, GroupMemory, Recent
from gate.client.outcomes import Counts, Outcome
from gate.client.readers import Reader
from gate.client.received import Entry, Received, ReceivedFace, ReceivedVisitEnd
from gate.client.steps import HangUp, Pause, Steps
from gate.errors import EventError, PublishError
from gate.publish.connect import FAULTS, fault
from gate.publish.event import Event, FaceEvent, UnknownSchemaError, decode
from gate.publish.retry import RetryDelays
from gate.publish.sink import FaultCause

_log = logging.getLogger(__name__)

_NO_USE_TO_RETRY = {FaultCause.AUTH, FaultCause.DENIED, FaultCause.TLS, FaultCause.WRONG_TYPE, FaultCause.BAD_ADDRESS}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is not given to the body; the parameters of `gate.client.stream.FaceStream` explain them."""

    remember: int
    skip_superseded: bool
    max_deliveries: int | None
    forgive_schema: bool
    """Entries of an unknown schema are written off instead of ending the iteration."""


class Consumer:
    """The program of one consumer; one iteration at a time."""

    def __init__(
        self,
        reader: Reader,
        rules: Rules,
        *,
        url: str,
        retry: RetryDelays,
        stopped: Callable[[], bool],
        group_memory: GroupMemory | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            reader: where entries come from.
            rules: which of them are given.
            url: for messages, where it is shown without secrets.
            retry: delays between attempts to reach the server.
            stopped: true once somebody ended the stream.
            group_memory: what the group has handled, where it shares that.
            dead_letters: where entries are written off; None skips them.
        """
        self._reader = reader
        self._rules = rules
        self._url = url
        self._retry = retry
        self._stopped = stopped
        self._group_memory = group_memory
        self._dead_letters = dead_letters
        self._rng = random.Random()
        self._batch: deque[Entry] = deque()
        self._open: tuple[Entry, str] | None = None
        self._done = Recent(rules.remember)
        self._superseded = Recent(rules.remember)
        self._failures = 0
        self.counts = Counts()

    def begin(self) -> None:
        """Start anew: what was given and not acknowledged is given again."""
        self._open = None
        self._batch.clear()
        self._reader.restart()

    def following(self) -> Steps[Received | None]:
        """Acknowledge what was given last, then give the next; None once the stream was stopped.

        Raises:
            PublishError: trying again is of no use.
            UnknownSchemaError: the producer is newer than this reader.
        """
        yield from self.finish()
        while not self._stopped():
            if not self._batch:
                yield from self._fill()
            elif self._reader.overdue():
                # The body was slow; what is left of this batch may be another consumer's by now.
                self.begin()
            else:
                received = yield from self._next_of_batch()
                if received is not None:
                    return received
        return None

    def finish(self) -> Steps[None]:
        """Remember and acknowledge the entry that was given last. Raises as `following`."""
        opened, self._open = self._open, None
        if opened is None:
            return
        entry, event_id = opened
        self._done.add(event_id)
        self.counts.add(Outcome.HANDLED)
        try:
            if self._group_memory is not None:
                yield from self._group_memory.done(entry, event_id)
            yield from self._reader.ack(entry)
        except FAULTS as error:
            # It comes again after the reconnection, is known as done, and is acknowledged then.
            yield from self._try_again(error)

    def _fill(self) -> Steps[None]:
        try:
            entries = yield from self._reader.read()
        except FAULTS as error:
            yield from self._try_again(error)
            return
        self._failures = 0
        self._batch.extend(entries)
        if self._rules.skip_superseded:
            for better in _superseded_by(entries):
                self._superseded.add(better)

    def _next_of_batch(self) -> Steps[Received | None]:
        entry = self._batch.popleft()
        try:
            event = yield from self._event_to_give(entry)
        except FAULTS as error:
            yield from self._try_again(error)
            return None
        if event is None:
            return None
        self._open = (entry, event.event_id)
        return ReceivedFace(event, entry) if isinstance(event, FaceEvent) else ReceivedVisitEnd(event, entry)

    def _event_to_give(self, entry: Entry) -> Steps[Event | None]:
        """The event of an entry; None where the body is not to see it."""
        if not entry.fields:
            _log.warning("entry %s of %s was trimmed away before it was handled", entry.entry_id, entry.stream)
            return (yield from self._drop(entry, Outcome.TRIMMED))
        try:
            event = decode(entry.fields)
        except UnknownSchemaError as error:
            if not self._rules.forgive_schema:
                raise
            return (yield from self._write_off(entry, DeadReason.SCHEMA, str(error)))
        except EventError as error:
            return (yield from self._write_off(entry, DeadReason.UNREADABLE, str(error)))
        if event.event_id in self._done:
            return (yield from self._drop(entry, Outcome.DUPLICATE))
        if event.event_id in self._superseded:
            return (yield from self._drop(entry, Outcome.SUPERSEDED))
        return (yield from self._claimed(entry, event))

    def _claimed(self, entry: Entry, event: Event) -> Steps[Event | None]:
        if self._group_memory is not None:
            claim = yield from self._group_memory.claim(entry, event.event_id)
            if claim is Claim.DONE:
                return (yield from self._drop(entry, Outcome.DUPLICATE))
            if claim is Claim.BUSY:
                self.counts.add(Outcome.POSTPONED)
                return None
        most = self._rules.max_deliveries
        if most is not None and entry.deliveries > most:
            given = f"given {entry.deliveries - 1} times and never acknowledged"
            return (yield from self._write_off(entry, DeadReason.DELIVERIES, given))
        return event

    def _drop(self, entry: Entry, outcome: Outcome) -> Steps[Event | None]:
        """Acknowledge what is not given."""
        yield from self._reader.ack(entry)
        self.counts.add(outcome)
        return None

    def _write_off(self, entry: Entry, reason: DeadReason, error: str) -> Steps[Event | None]:
        """Copy to the dead letters what is not given, and acknowledge it."""
        _log.warning("entry %s of %s is written off (%s): %s", entry.entry_id, entry.stream, reason.value, error)
        if self._dead_letters is None:
            return (yield from self._drop(entry, Outcome.SKIPPED))
        try:
            yield from self._dead_letters.write(entry, reason, error)
        except redis.ResponseError as refusal:
            # A server that is full, or a user without the right: the others go on, this one comes again.
            problem = fault(refusal, self._url)
            _log.error("entry %s of %s cannot be written off: %s", entry.entry_id, entry.stream, problem)
            self.counts.add(Outcome.POSTPONED)
            return None
        return (yield from self._drop(entry, Outcome.DEAD))

    def _try_again(self, error: Exception) -> Steps[None]:
        """Forget what was fetched and wait; raises `PublishError` where that is of no use."""
        self._batch.clear()
        self._reader.restart()
        self._failures += 1
        yield HangUp()
        problem = fault(error, self._url)
        unknown = isinstance(error, redis.ResponseError) and problem.cause is FaultCause.OTHER
        if unknown or problem.cause in _NO_USE_TO_RETRY:
            raise PublishError(str(problem)) from None
        if self._failures & (self._failures - 1) == 0:
            _log.warning("%s (attempt %d)", problem, self._failures)
        yield Pause(self._retry.after(self._failures, self._rng))


def _superseded_by(entries: Iterable[Entry]) -> list[str]:
    """Ids of the faces that these entries improve on."""
    found = (entry.fields.get(b"supersedes") for entry in entries)
    return [event_id.decode("ascii", "replace") for event_id in found if event_id is not None]
