from typing import Protocol

import pytest

from gate.observe.health import Health


class Clock(Protocol):
    def monotonic_s(self) -> float: ...

    def unix_ms(self) -> int: ...

    def advance(self, seconds: float) -> None: ...


@pytest.fixture
def health(fake_clock: Clock) -> Health:
    return Health(fake_clock, heartbeat_limit_s=30)


def serve(health: Health, *cameras: str) -> None:
    health.set("method", ok=True)
    health.set("redis", ok=True)
    for camera in cameras:
        health.add_camera(camera)
        health.set_camera(camera, ok=True)


def test_a_gate_that_starts_is_not_ready(health: Health) -> None:
    assert health.ready() == (False, ["method: starting", "redis: starting"])


def test_a_gate_that_serves_is_ready_without_a_remark(health: Health) -> None:
    serve(health, "door")
    assert health.ready() == (True, [])


@pytest.mark.parametrize("condition", ["redis", "method"])
def test_without_redis_or_method_nobody_is_served(health: Health, condition: str) -> None:
    serve(health, "door")
    health.set(condition, ok=False, reason="refused")
    assert health.ready() == (False, [f"{condition}: refused"])
    health.set(condition, ok=False)
    assert health.ready() == (False, [f"{condition}: not ready"])


def test_one_camera_of_two_that_is_down_is_told_but_no_alarm(health: Health) -> None:
    serve(health, "door", "lobby")
    health.set_camera("lobby", ok=False, reason="timeout")
    assert health.ready() == (True, ["camera lobby: timeout"])


def test_with_every_camera_down_the_gate_is_not_ready(health: Health) -> None:
    serve(health, "door", "lobby")
    for camera in ("door", "lobby"):
        health.set_camera(camera, ok=False)
    assert health.ready() == (False, ["camera door: down", "camera lobby: down"])


def test_a_camera_that_connects_counts_as_down(health: Health) -> None:
    serve(health)
    health.add_camera("door")
    assert health.ready() == (False, ["camera door: connecting"])


def test_a_forgotten_camera_is_not_asked_for_even_if_it_still_reports(health: Health) -> None:
    serve(health, "door", "lobby")
    health.forget_camera("lobby")
    health.set_camera("lobby", ok=False, reason="timeout")
    assert health.ready() == (True, [])


def test_a_heartbeat_that_stops_means_not_alive(health: Health, fake_clock: Clock) -> None:
    health.beat("engine")
    fake_clock.advance(30)
    assert health.alive() == (True, [])
    fake_clock.advance(0.1)
    assert health.alive() == (False, ["engine: no sign of life for 30 s"])
    health.beat("engine")
    assert health.alive() == (True, [])


def test_a_loop_may_be_allowed_more_time_but_never_less(health: Health, fake_clock: Clock) -> None:
    health.allow("engine", 100)
    health.allow("other", 1)
    health.beat("engine")
    health.beat("other")
    fake_clock.advance(30)
    assert health.alive() == (True, [])
    fake_clock.advance(1)
    assert health.alive() == (False, ["other: no sign of life for 31 s"])
    fake_clock.advance(70)
    assert "engine: no sign of life for 101 s" in health.alive()[1]


def test_loading_for_long_and_stopping_on_purpose_are_no_death(health: Health, fake_clock: Clock) -> None:
    fake_clock.advance(600)
    assert health.alive() == (True, [])
    health.beat("engine")
    health.retire("engine")
    fake_clock.advance(600)
    assert health.alive() == (True, [])


def test_a_note_is_told_and_changes_nothing(health: Health) -> None:
    serve(health, "door")
    health.note("config", "the file is broken")
    assert health.ready() == (True, ["config: the file is broken"])
    health.set_camera("door", ok=False, reason="timeout")
    assert health.ready() == (False, ["camera door: timeout", "config: the file is broken"])
    health.note("config", None)
    health.note("config", None)
    assert health.ready() == (False, ["camera door: timeout"])


def test_frames_that_no_longer_get_through_mean_not_alive(health: Health, fake_clock: Clock) -> None:
    serve(health, "door")
    for _ in range(12):
        fake_clock.advance(20)
        health.beat("engine")
    assert health.alive() == (True, [])
    fake_clock.advance(20)
    health.beat("engine")
    assert health.alive() == (False, ["frames: cameras deliver, and none was analysed for 260 s"])
    health.progress()
    assert health.alive() == (True, [])


def test_a_gate_whose_cameras_are_all_away_is_alive_and_has_its_time_when_one_returns(
    health: Health, fake_clock: Clock
) -> None:
    serve(health, "door")
    health.set_camera("door", ok=False, reason="timeout")
    fake_clock.advance(3600)
    health.beat("engine")
    assert health.alive() == (True, [])
    health.set_camera("door", ok=True)
    assert health.alive() == (True, [])
