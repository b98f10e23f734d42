"""Painted bodies and coverings: simple shapes with rounded shading, in units of the eye distance.

The origin lies between the eyes, x points to the image's right, y down; an adult's feet stand 25 units below
his eyes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from gate.capture.scene_people import Point, Rgb
from gate.capture.scene_pixels import Mask, blend
from gate.types import Image

LEFT, RIGHT, TOP, BOTTOM = -5.2, 5.2, -3.2, 26.2
"""Edges of a person's canvas."""

_SUBPIXEL_BITS = 4


class Canvas:
    """A picture with opacity that is painted layer by layer.

    Args:
        eye_px: scale, pixels per unit.
        bottom: lower edge in units.
        shift_x: moves every shape to the image's right, in units.
    """

    def __init__(self, eye_px: int, bottom: float, shift_x: float = 0.0) -> None:
        rows, columns = round((bottom - TOP) * eye_px), round((RIGHT - LEFT) * eye_px)
        self.eye_px = eye_px
        self._origin = np.array([LEFT - shift_x, TOP])
        self.rgb: Image = np.zeros((rows, columns, 3), np.uint8)
        self.alpha: Mask = np.zeros((rows, columns), np.uint8)

    def mask(self, *outlines: Sequence[Point], smooth: int = 3) -> Mask:
        """Opacity of closed shapes, corners rounded `smooth` times."""
        mask = np.zeros(self.alpha.shape, np.uint8)
        for outline in outlines:
            points = rounded(np.array(outline, np.float64), smooth)
            pixels = (points - self._origin) * self.eye_px * (1 << _SUBPIXEL_BITS)
            cv2.fillPoly(mask, [pixels.round().astype(np.int32)], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask

    def lay(self, mask: Mask, rgb: Image) -> None:
        """Put a layer with its opacity on top."""
        part = _extent(mask)
        blend(self.rgb[part], rgb[part], mask[part])
        np.maximum(self.alpha, mask, out=self.alpha)

    def paint(self, mask: Mask, colour: Rgb, *, round_units: float = 1.0, cloth: float = 0.0) -> None:
        """Lay one colour, darker towards the edges within `round_units` as on something round."""
        part = _extent(mask)
        depth = cv2.distanceTransform(mask[part], cv2.DIST_L2, 3) / (round_units * self.eye_px)
        shade = 0.5 + 0.5 * np.sqrt(np.clip(depth, 0, 1))
        if cloth > 0:
            shade = shade * (1 + cloth * folds(shade.shape[0], shade.shape[1], self.eye_px))
        tinted = np.clip(shade[:, :, None] * np.array(colour, np.float32), 0, 255).astype(np.uint8)
        blend(self.rgb[part], tinted, mask[part])
        np.maximum(self.alpha, mask, out=self.alpha)


def _extent(mask: Mask) -> tuple[slice, slice]:
    """The part of the canvas that a mask touches, with a rim for the distance to its edge."""
    x, y, w, h = cv2.boundingRect(mask)
    return np.s_[max(y - 2, 0) : y + h + 2, max(x - 2, 0) : x + w + 2]


def rounded(points: npt.NDArray[np.float64], times: int) -> npt.NDArray[np.float64]:
    """Chaikin's corner cutting on a closed polygon, (N, 2) → (N·2^times, 2)."""
    for _ in range(times):
        following = np.roll(points, -1, axis=0)
        points = np.stack([0.75 * points + 0.25 * following, 0.25 * points + 0.75 * following], axis=1).reshape(-1, 2)
    return points


def mirrored(half: Sequence[Point], girth: float = 1.0) -> list[Point]:
    """A symmetric outline from its left half, listed from top to bottom."""
    left = [(x * girth, y) for x, y in half]
    return left + [(-x, y) for x, y in reversed(left)]


def folds(rows: int, columns: int, eye_px: int) -> npt.NDArray[np.float32]:
    """Soft slanting streaks from -1 to 1 that make a flat colour look like cloth."""
    rng = np.random.default_rng(7)
    coarse = rng.normal(0, 1, (max(rows // eye_px, 1) + 2, max(2 * columns // eye_px, 1) + 2)).astype(np.float32)
    smooth = cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth / 2, -1, 1)


_TORSO = ((-0.95, 1.95), (-1.5, 2.35), (-2.7, 3.0), (-3.3, 3.9), (-3.0, 6.0), (-2.7, 9.0), (-2.75, 12.9), (-1.2, 13.1))
_ARM = ((-2.5, 3.1), (-3.3, 3.5), (-3.75, 5.0), (-3.95, 8.5), (-3.8, 12.1), (-3.0, 12.2), (-2.75, 8.5), (-2.6, 5.0))
_LEG = ((-2.55, 12.2), (-0.02, 12.2), (-0.1, 14.0), (-0.35, 18.5), (-0.45, 24.6), (-1.75, 24.6), (-2.1, 18.5))
_SHOE = ((-1.95, 24.3), (-0.35, 24.3), (-0.3, 25.3), (-0.8, 25.6), (-1.8, 25.5), (-2.2, 25.1))
_HAND = ((-3.75, 11.9), (-3.05, 11.9), (-2.95, 12.8), (-3.2, 13.6), (-3.6, 13.5), (-3.85, 12.8))
_NECK = ((-0.95, 0.6), (-1.0, 1.5), (-1.3, 2.2), (-1.4, 3.0), (-0.6, 3.6))
_NOTCH = ((-1.0, 1.4), (-1.02, 2.1), (-0.75, 2.55), (-0.3, 2.75))
_COLLAR = ((-1.0, 1.85), (-1.28, 2.1), (-1.05, 2.6), (-0.45, 2.98))


def _flip(outline: Sequence[Point]) -> list[Point]:
    return [(-x, y) for x, y in outline]


def _wide(outline: Sequence[Point], girth: float) -> list[Point]:
    return [(x * girth, y) for x, y in outline]


def paint_behind(canvas: Canvas, *, skin: Rgb, trousers: Rgb, girth: float, neck: bool) -> None:
    """Legs, shoes and, unless the portrait has one, a neck: what the head and the coat overlap."""
    shoes = canvas.mask(_SHOE, _flip(_SHOE))
    canvas.paint(shoes, (34, 30, 30), round_units=0.5)
    leg = _wide(_LEG, girth)
    for one in (leg, _flip(leg)):
        canvas.paint(canvas.mask(one, smooth=2), trousers, round_units=0.9, cloth=0.12)
    if not neck:
        return
    shaded: Rgb = (int(skin[0] * 0.84), int(skin[1] * 0.80), int(skin[2] * 0.80))
    canvas.paint(canvas.mask(mirrored(_NECK)), shaded, round_units=1.1)


def paint_coat(canvas: Canvas, *, skin: Rgb, garment: Rgb, girth: float, collar: bool) -> None:
    """Torso, arms and hands; with `collar` there is a neckline through which the neck stays visible."""
    torso = canvas.mask(mirrored(_TORSO, girth), smooth=2)
    if collar:
        torso = np.minimum(torso, 255 - canvas.mask(mirrored(_NOTCH)))
    canvas.paint(torso, garment, round_units=1.6, cloth=0.10)
    if collar:
        rim = np.minimum(canvas.mask(mirrored(_COLLAR)), 255 - canvas.mask(mirrored(_NOTCH)))
        darker: Rgb = (int(garment[0] * 0.8), int(garment[1] * 0.8), int(garment[2] * 0.8))
        canvas.paint(rim, darker, round_units=0.25)
    arm, hand = _wide(_ARM, girth), _wide(_HAND, girth)
    for flip in (False, True):
        canvas.paint(canvas.mask(_flip(hand) if flip else hand), skin, round_units=0.5)
        canvas.paint(canvas.mask(_flip(arm) if flip else arm, smooth=2), garment, round_units=0.7, cloth=0.10)


_HOOD = ((-0.6, -2.35), (-1.7, -1.7), (-2.1, -0.4), (-2.0, 1.2), (-1.9, 2.3), (-2.5, 3.2), (-1.6, 3.9))
_HOOD_OPENING = ((-0.5, -1.35), (-1.2, -0.9), (-1.4, 0.1), (-1.3, 1.3), (-0.9, 2.2), (-0.3, 2.6))


def paint_hood(canvas: Canvas, colour: Rgb) -> None:
    """A hood that leaves the face in deep shadow, over a head that has been painted already."""
    opening = canvas.mask(mirrored(_HOOD_OPENING))
    shadow = cv2.GaussianBlur(opening, (0, 0), 0.12 * canvas.eye_px)
    inside = (canvas.rgb.astype(np.float32) * 0.16).astype(np.uint8)
    canvas.lay(np.maximum(opening, shadow), inside)
    outside = canvas.mask(mirrored(_HOOD))
    # Hair of the portrait does not stick out of the hood.
    head = np.s_[: round((1.5 - TOP) * canvas.eye_px)]
    canvas.alpha[head] = np.minimum(canvas.alpha[head], outside[head])
    canvas.paint(np.minimum(outside, 255 - opening), colour, round_units=0.8, cloth=0.12)


_SCARF = ((-0.2, 0.42), (-1.0, 0.5), (-1.3, 0.7), (-1.32, 1.5), (-1.5, 2.3), (-1.9, 2.9), (-1.8, 3.6), (-0.8, 4.0))
_MASK = ((-1.05, 0.55), (-0.35, 0.32), (0.0, 0.26), (0.35, 0.32), (1.05, 0.55), (1.0, 1.35), (0.6, 1.85), (0.0, 2.0),
         (-0.6, 1.85), (-1.0, 1.35))  # fmt: skip
_LENS = ((-1.04, -0.4), (-0.12, -0.38), (-0.1, 0.1), (-0.28, 0.48), (-0.62, 0.56), (-0.94, 0.42), (-1.06, 0.0))
_BRIDGE = ((-0.2, -0.24), (0.2, -0.24), (0.2, -0.1), (-0.2, -0.1))
_TEMPLES = ((-1.18, -0.28), (-0.95, -0.3), (-0.95, -0.14), (-1.18, -0.12))


def paint_scarf(canvas: Canvas, colour: Rgb) -> None:
    """A knitted scarf over nose and mouth."""
    shape = canvas.mask(mirrored(_SCARF))
    canvas.paint(shape, colour, round_units=0.9)
    rows = np.arange(shape.shape[0], dtype=np.float32)[:, None] / canvas.eye_px
    columns = (np.arange(shape.shape[1], dtype=np.float32)[None, :] / canvas.eye_px + LEFT) ** 2
    ribs = 0.90 + 0.10 * np.sin((rows + 0.10 * columns) * 2 * np.pi / 0.36)
    canvas.rgb[:] = (canvas.rgb * ribs[:, :, None]).astype(np.uint8)


def paint_mask(canvas: Canvas, colour: Rgb) -> None:
    """A surgical mask over nose and mouth, with three pleats and its ear loops."""
    scale, origin = canvas.eye_px, (LEFT, TOP)

    def pixel(x: float, y: float) -> tuple[int, int]:
        return round((x - origin[0]) * scale), round((y - origin[1]) * scale)

    loops = np.zeros(canvas.alpha.shape, np.uint8)
    for side in (-1, 1):
        for y in (0.65, 1.3):
            cv2.line(
                loops, pixel(side * 0.95, y), pixel(side * 1.5, 0.35 + 0.3 * y), 255, max(scale // 24, 1), cv2.LINE_AA
            )
    canvas.paint(loops, (225, 225, 225), round_units=0.05)
    shape = canvas.mask(_MASK)
    canvas.paint(shape, colour, round_units=0.7)
    pleats = np.zeros(shape.shape, np.uint8)
    for y in (0.8, 1.1, 1.4):
        cv2.line(pleats, pixel(-0.95, y), pixel(0.95, y), 90, max(scale // 20, 1), cv2.LINE_AA)
    canvas.lay(np.minimum(pleats, shape), (canvas.rgb * 0.7).astype(np.uint8))


def paint_sunglasses(canvas: Canvas, colour: Rgb) -> None:
    """Dark glasses with a faint reflection."""
    frame = canvas.mask(_LENS, _flip(_LENS), _BRIDGE, _TEMPLES, _flip(_TEMPLES), smooth=2)
    canvas.paint(frame, colour, round_units=0.1)
    gleam = canvas.mask(
        [(x * 0.5 - 0.4, y * 0.35 - 0.12) for x, y in _LENS], [(x * 0.5 + 0.7, y * 0.35 - 0.12) for x, y in _LENS]
    )
    canvas.lay((gleam * 0.25).astype(np.uint8), np.full_like(canvas.rgb, 150))
