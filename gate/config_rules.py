"""The rules of the gate: which faces pass, and when a visit is published; and those in which one camera differs.

`gate.config` offers these names too.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator
from pydantic.config import JsonDict

from gate.config_bars import QualityBar
from gate.config_section import Section


class DecideKeys(Section):
    """The keys of `decide` one by one. What must hold between them is said by `DecideConfig`."""

    min_detector_score: float = Field(default=0.7, ge=0, le=1)
    """Faces the detector is less sure of are rejected as `low_detector_score`."""

    min_inter_eye_px: float = Field(default=24.0, ge=0)
    """Faces whose eyes are closer together in the full frame are rejected as `too_small`."""

    max_inter_eye_px: float | None = Field(default=None, gt=0)
    """Faces whose eyes are farther apart in the full frame are rejected as `too_large`; null is no limit."""

    min_face_px: float | None = Field(default=None, gt=0)
    """Faces whose box is less high in the full frame are rejected as `too_small`, also turned ones whose eyes draw
    together; null is no limit."""

    max_face_px: float | None = Field(default=None, gt=0)
    """Faces whose box is higher in the full frame are rejected as `too_large`; null is no limit."""

    max_outside_share: float = Field(default=0.1, ge=0, le=1)
    """Faces with a larger share of their box outside the picture are rejected as `cut_off`."""

    approaching_only: bool = False
    """Faces whose box shrinks, of people who walk away, are rejected as `outside_zone`. Who stands still, or has not
    been seen for long enough to tell, passes."""

    direction_window_s: float = Field(default=1.0, ge=0.2, le=10)
    """How far back growing and shrinking is judged, in seconds; a longer window is surer and later."""

    max_yaw_deg: float = Field(default=50.0, gt=0, le=90)
    """Heads turned further to a side, in degrees, are rejected as `yaw`."""

    max_pitch_deg: float | None = Field(default=50.0, gt=0, le=90)
    """Heads nodded further up or down, in degrees, are rejected as `pitch`; null is no limit. Five landmarks tell pitch
    to some 10 degrees, so a bar below 25 also rejects faces that look straight ahead."""

    max_roll_deg: float = Field(default=45.0, gt=0, le=180)
    """Heads tilted further, in degrees, are rejected as `roll`."""

    min_sharpness: float | None = Field(default=25.0, ge=0, le=100)
    """Less sharp crops (0..100) are rejected as `blurred`; null is no limit. Clear faces have 60 to 85, visibly blurred
    ones 35 to 50, and below 25 there is no face to recognise."""

    min_luminance: float = Field(default=8.0, ge=0, le=100)
    """Darker crops (0..100) are rejected as `too_dark`."""

    max_luminance: float = Field(default=95.0, ge=0, le=100)
    """Brighter crops (0..100) are rejected as `too_bright`."""

    max_under_exposed_share: float | None = Field(default=None, ge=0, le=1)
    """Crops with a larger share (0..1) of pixels below a tenth of full linear light are rejected as `too_dark`; null is
    no limit. Dark skin counts too: one in twenty portraits of dark-skinned people has a share of 0.8, and of
    light-skinned ones 0.45."""

    max_over_exposed_share: float | None = Field(default=0.5, ge=0, le=1)
    """Crops with a larger share (0..1) of burnt-out pixels are rejected as `too_bright`; null is no limit."""

    min_contrast: float | None = Field(default=6.0, ge=0, le=100)
    """Crops whose luminance varies less (0..100) are rejected as `low_contrast`; null is no limit."""

    min_dynamic_range: float | None = Field(default=None, ge=0, le=100)
    """Crops with fewer shades (0..100, after ISO/IEC 29794-5) are rejected as `low_contrast`; null is no limit."""

    max_occlusion: float | None = Field(default=None, ge=0, le=100)
    """Faces that look more covered (0..100) are rejected as `occluded`; null is no limit. 50 finds 96 % of face masks
    and half of the hands and heads in front of a face, and takes 2 % of uncovered faces for covered, up to 10 % where
    the picture has no colour."""

    min_quality: QualityBar = 30.0
    """Faces of lower calibrated quality are rejected as `low_quality`. A number; or `{accept_rate: 0.9}`, the highest
    bar that accepts this share of the visits in `baseline`; or `{fnmr_at: {fmr: 1e-3, target: 0.01}, evaluation:
    FILE}`, the lowest bar at which a recognizer's false non-matches are at most the target, from the `results.json` of
    `gate evaluate`."""

    baseline: Path | None = None
    """`baseline.json` of `gate tune`: what `accept_rate` and the drift of a camera's quality are held against; null
    watches no drift."""

    keep_quality: float | None = Field(default=None, ge=0, le=100)
    """Once a face of a visit has reached `min_quality`, its faces down to this quality are accepted too, so that a
    visit near the bar does not flicker; null is `min_quality` itself."""

    on_enter: bool = True
    """Publish the first face of a visit that passes every bar: lowest latency at the door."""

    on_improve_by: float | None = Field(default=None, gt=0, le=100)
    """Publish a face that is better by this much quality than the one published last; null publishes none."""

    improve_every_s: float = Field(default=1.0, ge=0, le=3600)
    """Least time between a publication and an improvement on it, in seconds."""

    deadline_s: float | None = Field(default=None, gt=0, le=3600)
    """So long after a visit's first sight, in seconds, publish its best face so far, unless that is out already; null
    sets no deadline."""

    on_exit: bool = True
    """Publish the best accepted face when the visit ends."""

    shots: int = Field(default=1, ge=1, le=10)
    """Most faces published at a visit's end: the best, and others that differ from it and from one another in pose by
    15 degrees or in time by a second."""

    same_visit_s: float = Field(default=0.0, ge=0, le=60)
    """A face that appears where one was lost so short a time ago, in seconds, continues its visit, whose end waits as
    long. 0 ends a visit with its track: at a busy door the next face at the same place is the next person's."""

    duplicate_s: float | None = Field(default=None, gt=0, le=86400)
    """Reject faces as `duplicate` for so long, in seconds, after the same person was published in another visit of
    this camera's group; null compares nobody. Embeddings are kept in memory for that time and nowhere else."""

    duplicate_similarity: float = Field(default=0.5, ge=-1, le=1)
    """Cosine of two embeddings from which they are of the same person."""

    duplicate_group: str = "all"
    """Cameras of one group look for each other's duplicates."""

    max_scores_per_s: float | None = Field(default=20.0, gt=0, le=10_000)
    """Most faces of a camera that are scored in a second, on average: those that could change what is published, most
    urgent first. The others count as `unscored`. Each visit without an accepted face has its most promising one scored
    before it ends, whatever this says. null scores every face that passes the other bars."""

    max_frame_age_s: float = Field(default=2.0, gt=0, le=60)
    """Faces of frames older than this when their turn comes are rejected as `stale`. Not for `pace: fast` files."""


