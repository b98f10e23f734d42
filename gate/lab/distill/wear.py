"""Low-quality twins of crops for the diffusion's training: blur, noise, resampling and JPEG, in random order.

After Zhang, Liang, Van Gool, Timofte: "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution"
(BSRGAN), ICCV 2021: what a picture goes through is not known, so the order of the steps is drawn too.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.types import CROP_SIDE_PX, Image

_Values: TypeAlias = npt.NDArray[np.float32]
_Step: TypeAlias = Callable[[_Values, np.random.Generator], _Values]

_SIZE = (CROP_SIDE_PX, CROP_SIDE_PX)


def worn(crop: Image, rng: np.random.Generator) -> Image:
    """A low-quality twin of a crop, (112, 112, 3) uint8 RGB; blur comes twice, before and after what is between."""
    values = crop.astype(np.float32)
    steps: list[_Step] = [_blurred, _blurred, _noisy, _resampled, _compressed]
    for place in rng.permutation(len(steps)):
        values = steps[place](values, rng)
    return _rounded(values)


def _blurred(values: _Values, rng: np.random.Generator) -> _Values:
    """Gaussian, as often round as stretched in any direction."""
    import cv2

    side = 2 * int(rng.integers(3, 11)) + 1
    wide = rng.uniform(0.1, 2.8)
    narrow = wide if rng.random() < 0.5 else rng.uniform(0.1, wide)
    angle = rng.uniform(0, np.pi)
    rows, columns = np.mgrid[0:side, 0:side] - (side - 1) / 2
    along = columns * np.cos(angle) + rows * np.sin(angle)
    across = rows * np.cos(angle) - columns * np.sin(angle)
    kernel = np.exp(-0.5 * ((along / wide) ** 2 + (across / narrow) ** 2))
    return _values(cv2.filter2D(values, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101))


def _noisy(values: _Values, rng: np.random.Generator) -> _Values:
    """Gaussian noise of 1 to 25 grey levels, alike in all channels or not."""
    channels = 1 if rng.random() < 0.4 else 3
    noise = rng.standard_normal((*values.shape[:2], channels), dtype=np.float32)
    return _values(values + rng.uniform(1, 25) * noise)


def _resampled(values: _Values, rng: np.random.Generator) -> _Values:
    """Down to between an eighth and all of the side, and up again, each way by another filter."""
    import cv2

    filters = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)
    side = max(2, round(CROP_SIDE_PX * rng.uniform(1 / 8, 1)))
    down, up = rng.choice(filters, 2)
    small = cv2.resize(values, (side, side), interpolation=int(down))
    return _values(cv2.resize(small, _SIZE, interpolation=int(up)))


def _compressed(values: _Values, rng: np.random.Generator) -> _Values:
    """JPEG of quality 30 to 95."""
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 96))]
    _, data = cv2.imencode(".jpg", _rounded(values)[:, :, ::-1], quality)
    return _values(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1])


def _values(array: npt.NDArray[Any]) -> _Values:
    return np.ascontiguousarray(array, dtype=np.float32)


def _rounded(values: _Values) -> Image:
    image: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return image
