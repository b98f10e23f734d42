from typing import Any

import numpy as np
import pytest

from gate.config import DecideConfig, ZonesConfig
from tests.conftest import FakeClock
from tests.test_pipeline import Gate, a_face

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


def test_each_camera_follows_its_own_rules(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.pipeline._cameras["north"].rules = DecideConfig(min_quality=60)
    gate.pipeline._cameras["south"].rules = DecideConfig(min_quality=40)
    for camera in ("north", "south"):
        gate.script.show(a_face(), camera=camera)
    gate.step()
    assert [face.face.sighting.camera for face in gate.faces] == ["south"]
    assert gate.counts.reasons == {"accepted": 1, "low_quality": 1}


def test_a_cheap_bar_of_one_camera_saves_its_faces_from_the_network(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.pipeline._cameras["north"].rules = DecideConfig(max_inter_eye_px=50)
    for camera in ("north", "south"):
        gate.script.show(a_face(), camera=camera)
    gate.step()
    assert gate.counts.reasons == {"accepted": 1, "too_large": 1}
    assert gate.counts.batches == [1]


def test_faces_outside_the_zone_of_their_camera_are_counted_and_not_scored(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.pipeline._cameras["north"].zones = ZonesConfig(include=(LEFT_HALF,))
    for camera in ("north", "south"):
        gate.script.show(a_face(40, 1.0), a_face(440, 1.0), camera=camera)
    gate.step()
    assert gate.counts.reasons == {"accepted": 3, "outside_zone": 1}
    assert gate.counts.batches == [3]
    assert {(face.face.sighting.camera, face.face.tracked.face.box_xywh[0]) for face in gate.faces} == {
        ("north", 40.0),
        ("south", 40.0),
        ("south", 440.0),
    }


@pytest.mark.parametrize("lossless", [False, True])
def test_who_walks_away_is_rejected_once_it_is_known(fake_clock: FakeClock, lossless: bool) -> None:
    gate = Gate(fake_clock, lossless=lossless, rules=DecideConfig(approaching_only=True))
    for size in np.linspace(2.5, 1.0, 21):
        gate.script.show(a_face(200, float(size)))
        gate.step()
        fake_clock.advance(0.1)
    assert 5 <= gate.counts.reasons["accepted"] <= 10
    assert gate.counts.reasons["accepted"] + gate.counts.reasons["outside_zone"] == 21


@pytest.mark.parametrize("sizes", [(1.0, 2.5), (2.0, 2.0)])
def test_who_comes_or_stands_passes(fake_clock: FakeClock, sizes: tuple[float, float]) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(approaching_only=True, min_sharpness=None))
    for size in np.linspace(*sizes, 21):
        gate.script.show(a_face(200, float(size)))
        gate.step()
        fake_clock.advance(0.1)
    assert gate.counts.reasons == {"accepted": 21}


def test_direction_is_forgotten_with_the_track(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(approaching_only=True))
    for size in np.linspace(2.5, 1.5, 12):
        gate.script.show(a_face(200, float(size)))
        gate.step()
        fake_clock.advance(0.1)
    assert gate.pipeline._cameras["door"].approach._sights
    for _ in range(3):
        fake_clock.advance(1.0)
        gate.script.show()
        gate.step()
    assert not gate.pipeline._cameras["door"].approach._sights


def test_a_visit_that_has_passed_is_kept_down_to_the_low_bar(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(min_quality=50, keep_quality=40))
    for quality in (45, 55, 45, 39):
        gate.script.raw = lambda crops, quality=quality: np.full(len(crops), quality, np.float32)  # type: ignore[misc]
        gate.script.show(a_face())
        gate.step()
        fake_clock.advance(0.1)
    assert gate.counts.reasons == {"low_quality": 2, "accepted": 2}
    gate.pipeline.finish()
    assert gate.ends[0].visit.accepted == 2


def test_other_rules_hold_from_the_next_frame_on_and_the_visit_goes_on(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(approaching_only=True))

    def look() -> None:
        gate.script.show(a_face())
        gate.step()
        fake_clock.advance(0.1)

    every: dict[str, Any] = {"max_scores_per_s": None}
    look()
    state = gate.pipeline._cameras["door"]
    approach = state.approach
    gate.pipeline.change_camera("door", DecideConfig(min_quality=100, **every), ZonesConfig(), None)
    assert state.approach is approach
    look()
    gate.pipeline.change_camera("door", DecideConfig(**every), ZonesConfig(exclude=(LEFT_HALF,)), None)
    look()
    gate.pipeline.change_camera("door", DecideConfig(direction_window_s=3, **every), ZonesConfig(), None)
    assert state.approach is not approach
    look()
    assert gate.counts.reasons == {"accepted": 2, "low_quality": 1, "outside_zone": 1}
    gate.pipeline.finish()
    (end,) = gate.ends
    assert (end.visit.faces, end.visit.accepted) == (4, 2)


def test_a_removed_camera_closes_its_visits_and_another_s_go_on(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    for camera in ("north", "south"):
        gate.script.show(a_face(), camera=camera)
    gate.step()
    gate.pipeline.remove_camera("north")
    assert [end.visit.camera for end in gate.ends] == ["north"]
    gate.pipeline.finish()
    assert [end.visit.camera for end in gate.ends] == ["north", "south"]
