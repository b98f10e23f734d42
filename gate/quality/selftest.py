"""Does a loaded method still measure anything? Asked at the start, and before one that was benched comes back."""

import numpy as np
import numpy.typing as npt

from gate.clock import Clock
from gate.errors import QualityError
from gate.quality.method import QualityMethod
from gate.types import CROP_SIDE_PX, Image

_SAME = 1e-5
"""Relative difference below which two numbers are one: a dead network answers its bias to everything."""

_AGAIN = 0.02
"""Relative difference that the same crop may have in another batch; a GPU adds up in another order."""


class SelfTestError(QualityError):
    """A method cannot score, or not believably; the message says what it did."""


def self_test(method: QualityMethod, clock: Clock) -> float:
    """Score two crops that are always the same, one of them twice; returns the seconds that one crop took alone.

    Raises:
        SelfTestError: the numbers are not finite, far outside the calibration's range, equal for different crops, or
            different for the same crop.
        NotCalibratedError: there is no map to 0..100.
    """
    crops = synthetic_crops()
    raw = np.asarray(method.raw(crops), dtype=np.float32)
    if method.device != "cpu":
        # A GPU's first batch of a size chooses kernels and records graphs: not what a crop costs.
        method.raw(crops[1:])
    start_s = clock.monotonic_s()
    again = np.asarray(method.raw(crops[1:]), dtype=np.float32)
    crop_s = clock.monotonic_s() - start_s
    if raw.shape != (2,) or again.shape != (1,):
        raise SelfTestError(f"{method.name} gave numbers of shape {raw.shape} for two crops")
    shown = ", ".join(f"{value:.4g}" for value in (*raw.tolist(), *again.tolist()))
    if not np.isfinite(raw).all() or not np.isfinite(method.quality_of(raw)).all():
        raise SelfTestError(f"{method.name} gave {shown} for the crops of its self-test: not numbers")
    if not method.is_plausible(raw).all():
        raise SelfTestError(f"{method.name} gave {shown} for the crops of its self-test: far outside its calibration")
    if np.isclose(raw[0], raw[1], rtol=_SAME, atol=0.0):
        raise SelfTestError(f"{method.name} gave {shown} for the crops of its self-test: the same for different ones")
    if not np.isclose(raw[1], again[0], rtol=_AGAIN, atol=_AGAIN * abs(float(raw[0] - raw[1]))):
        raise SelfTestError(f"{method.name} gave {shown} for the crops of its self-test: not the same number twice")
    return crop_s


def synthetic_crops() -> Image:
    """(2, 112, 112, 3) uint8 RGB: a drawn face, and the same face darker and out of focus."""
    sharp = _drawn_face(softness=1.5)
    blurred = 20 + 0.5 * _drawn_face(softness=9.0)
    return np.ascontiguousarray(np.stack([sharp, blurred]).round().astype(np.uint8))


def _drawn_face(softness: float) -> npt.NDArray[np.float64]:
    """(112, 112, 3) in 0..255: background, head, eyes, nose and mouth where the ArcFace template has them."""
    y, x = np.mgrid[0:CROP_SIDE_PX, 0:CROP_SIDE_PX].astype(np.float64)

    def oval(cx: float, cy: float, rx: float, ry: float) -> npt.NDArray[np.float64]:
        """1 inside, 0 outside, with an edge of `softness` pixels."""
        inside = 1.0 - np.hypot((x - cx) / rx, (y - cy) / ry)
        weight: npt.NDArray[np.float64] = 1.0 / (1.0 + np.exp(-inside * min(rx, ry) / softness))
        return weight

    picture = np.empty((CROP_SIDE_PX, CROP_SIDE_PX, 3))
    picture[:] = np.array([70.0, 90.0, 110.0])
    light = (0.85 + 0.3 * (1 - x / CROP_SIDE_PX))[..., None]
    for shape, colour in (
        (oval(56, 62, 46, 62), (205, 165, 140)),
        (oval(56, 4, 52, 22), (60, 45, 35)),
        (oval(38, 44, 12, 3), (85, 60, 50)),
        (oval(74, 44, 12, 3), (85, 60, 50)),
        (oval(38, 52, 8, 4), (240, 235, 230)),
        (oval(74, 52, 8, 4), (240, 235, 230)),
        (oval(38, 52, 4, 4), (45, 35, 30)),
        (oval(74, 52, 4, 4), (45, 35, 30)),
        (oval(56, 73, 7, 4), (165, 120, 100)),
        (oval(56, 92, 16, 5), (165, 75, 75)),
    ):
        picture += shape[..., None] * (np.array(colour, dtype=np.float64) - picture)
    lit: npt.NDArray[np.float64] = np.clip(picture * light, 0, 255)
    return lit
