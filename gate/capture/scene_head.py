"""Turning heads: a portrait slid around the ellipsoid that a head is taken for."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from gate.capture import scene_body as body
from gate.capture.scene_people import Rgb
from gate.capture.scene_pixels import Mask, Rgba, as_bytes, blend, colours, opacity, with_opacity
from gate.types import FloatArray, Image

Plane = npt.NDArray[np.float32]

_LEAST_YAW_DEG = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The ellipsoid a head is taken for when it turns, in eye distances from the point between the eyes."""

    centre_x: float
    centre_y: float
    half_width: float
    half_height: float

    def half_width_at(self, y: FloatArray) -> FloatArray:
        """Half the ellipse's width in row `y`; a hair's breadth outside it, never 0."""
        inside = 1 - ((y - self.centre_y) / self.half_height) ** 2
        return np.asarray(self.half_width * np.sqrt(np.maximum(inside, 1e-6)), np.float32)

    def turned(self, points: FloatArray, yaw_deg: float) -> FloatArray:
        """Where (N, 2) points of the frontal head go when it turns; positive towards the image's right."""
        width = self.half_width_at(points[:, 1])
        angle = np.arcsin(np.clip((points[:, 0] - self.centre_x) / width, -1, 1)) + np.radians(yaw_deg)
        x = self.centre_x + width * np.sin(np.clip(angle, -np.pi / 2, np.pi / 2))
        return np.stack([x, points[:, 1]], axis=1).astype(np.float32)


def turn(rgba: Rgba, eye_px: int, head: Head, hair: Rgb, yaw_deg: float) -> Rgba:
    """A person's picture with the head turned; the outline stays, and past the photographed side there is hair.

    Args:
        rgba: the person, (H, W, 4), its top left corner at (`scene_body.LEFT`, `scene_body.TOP`).
        eye_px: scale of the picture, pixels per eye distance.
        head: the ellipsoid.
        hair: its colour where the portrait has nothing to show.
        yaw_deg: positive towards the image's right.
    """
    if abs(yaw_deg) < _LEAST_YAW_DEG:
        return rgba
    scale = eye_px
    x0, x1 = (round((head.centre_x + side * head.half_width - body.LEFT) * scale) for side in (-1, 1))
    y0, y1 = (max(round((head.centre_y + side * head.half_height - body.TOP) * scale), 0) for side in (-1, 1))
    rows = ((np.arange(y0, y1) + 0.5) / scale + body.TOP).astype(np.float32)
    columns = ((np.arange(x0, x1) + 0.5) / scale + body.LEFT).astype(np.float32)
    width = head.half_width_at(rows)[:, None]
    sine = (columns[None, :] - head.centre_x) / width
    source = _slid(np.clip(sine, -1, 1), np.radians(yaw_deg))
    across = ((source * width + head.centre_x - body.LEFT) * scale - 0.5).astype(np.float32)
    down = np.repeat(np.arange(y0, y1, dtype=np.float32)[:, None], x1 - x0, axis=1)
    patch = cv2.remap(rgba, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    face = colours(as_bytes(patch))
    blend(face, *_hair(hair, sine, source, yaw_deg))
    result = rgba.copy()
    part = result[y0:y1, x0:x1]
    cv2.copyTo(with_opacity(face, opacity(part)), (np.abs(sine) < 1).astype(np.uint8), part)
    return result


def _hair(colour: Rgb, sine: Plane, source: Plane, yaw_deg: float) -> tuple[Image, Mask]:
    """Strands along the meridians, and their opacity: full where the frontal portrait shows nothing."""
    meridian = ((np.clip(sine, -1, 1) + 1) * 127.5).astype(np.uint8)
    strands = np.random.default_rng(2).normal(0, 0.10, 256)
    shade = np.clip(0.95 - 0.35 * np.linspace(-1, 1, 256) ** 2 + strands, 0, 1)
    table = (shade[:, None] * np.array(colour)).astype(np.uint8)
    hidden = np.clip((-np.sign(yaw_deg) * source - 0.72) / 0.22, 0, 1) * min(abs(yaw_deg) / 30, 1.0)
    return table[meridian], (hidden * 255).astype(np.uint8)


def _slid(sine: Plane, yaw: float) -> Plane:
    """Where on the frontal head (sine of the longitude, ±0.96) the turned head's point at `sine` comes from."""
    cos, sin = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    source = sine * cos - np.sqrt(1 - sine * sine) * sin
    # Past the rim the sine would come back and show the face a second time, mirrored.
    source = np.where(sine < -cos, -1, source) if yaw > 0 else np.where(sine > cos, 1, source)
    return np.clip(source, -0.96, 0.96).astype(np.float32)
