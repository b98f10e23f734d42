"""Clips that say which picture is which."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from gate.types import Image

BITS = 8


def numbered(number: int, size: tuple[int, int]) -> Image:
    """A grey picture whose left part carries `number` as eight dark and bright bars, the lowest bit on top."""
    width, height = size
    image = np.full((height, width, 3), 128, np.uint8)
    bar = height // BITS
    for bit in range(BITS):
        image[bit * bar : (bit + 1) * bar, : width // 2] = 235 if number >> bit & 1 else 20
    return image


def number_of(image: Image) -> int:
    bar = image.shape[0] // BITS
    quarter = image.shape[1] // 4
    return sum(int(image[bit * bar + bar // 2, quarter].mean() > 128) << bit for bit in range(BITS))


def write_clip(
    path: Path,
    frames: int = 20,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (160, 128),
    rate: int = 25,
    options: dict[str, str] | None = None,
    noise: int = 0,
) -> Path:
    grain = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream(codec, rate=rate, options=options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.thread_count = 1
        for number in range(frames):
            image = numbered(number, size)
            if noise:
                image += grain.integers(0, noise, image.shape, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """Encodes numbered pictures: `make_clip(path, frames, codec=…, size=…, noise=…)`."""
    return write_clip


@pytest.fixture(scope="session")
def read_number() -> Callable[[Image], int]:
    """Reads the number of a picture that `make_clip` made."""
    return number_of


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty numbered pictures, 25 a second, H.264 with reordered frames."""
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", options={"bf": "3", "g": "10"})
