"""The seam between the gate and whatever makes pictures."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gate.types import Image


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a picture came."""

    codec: str
    """FFmpeg's name: `h264`, `hevc`, `mjpeg` …"""

    device: str
    """What decoded it: `cpu` or `cuda`."""

    refused: str = ""
    """Why it was not the device that was asked for; empty when it was."""


class Undeveloped(Protocol):
    """A decoded picture in the decoder's own colours: most cameras send more of them than are looked at."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height, upright."""
        ...

    def developed(self) -> Image:
        """(H, W, 3) uint8 RGB. Raises `CorruptPictureError`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture, before it is given a camera and a time."""

    pixels: Image | Undeveloped
    """(H, W, 3) uint8 RGB, or what becomes it."""

    pts_ms: float | None = None
    """Presentation time stamp in milliseconds, where the source has one."""

    encoding: Encoding | None = None
    """How it came, where it was encoded at all."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        pixels = self.pixels
        return (pixels.shape[1], pixels.shape[0]) if isinstance(pixels, np.ndarray) else pixels.size_px

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB, made at each call where it was not made yet. Raises `CorruptPictureError`."""
        return self.pixels if isinstance(self.pixels, np.ndarray) else self.pixels.developed()


class CorruptPictureError(Exception):
    """One picture could not be decoded; the source goes on with the next. Counted, never fatal."""


class FrameSource(Protocol):
    """Opens, reads, closes. One thread owns one source; it is used once."""

    label: str
    """The URL without user, password, path tokens or query: safe to log."""

    live: bool
    """True when pictures arrive in their own time whether or not anybody reads them."""

    def open(self) -> None:
        """Connect within the source's time-out. Raises `gate.errors.CaptureError` with its cause."""
        ...

    def read(self) -> Picture | None:
        """The next picture, or None at the end of the stream.

        Raises:
            CorruptPictureError: this one is lost, read on.
            CaptureError: the source is lost.
        """
        ...

    def close(self) -> None:
        """Release everything. Safe to call twice and after a failed `open`."""
        ...
