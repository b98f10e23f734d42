"""How far a camera's quality has drifted from its baseline: a dirty or moved lens shows before users complain."""

import threading
from collections.abc import Mapping

from gate.baseline import BINS, Baseline, bin_of, population_stability_index
from gate.clock import Clock
from gate.observe.windows import CountWindow

WINDOW_S = 3600.0
"""What counts as now."""

LEAST_FACES = 50
"""Below this the index is chance."""


def _window() -> CountWindow:
    return CountWindow(BINS, window_s=WINDOW_S)


class Drift:
    """The windows of all cameras that have a baseline. Safe to use from every thread.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: dict[str, tuple[Baseline, CountWindow]] = {}

    def watch(self, camera: str, baseline: Baseline) -> None:
        """From now on hold a camera against this baseline; what was counted for another one is forgotten."""
        with self._lock:
            self._watched[camera] = (baseline, _window())

    def follow(self, baselines: Mapping[str, Baseline]) -> None:
        """Watch these cameras and no others; who keeps the baseline keeps the hour that was counted."""
        with self._lock:
            before, self._watched = self._watched, {}
            for camera, baseline in baselines.items():
                known = before.get(camera)
                same = known is not None and known[0] == baseline
                self._watched[camera] = known if known is not None and same else (baseline, _window())

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
                    window.add(bin_of(quality), self._clock.monotonic_s())

    def values(self) -> dict[str, float | None]:
        """The index of each watched camera; None below 50 faces in the hour."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            counted = {name: (known, window.counts(now_s)) for name, (known, window) in self._watched.items()}
        return {
            name: population_stability_index(known.histogram, counts) if sum(counts) >= LEAST_FACES else None
            for name, (known, counts) in counted.items()
        }
