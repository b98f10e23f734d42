"""The bars a face must pass: cheap ones first, so that hopeless faces never reach a network."""

import math
from dataclasses import dataclass

from gate.config import DecideConfig
from gate.reasons import Reason
from gate.types import Face, Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What must be known of a face beside its own looks."""

    age_s: float
    """How old its frame is."""

    outside_share: float
    """Share of its box outside the picture, 0..1."""

    in_zone: bool = True
    """Whether it is where faces count."""

    receding: bool = False
    """Whether it is known to move away from the camera."""


def cheap_reasons(bars: DecideConfig, face: Face, signals: Signals, at: Circumstances) -> list[Reason]:
    """What speaks against a face before any network has looked at it, the decisive reason first.

    Args:
        bars: The limits of its camera; a value at a limit passes.
        face: The detection.
        signals: Its measurements; a NaN fails its bar.
        at: When and where.
    """
    height_px = float(face.box_xywh[3])
    passes = {
        Reason.STALE: at.age_s <= bars.max_frame_age_s,
        Reason.LOW_DETECTOR_SCORE: face.score >= bars.min_detector_score,
        Reason.OUTSIDE_ZONE: at.in_zone and not (bars.approaching_only and at.receding),
        Reason.TOO_SMALL: signals.inter_eye_px >= bars.min_inter_eye_px and _at_least(height_px, bars.min_face_px),
        Reason.TOO_LARGE: _at_most(signals.inter_eye_px, bars.max_inter_eye_px)
        and _at_most(height_px, bars.max_face_px),
        Reason.CUT_OFF: at.outside_share <= bars.max_outside_share,
        Reason.YAW: abs(signals.yaw_deg) <= bars.max_yaw_deg,
        Reason.PITCH: _at_most(abs(signals.pitch_deg), bars.max_pitch_deg),
        Reason.ROLL: abs(signals.roll_deg) <= bars.max_roll_deg,
        Reason.TOO_DARK: signals.luminance >= bars.min_luminance
        and _at_most(signals.under_exposed_share, bars.max_under_exposed_share),
        Reason.TOO_BRIGHT: signals.luminance <= bars.max_luminance
        and _at_most(signals.over_exposed_share, bars.max_over_exposed_share),
        Reason.LOW_CONTRAST: _at_least(signals.contrast, bars.min_contrast)
        and _at_least(signals.dynamic_range, bars.min_dynamic_range),
        Reason.BLURRED: _at_least(signals.sharpness, bars.min_sharpness),
        Reason.OCCLUDED: _at_most(signals.occlusion, bars.max_occlusion),
    }
    return [reason for reason, passed in passes.items() if not passed]


def quality_reasons(bars: DecideConfig, quality: float, *, passed_before: bool = False) -> list[Reason]:
    """What the calibrated quality speaks against a face.

    Args:
        bars: The limits of its camera.
        quality: 0..100; not-a-number is low.
        passed_before: Whether a face of its visit has reached `min_quality`: from then on `keep_quality` is enough.
    """
    bar = bars.quality_bar
    if passed_before and bars.keep_quality is not None:
        bar = bars.keep_quality
    return [] if math.isfinite(quality) and quality >= bar else [Reason.LOW_QUALITY]


def _at_least(value: float, bar: float | None) -> bool:
    return bar is None or value >= bar


def _at_most(value: float, bar: float | None) -> bool:
    return bar is None or value <= bar
