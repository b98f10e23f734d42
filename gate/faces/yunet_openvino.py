"""YuNet through OpenVINO, in half of OpenCV's time (Wu, Peng, Yu: "YuNet", MIR 2023)."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.errors import WeightsError
from gate.faces.shrink import shrink
from gate.faces.yunet import MAX_CANDIDATES, check_there, faces_from_rows
from gate.inference import Network, open_network
from gate.types import Face, FloatArray, Image

STRIDES_PX = (8, 16, 32)
"""Distances of the points for which the network answers, in pixels of its input."""

_WIDTHS = (1, 1, 4, 10)
"""Numbers a point: sure of its class, sure that there is something, box, landmarks."""

_MOST_SHAPES = 4
"""Compiled networks that are kept, one for each shape of picture: cameras of one box have few."""


class OpenVinoYuNet:
    """The same network, answers and order of faces as `YuNetDetector`; see there for the sizes it is made for."""

    name = "yunet"

    device = "cpu"

    def __init__(
        self,
        weights: Path,
        *,
        min_score: float = 0.6,
        nms_iou: float = 0.3,
        max_side_px: int = 640,
        threads: int | None = None,
    ) -> None:
        """Load the network and run it once; arguments as of `YuNetDetector`, and the threads of one run.

        Raises:
            WeightsError: the file is missing or is not a YuNet.
            DeviceError: OpenVINO cannot be imported.
        """
        check_there(weights)
        self._weights = weights
        self._min_score = min_score
        self._nms_iou = nms_iou
        self._max_side_px = max_side_px
        self._threads = threads
        self._networks: dict[tuple[int, int], Network] = {}
        try:
            widths = tuple(answer.shape[-1] for answer in self._answers(np.zeros((64, 64, 3), np.uint8)))
        except WeightsError as error:
            raise WeightsError(f"{weights} is not a YuNet ({error}). Run `gate models verify`.") from None
        if widths != tuple(width for width in _WIDTHS for _ in STRIDES_PX):
            raise WeightsError(
                f"{weights} is not a YuNet: its outputs have {widths} columns. Run `gate models verify`."
            )

    def detect(self, image: Image) -> list[Face]:
        """Faces in an (H, W, 3) uint8 RGB picture, best score first, in full-frame pixels. Used by one thread."""
        height, width = image.shape[:2]
        if not (height and width):
            return []
        small = shrink(image, self._max_side_px)
        canvas = _canvas(small.image)
        rows = rows_of(self._answers(canvas), canvas.shape[1], self._min_score)
        kept = rows[_without_overlaps(rows, self._min_score, self._nms_iou)]
        return faces_from_rows(kept, small.scale_x, small.scale_y, width_px=width, height_px=height)

    def _answers(self, canvas: Image) -> list[FloatArray]:
        blob = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None, ::-1], dtype=np.float32)
        return self._network(canvas.shape[0], canvas.shape[1]).run(blob)

    def _network(self, height: int, width: int) -> Network:
        shape = (height, width)
        network = self._networks.pop(shape, None)
        if network is None:
            network = open_network(self._weights, "openvino", threads=self._threads, input_shape=(1, 3, height, width))
        # The one used last stands last, and goes last.
        self._networks[shape] = network
        if len(self._networks) > _MOST_SHAPES:
            del self._networks[next(iter(self._networks))]
        return network


def _canvas(image: Image) -> Image:
    """The picture in the top left of a black one whose sides the coarsest stride divides."""
    height, width = image.shape[:2]
    step = STRIDES_PX[-1]
    canvas = np.zeros((math.ceil(height / step) * step, math.ceil(width / step) * step, 3), np.uint8)
    canvas[:height, :width] = image
    return canvas


def rows_of(answers: Sequence[FloatArray], width_px: int, min_score: float) -> npt.NDArray[np.float64]:
    """(N, 15) rows of box, landmarks and score, as OpenCV's, of the points that are sure enough.

    Args:
        answers: class, object, box and landmarks, each for strides of 8, 16 and 32, (1, points, columns).
        width_px: of the network's input.
        min_score: points below this are left out.
    """
    parts = []
    for place, stride in enumerate(STRIDES_PX):
        classes, objects, boxes, points = (answers[kind * len(STRIDES_PX) + place][0] for kind in range(len(_WIDTHS)))
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        sure = np.flatnonzero(scores >= min_score)
        down, across = np.divmod(sure, width_px // stride)
        origin = np.stack([across, down], axis=1).astype(np.float64)
        middle = (origin + boxes[sure, :2]) * stride
        size = np.exp(boxes[sure, 2:].astype(np.float64)) * stride
        marks = (np.tile(origin, 5) + points[sure]) * stride
        parts.append(np.concatenate([middle - size / 2, size, marks, scores[sure, None]], axis=1))
    return np.concatenate(parts)


def _without_overlaps(rows: npt.NDArray[np.float64], min_score: float, nms_iou: float) -> list[int]:
    import cv2

    if not len(rows):
        return []
    # Whole pixels, as OpenCV's own detector compares them.
    boxes = np.trunc(rows[:, :4]).tolist()
    kept = cv2.dnn.NMSBoxes(boxes, rows[:, 14].tolist(), min_score, nms_iou, top_k=MAX_CANDIDATES)
    return [int(place) for place in np.asarray(kept).reshape(-1)]
