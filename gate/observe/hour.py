"""What each camera saw in the last hour: quality, reasons, and how many visits another bar would have let through."""

import threading
from typing import Any

from gate.clock import Clock
from gate.observe.table import OTHER
from gate.observe.windows import CountWindow
from gate.reasons import Reason

WINDOW_S = 3600.0

SLOT_S = 300.0
"""Coarser than the page's clock, for a thousand cameras: 13 slots of 222 numbers are 23 kB each."""

WHOLE = 101
"""Whole numbers of quality, 0 to 100: the places that a bar can be moved to."""

_REASONS = (*(reason.value for reason in Reason), OTHER)
_PLACE = {reason: place for place, reason in enumerate(_REASONS, start=1)}
_ACCEPTED, _UNSCORED = 0, 1 + len(_REASONS)


class _Camera:
    """One camera's windows."""

    def __init__(self) -> None:
        self.quality = CountWindow(WHOLE, window_s=WINDOW_S, slot_s=SLOT_S)
        self.visits = CountWindow(WHOLE + 1, window_s=WINDOW_S, slot_s=SLOT_S)
        self.verdicts = CountWindow(_UNSCORED + 1, window_s=WINDOW_S, slot_s=SLOT_S)

    def snapshot(self, now_s: float) -> dict[str, Any]:
        accepted, *rejected, unscored = self.verdicts.counts(now_s)
        *visits, visits_unscored = self.visits.counts(now_s)
        return {
            "quality": list(self.quality.counts(now_s)),
            "accepted": accepted,
            "reasons": {reason: count for reason, count in zip(_REASONS, rejected, strict=True) if count},
            "unscored": unscored,
            "visits": visits,
            "visits_unscored": visits_unscored,
        }


class LastHour:
    """Counts of the last hour for each camera; safe to use from every thread, memory does not grow with faces.

    Args:
        clock: Time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._cameras: dict[str, _Camera] = {}

    def add_camera(self, name: str) -> None:
        """Know a camera from now on; again does nothing."""
        with self._lock:
            self._cameras.setdefault(name, _Camera())

    def forget_camera(self, name: str) -> None:
        """Know a camera no longer; an unknown one is no error."""
        with self._lock:
            self._cameras.pop(name, None)

    def face(self, name: str, *, accepted: bool, reason: str, quality: float | None) -> None:
        """Count a judged face; `reason` is the decisive one of a rejection, `quality` None where it was not scored."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                now_s = self._clock.monotonic_s()
                camera.verdicts.add(_ACCEPTED if accepted else _PLACE.get(reason, _PLACE[OTHER]), now_s)
                if quality is not None:
                    camera.quality.add(_whole(quality), now_s)

    def unscored(self, name: str) -> None:
        """Count a face that nobody scored."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                camera.verdicts.add(_UNSCORED, self._clock.monotonic_s())

    def visit(self, name: str, best_quality: float | None) -> None:
        """Count a visit that ended by its best quality; None where no face of it was worth scoring."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                place = WHOLE if best_quality is None else _whole(best_quality)
                camera.visits.add(place, self._clock.monotonic_s())

    def snapshot(self) -> dict[str, Any]:
        """Counts by camera.

        `quality` and `visits` are 101 counts each, of scored faces by the whole number of their quality and of visits
        by that of their best one; `visits_unscored` had none. `accepted` counts faces, `reasons` the rejected ones by
        their decisive reason, `unscored` those that nobody scored. A bar b
        lets the sum of `quality[b:]` through, duplicates apart.
        """
        with self._lock:
            now_s = self._clock.monotonic_s()
            return {name: camera.snapshot(now_s) for name, camera in self._cameras.items()}


def _whole(quality: float) -> int:
    return max(0, min(WHOLE - 1, int(quality)))
