"""How sharp and how well lit an aligned crop is; every filter runs once, for all who measure.

Exposure and dynamic range follow ISO/IEC 29794-5:2025, clauses 7.3.4 to 7.3.7, as the documentation of its reference
implementation OFIQ states the formulas. They are taken over our ellipse instead of OFIQ's 98 landmarks, and are not
rounded, so the numbers are close to OFIQ's and not the same.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from gate.types import CROP_SIDE_PX, FloatArray, Image

_HALF_SHARP = 0.25
"""Laplacian energy per gradient energy at which sharpness is 50: the median of 286 WIDER faces labelled "normal blur".

Clear ones have 0.57, heavily blurred ones 0.15; large portraits 0.70, and 0.16 after a Gaussian blur of 2 pixels.
"""

_FLAT = 1.0
"""Gradient energy, grey levels² per pixel², below which there is nothing to be sharp."""

_DARKEST = 25
"""Highest linear luminance, 0..255, that counts as under-exposed: grey level 89 of 255 as cameras encode it."""

_BRIGHTEST = 247
"""Lowest linear luminance, 0..255, that counts as over-exposed: grey level 251."""


_LEVELS = np.arange(256.0)

_BOX = (slice(28, 109), slice(24, 89))
"""Rows and columns of the crop that hold the ellipse of the face."""


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """An aligned crop, filtered."""

    crop: Image
    """(112, 112, 3) uint8 RGB."""

    grey: npt.NDArray[np.uint8]
    """(112, 112) uint8, luminance as cameras encode it (BT.601)."""

    across: FloatArray
    """(112, 112) float32, slope of the slightly smoothed grey to the right, grey levels a pixel."""

    down: FloatArray
    """(112, 112) float32, slope downwards."""

    curve: FloatArray
    """(112, 112) float32, Laplacian of the same."""

    border: npt.NDArray[np.bool_] | None
    """(112, 112) bool, pixels that are exactly black, as those outside the frame are; None without any."""

    @classmethod
    def of(cls, crop: Image) -> "Planes":
        """Filter a (112, 112, 3) uint8 RGB crop."""
        import cv2

        grey = np.asarray(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        # A little smoothing first, or sensor noise is the sharpest thing in the picture.
        smooth = cv2.GaussianBlur(grey.astype(np.float32), (3, 3), 0.7)
        # Ten times as fast as NumPy's maximum over the last axis.
        black = cv2.inRange(crop, (0, 0, 0), (0, 0, 0))
        return cls(
            crop=crop,
            grey=grey,
            across=np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1, scale=0.5), dtype=np.float32),
            down=np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1, scale=0.5), dtype=np.float32),
            curve=np.asarray(cv2.Laplacian(smooth, cv2.CV_32F, ksize=1), dtype=np.float32),
            border=np.asarray(black != 0, dtype=np.bool_) if cv2.countNonZero(black) else None,
        )


@dataclass(frozen=True, slots=True)
class Light:
    """Fields of `gate.types.Signals`, as it describes them."""

    sharpness: float = 0.0
    luminance: float = 0.0
    luminance_spread: float = 0.0
    contrast: float = 0.0
    dynamic_range: float = 0.0
    under_exposed_share: float = 0.0
    over_exposed_share: float = 0.0
    under_exposure_prevention: float = 0.0
    over_exposure_prevention: float = 0.0


def measure_light(planes: Planes) -> Light:
    """Measure the inner ellipse of the face; all zero where it holds nothing but border."""
    inside = around = _face_ellipse()
    if planes.border is not None:
        inside = inside & ~planes.border
        around = inside & ~_seen_by_filters(planes.border)
    if not inside.any():
        return Light()
    # Everything from two histograms: a percentile of the pixels alone costs as much as both.
    greys = np.bincount(planes.grey[inside], minlength=256)
    shades = np.bincount(_linear_luminance(planes.crop[_BOX])[inside[_BOX]], minlength=256)
    count = int(greys.sum())
    mean = float(greys @ _LEVELS) / count
    low, high = np.searchsorted(np.cumsum(greys), (0.05 * count, 0.95 * count)).tolist()
    dark, bright = int(shades[: _DARKEST + 1].sum()) / count, int(shades[_BRIGHTEST:].sum()) / count
    return Light(
        sharpness=_sharpness(planes, around),
        luminance=mean / 2.55,
        luminance_spread=math.sqrt(float(greys @ (_LEVELS - mean) ** 2) / count) / 2.55,
        contrast=(high - low) / 2.55,
        dynamic_range=_dynamic_range(shades / count),
        under_exposed_share=dark,
        over_exposed_share=bright,
        under_exposure_prevention=_within(120.0 * (0.832 - 1.0 / (1.0 + math.exp((0.92 - dark) / 0.05)))),
        over_exposure_prevention=_within(1.0 / (bright + 0.01)),
    )


def _sharpness(planes: Planes, inside: npt.NDArray[np.bool_]) -> float:
    """Variance of the Laplacian over the mean squared gradient, on 0..100.

    The gradient is the local contrast: dividing by it keeps a dim face from looking blurred and a side-lit one from
    looking sharp (Pertuz et al., "Analysis of focus measure operators", Pattern Recognition 2013, compare measures).

    The crop brings every face to one size, so sharpness means detail in proportion to the face. Two portraits scaled to
    between 36 and 200 pixels from eye to eye gave 74..81 and 80..86; after a Gaussian blur of 1/18 of the eye distance
    they gave 38..39 and 46..47 at each of these sizes. Smaller faces have less detail and lose sharpness accordingly:
    65 and 73 at 20 pixels, 43 and 52 at 8, no more than the large face has after an equal loss by blur.
    """
    if not inside.any():
        return 0.0
    curve, across, down = planes.curve[inside], planes.across[inside], planes.down[inside]
    gradient = float(across @ across + down @ down) / across.size
    ratio = float(curve.var()) / (gradient + _FLAT)
    return 100.0 * ratio / (ratio + _HALF_SHARP)


def _dynamic_range(shades: npt.NDArray[np.float64]) -> float:
    """12.5 times the entropy, in bits, of the (256,) shares of each luminance: 100 when all are equally frequent."""
    present = shades[shades > 0]
    return _within(12.5 * -float(present @ np.log2(present)))


def _linear_luminance(crop: Image) -> npt.NDArray[np.uint8]:
    """(H, W) uint8: BT.709 luminance of linear light, rounded, as ISO/IEC 29794-5 has it."""
    import cv2

    luminance = cv2.transform(cv2.LUT(crop, _linear_light()), np.array([[0.2126, 0.7152, 0.0722]], np.float32))
    return np.asarray(luminance + 0.5, dtype=np.uint8)


def _seen_by_filters(border: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose filtered values the border has touched: the filters see two pixels far."""
    import cv2

    grown = cv2.dilate(border.astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown != 0, dtype=np.bool_)


def _within(value: float) -> float:
    return min(100.0, max(0.0, value))


@cache
def _linear_light() -> FloatArray:
    """(256,) float32: sRGB code → linear light, 0..255 (IEC 61966-2-1)."""
    code = np.arange(256) / 255.0
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    table: FloatArray = (255.0 * linear).astype(np.float32)
    table.setflags(write=False)
    return table


@cache
def _face_ellipse() -> npt.NDArray[np.bool_]:
    """(112, 112) bool: brows to chin, cheek to cheek of the template, clear of hair and of most of the border."""
    y, x = np.mgrid[:CROP_SIDE_PX, :CROP_SIDE_PX]
    # _BOX holds it; less to convert, and arrays small enough for the allocator to keep.
    mask: npt.NDArray[np.bool_] = ((x - 56) / 32) ** 2 + ((y - 68) / 40) ** 2 <= 1.0
    mask.setflags(write=False)
    return mask
