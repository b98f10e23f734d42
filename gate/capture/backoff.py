"""When a lost camera is tried again.

Full jitter after M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): a site whose switch
restarts brings two hundred cameras back at once, and equal delays would have them knock in step.
"""

import random

from gate.capture.causes import Cause
from gate.clock import Clock

AUTH_BASE_S = 30.0
"""Cameras lock an account after some three to five wrong passwords within a few minutes."""

AUTH_CAP_S = 600.0

MAX_DOUBLINGS = 30


class Backoff:
    """Delays that double with every loss in a row, jittered, capped, and start over after stable running.

    Delays are uniform in [0, min(cap, base·2ⁿ)]. Where access was denied they are uniform in the upper half of
    [0, min(600 s, 30 s·2ⁿ)]: jitter must not turn into a quick second wrong password.

    Args:
        clock: measures how long the camera ran.
        base_s: longest first delay.
        cap_s: longest delay.
        reset_after_s: a camera that ran this long starts over.
        seed: of the jitter; None draws one from the system.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        base_s: float = 1.0,
        cap_s: float = 30.0,
        reset_after_s: float = 60.0,
        seed: int | None = None,
    ) -> None:
        if not 0 < base_s <= cap_s:
            raise ValueError(f"0 < base_s <= cap_s is needed, got base_s={base_s}, cap_s={cap_s}")
        self._clock = clock
        self._base_s = base_s
        self._cap_s = cap_s
        self._reset_after_s = reset_after_s
        self._random = random.Random(seed)
        self._losses = 0
        self._running_since_s: float | None = None

    def running(self) -> None:
        """The camera delivers pictures; called again while it runs, this changes nothing."""
        if self._running_since_s is None:
            self._running_since_s = self._clock.monotonic_s()

    def next_delay_s(self, cause: Cause) -> float:
        """Seconds to wait after a loss."""
        since_s, self._running_since_s = self._running_since_s, None
        if since_s is not None and self._clock.monotonic_s() - since_s >= self._reset_after_s:
            self._losses = 0
        doubled = 2 ** min(self._losses, MAX_DOUBLINGS)
        self._losses += 1
        if cause is Cause.AUTH:
            ceiling_s = max(min(AUTH_CAP_S, AUTH_BASE_S * doubled), min(self._cap_s, self._base_s * doubled))
            return self._random.uniform(ceiling_s / 2, ceiling_s)
        return self._random.uniform(0.0, min(self._cap_s, self._base_s * doubled))