class DecideConfig(DecideKeys):
    """The bars a face must pass, and when a visit is published."""

    @property
    def quality_bar(self) -> float:
        """`min_quality` as a number. Raises `ValueError` where it is a wish that nobody has resolved yet."""
        if isinstance(self.min_quality, (int, float)):
            return self.min_quality
        raise ValueError("min_quality is no number before gate.thresholds.resolve has made one of it")

    @model_validator(mode="after")
    def _something_is_published(self) -> "DecideConfig":
        if not (self.on_enter or self.on_exit or self.on_improve_by is not None or self.deadline_s is not None):
            raise ValueError(
                "on_enter and on_exit are both false: no face would ever be published; set one to true, or a deadline_s"
            )
        if self.on_improve_by is not None and not (self.on_enter or self.deadline_s is not None):
            raise ValueError(
                "on_improve_by improves on a face that is out already; set on_enter to true or give a deadline_s"
            )
        return self

    @model_validator(mode="after")
    def _some_face_can_pass(self) -> "DecideConfig":
        for low, high in (
            ("min_inter_eye_px", "max_inter_eye_px"),
            ("min_face_px", "max_face_px"),
            ("min_luminance", "max_luminance"),
        ):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least >= most:
                raise ValueError(f"{low} {least:g} must be below {high} {most:g}, or no face could pass")
        return self

    @model_validator(mode="after")
    def _the_low_bar_is_not_the_high_one(self) -> "DecideConfig":
        high = self.min_quality
        if self.keep_quality is not None and isinstance(high, (int, float)) and self.keep_quality > high:
            raise ValueError(
                f"keep_quality {self.keep_quality:g} must not be above min_quality {high:g}; "
                "lower it, or remove it for a single bar"
            )
        return self


def _without_defaults(schema: JsonDict) -> None:
    """A key that is left out takes the value of `decide`, not the default of this program."""
    properties = schema.get("properties")
    for field in properties.values() if isinstance(properties, dict) else ():
        if isinstance(field, dict):
            field.pop("default", None)


class DecideOverrides(DecideKeys, json_schema_extra=_without_defaults):
    """The keys of `decide` in which one camera differs; the others are as in `decide`."""

    @model_serializer(mode="wrap")
    def _only_what_was_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A key written out with its default would no longer follow `decide`.
        return {key: value for key, value in write(self).items() if key in self.model_fields_set}

    def over(self, rules: DecideConfig) -> DecideConfig:
        """`rules` with the keys of this camera. Raises `ValueError`, in one line, when they do not fit together."""
        own = self.model_dump()
        if not own:
            return rules
        try:
            return DecideConfig.model_validate({**rules.model_dump(), **own})
        except ValidationError as error:
            broken = [problem["msg"].removeprefix("Value error, ") for problem in error.errors(include_url=False)]
            raise ValueError("; ".join(broken)) from None
