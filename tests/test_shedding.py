from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.reasons import Shed
from gate.shedding import CALM_S, LONGEST_CALM_S, RELAPSE_S, WINDOW_S, Shedding
from tests.conftest import FakeClock

OPINIONS, FRAMES = Shed.SECOND_OPINIONS, Shed.FRAMES


class Engine:
    """An engine that loses the share of its frames that the test says, and hears what is left out."""

    def __init__(self, clock: FakeClock, *, asks_again: bool = True) -> None:
        self.clock = clock
        self.paused = False
        self.changes: list[tuple[Shed, bool]] = []
        self.counts: Counter[Shed] = Counter()
        self.load = Shedding(clock, self, self.pause if asks_again else None)

    def pause(self, paused: bool) -> None:
        self.paused = paused

    def shedding(self, what: Shed, *, on: bool, lost_share: float) -> None:
        self.changes.append((what, on))

    def shed(self, what: Shed, count: int) -> None:
        self.counts[what] += count

    def run(self, seconds: float, lost: int, *, frames: int = 10, step_s: float = 0.5) -> None:
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            self.load.stepped(frames - lost, lost, step_s)


@pytest.fixture
def engine(fake_clock: FakeClock) -> Engine:
    return Engine(fake_clock)


def test_second_opinions_are_left_out_before_frames_and_come_back_after_them(engine: Engine) -> None:
    engine.run(WINDOW_S, lost=5)
    assert (engine.changes, engine.paused) == ([(OPINIONS, True)], True)
    engine.run(WINDOW_S, lost=5)
    assert list(engine.load.active) == [OPINIONS, FRAMES]
    engine.run(3 * CALM_S, lost=0)
    assert engine.changes == [(OPINIONS, True), (FRAMES, True), (FRAMES, False), (OPINIONS, False)]
    assert not engine.paused


def test_where_nobody_asks_twice_frames_are_next(fake_clock: FakeClock) -> None:
    engine = Engine(fake_clock, asks_again=False)
    engine.run(WINDOW_S, lost=5)
    assert engine.changes == [(FRAMES, True)]


def test_an_overload_that_lasts_is_told_once(engine: Engine) -> None:
    engine.run(600, lost=5)
    assert engine.changes == [(OPINIONS, True), (FRAMES, True)]


@pytest.mark.parametrize("lost", [0, 1])
def test_a_frame_lost_now_and_then_is_no_overload(engine: Engine, lost: int) -> None:
    engine.run(600, lost=lost)
    assert engine.changes == []


def test_a_burst_is_over_before_anything_is_left_out(engine: Engine) -> None:
    engine.run(0.5, lost=9)
    engine.run(60, lost=0)
    assert engine.changes == []


def test_an_engine_that_still_loses_a_few_takes_nothing_back(engine: Engine) -> None:
    engine.run(WINDOW_S, lost=5)
    engine.run(600, lost=1)
    assert engine.changes == [(OPINIONS, True)]


def test_frames_are_counted_from_when_they_are_shed(engine: Engine) -> None:
    engine.run(2 * WINDOW_S, lost=5)
    assert engine.counts == {}
    engine.run(WINDOW_S, lost=5)
    assert engine.counts == {FRAMES: 50}


def times_told(engine: Engine, seconds: float, lost_when: Callable[[Engine], int]) -> int:
    for _ in range(round(seconds / 0.5)):
        engine.run(0.5, lost=lost_when(engine))
    return len(engine.changes)


def test_an_engine_that_only_keeps_up_without_second_opinions_does_not_flap(engine: Engine) -> None:
    hour = times_told(engine, 3600, lambda engine: 0 if engine.paused else 5)
    assert 4 <= hour <= 24
    # Once the calm has grown to its longest, a relapse follows at most that often.
    assert times_told(engine, 3600, lambda engine: 0 if engine.paused else 5) - hour <= 2 * 3600 / LONGEST_CALM_S + 2


def test_an_overload_long_after_the_last_is_judged_anew(engine: Engine) -> None:
    for _ in range(3):
        engine.run(WINDOW_S, lost=5)
        engine.run(3 * CALM_S, lost=0)
        engine.run(2 * RELAPSE_S, lost=0)
        assert engine.load.active == ()
    assert engine.changes == [(OPINIONS, True), (OPINIONS, False)] * 3


def test_a_step_takes_no_more_frames_than_it_can_judge_in_time(fake_clock: FakeClock) -> None:
    engine = Engine(fake_clock, asks_again=False)
    assert engine.load.frames_at_once(0.5) is None
    engine.run(2 * WINDOW_S, lost=5, step_s=1.0)
    # Five frames a second: 0.2 s each.
    assert engine.load.frames_at_once(0.5) == 2
    assert engine.load.frames_at_once(0.1) == 1
    assert engine.load.frames_at_once(float("inf")) is None


@settings(max_examples=50, deadline=None)
@given(losses=st.lists(st.tuples(st.floats(0.01, 30), st.integers(0, 20), st.integers(0, 20)), max_size=60))
def test_frames_are_never_left_out_while_opinions_are_asked_for(losses: list[tuple[float, int, int]]) -> None:
    clock = FakeClock()
    engine = Engine(clock)
    for step_s, taken, lost in losses:
        clock.advance(step_s)
        engine.load.stepped(taken, lost, step_s)
        assert engine.paused or FRAMES not in engine.load.active
        assert engine.paused == (OPINIONS in engine.load.active)
    turns: dict[Shed, list[bool]] = {}
    for what, on in engine.changes:
        turns.setdefault(what, []).append(on)
    # Told once a change: on and off take turns, on first.
    assert all(found == [place % 2 == 0 for place in range(len(found))] for found in turns.values())
