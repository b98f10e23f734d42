"""Bounded memories of a running stream: a rate over seconds, counts over an hour, percentiles of the last values."""

from array import array
from collections import deque

import numpy as np

_SLOTS_A_SECOND = 10


class RateWindow:
    """How many things a second happened over the last `window_s` seconds.

    Counts are kept in slots of a tenth of a second, so memory does not grow with the rate.
    """

    def __init__(self, window_s: float = 10.0) -> None:
        self._window_s = window_s
        self._slots: deque[list[int]] = deque()
        self._started_s: float | None = None

    def add(self, now_s: float) -> None:
        """Count one at this monotonic time."""
        if self._started_s is None:
            self._started_s = now_s
        slot = int(now_s * _SLOTS_A_SECOND)
        if self._slots and self._slots[-1][0] >= slot:
            self._slots[-1][1] += 1
        else:
            self._slots.append([slot, 1])
        self._forget(slot)

    def per_second(self, now_s: float) -> float:
        """The rate at this monotonic time; a window that is not full yet counts from its first value."""
        self._forget(int(now_s * _SLOTS_A_SECOND))
        if self._started_s is None:
            return 0.0
        # Below a second the quotient of two small numbers says nothing.
        span_s = min(self._window_s, max(1.0, now_s - self._started_s))
        return sum(count for _, count in self._slots) / span_s

    def _forget(self, slot: int) -> None:
        oldest = slot - int(self._window_s * _SLOTS_A_SECOND)
        while self._slots and self._slots[0][0] <= oldest:
            self._slots.popleft()


class Recent:
    """The last `size` numbers; eight bytes each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values = array("d")
        self._next = 0

    def add(self, value: float) -> None:
        """Remember a number in place of the oldest."""
        if len(self._values) < self._size:
            self._values.append(value)
        else:
            self._values[self._next] = value
        self._next = (self._next + 1) % self._size

    def percentiles(self, *percents: int) -> list[float] | None:
        """Nearest-rank percentiles, each a number that was really seen; None when there is none yet.

        >>> recent = Recent(size=4)
        >>> for value in (9.0, 1.0, 2.0, 3.0, 4.0):
        ...     recent.add(value)
        >>> recent.percentiles(50, 99)
        [2.0, 4.0]
        """
        if not self._values:
            return None
        ordered = np.sort(np.array(self._values))
        ranks = [max(0, -(-len(ordered) * percent // 100) - 1) for percent in percents]
        return [float(ordered[rank]) for rank in ranks]


class CountWindow:
    """Counts of the last `window_s` seconds in a fixed number of places; forgotten by the slot, not one by one.

    Holds at most one slot of `places` numbers more than fit into the window.
    """

    def __init__(self, places: int, *, window_s: float = 3600.0, slot_s: float = 60.0) -> None:
        self._slot_s = slot_s
        self._kept = int(window_s / slot_s)
        self._slots: deque[tuple[int, list[int]]] = deque()
        self._total = [0] * places

    def add(self, place: int, now_s: float) -> None:
        """Count one in a place at this monotonic time."""
        slot = int(now_s // self._slot_s)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, [0] * len(self._total)))
        self._slots[-1][1][place] += 1
        self._total[place] += 1
        self._forget(slot)

    def counts(self, now_s: float) -> tuple[int, ...]:
        """The count of each place at this monotonic time."""
        self._forget(int(now_s // self._slot_s))
        return tuple(self._total)

    def _forget(self, slot: int) -> None:
        while self._slots and self._slots[0][0] <= slot - self._kept:
            _, counts = self._slots.popleft()
            self._total = [total - count for total, count in zip(self._total, counts, strict=True)]
