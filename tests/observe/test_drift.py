from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from gate.baseline import LEAST_OF_HOUR, Baseline, histogram_of, hour_of, population_stability_index
from gate.observe.drift import LEAST_FACES, WINDOW_S, Drift, QualityWindow
from gate.observe.observer import Observer
from tests.conftest import FakeClock

CLEAN = Baseline("serfiq", "net@12345678", "2026-02-11", histogram_of([55.0] * 400 + [75.0] * 600), 10, ())


def scraped(observer: Observer) -> dict[str, float]:
    families = text_string_to_metric_families(observer.metrics.render()[0].decode())
    (family,) = (family for family in families if family.name == "facegate_quality_drift")
    return {sample.labels["camera"]: sample.value for sample in family.samples}


def seen(observer: Observer, quality: float, times: int, *, camera: str = "door", method: str = "serfiq") -> None:
    for _ in range(times):
        observer.pipeline.face(camera, accepted=True, reason="", quality=quality, method=method)


def watching(clock: FakeClock) -> Observer:
    observer = Observer(clock)
    for camera in ("door", "lobby"):
        observer.add_camera(camera)
    observer.drift.watch("door", CLEAN)
    return observer


def test_the_drift_is_absent_without_a_baseline_and_below_fifty_faces(fake_clock: FakeClock) -> None:
    observer = watching(fake_clock)
    seen(observer, 55.0, 200, camera="lobby")
    seen(observer, 55.0, LEAST_FACES - 1)
    assert scraped(observer) == {}
    seen(observer, 55.0, 1)
    assert list(scraped(observer)) == ["door"]


def test_a_dirty_lens_shows_and_a_clean_one_does_not(fake_clock: FakeClock) -> None:
    observer = watching(fake_clock)
    seen(observer, 55.0, 40)
    seen(observer, 75.0, 60)
    assert scraped(observer)["door"] < 0.1
    fake_clock.advance(WINDOW_S + 60)
    seen(observer, 35.0, 40)
    seen(observer, 55.0, 60)
    expected = population_stability_index(CLEAN.histogram, histogram_of([35.0] * 40 + [55.0] * 60))
    assert scraped(observer)["door"] == expected
    assert expected > 0.25


def test_the_drift_goes_away_with_the_hour_though_nobody_comes(fake_clock: FakeClock) -> None:
    observer = watching(fake_clock)
    seen(observer, 35.0, 60)
    assert scraped(observer)
    fake_clock.advance(WINDOW_S + 60)
    assert scraped(observer) == {}
    seen(observer, 35.0, 60)
    assert scraped(observer)


def test_faces_that_another_method_scored_say_nothing(fake_clock: FakeClock) -> None:
    observer = watching(fake_clock)
    seen(observer, 35.0, 200, method="sharpness")
    assert scraped(observer) == {}


def test_a_forgotten_camera_has_no_drift(fake_clock: FakeClock) -> None:
    observer = watching(fake_clock)
    seen(observer, 35.0, 60)
    assert scraped(observer)
    observer.forget_camera("door")
    assert scraped(observer) == {}


def test_the_window_holds_an_hour_of_faces_in_minutes(fake_clock: FakeClock) -> None:
    window = QualityWindow()
    for minute in range(300):
        for second in (0, 20, 40):
            window.add(50.0, minute * 60.0 + second)
        assert len(window._slots) <= 61
        assert sum(window.counts(minute * 60.0 + 40)) == 3 * min(minute + 1, 60)
    assert sum(window.counts(299 * 60.0 + 30 * 60)) == 3 * 30
    assert sum(window.counts(1e6)) == 0


def test_who_keeps_its_baseline_keeps_the_hour_that_was_counted(fake_clock: FakeClock) -> None:
    drift = Drift(fake_clock)
    drift.follow({"door": CLEAN, "gone": CLEAN})
    for camera in ("door", "gone"):
        for _ in range(LEAST_FACES):
            drift.face(camera, "serfiq", 75.0)
    drift.follow({"door": CLEAN, "new": CLEAN})
    assert {name: value is None for name, value in drift.values().items()} == {"door": False, "new": True}
    drift.follow({"door": replace(CLEAN, date="2026-02-12")})
    assert drift.values() == {"door": None}


def test_a_dark_hour_is_no_drift_where_the_same_hour_was_as_dark(fake_clock: FakeClock) -> None:
    dark, bright = histogram_of([35.0] * LEAST_OF_HOUR), histogram_of([75.0] * 9 * LEAST_OF_HOUR)
    whole = tuple(a + b for a, b in zip(dark, bright, strict=True))
    now = hour_of(fake_clock.unix_ms())
    known = replace(CLEAN, histogram=whole, hours={now: dark, (now + 1) % 24: bright})
    observer = watching(fake_clock)
    observer.drift.watch("door", known)
    seen(observer, 35.0, 100)
    assert scraped(observer)["door"] < 0.1
    assert observer.status()["cameras"]["door"]["quality_drift"] == {
        "index": scraped(observer)["door"],
        "faces": 100,
        "same_hour": True,
    }
    assert "quality_drift" not in observer.status()["cameras"]["lobby"]
    # The next hour should be bright, and the one after that is held against the whole day.
    for same_hour in (True, False):
        fake_clock.advance(WINDOW_S + 60)
        seen(observer, 35.0, 100)
        assert scraped(observer)["door"] > 0.25
        assert observer.status()["cameras"]["door"]["quality_drift"]["same_hour"] is same_hour
