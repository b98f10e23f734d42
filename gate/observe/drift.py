"""How far a camera's quality has drifted from its baseline: a dirty or moved lens shows before users complain.

Light and crowd change with the hour, so faces are held against those of the same hours of the day, as far as the
baseline knows them.
"""

import threading
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from gate.baseline import BINS, Baseline, bin_of, hour_of, population_stability_index
from gate.clock import Clock

WINDOW_S = 3600.0
"""What counts as now."""

SLOT_S = 60.0
"""Faces are forgotten by the minute, so that memory does not grow with their number."""

LEAST_FACES = 50
"""Below this the index is chance."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One camera's drift."""

    index: float | None
    """Population stability index; None below 50 faces."""

    faces: int
    """Faces of the last hour."""

    same_hour: bool
    """Whether all of them are held against the same hours of the baseline; else some against the whole of it."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """One minute."""

    minute: int
    hour: int
    """Of the day, UTC, at its first face."""

    counts: list[int]


class QualityWindow:
    """Counts of the last hour's quality in 20 bins; at most 61 minutes of 20 numbers."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._total = [0] * BINS

    def add(self, quality: float, now_s: float, hour: int = 0) -> None:
        """Count one face at this monotonic time, in this hour of the day."""
        slot = int(now_s // SLOT_S)
        if not self._slots or self._slots[-1].minute < slot:
            self._slots.append(_Slot(slot, hour, [0] * BINS))
        place = bin_of(quality)
        self._slots[-1].counts[place] += 1
        self._total[place] += 1
        self._forget(slot)

    def hours(self) -> dict[int, int]:
        """Hour of the day → faces, as of the last call of `counts`."""
        found: Counter[int] = Counter()
        for slot in self._slots:
            found[slot.hour] += sum(slot.counts)
        return dict(found)

    def counts(self, now_s: float) -> tuple[int, ...]:
        """The 20 counts at this monotonic time."""
        self._forget(int(now_s // SLOT_S))
        return tuple(self._total)

    def _forget(self, slot: int) -> None:
        oldest = slot - int(WINDOW_S / SLOT_S)
        while self._slots and self._slots[0].minute <= oldest:
            counts = self._slots.popleft().counts
            self._total = [total - count for total, count in zip(self._total, counts, strict=True)]


class Drift:
    """The windows of all cameras that have a baseline. Safe to use from every thread.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: dict[str, tuple[Baseline, QualityWindow]] = {}

    def watch(self, camera: str, baseline: Baseline) -> None:
        """From now on hold a camera against this baseline; what was counted for another one is forgotten."""
        with self._lock:
            self._watched[camera] = (baseline, QualityWindow())

    def follow(self, baselines: Mapping[str, Baseline]) -> None:
        """Watch these cameras and no others; who keeps the baseline keeps the hour that was counted."""
        with self._lock:
            before, self._watched = self._watched, {}
            for camera, baseline in baselines.items():
                known = before.get(camera)
                same = known is not None and known[0] == baseline
                self._watched[camera] = known if known is not None and same else (baseline, QualityWindow())

    def forget_camera(self, camera: str) -> None:
        """Watch a camera no longer; an unknown one is no error."""
        with self._lock:
            self._watched.pop(camera, None)

    def face(self, camera: str, method: str, quality: float) -> None:
        """A face was scored; numbers of another method than the baseline's say nothing about the lens."""
        with self._lock:
            if camera in self._watched:
                baseline, window = self._watched[camera]
                if method == baseline.method:
                    window.add(quality, self._clock.monotonic_s(), hour_of(self._clock.unix_ms()))

    def readings(self) -> dict[str, Reading]:
        """The drift of each watched camera."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            counted = {
                name: (known, window.counts(now_s), window.hours()) for name, (known, window) in self._watched.items()
            }
        return {name: _reading(*found) for name, found in counted.items()}

    def values(self) -> dict[str, float | None]:
        """The index of each watched camera; None below 50 faces in the hour."""
        return {name: reading.index for name, reading in self.readings().items()}


def _reading(known: Baseline, counts: tuple[int, ...], hours: Mapping[int, int]) -> Reading:
    faces = sum(counts)
    index = population_stability_index(known.expected_in(hours), counts) if faces >= LEAST_FACES else None
    return Reading(index, faces, same_hour=bool(hours) and all(known.has_hour(hour) for hour in hours))
