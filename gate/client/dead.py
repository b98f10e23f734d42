"""Entries that nobody can handle go to a stream of their own, where somebody can look at them."""

from enum import Enum

from gate.client.received import Entry
from gate.client.steps import Steps, send

MOST_DEAD = 10_000
"""About how many dead letters are kept; the oldest go first."""


class DeadReason(str, Enum):
    """Why an entry was written off."""

    DELIVERIES = "deliveries"
    UNREADABLE = "unreadable"
    SCHEMA = "schema"

    @property
    def meaning(self) -> str:
        """One sentence for the documentation."""
        return _MEANINGS[self]


_MEANINGS = {
    DeadReason.DELIVERIES: "it was given `max_deliveries` times and never acknowledged",
    DeadReason.UNREADABLE: "it is no event, or a broken one; `dead_error` says what is wrong",
    DeadReason.SCHEMA: "its schema is not one this reader knows; only with `unknown_schema='dead-letter'`",
}

DEAD_FIELDS = {
    "dead_reason": "why it was written off: " + ", ".join(f"`{reason.value}`" for reason in DeadReason),
    "dead_error": "what was wrong, in words",
    "dead_entry": "id of the entry in its first stream",
    "dead_deliveries": "how often it was given to a consumer before it was written off",
    "dead_consumer": "the consumer that wrote it off",
}
"""What a dead letter holds beside the fields of its entry."""


def dead_stream(stream: str, group: str) -> str:
    """Key of the stream of dead letters."""
    return f"{stream}:dead:{group}"


class DeadLetters:
    """Writes entries off for one consumer of a group."""

    def __init__(self, group: str, consumer: str) -> None:
        self._group = group
        self._consumer = consumer

    def write(self, entry: Entry, reason: DeadReason, error: str) -> Steps[None]:
        """Copy `entry` into the stream of dead letters. A lost reply may write it twice."""
        told = {
            "dead_reason": reason.value,
            "dead_error": error,
            "dead_entry": entry.entry_id,
            "dead_deliveries": entry.deliveries - 1,
            "dead_consumer": self._consumer,
        }
        kept = {name: value for name, value in entry.fields.items() if name.decode("utf-8", "replace") not in told}
        words = [word for pair in [*kept.items(), *told.items()] for word in pair]
        yield from send("XADD", dead_stream(entry.stream, self._group), "MAXLEN", "~", MOST_DEAD, "*", *words)
