"""Second opinions on faces close to the bar, as far as a time budget goes."""

import math
from dataclasses import dataclass

from gate.clock import Clock


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Which faces are scored by a second method, whose word then counts, and at which cost."""

    bars: tuple[float, ...]
    """The bars that decide about faces, 0..100; cameras may have different ones."""

    within: float
    """Faces at most this far from a bar are asked about, 0..100."""

    budget_ms_per_s: float
    """Time that this may take, in milliseconds a second."""

    def distance(self, quality: float) -> float:
        """How far a quality is from the nearest bar; infinite where there is none."""
        return min((abs(quality - bar) for bar in self.bars), default=math.inf)


class Budget:
    """Time that is earned steadily and spent crop by crop.

    What is not spent is saved up to one second's worth, or to the price of one crop where that is more: a method of
    a second a crop with 100 ms a second is asked once in ten seconds.

    Args:
        ms_per_s: what is earned.
        clock: time.
    """

    def __init__(self, ms_per_s: float, clock: Clock) -> None:
        self._share = ms_per_s / 1000
        self._clock = clock
        self._saved_s = self._share
        self._seen_s = clock.monotonic_s()

    def crops(self, wanted: int, crop_s: float) -> int:
        """How many of `wanted` crops can be paid for at this price."""
        now_s = self._clock.monotonic_s()
        self._saved_s = min(self._saved_s + (now_s - self._seen_s) * self._share, max(self._share, crop_s))
        self._seen_s = now_s
        if self._saved_s < crop_s:
            return 0
        return wanted if crop_s <= 0 else min(wanted, int(self._saved_s / crop_s))

    def spend(self, seconds: float) -> None:
        """Pay; where a crop took longer than its price, the next ones wait for it."""
        self._saved_s -= seconds
