"""Each kind of address finds its source, and nonsense is refused in words that help."""

import threading
from pathlib import Path
from typing import Any

import pytest

from gate.capture.factory import open_source_for
from gate.capture.file import FileSource
from gate.capture.source import FrameSource
from gate.capture.stream import StreamSource
from gate.capture.webcam import WebcamSource
from gate.config import CameraConfig
from gate.errors import CaptureError, ConfigError


def make(clock: Any, url: str, **options: Any) -> FrameSource:
    config = CameraConfig.model_validate({"name": "door", "url": url, **options})
    return open_source_for(config, clock, threading.Event())


@pytest.mark.parametrize(
    ("url", "kind", "label", "live"),
    [
        ("rtsp://admin:geheim@door.lan/live", StreamSource, "rtsp://door.lan", True),
        ("RTSPS://door.lan:322/live?token=geheim", StreamSource, "rtsps://door.lan:322", True),
        ("http://door.lan/mjpeg", StreamSource, "http://door.lan", True),
        ("https://door.lan/mjpeg", StreamSource, "https://door.lan", True),
        ("videos/door.mp4", FileSource, "videos/door.mp4", False),
        ("/videos/door.mp4", FileSource, "/videos/door.mp4", False),
        ("file:///videos/door%20a.mp4", FileSource, "/videos/door a.mp4", False),
        ("webcam:2", WebcamSource, "webcam:2", True),
    ],
)
def test_the_address_chooses_the_source(fake_clock: Any, url: str, kind: type, label: str, live: bool) -> None:
    source = make(fake_clock, url)

    assert type(source) is kind
    assert source.label == label
    assert source.live is live


def test_the_virtual_camera_takes_seed_and_rate_from_its_address(fake_clock: Any) -> None:
    source = make(fake_clock, "virtual:?seed=7&fps=10&seconds=0.2", pace="fast")
    source.open()
    stamps_ms = [picture.pts_ms for picture in iter(source.read, None)]
    source.close()

    assert stamps_ms == pytest.approx([0, 100])
    assert not source.live
    assert make(fake_clock, "virtual:").live


def test_the_virtual_camera_waits_where_it_can_be_stopped(fake_clock: Any) -> None:
    class Stop(threading.Event):
        waited_s: float | None = None

        def wait(self, timeout: float | None = None) -> bool:
            self.waited_s = timeout
            return True

    stop = Stop()
    source = open_source_for(CameraConfig.model_validate({"name": "door", "url": "virtual:?fps=2"}), fake_clock, stop)
    source.open()
    source.read()
    source.read()
    assert stop.waited_s == pytest.approx(0.5)


def test_a_file_with_a_colon_in_its_name_is_a_file(
    fake_clock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("door:1.mp4").touch()

    assert type(make(fake_clock, "door:1.mp4")) is FileSource


@pytest.mark.parametrize(
    "url",
    [
        "ftp://admin:geheim@door.lan/live",
        "rtsp:admin:geheim@door.lan",
        "rtsp:/admin:geheim@door.lan",
        "admin:geheim@door.lan",
        "webcam:",
        "webcam:front",
        "webcam:-1",
        "virtual:?sead=1",
        "virtual:seed=1",
        "virtual:?seed=1&seed=geheim",
        "virtual:?seed=99999999999",
        "virtual:7",
        "virtual:?seed=x",
        "virtual:?seed=-1",
        "virtual:?fps=0",
        "virtual:?fps=nan",
        "virtual:?seconds=inf",
        "rtsp://admin:ge/heim@door.lan/live",
    ],
)
def test_what_cannot_be_dialled_is_refused_with_the_cameras_name_only(fake_clock: Any, url: str) -> None:
    with pytest.raises(ConfigError, match="'door'") as caught:
        make(fake_clock, url)

    assert "heim" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_unknown_kind_lists_the_known_ones(fake_clock: Any) -> None:
    with pytest.raises(ConfigError, match=r"rtsp://.*webcam:N.*virtual:"):
        make(fake_clock, "ftp://door.lan/live")


def test_a_changed_password_file_is_read_at_the_next_attempt(fake_clock: Any, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    options = {"username": "admin", "password_file": secret}
    with pytest.raises(CaptureError) as caught:
        make(fake_clock, "rtsp://door.lan/live", **options)
    assert caught.value.cause == "auth"

    secret.write_text("geheim\n")

    assert make(fake_clock, "rtsp://door.lan/live", **options).label == "rtsp://door.lan"
