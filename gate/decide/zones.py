"""Where in the picture a face is, and whether it comes closer."""

import math
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from gate.config import ZonesConfig
from gate.types import Face

_LEAST_SIGHTS = 5
"""Fewer sights of a track say nothing of its direction."""

_LEAST_SHARE_OF_WINDOW = 0.5
"""Nor do sights that are all from a shorter part of the window."""

_LEAST_CHANGE = 0.05
"""Shrinking by less than 5 % a second is no walking away: who leaves at 1 m/s from 10 m shrinks by 10 %."""

_SURE = 2.4
"""Kendall's statistic, in standard deviations, that a trend must have: jitter alone gives it in 8 of 1,000 windows."""

_MOST_SIGHTS = 64
"""Sights kept a window; of a faster camera not every frame is."""


def in_zone(zones: ZonesConfig, face: Face, width_px: int, height_px: int) -> bool:
    """Whether the centre of a face's box is where faces count.

    Args:
        zones: The polygons, in shares of the picture.
        face: The detection.
        width_px: Columns of the full frame.
        height_px: Rows of the full frame.

    Returns:
        True in one of `include`, or where there is none, and in none of `exclude`. Not-a-number is nowhere.
    """
    if not (zones.include or zones.exclude):
        return True
    x, y, w, h = face.box_xywh.tolist()
    across, down = (x + w / 2) / width_px, (y + h / 2) / height_px
    if not (math.isfinite(across) and math.isfinite(down)):
        return False
    included = not zones.include or any(inside(polygon, across, down) for polygon in zones.include)
    return included and not any(inside(polygon, across, down) for polygon in zones.exclude)


def inside(polygon: Sequence[tuple[float, float]], x: float, y: float) -> bool:
    """Whether a point lies in a simple polygon; of polygons that share a side, in exactly one.

    A line from the point to the right crosses the outline an odd number of times (Shimrat, "Algorithm 112: position of
    point relative to polygon", CACM 1962).
    """
    crossed = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            crossed = not crossed
    return crossed


class Approach:
    """Tells which faces of one camera move away, from how the boxes of their tracks shrink.

    The trend is Theil and Sen's median of the slopes between all pairs of sights, on the logarithm of the box's height,
    and it counts when Mann and Kendall's test is sure of it (Sen, "Estimates of the regression coefficient based on
    Kendall's tau", JASA 1968): a few boxes that are far off change neither. Bounded memory per track.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._sights: dict[int, deque[tuple[float, float]]] = {}

    def see(self, track: int, face: Face, now_s: float) -> None:
        """Remember one sight of a track."""
        height_px = float(face.box_xywh[3])
        if not height_px > 0:
            return
        sights = self._sights.setdefault(track, deque())
        if sights and now_s < sights[-1][0]:
            # A file that begins again: what was seen before is no longer before.
            sights.clear()
        if sights and now_s - sights[-1][0] < self._window_s / _MOST_SIGHTS:
            return
        sights.append((now_s, math.log(height_px)))
        while now_s - sights[0][0] > self._window_s:
            sights.popleft()

    def receding(self, track: int) -> bool:
        """Whether the track is known to have shrunk over the window; False until there is enough to tell."""
        sights = self._sights.get(track, ())
        if len(sights) < _LEAST_SIGHTS:
            return False
        times, sizes = np.array(sights, dtype=np.float64).T
        if times[-1] - times[0] < _LEAST_SHARE_OF_WINDOW * self._window_s:
            return False
        slope, sureness = trend(times, sizes)
        return slope <= -_LEAST_CHANGE and sureness <= -_SURE

    def end(self, tracks: Iterable[int]) -> None:
        """Forget tracks that have ended."""
        for track in tracks:
            self._sights.pop(track, None)

    def end_all(self) -> None:
        """Forget every track."""
        self._sights.clear()


def trend(times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Theil and Sen's slope, and Kendall's statistic in standard deviations; both 0 for fewer than two moments."""
    first, second = np.triu_indices(len(times), 1)
    apart = times[second] - times[first]
    grown = (values[second] - values[first])[apart > 0]
    apart = apart[apart > 0]
    if not apart.size:
        return 0.0, 0.0
    count = len(times)
    spread = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return float(np.median(grown / apart)), float(np.sign(grown).sum()) / spread
