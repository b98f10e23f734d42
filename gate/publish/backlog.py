"""The seam between the publisher and where accepted events wait: in memory alone, or on a disk as well."""

import threading
from collections.abc import Mapping, Sequence
from typing import Protocol

from gate.publish.waiting import DropReason, Waiting, WaitingEvents


class BacklogObserver(Protocol):
    """Who is told how the backlog does; calls must be quick."""

    def dropped(self, reason: str, n: int) -> None:
        """`n` accepted events were lost; `reason` is a value of `DropReason`."""
        ...

    def spool_failed(self, cause: str, message: str) -> None:
        """Events wait in memory alone from now on; `cause` is a value of `SpoolCause`."""
        ...

    def spool_kept(self) -> None:
        """Everything that waits is on the disk."""
        ...


class Backlog(Protocol):
    """Events that wait for delivery, in order. Whoever calls holds `changed`."""

    changed: threading.Condition
    """Guards everything; notified when something may have become ready."""

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        ...

    @property
    def size_bytes(self) -> int:
        """Bytes of what waits, without what was taken."""
        ...

    def __len__(self) -> int:
        """How many events wait, without those that were taken."""
        ...

    def push(self, waiting: Waiting) -> Mapping[DropReason, int]:
        """Append; how many events had to be given up for it, by reason."""
        ...

    def take(self, most: int, enough_bytes: float) -> list[Waiting]:
        """Remove and return the oldest: at most `most`, and no further one when `enough_bytes` are together."""
        ...

    def confirm(self, arrived: Sequence[Waiting], positions: Mapping[str, bytes]) -> None:
        """Forget what was taken and has arrived; `positions` are those of the sink now."""
        ...

    def start(self) -> None:
        """Start whatever runs beside; called without the lock."""
        ...

    def close(self, timeout_s: float) -> None:
        """Stop whatever runs beside; called without the lock, when nothing is pushed any more."""
        ...

    def kept(self, taken: Sequence[Waiting]) -> int:
        """How many of what waits and of what was taken outlive this process."""
        ...


class MemoryBacklog:
    """A `Backlog` in memory alone: bounded, and gone with the process."""

    def __init__(self, capacity: int, capacity_bytes: float) -> None:
        self.changed = threading.Condition()
        self._waiting = WaitingEvents(capacity, capacity_bytes)

    @property
    def ready(self) -> bool:
        """See `Backlog.ready`."""
        return len(self._waiting) > 0

    @property
    def size_bytes(self) -> int:
        """See `Backlog.size_bytes`."""
        return self._waiting.size_bytes

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, waiting: Waiting) -> Mapping[DropReason, int]:
        """See `Backlog.push`."""
        dropped = self._waiting.push(waiting)
        self.changed.notify_all()
        return {reason: dropped.count(reason) for reason in dropped}

    def take(self, most: int, enough_bytes: float) -> list[Waiting]:
        """See `Backlog.take`."""
        return self._waiting.take(most, enough_bytes)

    def confirm(self, arrived: Sequence[Waiting], positions: Mapping[str, bytes]) -> None:
        """See `Backlog.confirm`."""

    def start(self) -> None:
        """See `Backlog.start`."""

    def close(self, timeout_s: float) -> None:
        """See `Backlog.close`."""

    def kept(self, taken: Sequence[Waiting]) -> int:  # noqa: ARG002 - nothing is
        """See `Backlog.kept`."""
        return 0
