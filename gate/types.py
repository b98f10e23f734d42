"""What travels from the camera to the stream: frozen values whose fields say shape, dtype and unit.

Images are RGB everywhere in this package; whoever needs BGR (OpenCV's detectors, some backbones) converts at its
own door. Boxes are (x, y, w, h) in pixels of the full frame. Landmarks are ordered as the published aligners do:
the eye on the image's left, the eye on its right, nose tip, mouth corner on the left, mouth corner on the right.
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""

FloatArray: TypeAlias = npt.NDArray[np.float32]

CROP_SIDE_PX = 112
"""Side of an aligned crop: the ArcFace template's size."""


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...], dtype: type) -> None:
    fits = array.ndim == len(shape) and all(w is None or w == g for w, g in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        wanted = ", ".join("*" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} must be ({wanted}) {np.dtype(dtype).name}, got {array.shape} {array.dtype}")


@dataclass(frozen=True, slots=True)
class Sighting:
    """When and where a face was seen: a frame without its pixels, so that keeping it costs nothing."""

    camera: str

    seq: int
    """`Frame.seq`."""

    width_px: int

    height_px: int

    captured_s: float
    """Monotonic seconds at decode."""

    captured_ms: int
    """Unix milliseconds at decode."""

    pts_ms: float | None = None
    """As in `Frame`."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One decoded picture of one camera."""

    camera: str
    """Name of the camera in the configuration."""

    seq: int
    """Counts the camera's decoded frames from 0 since the process started, dropped ones included."""

    image: Image
    """(H, W, 3) uint8 RGB."""

    captured_s: float
    """Monotonic seconds at decode; only differences mean anything."""

    captured_ms: int
    """Unix milliseconds at decode."""

    pts_ms: float | None = None
    """Presentation time stamp of the stream in milliseconds, where the source has one."""

    def __post_init__(self) -> None:
        _check("Frame.image", self.image, (None, None, 3), np.uint8)

    @property
    def width_px(self) -> int:
        """Columns of the picture."""
        return int(self.image.shape[1])

    @property
    def height_px(self) -> int:
        """Rows of the picture."""
        return int(self.image.shape[0])

    @property
    def sighting(self) -> Sighting:
        """The frame without its pixels."""
        return Sighting(
            camera=self.camera,
            seq=self.seq,
            width_px=self.width_px,
            height_px=self.height_px,
            captured_s=self.captured_s,
            captured_ms=self.captured_ms,
            pts_ms=self.pts_ms,
        )

    def __repr__(self) -> str:
        size = f"{self.width_px}x{self.height_px}"
        return f"Frame({self.camera!r}, seq={self.seq}, {size}, captured_ms={self.captured_ms})"


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face in one frame."""

    box_xywh: FloatArray
    """(4,) float32, pixels of the full frame, may reach outside it."""

    landmarks: FloatArray
    """(5, 2) float32, pixels of the full frame; eyes, nose tip, mouth corners, image left first."""

    score: float
    """Detector confidence in [0, 1]."""

    def __post_init__(self) -> None:
        _check("Face.box_xywh", self.box_xywh, (4,), np.float32)
        _check("Face.landmarks", self.landmarks, (5, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """A detected face and the track it belongs to."""

    face: Face

    track: int
    """Number of the track, unique within its camera for the life of the process."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What can be measured on a face without a network."""

    inter_eye_px: float
    """Distance between the eyes in pixels of the full frame."""

    yaw_deg: float
    """Head turn, degrees; positive when the nose points to the image's right."""

    pitch_deg: float
    """Head nod, degrees; positive when the nose points up."""

    roll_deg: float
    """Head tilt in the picture plane, degrees; positive clockwise."""

    sharpness: float
    """0..100, from the spread of the Laplacian of the aligned crop's luminance; in proportion to the face's size."""

    luminance: float
    """0..100, mean luminance of the aligned crop's centre."""

    luminance_spread: float
    """0..50, standard deviation of the luminance."""

    contrast: float
    """0..100, luminance of the 95th percentile less that of the 5th."""

    dynamic_range: float
    """0..100, how many shades there are (ISO/IEC 29794-5)."""

    under_exposed_share: float
    """0..1, share of pixels below a tenth of full linear light (ISO/IEC 29794-5); dark skin counts too."""

    over_exposed_share: float
    """0..1, share of pixels that are burnt out (ISO/IEC 29794-5)."""

    under_exposure_prevention: float
    """0..100, 100 is none (ISO/IEC 29794-5): only above nine tenths of the pixels does it fall."""

    over_exposure_prevention: float
    """0..100, 100 is none (ISO/IEC 29794-5): 50 at one pixel in a hundred."""

    occlusion: float
    """0..100, how covered the face looks; 50 is what one in fifty uncovered faces exceeds."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What a quality method says of one crop."""

    raw: float
    """The method's published number, unflipped; not-a-number when no method had one."""

    quality: float
    """Calibrated quality in 0..100; not-a-number as above."""

    method: str
    """Name of the method that scored this crop."""

    model: str
    """name@first 8 hex digits of the weights' sha256; empty for a method without weights."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredFace:
    """A tracked face with its aligned crop and, where it was worth scoring, its quality."""

    sighting: Sighting

    tracked: TrackedFace

    signals: Signals

    crop: Image
    """(112, 112, 3) uint8 RGB, aligned to the ArcFace template."""

    quality: float | None
    """Calibrated quality in 0..100; None when a cheap check had already rejected the face."""

    raw: float | None
    """The method's published number, unflipped; None as above."""

    method: str
    """Name of the method that scored, empty when none did."""

    model: str
    """name@first 8 hex digits of the weights' sha256, empty as above."""

    context: Image | None = None
    """(H, W, 3) uint8 RGB, the face with a margin from the full frame, where the configuration asks for it."""

    def __post_init__(self) -> None:
        _check("ScoredFace.crop", self.crop, (CROP_SIDE_PX, CROP_SIDE_PX, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer for one face."""

    reasons: tuple[str, ...] = ()
    """Values of `gate.reasons.Reason`, the decisive one first; empty when the face is accepted."""

    @property
    def accepted(self) -> bool:
        """True when nothing speaks against the face."""
        return not self.reasons


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFace:
    """A face and what the gate said of it."""

    face: ScoredFace

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Visit:
    """One person seen by one camera, from first to last sight."""

    visit: str
    """26-character ULID."""

    camera: str

    first_ms: int
    """Unix milliseconds of the first sight."""

    last_ms: int
    """Unix milliseconds of the last sight."""

    faces: int
    """How many times the face was seen."""

    accepted: int
    """How many of them were accepted."""

    published: int
    """How many were published."""

    best_quality: float | None
    """Highest quality seen, 0..100; None when no face was worth scoring."""

    rejected: dict[str, int] = field(default_factory=dict)
    """Decisive reason → how many faces it rejected."""

    unscored: int = 0
    """How many faces passed every cheap bar and were not scored, because they could not change what is published."""
