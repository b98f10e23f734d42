"""People as pictures with opacity, ready to be placed at any size.

A sprite is held at several sizes (a mip pyramid), so that drawing a person never shrinks by more than two and
bilinear sampling does not alias.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from gate.capture import scene_body as body
from gate.capture.scene_head import Head
from gate.capture.scene_people import PEOPLE, Portrait, Rgb
from gate.capture.scene_pixels import Affine, Mask, Rgba, as_bytes, enlarged, shrunk, spread, warp, with_opacity
from gate.types import FloatArray, Image

LEVELS_EYE_PX = (96, 48, 24, 12)
"""Scales of the pyramid. The finest holds only what can be seen at its size: head, shoulders, chest."""

_FINE_BOTTOM = 10.0
_FEATHER_SOURCE_PX = 1.6

HOODED = "hooded"
_HOODED_FACE = "player_4"
_HOOD_COLOUR: Rgb = (52, 56, 62)


class Cover(str, Enum):
    """What a visitor wears before the face."""

    SCARF = "scarf"
    MASK = "mask"
    SUNGLASSES = "sunglasses"

    @property
    def parked_shift(self) -> float:
        """How far below its place it hangs when it covers nothing, in eye distances: on the hair, under the chin."""
        return {Cover.SCARF: 1.45, Cover.MASK: 1.5, Cover.SUNGLASSES: -1.3}[self]


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A picture with opacity at one scale."""

    eye_px: int
    """Pixels per eye distance."""
    rgba: Rgba
    """(H, W, 4); the colours go on beyond the outline, so that they can be moved under it."""


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A person at all scales, and where the face is. Coordinates in eye distances, origin between the eyes."""

    person_id: str
    levels: tuple[Level, ...]
    head: Head
    landmarks: FloatArray
    box_corners: FloatArray
    """(4, 2): the face box's corners, clockwise from the top left."""
    near_eye_px: float
    height: float
    hair: Rgb
    """What a turned head shows where the portrait has nothing."""
    reach: tuple[float, float]
    """Leftmost and rightmost opaque column."""
    faceless: bool = False
    """True when nothing ever shows the face."""

    def level(self, eye_px: float) -> Level:
        """The smallest one that need not be enlarged, else the finest."""
        return next((level for level in reversed(self.levels) if level.eye_px >= eye_px), self.levels[0])


PERSON_IDS = (*(portrait.person_id for portrait in PEOPLE), HOODED)


def build_sprite(person_id: str) -> Sprite:
    """One of `PERSON_IDS`, in about 0.15 s. Raises `gate.errors.CaptureError` when the portrait is missing."""
    if person_id == HOODED:
        return _sprite(_portrait(_HOODED_FACE), hood=_HOOD_COLOUR)
    return _sprite(_portrait(person_id))


def _portrait(person_id: str) -> Portrait:
    return next(portrait for portrait in PEOPLE if portrait.person_id == person_id)


def build_covers() -> dict[Cover, Level]:
    """What may be worn before a face, at the finest scale, fitted to eyes at ±0.5 and a mouth 1.15 below them."""
    covers = {}
    paints = {Cover.SCARF: body.paint_scarf, Cover.MASK: body.paint_mask, Cover.SUNGLASSES: body.paint_sunglasses}
    colours: Mapping[Cover, Rgb] = {
        Cover.SCARF: (146, 52, 58),
        Cover.MASK: (150, 190, 208),
        Cover.SUNGLASSES: (22, 20, 22),
    }
    for cover, paint in paints.items():
        canvas = body.Canvas(LEVELS_EYE_PX[0], bottom=4.3)
        paint(canvas, colours[cover])
        covers[cover] = _level(canvas)
    return covers


def _sprite(portrait: Portrait, hood: Rgb | None = None) -> Sprite:
    to_units = _to_units(portrait)
    fine, coarse = _painted(portrait, to_units, hood)
    levels = [_level(fine), _level(coarse)]
    for eye_px in LEVELS_EYE_PX[2:]:
        finer = levels[-1].rgba
        size = (finer.shape[1] // 2, finer.shape[0] // 2)
        levels.append(Level(eye_px, shrunk(finer, size)))
    head = _head(portrait, to_units)
    x, y, w, h = portrait.box_xywh
    corners = np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)], np.float32)
    return Sprite(
        person_id=portrait.person_id if hood is None else HOODED,
        levels=tuple(levels),
        head=head,
        landmarks=_mapped(portrait.landmarks_array(), to_units),
        box_corners=_mapped(corners, to_units),
        near_eye_px=portrait.near_eye_px,
        height=portrait.height,
        hair=_hair(levels[1], head),
        reach=_reach(levels[1]),
        faceless=hood is not None,
    )


def _to_units(portrait: Portrait) -> Affine:
    """(2, 3) similarity from the picture's pixels to eye distances with level eyes."""
    left, right = (np.array(point, np.float64) for point in portrait.landmarks[:2])
    step = right - left
    scale = 1 / float(np.hypot(*step))
    cos, sin = step * scale
    turn = scale * np.array([[cos, sin], [-sin, cos]])
    return np.hstack([turn, (-turn @ ((left + right) / 2))[:, None]])


