from typing import Protocol

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.capture.scene import Scene
from gate.capture.source import FrameSource
from gate.capture.virtual import VirtualSource, parse_virtual
from gate.errors import CaptureError, ConfigError


class MovableClock(Protocol):
    """What `fake_clock` offers."""

    def monotonic_s(self) -> float: ...
    def unix_ms(self) -> int: ...
    def advance(self, seconds: float) -> None: ...


def small_source(clock: MovableClock, *, duration_s: float | None = 1.0, realtime: bool = True) -> VirtualSource:
    return VirtualSource(
        seed=2, fps=10, width=320, height=180, duration_s=duration_s, realtime=realtime, clock=clock, wait=clock.advance
    )


def test_it_is_a_frame_source_that_is_live_in_real_time_only(fake_clock: MovableClock) -> None:
    source: FrameSource = small_source(fake_clock)
    assert source.label == "virtual:"
    assert source.live
    assert not small_source(fake_clock, realtime=False).live


def test_live_pictures_come_when_they_are_due_and_end_after_the_duration(fake_clock: MovableClock) -> None:
    source = small_source(fake_clock)
    source.open()
    start_s = fake_clock.monotonic_s()
    seen = []
    while (picture := source.read()) is not None:
        seen.append((picture.pts_ms, fake_clock.monotonic_s() - start_s))
    assert [pts_ms for pts_ms, _ in seen] == pytest.approx([100.0 * i for i in range(10)])
    assert [elapsed_s for _, elapsed_s in seen] == pytest.approx([0.1 * i for i in range(10)])
    assert source.read() is None


def test_a_late_reader_gets_the_picture_of_now(fake_clock: MovableClock) -> None:
    source = small_source(fake_clock, duration_s=None)
    source.open()
    source.read()
    fake_clock.advance(3.07)
    late, following = source.read(), source.read()
    assert late is not None
    assert following is not None
    assert late.pts_ms == pytest.approx(3000.0)
    assert following.pts_ms == pytest.approx(3100.0)


def test_without_real_time_every_picture_comes_and_nothing_waits(fake_clock: MovableClock) -> None:
    source = small_source(fake_clock, realtime=False)
    source.open()
    before_s = fake_clock.monotonic_s()
    fake_clock.advance(0.55)
    stamps = []
    while (picture := source.read()) is not None:
        stamps.append(picture.pts_ms)
    assert stamps == pytest.approx([100.0 * i for i in range(10)])
    assert fake_clock.monotonic_s() == pytest.approx(before_s + 0.55)


def test_pictures_are_the_scene_of_that_seed_and_the_truth_goes_with_them(fake_clock: MovableClock) -> None:
    source = small_source(fake_clock, realtime=False, duration_s=0.4)
    source.open()
    scene = Scene(2, 320, 180, 10)
    for index in range(4):
        picture = source.read()
        assert picture is not None
        image, truth = scene.frame(index)
        assert np.array_equal(picture.image, image)
        assert source.truth is not None
        assert source.truth.t_s == truth.t_s


def test_reading_before_opening_is_an_error_and_closing_ends_the_stream(fake_clock: MovableClock) -> None:
    source = small_source(fake_clock)
    with pytest.raises(CaptureError, match="before it was opened"):
        source.read()
    source.open()
    source.close()
    source.close()
    assert source.read() is None


@given(
    st.integers(min_value=0, max_value=2**32 - 1),
    st.floats(min_value=0.1, max_value=240),
    st.floats(min_value=0.001, max_value=1e6),
)
def test_what_an_address_says_is_what_the_source_gets(seed: int, fps: float, seconds: float) -> None:
    options = parse_virtual(f"virtual:?seed={seed}&fps={fps!r}&seconds={seconds!r}")
    assert options == {"seed": seed, "fps": fps, "duration_s": seconds}


def test_everything_may_be_left_out() -> None:
    assert parse_virtual("virtual:") == parse_virtual("VIRTUAL:?") == {}
    assert parse_virtual("virtual:?fps=10") == {"fps": 10.0}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "virtual",
        "webcam:0",
        "virtual://host",
        "virtual:seed=1",
        "virtual:?seed",
        "virtual:?seed=",
        "virtual:?seed=-1",
        "virtual:?seed=1.5",
        "virtual:?seed=99999999999",
        "virtual:?fps=0",
        "virtual:?fps=nan",
        "virtual:?fps=inf",
        "virtual:?fps=1e9",
        "virtual:?seconds=-3",
        "virtual:?seconds=soon",
        "virtual:?seed=1&seed=2",
        "virtual:?sead=1",
        "virtual:?&",
    ],
)
def test_nonsense_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match=r"virtual:\?seed=3&fps=10&seconds=20"):
        parse_virtual(url)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"virtual:{text}", f"virtual:?{text}"):
        try:
            options = parse_virtual(url)
        except ConfigError:
            continue
        assert set(options) <= {"seed", "fps", "duration_s"}
