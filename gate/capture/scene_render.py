"""Places people in the picture: size, turn of the head, coverings, blur, light."""

from dataclasses import dataclass

import cv2
import numpy as np

from gate.capture import scene_body as body
from gate.capture.scene_head import turn
from gate.capture.scene_pixels import Affine, Rgba, as_bytes, blend, colours, opacity, warp, with_opacity
from gate.capture.scene_script import Pose, Visit
from gate.capture.scene_sprites import Cover, Level, Sprite
from gate.capture.scene_stage import HORIZON_Y
from gate.types import FloatArray, Image

DARKEST_GAIN = 0.09
"""What is left of the light when it is off."""

_STEPS_PER_S = 1.9


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A visitor of this frame, with everything drawing and truth need."""

    visit: Visit
    sprite: Sprite
    pose: Pose
    to_frame: Affine
    """(2, 3): eye distances to pixels of the frame."""

    @property
    def eye_px(self) -> float:
        """Eye distance in pixels of the frame, before the head turns."""
        return float(np.hypot(*self.to_frame[:, 0]))

    def mapped(self, points: FloatArray) -> FloatArray:
        """Points of the turned head in pixels of the frame, (N, 2)."""
        turned = self.sprite.head.turned(points, self.pose.yaw_deg)
        return self._in_frame(turned)

    def face_edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the face in pixels of the frame; landmarks at its rim are inside."""
        corners = self.sprite.box_corners
        # The head is an ellipse: its width in the box's middle counts, at the chin there is none to turn.
        middle = np.column_stack([corners[:, 0], np.full(4, corners[:, 1].mean(), np.float32)])
        turned = np.column_stack([self.sprite.head.turned(middle, self.pose.yaw_deg)[:, 0], corners[:, 1]])
        points = np.vstack([self._in_frame(turned), self.mapped(self.sprite.landmarks)])
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def _in_frame(self, points: FloatArray) -> FloatArray:
        return (points @ self.to_frame[:, :2].T + self.to_frame[:, 2]).astype(np.float32)


def place(visit: Visit, sprite: Sprite, pose: Pose, t_s: float, size: tuple[int, int]) -> Placed:
    """Where a visitor is in a frame of `size` (width, height), with the bob and sway of walking."""
    width, height = size
    scale = height / 720
    eye_px = pose.spot.eye_px * scale
    phase = 2 * np.pi * _STEPS_PER_S * (t_s - visit.start_s)
    sway = np.radians(1.4 * np.sin(phase / 2) * pose.walking + 0.5 * np.sin(1.1 * t_s + visit.index))
    x = pose.spot.x * width
    y = HORIZON_Y * scale - eye_px * (sprite.height + 0.22 * np.sin(phase) * pose.walking)
    cos, sin = eye_px * np.cos(sway), eye_px * np.sin(sway)
    return Placed(visit, sprite, pose, np.array([[cos, -sin, x], [sin, cos, y]]))


def draw(frame: Image, placed: Placed, covers: dict[Cover, Level]) -> None:
    """Draw one person over the frame, in place."""
    region = _region(frame, placed)
    if region is None:
        return
    left, top, right, bottom = region
    part = frame[top:bottom, left:right]
    level = placed.sprite.level(placed.eye_px)
    rgba = turn(level.rgba, level.eye_px, placed.sprite.head, placed.sprite.hair, placed.pose.yaw_deg)
    to_part = placed.to_frame.copy()
    to_part[:, 2] -= (left, top)
    rgba = _warped(rgba, level.eye_px, to_part, (right - left, bottom - top))
    if placed.visit.wears is not None:
        _wear(rgba, covers[placed.visit.wears], placed, to_part)
    if placed.pose.blur > 0.02:
        rgba = _smeared(rgba, placed.pose.blur * placed.eye_px)
    _lay(part, rgba)


