"""Faces made worse on purpose: seeded degradations of aligned crops, each in five levels.

They answer the quickest honest question about a quality method or new weights: does a face that was visibly spoilt
score lower than the same face before? And they are the negatives of training.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.errors import QualityError
from gate.types import CROP_SIDE_PX, Image

LEVELS = (1, 2, 3, 4, 5)
"""1 is just visible, 5 is beyond what a recognizer should be asked to read."""


class Degradation(str, Enum):
    """The closed set of degradations."""

    GAUSSIAN_BLUR = "gaussian-blur"
    MOTION_BLUR = "motion-blur"
    DOWNSAMPLE = "downsample"
    NOISE = "noise"
    JPEG = "jpeg"
    DARKER = "brightness-down"
    BRIGHTER = "brightness-up"
    GAMMA = "gamma"
    OCCLUDE_EYES = "occlude-eyes"
    OCCLUDE_MOUTH = "occlude-mouth"
    OCCLUDE_HALF = "occlude-half"
    ROTATION = "rotation"
    MISALIGNMENT = "misalignment"


_Effect: TypeAlias = Callable[[Image, float, np.random.Generator], Image]
"""(112, 112, 3) uint8 RGB, a strength in the degradation's unit, the source of its draws → a crop like the first."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What the five levels of one degradation are."""

    parameter: str
    """The quantity that grows worse from level to level."""

    unit: str

    strengths: tuple[float, float, float, float, float]
    """Levels 1 to 5, in `unit`."""

    def strength(self, level: int) -> float:
        """The strength of a level. Raises `QualityError` for a level that does not exist."""
        if level not in LEVELS:
            raise QualityError(f"degradation levels are 1 to {len(LEVELS)}, got {level}")
        return self.strengths[level - 1]


SCALES: Mapping[Degradation, Scale] = {
    Degradation.GAUSSIAN_BLUR: Scale("standard deviation", "px", (0.8, 1.5, 2.5, 4.0, 6.0)),
    Degradation.MOTION_BLUR: Scale("length of the smear, direction drawn", "px", (4.0, 7.0, 11.0, 17.0, 25.0)),
    Degradation.DOWNSAMPLE: Scale("side after shrinking, enlarged again", "px", (56.0, 40.0, 28.0, 20.0, 14.0)),
    Degradation.NOISE: Scale("standard deviation of Gaussian noise", "grey levels", (6.0, 12.0, 24.0, 40.0, 60.0)),
    Degradation.JPEG: Scale("JPEG quality", "of 100", (40.0, 25.0, 15.0, 8.0, 3.0)),
    Degradation.DARKER: Scale("gain", "times", (0.7, 0.5, 0.3, 0.15, 0.06)),
    Degradation.BRIGHTER: Scale("gain, clipped at white", "times", (1.3, 1.7, 2.2, 3.0, 4.5)),
    Degradation.GAMMA: Scale("exponent", "power", (1.4, 2.0, 2.8, 4.0, 6.0)),
    Degradation.OCCLUDE_EYES: Scale("height of the bar over both eyes", "px", (6.0, 12.0, 18.0, 26.0, 36.0)),
    Degradation.OCCLUDE_MOUTH: Scale("height of the patch over the mouth", "px", (8.0, 16.0, 26.0, 38.0, 54.0)),
    Degradation.OCCLUDE_HALF: Scale("covered part from one side, side drawn", "% of width", (10, 20, 30, 40, 50)),
    Degradation.ROTATION: Scale("turn in the picture plane, sense drawn", "degrees", (5.0, 10.0, 20.0, 35.0, 60.0)),
    Degradation.MISALIGNMENT: Scale("shift, direction drawn", "px", (3.0, 6.0, 11.0, 18.0, 28.0)),
}
"""What the levels mean, for every degradation."""

_EYES_Y_PX = 52
"""Row of the eyes in the alignment template."""

_MOUTH_Y_PX = 92
"""Row of the mouth corners in the alignment template."""

_MOUTH_LEFT_PX, _MOUTH_RIGHT_PX = 24, 88
"""Columns that a mask covers: 64 px, the 32 px between the mouth corners and the cheeks beside them."""


