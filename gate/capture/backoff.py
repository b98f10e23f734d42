"""When a lost camera is tried again.

Full jitter after M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog, 2015): a site whose switch
restarts brings two hundred cameras back at once, and equal delays would have them knock in step.
"""

import random

from gate.capture.causes import Cause
from gate.clock import Clock

AUTH_BASE_S = 60.0
"""Cameras lock an account or an address after some five to seven wrong passwords in half an hour. Each attempt tries
the password once (see the tests); at the quickest they come after 0, 30, 90, 210, 450, 930 and 1830 s."""

AUTH_CAP_S = 1800.0

MAX_DOUBLINGS = 30


class Backoff:
    """Delays that double with every loss in a row, jittered, capped, and start over after stable running.

    Delays are uniform in [0, min(cap, base·2ⁿ)]. Where access was denied they are uniform in the upper half of
    [0, min(1800 s, 60 s·2ᵏ)], k counting the denials alone: jitter must not turn into a quick second wrong password,
    and a switch that was off for the night must not turn one denial into half an hour.

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
        self._denials = 0
        self._running_since_s: float | None = None
        self._running_until_s = 0.0

    def running(self) -> None:
        """The camera delivered a picture. Called for each: the silence before a loss is no running."""
        self._running_until_s = self._clock.monotonic_s()
        if self._running_since_s is None:
            self._running_since_s = self._running_until_s

    def next_delay_s(self, cause: Cause) -> float:
        """Seconds to wait after a loss."""
        since_s, self._running_since_s = self._running_since_s, None
        if since_s is not None and self._running_until_s - since_s >= self._reset_after_s:
            self._losses = self._denials = 0
        if cause is Cause.AUTH:
            ceiling_s = min(AUTH_CAP_S, AUTH_BASE_S * _doubled(self._denials))
            self._denials += 1
            return self._random.uniform(ceiling_s / 2, ceiling_s)
        ceiling_s = min(self._cap_s, self._base_s * _doubled(self._losses))
        self._losses += 1
        return self._random.uniform(0.0, ceiling_s)


def _doubled(times: int) -> int:
    return 1 << min(times, MAX_DOUBLINGS)
