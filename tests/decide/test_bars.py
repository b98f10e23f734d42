import math
from collections.abc import Callable

import numpy as np
import pytest

from gate.config import DecideConfig
from gate.decide.bars import Circumstances, cheap_reasons, quality_reasons
from gate.reasons import Reason
from gate.types import Face, Signals

BARS = DecideConfig()
HERE = Circumstances(age_s=0.1, outside_share=0.0)

LIMITED = DecideConfig(
    max_inter_eye_px=200,
    min_face_px=50,
    max_face_px=400,
    max_pitch_deg=30,
    min_sharpness=40,
    max_under_exposed_share=0.25,
    max_over_exposed_share=0.125,
    min_contrast=15,
    min_dynamic_range=60,
    max_occlusion=50,
    approaching_only=True,
)
"""Every bar is set."""

# Key of the rules, signal, reason; -1 and +1 say on which side of the bar a value fails.
SIGNAL_BARS = [
    ("min_inter_eye_px", "inter_eye_px", -1, Reason.TOO_SMALL),
    ("max_inter_eye_px", "inter_eye_px", +1, Reason.TOO_LARGE),
    ("max_yaw_deg", "yaw_deg", +1, Reason.YAW),
    ("max_pitch_deg", "pitch_deg", +1, Reason.PITCH),
    ("max_roll_deg", "roll_deg", +1, Reason.ROLL),
    ("min_sharpness", "sharpness", -1, Reason.BLURRED),
    ("min_luminance", "luminance", -1, Reason.TOO_DARK),
    ("max_luminance", "luminance", +1, Reason.TOO_BRIGHT),
    ("max_under_exposed_share", "under_exposed_share", +1, Reason.TOO_DARK),
    ("max_over_exposed_share", "over_exposed_share", +1, Reason.TOO_BRIGHT),
    ("min_contrast", "contrast", -1, Reason.LOW_CONTRAST),
    ("min_dynamic_range", "dynamic_range", -1, Reason.LOW_CONTRAST),
    ("max_occlusion", "occlusion", +1, Reason.OCCLUDED),
]


def a_face(score: float = 0.9, height_px: float = 120.0) -> Face:
    return Face(np.array([0, 0, 90, height_px], np.float32), np.zeros((5, 2), np.float32), score)


def beyond(bar: float, side: int) -> float:
    return math.nextafter(bar, side * math.inf)


def test_a_good_face_passes_every_cheap_bar(make_signals: Callable[..., Signals]) -> None:
    assert cheap_reasons(BARS, a_face(), make_signals(), HERE) == []
    assert cheap_reasons(LIMITED, a_face(), make_signals(), HERE) == []


@pytest.mark.parametrize(("key", "signal", "side", "reason"), SIGNAL_BARS)
def test_a_signal_at_its_bar_passes_and_just_beyond_it_does_not(
    key: str, signal: str, side: int, reason: Reason, make_signals: Callable[..., Signals]
) -> None:
    bar = getattr(LIMITED, key)
    assert cheap_reasons(LIMITED, a_face(), make_signals(**{signal: bar}), HERE) == []
    assert cheap_reasons(LIMITED, a_face(), make_signals(**{signal: beyond(bar, side)}), HERE) == [reason]


@pytest.mark.parametrize(
    ("key", "signal", "reason"), [row[:2] + row[3:] for row in SIGNAL_BARS if row[0].endswith("_deg")]
)
def test_angles_count_to_either_side(
    key: str, signal: str, reason: Reason, make_signals: Callable[..., Signals]
) -> None:
    bar = getattr(LIMITED, key)
    assert cheap_reasons(LIMITED, a_face(), make_signals(**{signal: -bar}), HERE) == []
    assert cheap_reasons(LIMITED, a_face(), make_signals(**{signal: beyond(-bar, -1)}), HERE) == [reason]


@pytest.mark.parametrize(
    ("key", "signal", "side"),
    [row[:3] for row in SIGNAL_BARS if DecideConfig.model_fields[row[0]].annotation == float | None],
)
def test_a_bar_that_is_null_rejects_nothing(
    key: str, signal: str, side: int, make_signals: Callable[..., Signals]
) -> None:
    off = LIMITED.model_copy(update={key: None})
    assert cheap_reasons(off, a_face(), make_signals(**{signal: beyond(getattr(LIMITED, key), side)}), HERE) == []


@pytest.mark.parametrize(("key", "signal", "side", "reason"), SIGNAL_BARS)
def test_a_signal_that_is_not_a_number_fails_its_bar(
    key: str, signal: str, side: int, reason: Reason, make_signals: Callable[..., Signals]
) -> None:
    assert reason in cheap_reasons(LIMITED, a_face(), make_signals(**{signal: math.nan}), HERE)


