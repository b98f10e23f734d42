"""The bars a face must pass: cheap ones first, so that hopeless faces never reach a network."""

import math

from gate.config import DecideConfig
from gate.reasons import Reason
from gate.types import Face, Signals


def cheap_reasons(bars: DecideConfig, face: Face, signals: Signals, outside_share: float, age_s: float) -> list[Reason]:
    """What speaks against a face before any network has looked at it, the decisive reason first.

    Args:
        bars: The limits.
        face: The detection.
        signals: Its measurements; a NaN fails its bar.
        outside_share: Share of the box outside the picture, 0..1.
        age_s: How old the frame is.
    """
    passes = {
        Reason.STALE: age_s <= bars.max_frame_age_s,
        Reason.LOW_DETECTOR_SCORE: face.score >= bars.min_detector_score,
        Reason.TOO_SMALL: signals.inter_eye_px >= bars.min_inter_eye_px,
        Reason.CUT_OFF: outside_share <= bars.max_outside_share,
        Reason.YAW: abs(signals.yaw_deg) <= bars.max_yaw_deg,
        Reason.ROLL: abs(signals.roll_deg) <= bars.max_roll_deg,
        Reason.TOO_DARK: signals.luminance >= bars.min_luminance,
        Reason.TOO_BRIGHT: signals.luminance <= bars.max_luminance,
    }
    return [reason for reason, passed in passes.items() if not passed]


def quality_reasons(bars: DecideConfig, quality: float) -> list[Reason]:
    """What the calibrated quality (0..100) speaks against a face; not-a-number is low."""
    return [] if math.isfinite(quality) and quality >= bars.min_quality else [Reason.LOW_QUALITY]
