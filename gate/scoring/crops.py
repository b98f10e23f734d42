"""From a decoded image to the one crop that is scored."""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np

from gate.faces.align import align
from gate.faces.detector import Detector
from gate.scoring.fault import Fault, Why
from gate.types import CROP_SIDE_PX, Face, Image

Choice: TypeAlias = Literal["largest", "best"]
"""Which of several faces: the largest box, or the detector's highest confidence."""

DETAILS = ("det_score", "box_x", "box_y", "box_w", "box_h", "inter_eye_px")
"""What is known of a detected face; pixels of the upright image."""


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An aligned crop and where it comes from."""

    image: Image
    """(112, 112, 3) uint8 RGB."""

    details: tuple[float, ...] = ()
    """One number for each of the cropper's `columns`."""


class Cropper(Protocol):
    """Makes crops of decoded images. Used by one thread."""

    columns: tuple[str, ...]
    """Names of `Crop.details`."""

    side_px: int | None
    """Width and height that an image must have; None for any."""

    def crop(self, image: Image) -> Crop | Fault:
        """The crop of an (H, W, 3) uint8 RGB image, or why there is none."""
        ...


class Aligned:
    """Images that are crops already."""

    columns: tuple[str, ...] = ()
    side_px: int | None = CROP_SIDE_PX

    def crop(self, image: Image) -> Crop | Fault:
        """See `Cropper.crop`."""
        return Crop(image)


class Detected:
    """One face of each image, found and aligned."""

    side_px: int | None = None

    def __init__(self, detector: Detector, choice: Choice = "largest", *, with_details: bool = True) -> None:
        self.columns: tuple[str, ...] = DETAILS if with_details else ()
        self._detector = detector
        self._choice = choice

    def crop(self, image: Image) -> Crop | Fault:
        """See `Cropper.crop`."""
        faces = self._detector.detect(image)
        if not faces:
            return Fault(Why.NO_FACE, f"{self._detector.name} finds none in {image.shape[1]}x{image.shape[0]} px")
        face = faces[0] if self._choice == "best" else max(faces, key=_area)
        return Crop(align(image, face.landmarks[None])[0], _details(face) if self.columns else ())


def _area(face: Face) -> float:
    return float(face.box_xywh[2]) * float(face.box_xywh[3])


def _details(face: Face) -> tuple[float, ...]:
    eyes_px = np.linalg.norm(face.landmarks[1].astype(np.float64) - face.landmarks[0])
    return (round(face.score, 4), *(round(float(side), 2) for side in face.box_xywh), round(float(eyes_px), 2))
