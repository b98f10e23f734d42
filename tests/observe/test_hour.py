from gate.observe.hour import SLOT_S, WINDOW_S, LastHour
from gate.reasons import Reason
from tests.conftest import FakeClock


def test_an_hour_counts_faces_by_quality_and_by_what_became_of_them(fake_clock: FakeClock) -> None:
    hour = LastHour(fake_clock)
    hour.add_camera("door")
    hour.face("door", accepted=True, reason="", quality=72.9)
    hour.face("door", accepted=False, reason=Reason.LOW_QUALITY.value, quality=12.0)
    hour.face("door", accepted=False, reason=Reason.YAW.value, quality=None)
    hour.face("door", accepted=False, reason="something new", quality=None)
    for camera in ("door", "door", "nobody"):
        hour.unscored(camera)
    hour.face("nobody", accepted=True, reason="", quality=50.0)
    seen = hour.snapshot()
    assert set(seen) == {"door"}
    assert {bar: count for bar, count in enumerate(seen["door"]["quality"]) if count} == {12: 1, 72: 1}
    assert (seen["door"]["accepted"], seen["door"]["unscored"]) == (1, 2)
    assert seen["door"]["reasons"] == {"low_quality": 1, "yaw": 1, "other": 1}


def test_visits_are_counted_by_their_best_quality(fake_clock: FakeClock) -> None:
    hour = LastHour(fake_clock)
    hour.add_camera("door")
    for best in (0.0, 40.0, 99.99, 100.0, None):
        hour.visit("door", best)
    seen = hour.snapshot()["door"]
    assert {bar: count for bar, count in enumerate(seen["visits"]) if count} == {0: 1, 40: 1, 99: 1, 100: 1}
    assert seen["visits_unscored"] == 1
    assert sum(seen["visits"][40:]) == 3


def test_what_is_older_than_an_hour_is_forgotten_and_memory_does_not_grow(fake_clock: FakeClock) -> None:
    hour = LastHour(fake_clock)
    hour.add_camera("door")
    for _ in range(3 * 60):
        hour.face("door", accepted=True, reason="", quality=50.0)
        assert len(hour._cameras["door"].quality._slots) <= WINDOW_S / SLOT_S + 1
        fake_clock.advance(60)
    assert 55 <= hour.snapshot()["door"]["accepted"] <= 60
    fake_clock.advance(WINDOW_S + SLOT_S)
    assert sum(hour.snapshot()["door"]["quality"]) == 0


def test_a_forgotten_camera_has_no_hour(fake_clock: FakeClock) -> None:
    hour = LastHour(fake_clock)
    hour.add_camera("door")
    hour.forget_camera("door")
    hour.visit("door", 50.0)
    assert hour.snapshot() == {}
