"""Hardware decoding is a wish: where there is no card, pictures come all the same and the log says why."""

import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from av.codec import hwaccel

from gate.capture.file import FileSource
from gate.capture.hardware import accelerator
from gate.clock import SystemClock
from gate.config import CameraConfig, Decode
from gate.errors import ConfigError

MISSING_DEVICE = accelerator("cuda")[0] is None


def read_clip(clip: Path, decode: Decode) -> list[Any]:
    with closing(FileSource(clip, clock=SystemClock(), stop=threading.Event(), decode=decode)) as source:
        source.open()
        return list(iter(source.read, None))


@pytest.mark.skipif(not MISSING_DEVICE, reason="there is a CUDA device here; this is about machines without one")
@pytest.mark.parametrize("decode", ["auto", "cuda"])
def test_without_a_card_the_cpu_decodes_the_same_pictures_and_says_why(clip: Path, decode: Decode) -> None:
    wanted, plain = read_clip(clip, decode), read_clip(clip, "cpu")

    assert len(wanted) == len(plain) == 20
    assert all((a.image == b.image).all() for a, b in zip(wanted, plain, strict=True))
    assert {(picture.encoding.device, bool(picture.encoding.refused)) for picture in wanted} == {("cpu", True)}
    assert {picture.encoding.refused for picture in plain} == {""}


@pytest.mark.skipif(MISSING_DEVICE, reason="there is no CUDA device here")
def test_with_a_card_the_card_decodes_what_the_cpu_does(clip: Path) -> None:
    wanted, plain = read_clip(clip, "cuda"), read_clip(clip, "cpu")

    assert len(wanted) == len(plain)
    assert {picture.encoding.device for picture in wanted} == {"cuda"}
    # The colours go another way to RGB and round differently.
    assert all(abs(a.image.astype(int) - b.image).mean() < 3 for a, b in zip(wanted, plain, strict=True))


def test_an_ffmpeg_without_cuda_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hwaccel, "hwdevices_available", lambda: ["drm"])

    assert accelerator("cuda") == (None, "this FFmpeg was built without CUDA")
    assert accelerator("cpu") == (None, "")


@pytest.mark.parametrize("url", ["webcam:0", "virtual:"])
def test_decode_is_refused_where_nothing_is_decoded(url: str) -> None:
    with pytest.raises((ConfigError, ValueError), match="decode is for network cameras and files"):
        CameraConfig.model_validate({"name": "door", "url": url, "decode": "cuda"})
