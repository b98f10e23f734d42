"""When a failure that goes on is worth another line in the log."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from gate.clock import Clock


@dataclass(slots=True)
class _Trouble:
    causes: Counter[str] = field(default_factory=Counter)
    failing: bool = False
    told: bool = True
    well_since_s: float | None = None


class Changes:
    """Counts failures of a thing by cause: the 1st, 2nd, 4th, 8th … of each is told, and the recovery after a told one.

    A camera that is away for a day fails some thousand times and takes a dozen lines. Counting starts anew only when
    the thing has been well for `stable_s`, so one that comes and goes every few seconds falls silent too.
    """

    def __init__(self, clock: Clock, stable_s: float = 60.0) -> None:
        self._clock = clock
        self._stable_s = stable_s
        self._lock = threading.Lock()
        self._troubles: dict[str, _Trouble] = {}

    def failed(self, name: str, cause: str) -> int:
        """How many times `name` has failed so, when that is worth telling, else 0."""
        with self._lock:
            trouble = self._troubles.setdefault(name, _Trouble())
            well_since_s = trouble.well_since_s
            if well_since_s is not None and self._clock.monotonic_s() - well_since_s >= self._stable_s:
                trouble.causes.clear()
            trouble.well_since_s = None
            trouble.causes[cause] += 1
            times = trouble.causes[cause]
            telling = times & (times - 1) == 0
            trouble.told = telling or (trouble.told and trouble.failing)
            trouble.failing = True
            return times if telling else 0

    def recovered(self, name: str) -> bool:
        """Whether it is news that `name` is well: it is the first time, or its failure was told."""
        with self._lock:
            trouble = self._troubles.setdefault(name, _Trouble())
            news = trouble.told if trouble.failing or trouble.well_since_s is None else False
            if trouble.failing or trouble.well_since_s is None:
                trouble.well_since_s = self._clock.monotonic_s()
            trouble.failing = False
            return news

    def forget(self, name: str) -> None:
        """Start anew for a thing that was removed."""
        with self._lock:
            self._troubles.pop(name, None)