def degrade(crop: Image, kind: Degradation, level: int, rng: np.random.Generator) -> Image:
    """One crop made worse.

    Args:
        crop: (112, 112, 3) uint8 RGB; it is left as it is.
        kind: What is done to it.
        level: 1 (just visible) to 5; `SCALES[kind]` says what that is.
        rng: Directions, colours and noise come from here.

    Returns:
        (112, 112, 3) uint8 RGB, a new array.

    Raises:
        QualityError: The crop has another shape or type, or the level does not exist.
    """
    return degrade_by(crop, kind, SCALES[kind].strength(level), rng)


def degrade_by(crop: Image, kind: Degradation, strength: float, rng: np.random.Generator) -> Image:
    """As `degrade` with a strength between or beyond the levels, in the unit of `SCALES[kind]`."""
    if crop.shape != (CROP_SIDE_PX, CROP_SIDE_PX, 3) or crop.dtype != np.uint8:
        raise QualityError(
            f"a crop to degrade must be ({CROP_SIDE_PX}, {CROP_SIDE_PX}, 3) uint8 RGB, got {crop.shape} {crop.dtype}"
        )
    return _EFFECTS[kind](crop, strength, rng)


def generator_for(seed: int, index: int, kind: Degradation) -> np.random.Generator:
    """The source of draws for one crop and one degradation.

    The level is left out on purpose: the five levels of a crop then share direction, colour and noise pattern, and
    differ in strength alone.
    """
    return np.random.default_rng([seed, index, list(Degradation).index(kind)])


def degrade_set(crops: Image, kind: Degradation, level: int, *, seed: int = 0, first_index: int = 0) -> Image:
    """Every crop of a set made worse, each with its own draws.

    Args:
        crops: (N, 112, 112, 3) uint8 RGB.
        kind: What is done to them.
        level: 1 to 5.
        seed: At least 0.
        first_index: Number of the first crop in the whole set: a set cut into batches gives the same pictures.

    Returns:
        (N, 112, 112, 3) uint8 RGB.
    """
    worse = np.empty_like(crops)
    for offset, crop in enumerate(crops):
        worse[offset] = degrade(crop, kind, level, generator_for(seed, first_index + offset, kind))
    return worse


def noise_images(count: int, *, seed: int = 0) -> Image:
    """(count, 112, 112, 3) uint8: every pixel drawn evenly from 0..255. No face: nothing should score lower."""
    return np.random.default_rng(seed).integers(0, 256, (count, CROP_SIDE_PX, CROP_SIDE_PX, 3), dtype=np.uint8)


def flat_images() -> Image:
    """(5, 112, 112, 3) uint8 of one grey each, black to white: no face either, and no noise to blame."""
    greys = np.array([0, 64, 128, 192, 255], dtype=np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (5, CROP_SIDE_PX, CROP_SIDE_PX, 3)).copy()


def _gaussian_blur(crop: Image, sigma_px: float, rng: np.random.Generator) -> Image:
    import cv2

    del rng
    return _as_image(cv2.GaussianBlur(crop, (0, 0), sigma_px))


def _motion_blur(crop: Image, length_px: float, rng: np.random.Generator) -> Image:
    import cv2

    angle = rng.uniform(0, np.pi)
    reach = int(np.ceil(length_px / 2)) + 1
    offsets_px = np.linspace(-length_px / 2, length_px / 2, 8 * reach)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    x, y = reach + offsets_px * np.cos(angle), reach + offsets_px * np.sin(angle)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right_half, below in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = np.abs(1 - right_half - (x - left)) * np.abs(1 - below - (y - top))
        np.add.at(kernel, (np.minimum(top + below, 2 * reach), np.minimum(left + right_half, 2 * reach)), weight)
    return _as_image(cv2.filter2D(crop, -1, kernel / kernel.sum()))


def _downsample(crop: Image, side_px: float, rng: np.random.Generator) -> Image:
    import cv2

    del rng
    side = max(1, round(side_px))
    small = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return _as_image(cv2.resize(small, (CROP_SIDE_PX, CROP_SIDE_PX), interpolation=cv2.INTER_LINEAR))


