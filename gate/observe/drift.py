"""How far a camera's quality has drifted from its baseline: a dirty or moved lens shows before users complain."""

import threading
from collections import deque
from collections.abc import Mapping

from gate.baseline import BINS, Baseline, bin_of, population_stability_index
from gate.clock import Clock

WINDOW_S = 3600.0
"""What counts as now."""

SLOT_S = 60.0
"""Faces are forgotten by the minute, so that memory does not grow with their number."""

LEAST_FACES = 50
"""Below this the index is chance."""


class QualityWindow:
    """Counts of the last hour's quality in 20 bins; at most 61 minutes of 20 numbers."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, list[int]]] = deque()
        self._total = [0] * BINS

    def add(self, quality: float, now_s: float) -> None:
        """Count one face at this monotonic time."""
        slot = int(now_s // SLOT_S)
        if not self._slots or self._slots[-1][0] < slot:
            self._slots.append((slot, [0] * BINS))
        place = bin_of(quality)
        self._slots[-1][1][place] += 1
        self._total[place] += 1
        self._forget(slot)

    def counts(self, now_s: float) -> tuple[int, ...]:
        """The 20 counts at this monotonic time."""
        self._forget(int(now_s // SLOT_S))
        return tuple(self._total)

    def _forget(self, slot: int) -> None:
        oldest = slot - int(WINDOW_S / SLOT_S)
        while self._slots and self._slots[0][0] <= oldest:
            _, counts = self._slots.popleft()
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
                    window.add(quality, self._clock.monotonic_s())

    def values(self) -> dict[str, float | None]:
        """The index of each watched camera; None below 50 faces in the hour."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            counted = {name: (known, window.counts(now_s)) for name, (known, window) in self._watched.items()}
        return {
            name: population_stability_index(known.histogram, counts) if sum(counts) >= LEAST_FACES else None
            for name, (known, counts) in counted.items()
        }
