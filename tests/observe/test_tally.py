import json
import math
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.observe.table import Outcome, VisitResult
from gate.observe.tally import Tally
from gate.observe.windows import RateWindow, Recent
from gate.reasons import Reason


class Clock(Protocol):
    now_s: float

    def monotonic_s(self) -> float: ...

    def unix_ms(self) -> int: ...

    def advance(self, seconds: float) -> None: ...


class StoppedClock:
    def monotonic_s(self) -> float:
        return 5.0

    def unix_ms(self) -> int:
        return 1_700_000_000_000


@pytest.fixture
def tally(fake_clock: Clock) -> Tally:
    tally = Tally(fake_clock)
    tally.add_camera("door")
    return tally


reports = st.lists(
    st.tuples(
        st.sampled_from(["door", "lobby", "gone"]),
        st.one_of(
            st.tuples(st.just("frames"), st.sampled_from(Outcome), st.integers(1, 9)),
            st.tuples(st.just("face"), st.one_of(st.none(), st.sampled_from(Reason)), st.floats(0, 100)),
            st.tuples(st.just("visit"), st.sampled_from(VisitResult), st.none()),
            st.tuples(st.just("published"), st.sampled_from(["face", "visit_end"]), st.floats(0, 60)),
        ),
    ),
    max_size=60,
)


def play(tally: Tally, camera: str, report: tuple[str, Any, Any]) -> None:
    kind, what, number = report
    if kind == "frames":
        tally.frames(camera, what, number)
    elif kind == "face":
        tally.face(camera, accepted=what is None, reason=what or "", quality=number)
    elif kind == "visit":
        tally.visit(camera, what)
    else:
        tally.published(camera, what, number)


@given(reports)
def test_the_total_is_the_sum_of_the_cameras_and_of_the_reports(
    story: list[tuple[str, tuple[str, Any, Any]]],
) -> None:
    tally = Tally(StoppedClock())
    for camera in ("door", "lobby"):
        tally.add_camera(camera)
    for camera, report in story:
        play(tally, camera, report)
    total = tally.summary()
    known = [report for camera, report in story if camera != "gone"]
    cameras = tally.snapshot()["cameras"].values()
    assert total["faces"]["rejected"] == sum(total["faces"]["reasons"].values())
    assert total["faces"]["accepted"] + total["faces"]["rejected"] == sum(r[0] == "face" for _, r in story)
    assert sum(total["frames"].values()) == sum(r[2] for _, r in story if r[0] == "frames")
    assert sum(total["visits"].values()) == sum(r[0] == "visit" for _, r in story)
    assert total["published"] == sum(r[0] == "published" for _, r in story)
    assert sum(camera["published"] for camera in cameras) == sum(r[0] == "published" for r in known)
    assert sum(camera["faces"]["rejected"] for camera in cameras) == sum(r[0] == "face" and bool(r[1]) for r in known)
    json.dumps(tally.snapshot(), allow_nan=False)


def test_the_summary_has_its_published_keys(tally: Tally) -> None:
    tally.frames("door", Outcome.DROPPED, 3)
    tally.face("door", accepted=False, reason=Reason.BLURRED, quality=12.0)
    tally.unscored("door")
    tally.visit("door", VisitResult.UNUSABLE)
    tally.published("door", "visit_end", math.nan)
    tally.lost("overflow", 2)
    tally.lost("closed", 1)
    tally.lost("overflow", 1)
    assert tally.summary() == {
        "frames": {"processed": 0, "dropped": 3, "corrupt": 0},
        "faces": {"accepted": 0, "rejected": 1, "unscored": 1, "reasons": {"blurred": 1}},
        "visits": {"published": 0, "unusable": 1},
        "published": 1,
        "latency_ms": {"p50": None, "p95": None, "p99": None},
        "lost": {"overflow": 3, "closed": 1},
    }


def test_latency_is_that_of_faces_in_milliseconds(tally: Tally) -> None:
    for hundredth in range(1, 101):
        tally.published("door", "face", hundredth / 100)
        tally.published("door", "visit_end", 30.0)
    assert tally.summary()["latency_ms"] == {"p50": 500.0, "p95": 950.0, "p99": 990.0}