def _noise(crop: Image, sigma: float, rng: np.random.Generator) -> Image:
    return _as_image(crop + sigma * rng.standard_normal(crop.shape))


def _jpeg(crop: Image, quality: float, rng: np.random.Generator) -> Image:
    import cv2

    del rng
    _, data = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, max(1, round(quality))])
    return _as_image(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1])


def _gain(crop: Image, gain: float, rng: np.random.Generator) -> Image:
    del rng
    return _as_image(crop * gain)


def _gamma(crop: Image, exponent: float, rng: np.random.Generator) -> Image:
    del rng
    return _as_image(255 * (np.arange(256) / 255) ** exponent)[crop]


def _occlude_eyes(crop: Image, height_px: float, rng: np.random.Generator) -> Image:
    top = round(_EYES_Y_PX - height_px / 2)
    return _covered(crop, slice(max(0, top), top + round(height_px)), slice(None), rng)


def _occlude_mouth(crop: Image, height_px: float, rng: np.random.Generator) -> Image:
    # The patch grows upwards once it has reached the chin, as a mask that is pulled up to the nose.
    bottom = min(CROP_SIDE_PX, round(_MOUTH_Y_PX + height_px / 2))
    rows = slice(max(0, bottom - round(height_px)), bottom)
    return _covered(crop, rows, slice(_MOUTH_LEFT_PX, _MOUTH_RIGHT_PX), rng)


def _occlude_half(crop: Image, share_percent: float, rng: np.random.Generator) -> Image:
    width_px = round(CROP_SIDE_PX * share_percent / 100)
    from_left = rng.random() < 0.5
    columns = slice(0, width_px) if from_left else slice(CROP_SIDE_PX - width_px, CROP_SIDE_PX)
    return _covered(crop, slice(None), columns, rng)


def _covered(crop: Image, rows: slice, columns: slice, rng: np.random.Generator) -> Image:
    """A flat patch of a drawn colour: sunglasses are dark, masks are light, and neither should matter."""
    covered = crop.copy()
    covered[rows, columns] = rng.integers(0, 256, 3, dtype=np.uint8)
    return covered


def _rotation(crop: Image, angle_deg: float, rng: np.random.Generator) -> Image:
    import cv2

    sense = 1 if rng.random() < 0.5 else -1
    centre = ((CROP_SIDE_PX - 1) / 2, (CROP_SIDE_PX - 1) / 2)
    return _warped(crop, cv2.getRotationMatrix2D(centre, sense * angle_deg, 1.0))


def _misalignment(crop: Image, shift_px: float, rng: np.random.Generator) -> Image:
    angle = rng.uniform(0, 2 * np.pi)
    return _warped(crop, np.array([[1, 0, shift_px * np.cos(angle)], [0, 1, shift_px * np.sin(angle)]]))


def _warped(crop: Image, matrix: npt.NDArray[Any]) -> Image:
    """Moved by (2, 3) `matrix`; what comes in from outside is mirrored, since a black edge would be measured too."""
    import cv2

    size = (CROP_SIDE_PX, CROP_SIDE_PX)
    return _as_image(cv2.warpAffine(crop, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101))


def _as_image(values: npt.NDArray[Any]) -> Image:
    image: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return image


_EFFECTS: Mapping[Degradation, _Effect] = {
    Degradation.GAUSSIAN_BLUR: _gaussian_blur,
    Degradation.MOTION_BLUR: _motion_blur,
    Degradation.DOWNSAMPLE: _downsample,
    Degradation.NOISE: _noise,
    Degradation.JPEG: _jpeg,
    Degradation.DARKER: _gain,
    Degradation.BRIGHTER: _gain,
    Degradation.GAMMA: _gamma,
    Degradation.OCCLUDE_EYES: _occlude_eyes,
    Degradation.OCCLUDE_MOUTH: _occlude_mouth,
    Degradation.OCCLUDE_HALF: _occlude_half,
    Degradation.ROTATION: _rotation,
    Degradation.MISALIGNMENT: _misalignment,
}
