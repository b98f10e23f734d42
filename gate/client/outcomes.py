"""What became of the entries that a consumer was given, counted."""

import threading
from collections import Counter
from enum import Enum


class Outcome(str, Enum):
    """What became of one entry; the value is a metric label."""

    HANDLED = "handled"
    DUPLICATE = "duplicate"
    SUPERSEDED = "superseded"
    POSTPONED = "postponed"
    TRIMMED = "trimmed"
    SKIPPED = "skipped"
    DEAD = "dead"

    @property
    def meaning(self) -> str:
        """One sentence for the documentation."""
        return _MEANINGS[self]


_MEANINGS = {
    Outcome.HANDLED: "a body came back from it, and it was acknowledged",
    Outcome.DUPLICATE: "its event was handled before; acknowledged without being given",
    Outcome.SUPERSEDED: "a better face of its visit was there already; only with `skip_superseded`",
    Outcome.POSTPONED: "left for later: another consumer is at work on its event, or it could not be written off",
    Outcome.TRIMMED: "the stream's retention removed it after it was given and before it was handled",
    Outcome.SKIPPED: "no event that can be read; only without a group, where nothing is written off",
    Outcome.DEAD: "written off to the stream of dead letters",
}


class Counts:
    """How many entries had which outcome; safe to read from every thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        with self._lock:
            self._counts[outcome] += 1

    def __getitem__(self, outcome: Outcome | str) -> int:
        with self._lock:
            return self._counts[Outcome(outcome)]

    def __repr__(self) -> str:
        shown = ", ".join(f"{outcome.value}={self[outcome]}" for outcome in Outcome if self[outcome])
        return f"Counts({shown})"
