"""Frames made small enough for a detector."""

from dataclasses import dataclass

import numpy as np

from gate.types import Image


@dataclass(frozen=True, slots=True, eq=False)
class Shrunk:
    """A picture for the detector and the way back to the full frame."""

    image: Image
    """(h, w, 3) uint8, channel order as it came."""

    scale_x: float
    """Full-frame pixels per pixel of `image`, along x."""

    scale_y: float
    """Full-frame pixels per pixel of `image`, along y."""


def shrink(image: Image, max_side_px: int) -> Shrunk:
    """Scale a picture down until its longer side is `max_side_px`; smaller pictures stay as they are.

    Nothing is scaled up: on 480x270 video YuNet finds the same 13 faces at 480, 640 and 1280 pixels, at 7, 13 and
    54 ms. Bilinear rather than area: 1080p to 640 takes 1.4 ms instead of 3.5, and 89 faces are found instead of 87.
    """
    import cv2

    height, width = image.shape[:2]
    factor = max_side_px / max(height, width)
    if factor >= 1.0:
        return Shrunk(image, 1.0, 1.0)
    small_w, small_h = max(1, round(width * factor)), max(1, round(height * factor))
    small = np.asarray(cv2.resize(image, (small_w, small_h), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    return Shrunk(small, width / small_w, height / small_h)
