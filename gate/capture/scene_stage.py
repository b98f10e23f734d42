"""The empty place in front of the virtual camera: a hall with a door, painted once, and the sensor's noise."""

import cv2
import numpy as np
import numpy.typing as npt

from gate.capture.scene_people import Rgb
from gate.capture.scene_pixels import as_bytes, shrunk
from gate.types import Image

HORIZON_Y = 262.0
"""Row of the camera's height at 720 rows: heads stay here however far away they are."""

DOOR_X = 640.0
"""Column of the door's middle at 1280 columns."""

_FLOOR_Y = 566
_NOISE_SIGMA = 2.2
_NOISE_PLAY_PX = 64


def paint_stage(width: int, height: int) -> Image:
    """The hall as (height, width, 3) RGB. Its middle 16:9 part is designed at 1280x720 and scales with the height."""
    scale = height / 720
    design_width = round(width / scale)
    picture = _walls(design_width)
    left = design_width / 2 - DOOR_X
    _window(picture, left)
    _door(picture, left)
    _furniture(picture, left)
    _light(picture, left)
    soft = as_bytes(cv2.GaussianBlur(picture, (0, 0), 0.8))
    return shrunk(soft, (width, height))


def _walls(width: int) -> Image:
    rows = np.arange(720, dtype=np.float32)[:, None, None]
    wall = np.array([186, 182, 172], np.float32) - 26 * np.clip((rows - 120) / 460, 0, 1)
    depth = np.clip((rows - _FLOOR_Y) / (720 - _FLOOR_Y), 0, 1)
    floor = np.array([112, 98, 84], np.float32) + np.array([34, 28, 22], np.float32) * depth
    picture = np.where(rows < _FLOOR_Y, wall, floor) * np.ones((1, width, 1), np.float32)
    grain = np.random.default_rng(11).normal(0, 1, (90, width // 8 + 1)).astype(np.float32)
    picture += 1.6 * cv2.resize(grain, (width, 720), interpolation=cv2.INTER_CUBIC)[:, :, None]
    canvas: Image = np.clip(picture, 0, 255).astype(np.uint8)
    middle = width / 2
    for k in range(-14, 15):
        far, near = middle + k * 92, middle + k * 92 * (720 - HORIZON_Y) / (_FLOOR_Y - HORIZON_Y)
        cv2.line(canvas, (round(far), _FLOOR_Y), (round(near), 719), (98, 86, 74), 1, cv2.LINE_AA)
    for depth_k in (1.12, 1.3, 1.52):
        y = round(HORIZON_Y + (_FLOOR_Y - HORIZON_Y) * depth_k)
        cv2.line(canvas, (0, y), (width, y), (98, 86, 74), 1, cv2.LINE_AA)
    _box(canvas, (0, _FLOOR_Y - 20, width, 20), (206, 202, 194))
    _box(canvas, (0, _FLOOR_Y - 22, width, 2), (150, 146, 138))
    return canvas


def _box(canvas: Image, xywh: tuple[float, float, float, float], colour: Rgb) -> None:
    x, y, w, h = (round(value) for value in xywh)
    cv2.rectangle(canvas, (x, y), (x + w - 1, y + h - 1), colour, -1)


def _bevel(canvas: Image, xywh: tuple[float, float, float, float], colour: Rgb) -> None:
    """A sunken panel: lit edge below, shaded edge above."""
    x, y, w, h = xywh
    light: Rgb = (min(colour[0] + 26, 255), min(colour[1] + 26, 255), min(colour[2] + 26, 255))
    dark: Rgb = (colour[0] * 6 // 10, colour[1] * 6 // 10, colour[2] * 6 // 10)
    _box(canvas, xywh, dark)
    _box(canvas, (x + 2, y + 3, w - 2, h - 3), light)
    _box(canvas, (x + 2, y + 3, w - 5, h - 6), colour)


def _door(canvas: Image, left: float) -> None:
    x, y, w, h = left + DOOR_X - 96, 172.0, 192.0, _FLOOR_Y - 172.0
    _box(canvas, (x - 18, y - 18, w + 36, h + 18), (222, 218, 208))
    _box(canvas, (x - 4, y - 4, w + 8, h + 4), (92, 88, 82))
    wood: Rgb = (74, 96, 98)
    _box(canvas, (x, y, w, h), wood)
    for row in (y + 214, y + 310):
        _bevel(canvas, (x + 22, row, w - 44, 70), (66, 87, 90))
    _bevel(canvas, (x + 22, y + 20, w - 44, 176), (66, 87, 90))
    glass = canvas[round(y + 30) : round(y + 186), round(x + 32) : round(x + w - 32)]
    fade = np.linspace(1.0, 0.72, glass.shape[0], dtype=np.float32)[:, None, None]
    glass[:] = (np.array([176, 192, 200], np.float32) * fade).astype(np.uint8)
    _box(canvas, (x + w / 2 - 3, y + 30, 6, 156), (66, 87, 90))
    _box(canvas, (x + w - 20, y + 216, 9, 36), (196, 186, 160))
    _box(canvas, (x + w - 36, y + 230, 24, 6), (214, 204, 178))


def _window(canvas: Image, left: float) -> None:
    x, y, w, h = left + 118.0, 150.0, 214.0, 236.0
    _box(canvas, (x - 14, y - 14, w + 28, h + 30), (220, 216, 207))
    pane = canvas[round(y) : round(y + h), max(round(x), 0) : max(round(x + w), 0)]
    if pane.size:
        fade = np.linspace(0, 1, pane.shape[0], dtype=np.float32)[:, None, None]
        sky, trees = np.array([208, 222, 232], np.float32), np.array([128, 146, 126], np.float32)
        pane[:] = (sky + (trees - sky) * np.clip(2.2 * fade - 0.9, 0, 1)).astype(np.uint8)
    _box(canvas, (x + w / 2 - 4, y, 8, h), (220, 216, 207))
    _box(canvas, (x, y + h / 2 - 4, w, 8), (220, 216, 207))
    _box(canvas, (x - 20, y + h + 12, w + 40, 8), (168, 162, 150))


def _furniture(canvas: Image, left: float) -> None:
    """A picture, a card reader beside the door, and a plant."""
    x, y = left + 930.0, 176.0
    _box(canvas, (x, y, 190, 142), (70, 58, 48))
    _box(canvas, (x + 8, y + 8, 174, 126), (228, 224, 214))
    _box(canvas, (x + 30, y + 28, 130, 86), (150, 172, 182))
    cv2.circle(canvas, (round(x + 124), round(y + 58)), 15, (232, 206, 150), -1, cv2.LINE_AA)
    hills = [
        (x + 30, y + 113),
        (x + 30, y + 88),
        (x + 72, y + 68),
        (x + 108, y + 94),
        (x + 159, y + 78),
        (x + 159, y + 113),
    ]
    cv2.fillPoly(canvas, [np.array(hills).round().astype(np.int32)], (104, 124, 104), cv2.LINE_AA)
    _box(canvas, (left + 790, 380, 26, 44), (52, 54, 58))
    cv2.circle(canvas, (round(left + 803), 392), 4, (90, 210, 130), -1, cv2.LINE_AA)
    pot = [(left + 1006, 500), (left + 1086, 500), (left + 1074, 584), (left + 1018, 584)]
    rng = np.random.default_rng(5)
    for _ in range(26):
        angle, reach = rng.uniform(-1.25, 1.25), rng.uniform(60, 118)
        base = np.array([left + 1046 + rng.uniform(-16, 16), 502.0])
        tip = base + reach * np.array([np.sin(angle), -np.cos(angle)])
        side = 9 * np.array([np.cos(angle), np.sin(angle)])
        middle = (base + tip) / 2
        leaf = np.array([base, middle - side, tip, middle + side]).round().astype(np.int32)
        green = int(rng.integers(-18, 18))
        cv2.fillPoly(canvas, [leaf], (66 + green, 102 + green, 62 + green), cv2.LINE_AA)
    cv2.fillPoly(canvas, [np.array(pot).round().astype(np.int32)], (150, 104, 82), cv2.LINE_AA)


def _light(canvas: Image, left: float) -> None:
    """Daylight from the window's side, a lamp over the door, and darker corners."""
    rows, columns = np.mgrid[0:720, 0 : canvas.shape[1]].astype(np.float32)
    lamp = np.exp(-(((columns - left - DOOR_X) / 330) ** 2 + ((rows - 120) / 260) ** 2))
    day = np.exp(-(((columns - left - 225) / 380) ** 2 + ((rows - 300) / 330) ** 2))
    corner = ((columns - canvas.shape[1] / 2) / canvas.shape[1]) ** 2 + ((rows - 360) / 900) ** 2
    gain = 0.80 + 0.18 * lamp + 0.14 * day - 0.55 * corner
    canvas[:] = np.clip(canvas * gain[:, :, None], 0, 255).astype(np.uint8)


class Noise:
    """Sensor noise: one field, cut out at another place for every frame."""

    def __init__(self, width: int, height: int) -> None:
        shape = (height + _NOISE_PLAY_PX, width + _NOISE_PLAY_PX, 3)
        field = np.random.default_rng(3).normal(0, _NOISE_SIGMA, shape).round()
        # Two unsigned halves: saturating byte arithmetic is several times cheaper than signed words.
        self._up: npt.NDArray[np.uint8] = np.clip(field, 0, 255).astype(np.uint8)
        self._down: npt.NDArray[np.uint8] = np.clip(-field, 0, 255).astype(np.uint8)

    def add(self, image: Image, rng: np.random.Generator) -> None:
        """Disturb the picture in place."""
        x, y = (int(value) for value in rng.integers(0, _NOISE_PLAY_PX, 2))
        part = np.s_[y : y + image.shape[0], x : x + image.shape[1]]
        cv2.add(image, self._up[part], dst=image)
        cv2.subtract(image, self._down[part], dst=image)
