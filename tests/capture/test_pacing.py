"""Time of files: pauses, loops, missing stamps and fewer frames than there are."""

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture.pacing import Decimator, Pacer, Timeline


class Skipping(threading.Event):
    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self.clock.advance(timeout or 0.0)
        return self.is_set()


@pytest.mark.parametrize(
    ("stamps_ms", "took_s"),
    [
        ([0, 40, 80], 0.08),
        ([5000, 5040], 0.04),
        ([0, 9000], 9.0),
        ([0, 40, 3_600_000, 3_600_040], 0.08),  # a cut in the recording
        ([0, 40, 0, 40], 0.08),  # time that jumps back
        ([], 0.0),
    ],
)
def test_pictures_wait_for_their_time_but_not_for_jumps(fake_clock: Any, stamps_ms: list[float], took_s: float) -> None:
    started_s = fake_clock.monotonic_s()
    pacer = Pacer(fake_clock, Skipping(fake_clock))

    for stamp_ms in stamps_ms:
        pacer.wait_for(stamp_ms)

    assert fake_clock.monotonic_s() - started_s == pytest.approx(took_s)


def test_a_stop_ends_the_wait(fake_clock: Any) -> None:
    stop = threading.Event()
    stop.set()
    pacer = Pacer(fake_clock, stop)
    pacer.wait_for(0.0)

    pacer.wait_for(9_000.0)  # returns at once, or the test would take nine seconds

    assert fake_clock.monotonic_s() == 1000.0


def stamped(timeline: Timeline, *stamps_ms: float | None) -> list[float]:
    return [timeline.stamp(stamp_ms) for stamp_ms in stamps_ms]


def test_time_goes_on_when_the_file_starts_again() -> None:
    timeline = Timeline()
    first = stamped(timeline, 80, 180, 280)
    timeline.restart()
    second = stamped(timeline, 80, 180, 280)
    timeline.restart()

    assert first + second + stamped(timeline, 80) == [80, 180, 280, 380, 480, 580, 680]


def test_missing_stamps_are_made_up_from_the_last_step() -> None:
    assert stamped(Timeline(), None, None, None) == [0, 40, 80]
    assert stamped(Timeline(), 0, 100, None, None, 400) == [0, 100, 200, 300, 400]


def test_a_files_time_never_goes_back() -> None:
    assert stamped(Timeline(), 0, 40, 20, 60) == [0, 40, 40, 60]
    assert stamped(Timeline(), 5000, 5040, 0, 40) == [5000, 5040, 5080, 5120]


@pytest.mark.parametrize(
    ("fps", "max_fps", "kept"), [(25, 10, 100), (25, 25, 250), (25, 30, 250), (30, 1, 10), (25, 12.5, 125)]
)
def test_a_wanted_rate_is_met_to_the_frame(fps: float, max_fps: float, kept: int) -> None:
    decimator = Decimator(max_fps)

    times = [1000 + n / fps for n in range(round(10 * fps))]

    assert sum(decimator.keeps(time_s) for time_s in times) == kept


def test_without_a_limit_everything_is_kept() -> None:
    assert all(Decimator(None).keeps(time_s) for time_s in (0.0, 0.0, -5.0, 3.0))


def test_after_a_pause_or_a_jump_back_the_next_picture_is_kept_and_no_burst_follows() -> None:
    decimator = Decimator(1.0)
    assert [decimator.keeps(t) for t in (0.0, 0.5, 60.0, 60.1, 60.2, 61.0, 3.0, 3.1, 4.0)] == [
        True, False, True, False, False, True, True, False, True,
    ]  # fmt: skip


@given(
    steps_s=st.lists(st.floats(min_value=0.001, max_value=3.0), min_size=1, max_size=200),
    max_fps=st.floats(min_value=0.5, max_value=60),
)
def test_no_more_than_the_limit_whatever_the_camera_does(steps_s: list[float], max_fps: float) -> None:
    decimator, time_s, kept = Decimator(max_fps), 0.0, 0
    for step_s in steps_s:
        kept += decimator.keeps(time_s)
        time_s += step_s

    assert 1 <= kept <= time_s * max_fps * 1.001 + 2
