"""Time as a dependency, so that tests decide how it passes."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where every age, time-out and time stamp comes from."""

    def monotonic_s(self) -> float:
        """Seconds that never jump; only differences mean anything."""
        ...

    def unix_ms(self) -> int:
        """Wall-clock milliseconds since 1970; may jump when the machine's clock is set."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_s(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def unix_ms(self) -> int:
        """Milliseconds of `time.time_ns`."""
        return time.time_ns() // 1_000_000