def test_the_best_quality_is_of_this_visit_and_until_the_next_face_of_the_last(tally: Tally) -> None:
    def best() -> float | None:
        found: float | None = tally.snapshot()["cameras"]["door"]["best_quality"]
        return found

    assert best() is None
    for quality in (40.0, 71.26, None, math.nan, 55.0):
        tally.face("door", accepted=True, quality=quality)
    assert best() == 71.3
    tally.visit("door", VisitResult.PUBLISHED)
    assert best() == 71.3
    tally.face("door", accepted=False, reason=Reason.LOW_QUALITY, quality=20.0)
    assert best() == 20.0
    tally.visit("door", VisitResult.UNUSABLE)
    tally.visit("door", VisitResult.UNUSABLE)
    assert best() == 20.0


def test_a_forgotten_camera_stays_in_the_total(tally: Tally) -> None:
    tally.frames("door", Outcome.PROCESSED, 7)
    tally.forget_camera("door")
    tally.frames("door", Outcome.PROCESSED)
    tally.decoded("door", 1)
    tally.camera("door", "up")
    assert tally.snapshot()["cameras"] == {}
    assert tally.summary()["frames"]["processed"] == 8


def test_a_camera_is_connecting_until_told_otherwise(tally: Tally) -> None:
    assert tally.snapshot()["cameras"]["door"]["state"] == "connecting"
    tally.camera("door", "lost", "timeout")
    tally.add_camera("door")
    camera = tally.snapshot()["cameras"]["door"]
    assert (camera["state"], camera["cause"]) == ("lost", "timeout")
    tally.camera("door", "up")
    assert tally.snapshot()["cameras"]["door"]["cause"] is None


def test_the_snapshot_tells_how_redis_is_and_what_waits(tally: Tally) -> None:
    tally.redis("away", "refused")
    tally.waiting(3, 4096)
    tally.lost("overflow", 2)
    tally.lost("overflow", 1)
    assert tally.snapshot()["redis"] == {
        "state": "away",
        "cause": "refused",
        "waiting_events": 3,
        "waiting_bytes": 4096,
        "lost": {"overflow": 3},
    }


def test_the_frame_rate_is_that_of_the_last_ten_seconds(tally: Tally, fake_clock: Clock) -> None:
    def fps() -> float:
        found: float = tally.snapshot()["total"]["fps"]
        return found

    for _ in range(500):
        fake_clock.advance(0.04)
        tally.decoded("door", 1_700_000_000_123)
    assert fps() == pytest.approx(25, abs=0.3)
    fake_clock.advance(5)
    assert fps() == pytest.approx(12.5, abs=0.3)
    fake_clock.advance(6)
    assert fps() == 0
    assert tally.snapshot()["cameras"]["door"]["last_frame_ms"] == 1_700_000_000_123
    assert tally.snapshot()["uptime_s"] == 31.0


def test_a_rate_counts_from_its_first_value() -> None:
    rate = RateWindow()
    assert rate.per_second(0.0) == 0
    for step in range(50):
        rate.add(step / 25)
    assert rate.per_second(2.0) == pytest.approx(25)


def test_a_rate_of_any_height_takes_the_same_memory() -> None:
    rate = RateWindow()
    for step in range(20_000):
        rate.add(step / 1000)
    assert rate.per_second(20.0) == pytest.approx(1000, rel=0.02)
    assert len(rate._slots) <= 101


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.integers(1, 20))
def test_percentiles_are_numbers_among_the_last_ones(values: list[float], size: int) -> None:
    recent = Recent(size)
    for value in values:
        recent.add(value)
    kept = sorted(values[-size:])
    assert recent.percentiles(0, 100) == [kept[0], kept[-1]]
    found = recent.percentiles(50)
    assert found is not None
    assert sum(value <= found[0] for value in kept) * 2 >= len(kept)
    assert sum(value < found[0] for value in kept) * 2 < len(kept)
