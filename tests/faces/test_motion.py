import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.faces.motion import Motion

START = np.array([100.0, 200.0, 60.0, 80.0])


def believed(motion: Motion) -> np.ndarray:
    return np.concatenate([motion.box_xywh, [motion.uncertainty_px]])


def walked(steps: int, dt_s: float = 0.04, speed_px_s: float = 90.0) -> Motion:
    motion = Motion(START)
    for step in range(1, steps + 1):
        motion.predict(dt_s)
        motion.correct(START + np.array([speed_px_s * dt_s * step, 0, 0, 0]))
    return motion


def test_a_new_box_is_believed_as_it_was_seen() -> None:
    assert Motion(START).box_xywh == pytest.approx(START)


def test_a_walk_is_extrapolated_at_its_speed() -> None:
    motion = walked(25)
    before = motion.box_xywh
    motion.predict(0.5)
    assert motion.box_xywh[0] - before[0] == pytest.approx(45, rel=0.1)
    assert motion.box_xywh[1:] == pytest.approx(START[1:], rel=0.02)


def test_the_learned_speed_does_not_depend_on_the_frame_rate() -> None:
    slow, fast = walked(10, dt_s=0.1), walked(50, dt_s=0.02)
    slow.predict(0.5)
    fast.predict(0.5)
    assert slow.box_xywh == pytest.approx(fast.box_xywh, rel=0.02)


@given(st.floats(0.01, 1.0), st.integers(2, 6))
def test_several_short_steps_are_one_long_step(dt_s: float, parts: int) -> None:
    once, often = walked(10), walked(10)
    once.predict(dt_s)
    for _ in range(parts):
        often.predict(dt_s / parts)
    # The noise follows the box's size, which hardly changes: not exact, but close.
    assert believed(often) == pytest.approx(believed(once), rel=0.01)


def test_uncertainty_grows_while_unseen_and_shrinks_when_seen() -> None:
    motion = walked(10)
    seen = motion.uncertainty_px
    motion.predict(0.5)
    unseen = motion.uncertainty_px
    motion.correct(motion.box_xywh)
    assert unseen > 3 * seen
    assert motion.uncertainty_px < unseen / 3


def test_somebody_coming_closer_is_expected_larger() -> None:
    motion, box = Motion(START), START.copy()
    for _ in range(25):
        motion.predict(0.04)
        box = box * np.array([1, 1, 1.02, 1.02])
        motion.correct(box)
    motion.predict(0.2)
    assert motion.box_xywh[2] > box[2] * 1.05


def test_strange_boxes_and_long_waits_stay_finite() -> None:
    motion = Motion(np.array([0.0, 0.0, 0.0, -3.0]))
    motion.predict(0.04)
    motion.correct(np.array([0.0, 0.0, 4000.0, 3000.0]))
    for _ in range(5):
        motion.predict(3600.0)
    assert np.isfinite(motion.box_xywh).all()
    assert (motion.box_xywh[2:] > 0).all()
