"""Time of files: when a picture is due, and which of them an engine that wants fewer gets."""

import threading

from gate.clock import Clock

LARGEST_GAP_MS = 10_000.0
"""A longer jump between two time stamps is a cut in the recording, not a pause to wait for."""

LARGEST_DISORDER_MS = 500.0
"""A time stamp that is further back than this starts a new count; nearer ones are shuffled, and wait for their turn."""

USUAL_STEP_MS = 40.0
"""Distance of pictures when a file says nothing about it: 25 a second."""


class Pacer:
    """Holds pictures back until their time, as a camera would have sent them."""

    def __init__(self, clock: Clock, stop: threading.Event) -> None:
        self._clock = clock
        self._stop = stop
        self._anchor_s = 0.0
        self._anchor_ms: float | None = None
        self._last_ms = 0.0

    def wait_for(self, pts_ms: float) -> None:
        """Sleep until the picture with this time stamp is due, or until stopped.

        Time stamps that jump back or far ahead start a new count from now.
        """
        now_s = self._clock.monotonic_s()
        if self._anchor_ms is None or not 0 <= pts_ms - self._last_ms <= LARGEST_GAP_MS:
            self._anchor_s, self._anchor_ms = now_s, pts_ms
        self._last_ms = pts_ms
        due_s = self._anchor_s + (pts_ms - self._anchor_ms) / 1000
        if due_s > now_s:
            self._stop.wait(due_s - now_s)


class Timeline:
    """Time stamps of a file that never go back, also when the file starts again, and that exist where it has none."""

    def __init__(self) -> None:
        self._offset_ms = 0.0
        self._last_ms: float | None = None
        self._step_ms = USUAL_STEP_MS
        self._restarted = False

    def stamp(self, pts_ms: float | None) -> float:
        """Milliseconds of the picture whose own time stamp is `pts_ms`."""
        if self._last_ms is None:
            self._last_ms = 0.0 if pts_ms is None else pts_ms
            return self._last_ms
        expected_ms = self._last_ms + self._step_ms
        if pts_ms is None:
            now_ms = expected_ms
        else:
            if self._restarted:
                self._offset_ms = expected_ms - pts_ms
            elif pts_ms + self._offset_ms < self._last_ms - LARGEST_DISORDER_MS:
                # Cut together from recordings, or a clock that was set.
                self._offset_ms = expected_ms - pts_ms
            # Never back: tracks cannot be followed backwards.
            now_ms = max(pts_ms + self._offset_ms, self._last_ms)
            if not self._restarted and 0 < now_ms - self._last_ms <= LARGEST_GAP_MS:
                self._step_ms = now_ms - self._last_ms
        self._restarted = False
        self._last_ms = now_ms
        return now_ms

    def restart(self) -> None:
        """The next picture is the first of the file again."""
        self._restarted = True


class Decimator:
    """Chooses pictures so that at most `max_fps` a second remain, evenly spread."""

    def __init__(self, max_fps: float | None) -> None:
        self._interval_s = 1 / max_fps if max_fps else 0.0
        self._due_s: float | None = None

    def keeps(self, time_s: float) -> bool:
        """Whether the picture of this time is analysed."""
        if not self._interval_s:
            return True
        ahead_s = self._due_s - time_s if self._due_s is not None else 0.0
        # A thousandth of slack: 40 ms steps in floating point must not miss their own turn.
        if self._interval_s >= ahead_s > self._interval_s / 1000:
            return False
        punctual = self._due_s is not None and -self._interval_s <= ahead_s <= self._interval_s / 1000
        self._due_s = (self._due_s if punctual and self._due_s is not None else time_s) + self._interval_s
        return True
