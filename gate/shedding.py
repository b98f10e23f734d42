"""What an engine leaves out when it cannot keep up with its cameras: second opinions first, then frames.

Frames that nobody had time for are dropped in any case, for a newer one takes their slot. Shedding decides in which
order, so that every door keeps being looked at: nobody is asked twice while frames are lost, and a step takes no more
frames than it can judge before they are stale, those of the cameras first that were served longest ago. Cameras go on
being decoded, and what was accepted is never touched.
"""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

from gate.clock import Clock
from gate.reasons import Shed

WINDOW_S = 5.0
"""How long an engine is watched before it is judged: a burst of a camera is over by then."""

TOO_MANY = 0.2
"""Share of the frames lost in a window from which the engine is behind."""

FEW = 0.02
"""Share of the frames up to which it keeps up."""

CALM_S = 10.0
"""How long it must have kept up before the last thing that was left out is done again."""

RELAPSE_S = 60.0
"""An engine that is behind again so soon after that had it too early: the next calm must last twice as long."""

LONGEST_CALM_S = 640.0


class SheddingReport(Protocol):
    """Who is told. Every call is cheap."""

    def shedding(self, what: Shed, *, on: bool, lost_share: float) -> None:
        """From now on this is left out, or no longer; the share of frames that were lost in the last window."""
        ...

    def shed(self, what: Shed, count: int) -> None:
        """So much was left out."""
        ...


class Shedding:
    """Watches one engine and says what it leaves out. Used by the engine's thread.

    Args:
        clock: Time.
        report: Is told of every change, and of what is lost.
        pause_opinions: Leaves second opinions out, or asks for them again; None where nobody is asked.
    """

    def __init__(
        self, clock: Clock, report: SheddingReport, pause_opinions: Callable[[bool], None] | None = None
    ) -> None:
        self._clock = clock
        self._report = report
        self._pause_opinions = pause_opinions
        self._order = (Shed.FRAMES,) if pause_opinions is None else (Shed.SECOND_OPINIONS, Shed.FRAMES)
        self._left_out = 0
        self._window_s = clock.monotonic_s()
        self._taken = self._lost = 0
        self._frame_s = 0.0
        self._calm_since_s: float | None = None
        self._calm_s = CALM_S
        self._eased_s = -math.inf

    @property
    def active(self) -> Sequence[Shed]:
        """What is left out now."""
        return self._order[: self._left_out]

    def frames_at_once(self, fresh_s: float) -> int | None:
        """Most frames of one step, so that it ends within `fresh_s` seconds; None while all may be taken."""
        if Shed.FRAMES not in self.active or self._frame_s <= 0 or math.isinf(fresh_s):
            return None
        return max(1, int(fresh_s / self._frame_s))

    def stepped(self, taken: int, lost: int, seconds: float) -> None:
        """A step is over.

        Args:
            taken: Frames it looked at.
            lost: Frames that newer ones took the place of since the last step.
            seconds: How long it worked.
        """
        self._taken += taken
        self._lost += lost
        if taken:
            frame_s = seconds / taken
            self._frame_s = frame_s if not self._frame_s else 0.8 * self._frame_s + 0.2 * frame_s
        if lost and Shed.FRAMES in self.active:
            self._report.shed(Shed.FRAMES, lost)
        now_s = self._clock.monotonic_s()
        if now_s - self._window_s >= WINDOW_S:
            self._judge(now_s)
            self._window_s = now_s
            self._taken = self._lost = 0

    def _judge(self, now_s: float) -> None:
        share = self._lost / max(1, self._taken + self._lost)
        if share > FEW:
            self._calm_since_s = None
            if share >= TOO_MANY and self._left_out < len(self._order):
                self._more(now_s, share)
            return
        if self._calm_since_s is None:
            self._calm_since_s = self._window_s
        if self._left_out and now_s - self._calm_since_s >= self._calm_s:
            self._less(now_s, share)

    def _more(self, now_s: float, share: float) -> None:
        if now_s - self._eased_s < RELAPSE_S:
            self._calm_s = min(2 * self._calm_s, LONGEST_CALM_S)
            self._eased_s = -math.inf
        elif self._left_out == 0:
            self._calm_s = CALM_S
        what = self._order[self._left_out]
        self._left_out += 1
        self._tell(what, on=True, share=share)

    def _less(self, now_s: float, share: float) -> None:
        self._left_out -= 1
        # The next thing has to wait for as long again.
        self._calm_since_s, self._eased_s = now_s, now_s
        self._tell(self._order[self._left_out], on=False, share=share)

    def _tell(self, what: Shed, *, on: bool, share: float) -> None:
        if what is Shed.SECOND_OPINIONS and self._pause_opinions is not None:
            self._pause_opinions(on)
        self._report.shedding(what, on=on, lost_share=share)
