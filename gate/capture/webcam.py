"""A camera of this machine through OpenCV."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gate.capture.causes import Cause, lost
from gate.capture.guard import Guard
from gate.capture.source import Picture


class Grabber(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool:  # noqa: N802 -- OpenCV's name
        """Whether there is a device behind it."""
        ...

    def read(self) -> tuple[bool, Any]:
        """(True, (H, W, 3) uint8 BGR), or (False, None) when the device gave nothing."""
        ...

    def release(self) -> None:
        """Let go of the device."""
        ...


class WebcamSource:
    """`webcam:N`: the machine's N-th camera.

    OpenCV waits ten seconds for a picture by itself and then reports failure, which makes the camera `stalled` or, when
    its device has gone, `not_found`.

    Args:
        number: N.
        connect: makes the grabber; OpenCV's by default.
        device: path of the device, to explain why it cannot be opened.
    """

    live = True

    def __init__(
        self, number: int, *, connect: Callable[[int], Grabber] | None = None, device: Path | None = None
    ) -> None:
        self.label = f"webcam:{number}"
        self._number = number
        self._connect = connect or _connect
        self._device = device or Path(f"/dev/video{number}")
        self._grabber: Grabber | None = None
        self._guard = Guard(self._let_go)

    def open(self) -> None:
        """Open the device. Raises `CaptureError`."""
        self._check_device()
        with self._guard.use() as usable:
            if usable:
                self._grabber = self._connect(self._number)
            opened = self._grabber is not None and self._grabber.isOpened()
        if not opened:
            self.close()
            remedy = "Close the program that uses it, or give another number."
            raise lost(self.label, Cause.REFUSED, detail="the device cannot be opened or gives no video", remedy=remedy)

    def read(self) -> Picture:
        """The next picture. Raises `CaptureError` when the device gives none."""
        with self._guard.use() as usable:
            delivered, bgr = self._grabber.read() if usable and self._grabber is not None else (False, None)
        if not usable:
            raise lost(self.label, Cause.END_OF_STREAM)
        if not delivered:
            self._check_device()
            raise lost(self.label, Cause.STALLED)
        return Picture(np.ascontiguousarray(_as_bgr(bgr)[:, :, ::-1]))

    def close(self) -> None:
        """Let go of the device. Safe from any thread, twice, and after a failed `open`."""
        self._guard.close()

    def _let_go(self) -> None:
        grabber, self._grabber = self._grabber, None
        if grabber is not None:
            grabber.release()

    def _check_device(self) -> None:
        if sys.platform != "linux":
            return
        if not self._device.exists():
            present = ", ".join(sorted(path.name for path in self._device.parent.glob("video*"))) or "none"
            detail = f"there is no {self._device} (video devices here: {present})"
            raise lost(self.label, Cause.NOT_FOUND, detail=detail, remedy="Plug it in, or give another number.")
        if not os.access(self._device, os.R_OK | os.W_OK):
            remedy = "Add the user to the group that owns it, usually video."
            raise lost(self.label, Cause.AUTH, detail=f"{self._device} may not be read", remedy=remedy)


def _connect(number: int) -> Grabber:
    import cv2

    backend = cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY
    grabber: Grabber = cv2.VideoCapture(number, backend)
    return grabber


def _as_bgr(image: Any) -> Any:
    """Grey cameras give one channel."""
    return (
        image if image.ndim == 3 and image.shape[2] == 3 else np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    )
