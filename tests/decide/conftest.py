"""Faces made to order."""

from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from gate.types import Face, ScoredFace, Sighting, Signals, TrackedFace

GOOD_SIGNALS = {
    "inter_eye_px": 60.0,
    "yaw_deg": 0.0,
    "pitch_deg": 0.0,
    "roll_deg": 0.0,
    "sharpness": 60.0,
    "luminance": 50.0,
    "contrast": 50.0,
    "luminance_spread": 30.0,
    "dynamic_range": 80.0,
    "under_exposed_share": 0.0,
    "over_exposed_share": 0.0,
    "under_exposure_prevention": 100.0,
    "over_exposure_prevention": 100.0,
    "occlusion": 10.0,
}


@pytest.fixture(scope="session")
def make_signals() -> Callable[..., Signals]:
    """Signals of a good face, with what the test changes."""
    return lambda **changes: Signals(**{**GOOD_SIGNALS, **changes})


@pytest.fixture(scope="session")
def make_detection() -> Callable[..., Face]:
    """A detection of a given score."""

    def make(score: float = 0.9) -> Face:
        return Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), score)

    return make


@pytest.fixture(scope="session")
def make_face() -> Callable[..., ScoredFace]:
    """A scored face of a track at a time."""

    def make(
        *,
        track: int = 1,
        quality: float | None = 50.0,
        at_ms: int = 0,
        yaw_deg: float = 0.0,
        box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    ) -> ScoredFace:
        face = Face(np.array(box, np.float32), np.zeros((5, 2), np.float32), 0.9)
        return ScoredFace(
            sighting=Sighting("door", 0, 640, 480, at_ms / 1000, at_ms),
            tracked=TrackedFace(face, track),
            signals=Signals(**{**GOOD_SIGNALS, "yaw_deg": yaw_deg}),
            crop=np.zeros((112, 112, 3), np.uint8),
            quality=quality,
            raw=quality,
            method="test",
            model="test@00000000",
        )

    return make


@pytest.fixture(scope="session")
def id_maker() -> Callable[[], Callable[[], str]]:
    """Makes makers of ids that count."""

    def make() -> Callable[[], str]:
        numbers = count()
        return lambda: f"id{next(numbers):04d}"

    return make
