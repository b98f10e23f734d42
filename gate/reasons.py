"""Why a face was rejected, why the gate fell back, what it leaves out: closed lists for metrics, page and docs."""

from enum import Enum


class Reason(str, Enum):
    """A cause of rejection; the value is what metrics and events carry."""

    TOO_SMALL = "too_small"
    TOO_LARGE = "too_large"
    CUT_OFF = "cut_off"
    LOW_DETECTOR_SCORE = "low_detector_score"
    YAW = "yaw"
    PITCH = "pitch"
    ROLL = "roll"
    BLURRED = "blurred"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    LOW_CONTRAST = "low_contrast"
    OCCLUDED = "occluded"
    LOW_QUALITY = "low_quality"
    OUTSIDE_ZONE = "outside_zone"
    DUPLICATE = "duplicate"
    STALE = "stale"

    @property
    def meaning(self) -> str:
        """One line for documentation and the page."""
        return _MEANINGS[self]


_MEANINGS = {
    Reason.TOO_SMALL: "the face is smaller than `decide.min_inter_eye_px` or `min_face_px`",
    Reason.TOO_LARGE: "the face is larger than `decide.max_inter_eye_px` or `max_face_px`",
    Reason.CUT_OFF: "more of the face than `decide.max_outside_share` lies outside the picture",
    Reason.LOW_DETECTOR_SCORE: "the detector is less sure than `decide.min_detector_score`",
    Reason.YAW: "the head is turned to a side beyond `decide.max_yaw_deg`",
    Reason.PITCH: "the head is nodded up or down beyond `decide.max_pitch_deg`",
    Reason.ROLL: "the head is tilted beyond `decide.max_roll_deg`",
    Reason.BLURRED: "the crop is less sharp than `decide.min_sharpness`",
    Reason.TOO_DARK: "the crop is darker than `decide.min_luminance`, or `max_under_exposed_share` of it is dark",
    Reason.TOO_BRIGHT: "the crop is brighter than `decide.max_luminance`, or `max_over_exposed_share` of it is white",
    Reason.LOW_CONTRAST: "the crop's luminance varies less than `decide.min_contrast` or `min_dynamic_range`",
    Reason.OCCLUDED: "the face looks more covered than `decide.max_occlusion`",
    Reason.LOW_QUALITY: "the calibrated quality is below `decide.min_quality`, or `keep_quality` if one has passed",
    Reason.OUTSIDE_ZONE: "the face is outside the camera's `zones`, or moves away and `decide.approaching_only` is set",
    Reason.DUPLICATE: "the same person was published a moment ago",
    Reason.STALE: "the frame was too old when its turn came",
}


class FallbackCause(str, Enum):
    """Why the gate took a weaker way; the value is what metrics and the log carry."""

    WEIGHTS = "weights"
    SELF_TEST = "self_test"
    NOT_FINITE = "not_finite"
    FAILED = "failed"
    KEEPS_FAILING = "keeps_failing"
    DEVICE = "device"
    BORDERLINE = "borderline"
    CONTEXT_LEFT_OUT = "context_left_out"

    @property
    def meaning(self) -> str:
        """One line for documentation."""
        return _FALLBACK_MEANINGS[self]


_FALLBACK_MEANINGS = {
    FallbackCause.WEIGHTS: "a method's weights are missing, damaged or of another network; the next method scores",
    FallbackCause.SELF_TEST: "a method failed its self-test; the next method scores",
    FallbackCause.NOT_FINITE: "a method gave no number for some faces of a batch; the next method scored those",
    FallbackCause.FAILED: "a method broke off on a batch; the next method scored it",
    FallbackCause.KEEPS_FAILING: "a method failed for some faces of several batches in a row; the next method scores",
    FallbackCause.DEVICE: "a method's device failed; the same method goes on on the CPU",
    FallbackCause.BORDERLINE: "faces close to the bar were scored by the next method too, whose word counts",
    FallbackCause.CONTEXT_LEFT_OUT: "the picture around a face was too large for an event; the face went without it",
}


class Shed(str, Enum):
    """What an engine that cannot keep up leaves out, in this order; the value is what metrics and the log carry."""

    SECOND_OPINIONS = "second_opinions"
    FRAMES = "frames"

    @property
    def meaning(self) -> str:
        """One line for documentation."""
        return _SHED_MEANINGS[self]


_SHED_MEANINGS = {
    Shed.SECOND_OPINIONS: "faces close to the bar, about which no second method is asked",
    Shed.FRAMES: "frames that newer ones of their camera replaced; a step takes only as many as it can judge in time",
}
