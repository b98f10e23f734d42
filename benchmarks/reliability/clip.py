"""The picture that the cameras of the scenarios show: six people who come, sway and are gone, again and again."""

from pathlib import Path

import av
import cv2
import insightface
import numpy as np

from gate.types import Image

FPS = 5
WIDTH, HEIGHT = 640, 448
THERE, GONE = 7, 3
"""Pictures with people, and without: visits of 1.4 s every 2 s."""


def pictures() -> list[Image]:
    """One turn, RGB uint8 (448, 640, 3)."""
    file = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    bgr = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if bgr is None:
        raise FileNotFoundError(file)
    group = np.ascontiguousarray(cv2.resize(bgr, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[:, :, ::-1])
    # Sharper from picture to picture, so that later faces improve on earlier ones.
    there = [cv2.GaussianBlur(np.roll(group, 2 * n, axis=1), (0, 0), 0.3 + 0.15 * (THERE - n)) for n in range(THERE)]
    empty = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    return [*(picture.astype(np.uint8) for picture in there), *[empty] * GONE]


def write_clip(file: Path) -> Path:
    """One turn as H.264 in MP4."""
    with av.open(str(file), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in pictures():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file
