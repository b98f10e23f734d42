"""Where a face will be: a constant-velocity Kalman filter over seconds."""

import math

import numpy as np
import numpy.typing as npt

_PLACE_NOISE = 0.05
"""Standard deviation of a detected centre, in box sides."""

_SIZE_NOISE = 0.10
"""Standard deviation of a detected log width or height."""

_PLACE_DRIVE = 2.0
"""How restlessly people change pace: velocity wanders by this many box sides per second within a second."""

_SIZE_DRIVE = 0.3
"""The same for log width and height: coming closer changes slowly."""

_START_SPEED = 3.0
"""Standard deviation of the velocity of somebody just seen, box sides per second."""

_START_GROWTH = 0.5
"""The same for log width and height."""


class Motion:
    """State of one box: centre x, centre y, log width, log height, each with its velocity per second.

    The four move independently, so each has a 2x2 covariance of its own. Noise of the centre is in units of the box's
    side: a face close to the camera moves more pixels than one far away.
    """

    def __init__(self, box_xywh: npt.NDArray[np.float64]) -> None:
        """Start at a detection, (4,) pixels, with velocity zero and unknown."""
        measured = _measure(box_xywh)
        side = math.exp((measured[2] + measured[3]) / 2)
        self._place = measured
        self._velocity = np.zeros(4)
        self._var_place = _noise(side)
        self._var_velocity = np.array([_START_SPEED * side, _START_SPEED * side, _START_GROWTH, _START_GROWTH]) ** 2
        self._covariance = np.zeros(4)

    @property
    def box_xywh(self) -> npt.NDArray[np.float64]:
        """(4,) float64: the box as now believed, pixels."""
        size = np.exp(self._place[2:])
        return np.concatenate([self._place[:2] - size / 2, size])

    @property
    def uncertainty_px(self) -> float:
        """Standard deviation of the believed centre, pixels."""
        return math.sqrt(max(self._var_place[0], self._var_place[1]))

    def predict(self, dt_s: float) -> None:
        """Move on by `dt_s` ≥ 0 seconds. Two steps of half the time are the same as one."""
        side = self._side
        drive = np.array([_PLACE_DRIVE * side, _PLACE_DRIVE * side, _SIZE_DRIVE, _SIZE_DRIVE]) ** 2
        self._place = self._place + self._velocity * dt_s
        # Sizes stay within what exp can hold and a picture can show.
        self._place[2:] = np.clip(self._place[2:], -3.0, 12.0)
        self._var_place = (
            self._var_place + 2 * dt_s * self._covariance + dt_s**2 * self._var_velocity + drive * dt_s**3 / 3
        )
        self._covariance = self._covariance + dt_s * self._var_velocity + drive * dt_s**2 / 2
        self._var_velocity = self._var_velocity + drive * dt_s

    def correct(self, box_xywh: npt.NDArray[np.float64]) -> None:
        """Take a detection, (4,) pixels, of the present moment."""
        surprise = _measure(box_xywh) - self._place
        total = self._var_place + _noise(self._side)
        gain_place, gain_velocity = self._var_place / total, self._covariance / total
        self._place = self._place + gain_place * surprise
        self._velocity = self._velocity + gain_velocity * surprise
        self._var_velocity = self._var_velocity - gain_velocity * self._covariance
        self._covariance = (1 - gain_place) * self._covariance
        self._var_place = (1 - gain_place) * self._var_place

    @property
    def _side(self) -> float:
        return math.exp((self._place[2] + self._place[3]) / 2)


def _measure(box_xywh: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Box → centre x, centre y, log width, log height."""
    x, y, w, h = box_xywh
    w, h = max(w, 0.1), max(h, 0.1)
    return np.array([x + w / 2, y + h / 2, math.log(w), math.log(h)])


def _noise(side_px: float) -> npt.NDArray[np.float64]:
    return np.array([_PLACE_NOISE * side_px, _PLACE_NOISE * side_px, _SIZE_NOISE, _SIZE_NOISE]) ** 2
