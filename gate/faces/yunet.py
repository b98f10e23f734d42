"""YuNet through OpenCV (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", MIR 2023)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.errors import WeightsError
from gate.faces.assemble import assemble_faces
from gate.faces.shrink import shrink
from gate.types import Face, Image

MAX_CANDIDATES = 5000
"""Most boxes before overlaps are merged; OpenCV's own default."""

_ERRORS_ONLY = 2
"""OpenCV's LOG_LEVEL_ERROR, which not every version names."""


class YuNetDetector:
    """Faces by OpenCV's `FaceDetectorYN`, on the CPU.

    Frames are scaled down to `max_side_px` first: YuNet is made for faces of about 10 to 300 pixels. On portraits
    enlarged four times, to 2,000 pixels, it adds false faces and is 0.62 to 0.77 sure of the true ones instead of 0.93.
    """

    name = "yunet"

    device = "cpu"
    """The detector is created for OpenCV's CPU target, the only one its pip builds have."""

    def __init__(self, weights: Path, *, min_score: float = 0.6, nms_iou: float = 0.3, max_side_px: int = 640) -> None:
        """Load the network and run it once.

        Args:
            weights: `face_detection_yunet_2023mar.onnx` or a quantised twin.
            min_score: Detections below this confidence are left out.
            nms_iou: Of two detections that overlap more than this, the better one stays.
            max_side_px: Longer side to which frames are scaled down; smaller frames are not scaled up.

        Raises:
            WeightsError: the file is missing or is not a YuNet that this OpenCV runs.
        """
        self._max_side_px = max_side_px
        self._size_wh = (64, 64)
        self._net = _create(weights, self._size_wh, min_score, nms_iou)

    def detect(self, image: Image) -> list[Face]:
        """Faces in an (H, W, 3) uint8 RGB picture, best score first, in full-frame pixels. Used by one thread."""
        import cv2

        height, width = image.shape[:2]
        if not (height and width):
            return []
        small = shrink(image, self._max_side_px)
        size_wh = (small.image.shape[1], small.image.shape[0])
        if size_wh != self._size_wh:
            self._net.setInputSize(size_wh)
            self._size_wh = size_wh
        _, rows = self._net.detect(cv2.cvtColor(small.image, cv2.COLOR_RGB2BGR))
        if rows is None:
            return []
        return faces_from_rows(rows, small.scale_x, small.scale_y, width_px=width, height_px=height)


def faces_from_rows(
    rows: npt.ArrayLike, scale_x: float, scale_y: float, *, width_px: int, height_px: int
) -> list[Face]:
    """Turn OpenCV's rows of 15 numbers (box, five landmarks, score) into faces of the full frame.

    OpenCV names the landmarks from the person's point of view, "right eye" first; that eye is the one on the image's
    left, so the order is already ours.
    """
    table = np.asarray(rows, dtype=np.float64).reshape(-1, 15)
    scales = np.tile([scale_x, scale_y], 7)
    return assemble_faces(
        table[:, :4] * scales[:4],
        (table[:, 4:14] * scales[4:]).reshape(-1, 5, 2),
        table[:, 14],
        width_px=width_px,
        height_px=height_px,
    )


def check_there(weights: Path) -> None:
    """Raise `WeightsError` that says what to do where there is no such file."""
    if not weights.is_file():
        raise WeightsError(f"YuNet weights not found at {weights}. Run `gate models pull yunet` or name another file.")


def _create(weights: Path, size_wh: tuple[int, int], min_score: float, nms_iou: float) -> Any:
    import cv2

    check_there(weights)
    try:
        with _without_opencv_warnings():
            net = cv2.FaceDetectorYN.create(
                str(weights),
                "",
                size_wh,
                min_score,
                nms_iou,
                MAX_CANDIDATES,
                cv2.dnn.DNN_BACKEND_OPENCV,
                cv2.dnn.DNN_TARGET_CPU,
            )
            # Another network loads as well and only fails when its outputs are read.
            net.detect(np.zeros((size_wh[1], size_wh[0], 3), dtype=np.uint8))
    except cv2.error as error:
        detail = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{weights} is not a YuNet that OpenCV {cv2.__version__} runs ({detail}). Run `gate models verify`."
        ) from None
    return net


@contextmanager
def _without_opencv_warnings() -> Iterator[None]:
    """Keep a loading network silent: OpenCV 5 warns about the target even when it is the default one.

    The level belongs to the whole process, so it is lowered for the load alone.
    """
    import cv2

    # OpenCV 4 has the functions at its top level.
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.setLogLevel(_ERRORS_ONLY)
    try:
        yield
    finally:
        logging.setLogLevel(before)
