"""Byte pictures with opacity: the few operations the rendered scene is made of.

Everything stays in bytes, and four channels lie in one array: OpenCV warps four together in less than half the time
of three and one (1.3 ms against 4.0 ms for a person of 811x660 pixels).
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from gate.types import Image

Affine = npt.NDArray[np.float64]
"""(2, 3)."""

Mask = npt.NDArray[np.uint8]
"""(H, W) opacity."""

Rgba = npt.NDArray[np.uint8]
"""(H, W, 4); colours are not multiplied by opacity."""


def as_bytes(image: Any) -> npt.NDArray[np.uint8]:
    """What OpenCV returned, with the type it is known to have; nothing is copied."""
    return np.asarray(image, np.uint8)


def colours(rgba: Rgba) -> Image:
    """A copy of the first three channels."""
    return as_bytes(cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB))


def opacity(rgba: Rgba) -> Mask:
    """A copy of the last channel."""
    return as_bytes(cv2.extractChannel(rgba, 3))


def with_opacity(rgb: Image, mask: Mask) -> Rgba:
    """(H, W, 3) and (H, W) to (H, W, 4)."""
    rgba = as_bytes(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA))
    cv2.insertChannel(mask, rgba, 3)
    return rgba


def blend(under: Image, over: Image, mask: Mask) -> None:
    """Put `over` onto `under` in place."""
    cover = cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)
    upper = cv2.multiply(over, cover, scale=1 / 255)
    lower = cv2.multiply(under, cv2.bitwise_not(cover), scale=1 / 255)
    under[:] = cv2.add(upper, lower)


def warp(image: npt.NDArray[np.uint8], affine: Affine, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Bilinear; transparent black outside. `size` is (columns, rows)."""
    return as_bytes(cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR))


def shrunk(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Every pixel the mean of those it replaces."""
    return as_bytes(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def enlarged(image: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Bilinear."""
    return as_bytes(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))


def spread(rgb: Image, mask: Mask, reach_px: int = 61) -> Image:
    """Colours continued outside the opaque part, as the mean of the opaque pixels around.

    Without it, warping would mix the black of the empty canvas into every outline.
    """
    columns, rows = mask.shape[1], mask.shape[0]
    solid = as_bytes(cv2.threshold(mask, 200, 255, cv2.THRESH_BINARY)[1])
    # At a quarter of the size: the mean is smooth, and a person is ready in a third of the time.
    small = (max(columns // 4, 1), max(rows // 4, 1))
    inside = shrunk(as_bytes(cv2.bitwise_and(rgb, rgb, mask=solid)), small).astype(np.float32)
    weight = shrunk(solid, small).astype(np.float32) / 255
    window = (reach_px // 4, reach_px // 4)
    mean = cv2.blur(inside, window) / np.maximum(cv2.blur(weight, window), 1e-3)[:, :, None]
    wide = enlarged(np.clip(mean, 0, 255).astype(np.uint8), (columns, rows))
    cv2.copyTo(rgb, solid, wide)
    return wide
