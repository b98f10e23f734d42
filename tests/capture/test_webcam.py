"""Cameras of this machine: colours, and why one is not there."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.capture.webcam import WebcamSource
from gate.errors import CaptureError


class FakeGrabber:
    """What OpenCV would give: some pictures, then failure."""

    def __init__(self, pictures: list[Any], *, opened: bool = True) -> None:
        self.pictures = list(pictures)
        self.opened = opened
        self.releases = 0

    def isOpened(self) -> bool:  # noqa: N802 -- OpenCV's name
        return self.opened

    def read(self) -> tuple[bool, Any]:
        return (True, self.pictures.pop(0)) if self.pictures else (False, None)

    def release(self) -> None:
        self.releases += 1


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "video3"
    path.touch()
    return path


def test_pictures_come_as_rgb(device: Path) -> None:
    bgr = np.zeros((4, 6, 3), np.uint8)
    bgr[:] = (1, 2, 3)
    source = WebcamSource(3, connect=lambda _: FakeGrabber([bgr]), device=device)
    source.open()

    picture = source.read()

    assert picture.image[0, 0].tolist() == [3, 2, 1]
    assert picture.image.flags.c_contiguous
    assert picture.pts_ms is None
    assert source.live


def test_grey_pictures_become_rgb(device: Path) -> None:
    source = WebcamSource(3, connect=lambda _: FakeGrabber([np.full((4, 6), 9, np.uint8)]), device=device)
    source.open()

    assert source.read().image.tolist() == np.full((4, 6, 3), 9).tolist()


def test_a_silent_device_is_stalled_and_a_pulled_one_not_found(device: Path) -> None:
    source = WebcamSource(3, connect=lambda _: FakeGrabber([]), device=device)
    source.open()
    with pytest.raises(CaptureError) as silent:
        source.read()
    device.unlink()
    if sys.platform == "linux":
        with pytest.raises(CaptureError) as pulled:
            source.read()
        assert pulled.value.cause == "not_found"

    assert silent.value.cause == "stalled"


def test_a_busy_device_is_refused_and_released(device: Path) -> None:
    grabber = FakeGrabber([], opened=False)
    source = WebcamSource(3, connect=lambda _: grabber, device=device)

    with pytest.raises(CaptureError, match="webcam:3") as caught:
        source.open()

    assert caught.value.cause == "refused"
    assert grabber.releases == 1


def test_closing_releases_once_and_ends_reading(device: Path) -> None:
    grabber = FakeGrabber([np.zeros((2, 2, 3), np.uint8)])
    source = WebcamSource(3, connect=lambda _: grabber, device=device)
    source.open()
    source.close()
    source.close()

    with pytest.raises(CaptureError) as caught:
        source.read()

    assert caught.value.cause == "end_of_stream"
    assert grabber.releases == 1


@pytest.mark.skipif(sys.platform != "linux", reason="devices are files on Linux only")
def test_a_number_without_a_device_is_not_found_and_says_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    source = WebcamSource(99, device=tmp_path / "video99")

    with pytest.raises(CaptureError, match=r"video99 \(video devices here: video0\)") as caught:
        source.open()

    assert caught.value.cause == "not_found"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="as above")
def test_opencv_itself_is_asked_by_default(device: Path) -> None:
    source = WebcamSource(987, device=device)

    with pytest.raises(CaptureError) as caught:
        source.open()

    assert caught.value.cause == "refused"