def _mapped(points: FloatArray, affine: Affine) -> FloatArray:
    return (points @ affine[:, :2].T + affine[:, 2]).astype(np.float32)


def _head(portrait: Portrait, to_units: Affine) -> Head:
    outline = _mapped(np.array(portrait.outline, np.float32), to_units)
    chin = float(np.array([portrait.landmarks[2][0], portrait.chin_y]) @ to_units[1, :2] + to_units[1, 2])
    # Ears and hair down to the mouth; what hangs lower is not part of the ball that turns.
    above = outline[outline[:, 1] < 1.2]
    left, right, top = (float(edge) for edge in (above[:, 0].min(), above[:, 0].max(), above[:, 1].min()))
    return Head((left + right) / 2, (top + chin) / 2, (right - left) / 2, (chin - top) / 2 * 1.06)


def _painted(portrait: Portrait, to_units: Affine, hood: Rgb | None) -> tuple[body.Canvas, body.Canvas]:
    """The finest canvas (down to the chest) and the next one (whole body)."""
    coarse = body.Canvas(LEVELS_EYE_PX[1], bottom=body.BOTTOM, shift_x=portrait.body_x)
    body.paint_behind(
        coarse, skin=portrait.skin, trousers=portrait.trousers, girth=portrait.girth, neck=not portrait.keeps_clothes
    )
    coat = body.Canvas(LEVELS_EYE_PX[1], bottom=body.BOTTOM, shift_x=portrait.body_x)
    garment = portrait.garment if hood is None else hood
    body.paint_coat(coat, skin=portrait.skin, garment=garment, girth=portrait.girth, collar=not portrait.keeps_clothes)
    fine = body.Canvas(LEVELS_EYE_PX[0], bottom=_FINE_BOTTOM)
    fine.lay(*_enlarged(coarse, fine))
    layers = [_cut_out(portrait, to_units, fine), _enlarged(coat, fine)]
    for mask, rgb in reversed(layers) if portrait.keeps_clothes else layers:
        fine.lay(mask, rgb)
    if hood is not None:
        body.paint_hood(fine, hood)
    coarse.lay(coat.alpha, coat.rgb)
    size = (fine.alpha.shape[1] // 2, fine.alpha.shape[0] // 2)
    coarse.rgb[: size[1]] = shrunk(fine.rgb, size)
    coarse.alpha[: size[1]] = shrunk(fine.alpha, size)
    return fine, coarse


def _enlarged(canvas: body.Canvas, like: body.Canvas) -> tuple[Mask, Image]:
    rows, columns = like.alpha.shape
    size = (columns, rows)
    upper = slice(0, rows // 2)
    # Colour is spread under the edge first, or the enlarged edge would mix in the black of the empty canvas.
    rgb = spread(canvas.rgb[upper], canvas.alpha[upper])
    return enlarged(canvas.alpha[upper], size), enlarged(rgb, size)


def _cut_out(portrait: Portrait, to_units: Affine, like: body.Canvas) -> tuple[Mask, Image]:
    """Opacity and colours of the portrait on a canvas like `like`."""
    picture = portrait.read()
    mask = np.zeros(picture.shape[:2], np.uint8)
    outline = body.rounded(np.array(portrait.outline, np.float64), 2)
    cv2.fillPoly(mask, [(outline * 16).round().astype(np.int32)], 255, cv2.LINE_AA, 4)
    # Half a feather inwards, so that nothing of the photograph's background shines through the soft edge.
    soft = as_bytes(cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), _FEATHER_SOURCE_PX))
    if portrait.fade_y is not None:
        start, end = portrait.fade_y
        ramp = np.clip((end - np.arange(soft.shape[0], dtype=np.float32)) / (end - start), 0, 1)
        soft = (soft * ramp[:, None]).astype(np.uint8)
    to_canvas = to_units * like.eye_px
    # Canvases count from pixel corners, cv2 from pixel centres.
    to_canvas[:, 2] -= np.array([body.LEFT, body.TOP]) * like.eye_px + 0.5
    size = (like.alpha.shape[1], like.alpha.shape[0])
    wide = spread(picture, as_bytes(cv2.erode(mask, np.ones((5, 5), np.uint8))))
    rgb = cv2.warpAffine(wide, to_canvas, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return warp(soft, to_canvas, size), as_bytes(rgb)


def _level(canvas: body.Canvas) -> Level:
    return Level(canvas.eye_px, with_opacity(spread(canvas.rgb, canvas.alpha), canvas.alpha))


def _hair(level: Level, head: Head) -> Rgb:
    """Median colour of the head's upper fifth: hair, a cap, or the hood."""
    top = (head.centre_y - head.half_height - body.TOP) * level.eye_px
    part = level.rgba[max(round(top), 0) : round(top + 0.4 * head.half_height * level.eye_px)]
    opaque = part[part[:, :, 3] > 200][:, :3]
    red, green, blue = (int(value) for value in np.median(opaque, axis=0))
    return red, green, blue


def _reach(level: Level) -> tuple[float, float]:
    columns = np.flatnonzero(level.rgba[:, :, 3].any(axis=0))
    return body.LEFT + columns[0] / level.eye_px, body.LEFT + (columns[-1] + 1) / level.eye_px
