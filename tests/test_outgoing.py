import math
from dataclasses import replace

import numpy as np
import pytest

from gate.decide.visits import FacePublication, Publication, VisitEnd
from gate.outgoing import context_was_left_out, to_event, waits_since_s
from gate.publish.event import MOST_CONTEXT_BYTES, FaceEvent, decode, encode
from gate.publish.jpeg import decode_crop
from gate.types import Face, Image, ScoredFace, Sighting, Signals, TrackedFace, Visit

ULID = "01JD0000000000000000000000"
END = VisitEnd(ULID, Visit(ULID, "door", 0, 1, 1, 1, 1, 50.0))


def publication(context: Image | None = None, *, seq: int = 0, triggered_s: float = 7.5) -> FacePublication:
    detection = Face(np.zeros(4, np.float32), np.zeros((5, 2), np.float32), 0.9)
    face = ScoredFace(
        sighting=Sighting("door", 0, 640, 480, 5.0, 5000),
        tracked=TrackedFace(detection, 1),
        signals=Signals(
            inter_eye_px=60,
            yaw_deg=0,
            pitch_deg=0,
            roll_deg=0,
            sharpness=60,
            luminance=50,
            luminance_spread=15,
            contrast=50,
            dynamic_range=85,
            under_exposed_share=0,
            over_exposed_share=0,
            under_exposure_prevention=100,
            over_exposure_prevention=100,
            occlusion=5,
        ),
        crop=np.full((112, 112, 3), 128, np.uint8),
        quality=50.0,
        raw=0.5,
        method="test",
        model="test@00000000",
        context=context,
    )
    return FacePublication(ULID, ULID, seq, None, final=False, face=face, triggered_s=triggered_s)


def noise(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def test_a_face_brings_its_surroundings_along() -> None:
    wanted = publication(noise(60, 80))
    event = to_event(wanted)
    assert isinstance(event, FaceEvent)
    assert event.context is not None
    assert decode_crop(event.context).shape == (60, 80, 3)
    assert not context_was_left_out(wanted, event)


@pytest.mark.parametrize("size", [(2200, 2200), (2, 8193)], ids=["too many bytes", "too long a side"])
def test_surroundings_that_no_event_can_hold_do_not_cost_the_face(size: tuple[int, int]) -> None:
    wanted = publication(noise(*size))
    event = to_event(wanted, jpeg_quality=100)
    assert isinstance(event, FaceEvent)
    assert event.context is None
    assert context_was_left_out(wanted, event)
    assert decode(encode(event)) == event
    assert len(event.crop) < MOST_CONTEXT_BYTES


def test_what_had_no_surroundings_lost_none() -> None:
    for plain in (publication(), END):
        assert not context_was_left_out(plain, to_event(plain))


@pytest.mark.parametrize(
    ("wanted", "since_s"),
    [
        (publication(), 7.5),
        (publication(seq=1), math.nan),
        (publication(triggered_s=math.nan), math.nan),
        (END, math.nan),
    ],
    ids=["first face", "better face", "no frame triggered it", "end"],
)
def test_only_the_first_face_of_a_visit_keeps_somebody_waiting(wanted: Publication, since_s: float) -> None:
    assert waits_since_s(wanted) == pytest.approx(since_s, nan_ok=True)


def test_a_face_that_was_not_scored_is_never_published() -> None:
    unscored = publication()
    with pytest.raises(ValueError, match="only scored faces"):
        to_event(replace(unscored, face=replace(unscored.face, quality=None)))
