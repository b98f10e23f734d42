"""How far a consumer group is behind its streams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from gate.client.steps import Command, Step, Steps, perform, send
from gate.publish.connect import FAULTS, Client, fault


@dataclass(frozen=True, slots=True)
class GroupLag:
    """How far one group is behind in one stream."""

    stream: str

    waiting: int | None
    """Entries that no consumer was given yet. None where the server cannot tell: one before 7.0 that is neither at the
    end nor before the beginning, or one whose stream had entries deleted out of its middle."""

    pending: int
    """Entries that a consumer was given and has not acknowledged."""

    behind_s: float
    """From the newest entry that was given to the newest there is, by the times in their ids; 0 at the end."""

    consumers: int
    """Consumers the group has ever had and nobody removed."""


class LagProbe:
    """Measures a group's lag over a connection of its own, so that a consumer at work is not disturbed."""

    def __init__(self, client: Client, url: str, *, streams: Sequence[str], group: str) -> None:
        """Nothing is sent yet; `url` is for messages, where it is shown without secrets."""
        self._url = url
        self._client = client
        self._streams, self._group = tuple(streams), group

    def measure(self) -> list[GroupLag]:
        """A stream at a time. Raises `PublishError` where the server cannot be asked."""
        try:
            return perform(group_lag(self._streams, self._group), self._do)
        except FAULTS as error:
            self._client.disconnect()
            raise fault(error, self._url) from None

    def close(self) -> None:
        """Disconnect; measuring again connects again."""
        self._client.disconnect()

    def _do(self, step: Step) -> Any:
        # Asking for a lag is commands alone.
        return self._client.execute_command(*step.words, **step.options) if isinstance(step, Command) else None


def group_lag(streams: Sequence[str], group: str) -> Steps[list[GroupLag]]:
    """Ask the server about every stream; one that is not there yet is not behind."""
    found = []
    for stream in streams:
        try:
            whole = _named((yield from send("XINFO", "STREAM", stream)))
            groups = [_named(reply) for reply in (yield from send("XINFO", "GROUPS", stream))]
        except redis.ResponseError as error:
            if "no such key" not in str(error):
                raise
            found.append(GroupLag(stream, 0, 0, 0.0, 0))
            continue
        ours = next((each for each in groups if each["name"] == group.encode("utf-8")), None)
        if ours is None:
            # Whatever is in the stream waits for a group that does not exist yet.
            ours = {"pending": 0, "consumers": 0, "last-delivered-id": b"0-0"}
        found.append(_lag(stream, whole, ours))
    return found


def _lag(stream: str, whole: dict[str, Any], group: dict[str, Any]) -> GroupLag:
    newest, given = _parts(whole["last-generated-id"]), _parts(group["last-delivered-id"])
    oldest = whole["first-entry"]
    waiting: int | None = group.get("lag")
    if oldest is None or given >= newest:
        waiting = 0
    elif given < _parts(oldest[0]):
        waiting = int(whole["length"])
    # Before the first delivery the group is behind by what the stream still holds.
    start = max(given, _parts(oldest[0])) if oldest is not None else newest
    behind_s = max(0, newest[0] - start[0]) / 1000
    return GroupLag(stream, waiting, int(group["pending"]), behind_s, int(group["consumers"]))


def _named(reply: Any) -> dict[str, Any]:
    return {name.decode("ascii"): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _parts(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
