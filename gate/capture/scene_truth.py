"""What a rendered frame really shows: the yardstick that a picture of a real door does not have."""

from dataclasses import dataclass
from enum import Enum

import numpy as np

from gate.types import FloatArray

USABLE_EYE_PX = 28.0
"""Eye distance from which a rendered face counts as near enough; a little above the gate's own default bar of 24."""


class Condition(str, Enum):
    """What spoils a face at this moment."""

    BLUR = "blur"
    DARK = "dark"
    COVERED = "covered"
    TURNED = "turned"
    FAR = "far"
    CUT = "cut"


@dataclass(frozen=True, slots=True, eq=False)
class PersonTruth:
    """One rendered person in one frame."""

    person_id: str
    """Name of the portrait, or `hooded`."""

    visit_index: int
    """Number of the visit, counted from 0 since frame 0."""

    box_xywh: FloatArray
    """(4,) float32, the face in pixels of the frame, may reach outside it."""

    landmarks: FloatArray
    """(5, 2) float32, pixels of the frame; order as in `gate.types.Face`."""

    acts: tuple[Condition, ...]
    """What spoils the face, in the order of `Condition`; empty when nothing does."""

    usable: bool
    """True when nothing spoils the face, not even slightly. While an effect fades in or out both may be empty."""

    @property
    def inter_eye_px(self) -> float:
        """Distance between the eyes in pixels of the frame."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Everything known about one rendered frame."""

    t_s: float
    """Seconds since frame 0."""

    people: tuple[PersonTruth, ...]
    """Whoever's face is at least partly in the picture, or would be if nobody stood before it; the farthest first."""
