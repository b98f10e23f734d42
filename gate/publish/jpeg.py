"""Crops as JPEG, both ways."""

import struct

import numpy as np

from gate.errors import EventError
from gate.types import Image

MOST_SIDE_PX = 8192
"""Larger pictures are refused before they are decoded: a small file may claim a picture of gigabytes."""

_STANDALONE_MARKERS = {0x01, *range(0xD0, 0xD8)}
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def encode_crop(image: Image, quality: int = 95) -> bytes:
    """(H, W, 3) uint8 RGB as JPEG of `quality` (1..100) with full colour resolution.

    Colour is not subsampled: on aligned portraits at quality 95 that costs 21 % more bytes and gains 1.6 to 3.5 dB.

    Raises:
        EventError: the picture is empty or not RGB.
    """
    import cv2

    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise EventError(f"a crop must be a (H, W, 3) uint8 RGB picture, got {image.shape} {image.dtype}")
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality, *sampling])
    if not done:
        raise EventError(f"OpenCV could not write a JPEG of {image.shape[1]}x{image.shape[0]} px")
    return bytes(data)


def decode_crop(data: bytes) -> Image:
    """The picture of a JPEG file as (H, W, 3) uint8 RGB.

    Raises:
        EventError: not a JPEG, broken, or larger than `MOST_SIDE_PX` on a side.
    """
    import cv2

    size = _size_px(data)
    if size is None:
        raise EventError("the crop is not a JPEG file, or it was cut off")
    if not 0 < min(size) <= max(size) <= MOST_SIDE_PX:
        raise EventError(f"the crop claims {size[0]}x{size[1]} px, at most {MOST_SIDE_PX} a side are read")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        raise EventError("the crop's JPEG file is broken") from None
    # The stubs promise an array; a broken file gives None.
    if not isinstance(bgr, np.ndarray):
        raise EventError("the crop's JPEG file is broken")
    return np.ascontiguousarray(bgr[:, :, ::-1]).astype(np.uint8, copy=False)


def _size_px(data: bytes) -> tuple[int, int] | None:
    """Width and height from the frame header, without decoding; None where there is none."""
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _STANDALONE_MARKERS:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAME_MARKERS:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None
