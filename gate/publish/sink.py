"""The seam between the publisher and whatever keeps events."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

from gate.errors import PublishError
from gate.publish.event import Event


class FaultCause(str, Enum):
    """Why events could not be delivered; the value is safe as a metric label."""

    AUTH = "auth"
    DENIED = "denied"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    TLS = "tls"
    LOADING = "loading"
    NO_MASTER = "no_master"
    MOVED = "moved"
    FULL = "full"
    READ_ONLY = "read_only"
    WRONG_TYPE = "wrong_type"
    BAD_ADDRESS = "bad_address"
    BAD_EVENT = "bad_event"
    OTHER = "other"


class SinkError(PublishError):
    """Some events were not delivered."""

    def __init__(self, message: str, *, cause: FaultCause, unsent: Sequence[Event] = ()) -> None:
        super().__init__(message)
        self.cause = cause
        self.unsent = tuple(unsent)
        """The events of the call that are not known to have arrived, in their order; the others have."""


class Sink(Protocol):
    """Keeps events. One thread at a time uses it."""

    def send(self, events: Sequence[Event]) -> None:
        """Deliver `events` in order.

        The caller sends `SinkError.unsent` again, with the same `event_id`s; the sink makes sure that an event whose
        delivery was in doubt is not delivered twice.

        Raises:
            SinkError: some or all were not delivered.
        """
        ...

    @property
    def positions(self) -> Mapping[str, bytes]:
        """Where the events ended that arrived last, in the sink's own words; for whoever continues after us."""
        ...

    def doubt(self, events: Sequence[Event]) -> None:
        """An earlier process may have delivered these, which are about to be sent."""
        ...

    def check(self) -> str:
        """Reach the server and say what it is, in one line. Raises `SinkError`."""
        ...

    def tend(self) -> None:
        """Reach the server and do its housekeeping; called now and then while there is nothing to send.

        Raises:
            SinkError: the server is not there.
        """
        ...

    def close(self) -> None:
        """Release everything. Safe to call twice."""
        ...
