"""The film that the benchmark shows to the gate: the user's own, or the virtual camera's, encoded once."""

import threading
from fractions import Fraction
from pathlib import Path

from gate.capture.factory import open_source_for
from gate.capture.source import FrameSource
from gate.capture.virtual import VirtualSource
from gate.clock import SystemClock
from gate.config import CameraConfig
from gate.errors import GateError
from gate.types import Image

FPS = 25


def write_virtual_clip(file: Path, seconds: float, *, seed: int = 1, width: int = 1280, height: int = 720) -> Path:
    """Render people who come to a door and encode them as H.264, 25 frames a second."""
    import av

    source = VirtualSource(seed=seed, fps=FPS, width=width, height=height, duration_s=seconds, realtime=False)
    source.open()
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options={"preset": "veryfast", "g": str(FPS)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        while (picture := source.read()) is not None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture.image, format="rgb24")))
        container.mux(stream.encode(None))
    source.close()
    return file


def open_clip(file: Path) -> FrameSource:
    """The film from its beginning, as a camera thread reads it, as fast as it can. Raises `GateError`."""
    camera = CameraConfig.model_validate({"name": "clip", "url": str(file), "pace": "fast"})
    source = open_source_for(camera, SystemClock(), threading.Event())
    source.open()
    return source


def first_frames(file: Path, most: int) -> list[Image]:
    """The first pictures of a film. Raises `GateError` where it has none."""
    source = open_clip(file)
    try:
        images: list[Image] = []
        while len(images) < most and (picture := source.read()) is not None:
            images.append(picture.image)
    finally:
        source.close()
    if not images:
        raise GateError(f"{file}: no picture in it; give a film that ffmpeg can play.")
    return images
