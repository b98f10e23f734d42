import math
from collections.abc import Callable

import pytest

from gate.config import DecideConfig
from gate.decide.bars import cheap_reasons, quality_reasons
from gate.reasons import Reason
from gate.types import Face, Signals

BARS = DecideConfig()


def test_a_good_face_passes_every_cheap_bar(
    make_detection: Callable[..., Face], make_signals: Callable[..., Signals]
) -> None:
    assert cheap_reasons(BARS, make_detection(), make_signals(), outside_share=0.0, age_s=0.1) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"inter_eye_px": BARS.min_inter_eye_px - 1}, Reason.TOO_SMALL),
        ({"yaw_deg": BARS.max_yaw_deg + 1}, Reason.YAW),
        ({"yaw_deg": -BARS.max_yaw_deg - 1}, Reason.YAW),
        ({"roll_deg": BARS.max_roll_deg + 1}, Reason.ROLL),
        ({"luminance": BARS.min_luminance - 1}, Reason.TOO_DARK),
        ({"luminance": BARS.max_luminance + 1}, Reason.TOO_BRIGHT),
        ({"inter_eye_px": math.nan}, Reason.TOO_SMALL),
    ],
)
def test_each_bad_signal_gives_its_reason(
    changes: dict[str, float],
    reason: Reason,
    make_detection: Callable[..., Face],
    make_signals: Callable[..., Signals],
) -> None:
    assert cheap_reasons(BARS, make_detection(), make_signals(**changes), outside_share=0.0, age_s=0.1) == [reason]


def test_a_face_can_have_several_reasons(
    make_detection: Callable[..., Face], make_signals: Callable[..., Signals]
) -> None:
    reasons = cheap_reasons(BARS, make_detection(0.1), make_signals(inter_eye_px=1.0), outside_share=0.9, age_s=99.0)
    assert reasons == [Reason.STALE, Reason.LOW_DETECTOR_SCORE, Reason.TOO_SMALL, Reason.CUT_OFF]


@pytest.mark.parametrize("quality", [math.nan, -1.0, BARS.min_quality - 0.01])
def test_a_quality_below_the_bar_or_not_a_number_is_rejected(quality: float) -> None:
    assert quality_reasons(BARS, quality) == [Reason.LOW_QUALITY]


def test_a_quality_at_the_bar_passes() -> None:
    assert quality_reasons(BARS, BARS.min_quality) == []


def test_every_reason_has_a_meaning() -> None:
    assert all(reason.meaning for reason in Reason)
