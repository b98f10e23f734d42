"""Visits through the whole engine: what time, the low bar and other cameras' visits do."""

import numpy as np

from gate.config import DecideConfig
from gate.decide.duplicates import DuplicateBook
from gate.types import FloatArray, Image
from tests.conftest import FakeClock
from tests.test_pipeline import Gate, a_face


def everybody_is_one(crops: Image) -> FloatArray:
    return np.ones((len(crops), 4), dtype=np.float32)


def test_the_best_so_far_is_out_at_the_deadline_while_the_visit_goes_on(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(on_enter=False, deadline_s=1.0))
    for quality in (40.0, 80.0, 60.0, 60.0):
        gate.script.raw = lambda crops, quality=quality: np.full(len(crops), quality, np.float32)  # type: ignore[misc]
        gate.script.show(a_face())
        gate.step()
        fake_clock.advance(0.4)
    assert [(face.face.quality, face.final) for face in gate.faces] == [(80.0, False)]
    gate.pipeline.finish()
    assert [(face.face.quality, face.final) for face in gate.faces] == [(80.0, False), (80.0, True)]


def test_a_visit_near_the_bar_does_not_flicker(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(min_quality=50, keep_quality=30))
    for quality in (40.0, 55.0, 40.0, 29.0):
        gate.script.raw = lambda crops, quality=quality: np.full(len(crops), quality, np.float32)  # type: ignore[misc]
        gate.script.show(a_face())
        gate.step()
        fake_clock.advance(0.1)
    assert gate.counts.reasons == {"low_quality": 2, "accepted": 2}


def test_a_face_lost_and_found_is_one_visit(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(same_visit_s=4.0))
    gate.script.show(a_face())
    gate.step()
    for _ in range(6):
        # Nobody there for longer than a track lives, then somebody at the same place.
        fake_clock.advance(0.5)
        gate.script.show()
        gate.step()
    gate.script.show(a_face())
    gate.step()
    gate.pipeline.finish()
    assert [end.visit.faces for end in gate.ends] == [2]


def test_the_same_person_at_the_next_camera_is_a_duplicate(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south", rules=DecideConfig(duplicate_s=10.0))
    group = DuplicateBook(everybody_is_one)
    for state in gate.pipeline._cameras.values():
        state.duplicates = group
    gate.script.show(a_face(), camera="north")
    gate.step()
    fake_clock.advance(0.2)
    for camera in ("north", "south"):
        gate.script.show(a_face(), camera=camera)
    gate.step()
    assert gate.counts.reasons == {"accepted": 2, "duplicate": 1}
    assert {face.face.sighting.camera for face in gate.faces} == {"north"}
    gate.pipeline.finish()
    assert [(end.visit.camera, end.visit.rejected) for end in gate.ends if end.visit.rejected] == [
        ("south", {"duplicate": 1})
    ]


def test_without_a_group_nobody_is_compared(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    for camera in ("north", "south"):
        gate.script.show(a_face(), camera=camera)
    gate.step()
    assert gate.counts.reasons == {"accepted": 2}
    assert gate.counts.stages["compare"] == 0
