"""The seam between the gate and whatever makes pictures."""

from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture, before it is given a camera and a time."""

    image: Image
    """(H, W, 3) uint8 RGB."""

    pts_ms: float | None = None
    """Presentation time stamp in milliseconds, where the source has one."""

    encoding: Encoding | None = None
    """How it came, where it was encoded at all."""


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