@pytest.mark.parametrize(
    ("height_px", "reasons"),
    [(50.0, []), (49.5, [Reason.TOO_SMALL]), (400.0, []), (400.5, [Reason.TOO_LARGE])],
)
def test_the_height_of_the_box_has_bars_of_its_own(
    height_px: float, reasons: list[Reason], make_signals: Callable[..., Signals]
) -> None:
    assert cheap_reasons(LIMITED, a_face(height_px=height_px), make_signals(), HERE) == reasons
    assert cheap_reasons(BARS, a_face(height_px=height_px), make_signals(), HERE) == []


@pytest.mark.parametrize(
    ("at", "reasons"),
    [
        (Circumstances(age_s=2.0, outside_share=0.1), []),
        (Circumstances(age_s=2.001, outside_share=0.0), [Reason.STALE]),
        (Circumstances(age_s=0.0, outside_share=0.1001), [Reason.CUT_OFF]),
        (Circumstances(age_s=0.0, outside_share=0.0, in_zone=False), [Reason.OUTSIDE_ZONE]),
        (Circumstances(age_s=0.0, outside_share=0.0, receding=True), [Reason.OUTSIDE_ZONE]),
    ],
)
def test_when_and_where_a_face_was_seen_counts(
    at: Circumstances, reasons: list[Reason], make_signals: Callable[..., Signals]
) -> None:
    assert cheap_reasons(LIMITED, a_face(), make_signals(), at) == reasons


def test_who_walks_away_passes_unless_only_approaching_faces_are_wanted(make_signals: Callable[..., Signals]) -> None:
    leaving = Circumstances(age_s=0.0, outside_share=0.0, receding=True)
    assert cheap_reasons(BARS, a_face(), make_signals(), leaving) == []


@pytest.mark.parametrize(("score", "reasons"), [(0.7, []), (0.6999, [Reason.LOW_DETECTOR_SCORE])])
def test_a_detection_the_detector_is_less_sure_of_is_rejected(
    score: float, reasons: list[Reason], make_signals: Callable[..., Signals]
) -> None:
    assert cheap_reasons(BARS, a_face(score), make_signals(), HERE) == reasons


def test_a_face_can_have_several_reasons_and_the_decisive_one_is_first(make_signals: Callable[..., Signals]) -> None:
    at = Circumstances(age_s=99.0, outside_share=0.9)
    reasons = cheap_reasons(BARS, a_face(0.1), make_signals(inter_eye_px=1.0, sharpness=1.0), at)
    assert reasons == [Reason.STALE, Reason.LOW_DETECTOR_SCORE, Reason.TOO_SMALL, Reason.CUT_OFF, Reason.BLURRED]


def test_every_reason_but_those_of_whole_visits_can_be_given(make_signals: Callable[..., Signals]) -> None:
    at = Circumstances(age_s=99.0, outside_share=0.9, in_zone=False)
    low = {signal: getattr(LIMITED, key) - 1 for key, signal, side, _ in SIGNAL_BARS if side < 0}
    high = {signal: getattr(LIMITED, key) + 1 for key, signal, side, _ in SIGNAL_BARS if side > 0}
    given = {
        reason for changes in (low, high) for reason in cheap_reasons(LIMITED, a_face(0.1), make_signals(**changes), at)
    }
    assert given | set(quality_reasons(LIMITED, 0.0)) == set(Reason) - {Reason.DUPLICATE}


@pytest.mark.parametrize("quality", [math.nan, math.inf, -1.0, beyond(BARS.quality_bar, -1)])
@pytest.mark.parametrize("passed_before", [False, True])
def test_a_quality_below_the_bar_or_not_a_number_is_rejected(quality: float, passed_before: bool) -> None:
    assert quality_reasons(BARS, quality, passed_before=passed_before) == [Reason.LOW_QUALITY]


def test_a_quality_at_the_bar_passes() -> None:
    assert quality_reasons(BARS, BARS.quality_bar) == []


def test_a_visit_that_has_passed_keeps_faces_down_to_the_low_bar() -> None:
    rules = DecideConfig(min_quality=50, keep_quality=40)
    assert quality_reasons(rules, 45.0) == [Reason.LOW_QUALITY]
    assert quality_reasons(rules, 40.0, passed_before=True) == []
    assert quality_reasons(rules, beyond(40.0, -1), passed_before=True) == [Reason.LOW_QUALITY]
    assert quality_reasons(rules, math.nan, passed_before=True) == [Reason.LOW_QUALITY]


def test_every_reason_has_a_meaning() -> None:
    assert all(reason.meaning for reason in Reason)
