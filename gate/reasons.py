"""Why a face was rejected: the one closed list that metrics, events, the page and the docs share."""

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
    Reason.TOO_SMALL: "the eyes are closer together than `decide.min_inter_eye_px`",
    Reason.TOO_LARGE: "the eyes are farther apart than `decide.max_inter_eye_px`",
    Reason.CUT_OFF: "too much of the face lies outside the picture",
    Reason.LOW_DETECTOR_SCORE: "the detector is less sure than `decide.min_detector_score`",
    Reason.YAW: "the head is turned to a side beyond the limit",
    Reason.PITCH: "the head is nodded up or down beyond the limit",
    Reason.ROLL: "the head is tilted beyond the limit",
    Reason.BLURRED: "the crop is less sharp than the limit",
    Reason.TOO_DARK: "the crop is darker than the limit",
    Reason.TOO_BRIGHT: "the crop is brighter than the limit",
    Reason.LOW_CONTRAST: "the crop's luminance hardly varies",
    Reason.OCCLUDED: "a part of the face is covered",
    Reason.LOW_QUALITY: "the calibrated quality is below `decide.min_quality`",
    Reason.OUTSIDE_ZONE: "the face is outside the camera's zone",
    Reason.DUPLICATE: "the same person was published a moment ago",
    Reason.STALE: "the frame was too old when its turn came",
}