def draw_shadow(frame: Image, placed: Placed) -> None:
    """Darken the floor under the feet, in place; nothing where the feet are out of the picture."""
    x, y = (placed.to_frame @ np.array([0.0, 25.3, 1.0])).round().astype(int)
    half = (round(3.4 * placed.eye_px), max(round(0.7 * placed.eye_px), 1))
    if y - half[1] >= frame.shape[0]:
        return
    left, right = max(x - half[0], 0), min(x + half[0], frame.shape[1])
    top, bottom = max(y - half[1], 0), min(y + half[1], frame.shape[0])
    if left >= right or top >= bottom:
        return
    rows, columns = np.ogrid[top:bottom, left:right]
    gone = np.clip(1 - ((columns - x) / half[0]) ** 2 - ((rows - y) / half[1]) ** 2, 0, 1)
    part = frame[top:bottom, left:right]
    part[:] = (part * (1 - 0.5 * gone[:, :, None])).astype(np.uint8)


def dim(frame: Image, dark: float) -> Image:
    """The frame when the light is off by `dark` (0..1)."""
    if dark <= 0:
        return frame
    return as_bytes(cv2.convertScaleAbs(frame, alpha=1 - (1 - DARKEST_GAIN) * dark))


def _region(frame: Image, placed: Placed) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the frame's part that the person may touch."""
    level = placed.sprite.level(placed.eye_px)
    low = body.TOP + level.rgba.shape[0] / level.eye_px
    corners = np.array([(x, y, 1.0) for x in placed.sprite.reach for y in (body.TOP, low)]) @ placed.to_frame.T
    left, top = np.floor(corners.min(axis=0)).astype(int)
    right, bottom = np.ceil(corners.max(axis=0)).astype(int)
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, frame.shape[1]), min(bottom, frame.shape[0])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _warped(rgba: Rgba, eye_px: int, to_part: Affine, size: tuple[int, int]) -> Rgba:
    from_canvas = to_part.copy()
    from_canvas[:, :2] /= eye_px
    from_canvas[:, 2] += to_part[:, :2] @ np.array([body.LEFT, body.TOP])
    # Half a pixel: canvases and frames count from pixel corners, cv2 from pixel centres.
    from_canvas[:, 2] += from_canvas[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return warp(rgba, from_canvas, size)


def _wear(rgba: Rgba, cover: Level, placed: Placed, to_part: Affine) -> None:
    """Lay the covering over the head in place, fitted to where this face's eyes and mouth are."""
    wears, pose = placed.visit.wears, placed.pose
    if wears is None:
        return
    face = placed.sprite.head.turned(placed.sprite.landmarks, pose.yaw_deg)
    eyes, mouth = face[:2].mean(axis=0), face[3:].mean(axis=0)
    down = (mouth - eyes) / 1.15
    across = max(float(np.cos(np.radians(pose.yaw_deg))), 0.55)
    shift = (1 - pose.cover) * wears.parked_shift
    fit = np.array([[across, down[0], eyes[0] + shift * down[0]], [0, down[1], eyes[1] + shift * down[1]]])
    fitted = np.hstack([to_part[:, :2] @ fit[:, :2], (to_part[:, :2] @ fit[:, 2] + to_part[:, 2])[:, None]])
    corners = np.array([(x, y, 1.0) for x in (-2.1, 2.1) for y in (-1.0, 4.2)]) @ fitted.T
    left, top = np.maximum(np.floor(corners.min(axis=0)), 0).astype(int)
    right, bottom = np.minimum(np.ceil(corners.max(axis=0)), rgba.shape[1::-1]).astype(int)
    if left >= right or top >= bottom:
        return
    fitted[:, 2] -= (left, top)
    over = _warped(cover.rgba, cover.eye_px, fitted, (right - left, bottom - top))
    part = rgba[top:bottom, left:right]
    worn = colours(part)
    _lay(worn, over)
    part[:] = with_opacity(worn, np.maximum(opacity(part), opacity(over)))


def _smeared(rgba: Rgba, amount_px: float) -> Rgba:
    """Out of focus and in motion: two box blurs, wider than high; their cost does not grow with their size."""
    size = (max(round(0.42 * amount_px), 1), max(round(0.16 * amount_px), 1))
    for _ in range(2):
        rgba = as_bytes(cv2.blur(rgba, size))
    return rgba


def _lay(under: Image, over: Rgba) -> None:
    blend(under, colours(over), opacity(over))
