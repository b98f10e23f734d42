"""The whole configuration: one YAML file, every key written down here and nowhere else.

Unknown keys are refused and the nearest known one is named. Field descriptions feed the JSON Schema
(`gate config schema`) and the reference in the docs.
"""

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from gate.config_camera import CameraConfig, CameraKind, CameraName, Decode, kind_of
from gate.config_delivery import RedisConfig, SpoolConfig
from gate.config_http import HttpConfig, PageConfig, TlsConfig
from gate.config_problems import causes, explain
from gate.config_quality import FallbackConfig, QualityConfig, SecondOpinionConfig
from gate.config_rules import DecideConfig, DecideOverrides
from gate.config_section import Section
from gate.config_tracing import TracingConfig
from gate.config_zones import ZonesConfig
from gate.errors import ConfigError
from gate.inference import Backend

__all__ = [
    "CameraConfig",
    "CameraKind",
    "CameraName",
    "DecideConfig",
    "DecideOverrides",
    "Decode",
    "DetectorConfig",
    "FallbackConfig",
    "GateConfig",
    "HttpConfig",
    "LogConfig",
    "PageConfig",
    "QualityConfig",
    "RedisConfig",
    "SecondOpinionConfig",
    "Section",
    "SpoolConfig",
    "TlsConfig",
    "TrackerConfig",
    "WeightsConfig",
    "ZonesConfig",
    "build_config",
    "json_schema",
    "kind_of",
    "load_config",
    "parse_config",
]


class DetectorConfig(Section):
    """Which detector finds faces, and how."""

    name: Literal["yunet", "scrfd"] = "yunet"
    """`yunet` (OpenCV, MIT weights) or `scrfd` (insightface packs, weights for non-commercial research)."""

    weights: str | None = None
    """Zoo name or path; default `yunet` for yunet and `scrfd-500m` for scrfd."""

    root: Path | None = None
    """scrfd: folder that holds `models/<pack>`; default is insightface's own."""

    min_score: float = Field(default=0.6, ge=0, le=1)
    """Detections below this confidence are not faces at all; they are not even counted."""

    nms_iou: float = Field(default=0.3, gt=0, lt=1)
    """Two detections that overlap more than this are one face."""

    max_side_px: int = Field(default=640, ge=160, le=4096)
    """Frames are scaled down to this longer side for detection; crops are cut from the full frame."""

    skip_still: bool = True
    """Frames that show what a frame without faces showed less than a second before are not searched; they count as
    looked at, and in `facegate_frames_still_total`. Nobody is skipped who is being followed."""


class TrackerConfig(Section):
    """How detections become tracks."""

    min_iou: float = Field(default=0.2, gt=0, lt=1)
    """Smallest overlap of a predicted box and a detection that can be the same person. Where none reaches it, both are
    grown by how unsure the prediction is, by half a side at most, and compared again."""

    max_gap_s: float = Field(default=1.5, gt=0, le=60)
    """A track that was not seen for this long has ended."""


class LogConfig(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""

    format: Literal["auto", "console", "json"] = "auto"
    """`auto` is console on a terminal and JSON elsewhere."""


class WeightsConfig(Section):
    """Where weight files live."""

    folder: Path | None = None
    """Default: `$GATE_WEIGHTS` or `facegate/weights` in the user's cache folder."""

    download: bool = True
    """Fetch missing files at start; false makes a missing file an error."""


class GateConfig(Section):
    """Everything `gate run` can be told."""

    cameras: tuple[CameraConfig, ...] = Field(min_length=1)
    """At least one camera."""

    detector: DetectorConfig = DetectorConfig()
    """Face detection."""

    tracker: TrackerConfig = TrackerConfig()
    """Tracking."""

    quality: QualityConfig = QualityConfig()
    """Face image quality."""

    backend: Backend = "auto"
    """What runs detection and regressor on a CPU. `auto` takes OpenVINO where it is installed, else OpenCV and torch.
    `openvino` and `onnxruntime` run regressors that come as ONNX files, the shipped one among them, without torch;
    detection is by OpenCV but with `openvino`. Other methods, and GPUs, always need torch."""

    decide: DecideConfig = DecideConfig()
    """Bars and publication."""

    redis: RedisConfig = RedisConfig()
    """Delivery."""

    spool: SpoolConfig = SpoolConfig()
    """Accepted faces on the disk until Redis has them."""

    http: HttpConfig = HttpConfig()
    """Page, health and metrics."""

    page: PageConfig = PageConfig()
    """What the page shows."""

    log: LogConfig = LogConfig()
    """Logging."""

    tracing: TracingConfig = TracingConfig()
    """Traces."""

    weights: WeightsConfig = WeightsConfig()
    """Weight files."""

    @property
    def spools(self) -> bool:
        """Whether accepted faces are kept on the disk; a private server has forgotten its stream by the next start."""
        return self.spool.enabled and self.redis.address != "embedded:"

    def rules_of(self, camera: CameraConfig) -> DecideConfig:
        """The rules of one camera: `decide`, and the camera's own keys over it."""
        try:
            return camera.decide.over(self.decide)
        except ValueError as error:
            raise ValueError(f"camera {camera.name!r}: decide: {error}") from None

    @field_validator("cameras")
    @classmethod
    def _names_are_unique(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        names = [camera.name for camera in cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"camera names must be unique, used more than once: {', '.join(twice)}")
        return cameras

    @model_validator(mode="after")
    def _the_rules_of_each_camera_fit_together(self) -> "GateConfig":
        for camera in self.cameras:
            self.rules_of(camera)
        return self

    @model_validator(mode="after")
    def _faces_are_not_shown_to_anybody(self) -> "GateConfig":
        if self.page.images and self.http.enabled and self.http.lets_anybody_in and not self.http.insecure:
            raise ValueError(
                f"page.images shows faces to whoever reaches {self.http.host}; set http.token_file or "
                "http.tls.client_ca_file, or http.insecure: true if something else keeps strangers out"
            )
        return self

    @model_validator(mode="after")
    def _tracks_last_from_frame_to_frame(self) -> "GateConfig":
        gap_s = self.tracker.max_gap_s
        for camera in self.cameras:
            if camera.max_fps is not None and camera.max_fps * gap_s <= 1:
                raise ValueError(
                    f"camera {camera.name!r}: at max_fps {camera.max_fps:g} every face is lost before the next frame, "
                    f"for tracker.max_gap_s is {gap_s:g}; set max_fps above {1 / gap_s:.3g} "
                    f"or tracker.max_gap_s above {1 / camera.max_fps:.3g}"
                )
        return self


def load_config(path: Path) -> GateConfig:
    """Read and validate a YAML file.

    Raises:
        ConfigError: the file is missing, is not YAML, or breaks a rule; every broken rule is one line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}. Give an existing file with -c.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text. Save the file as UTF-8.") from None
    return parse_config(text, where=str(path))


def parse_config(text: str, *, where: str = "config") -> GateConfig:
    """Validate YAML text; `where` names it in messages. Raises `ConfigError` as `load_config` does."""
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark is not None else ""
        # An unquoted password that begins with *, & or ! is quoted as a name; the parser's own words are <…> or a sign.
        problem = re.sub(r"(['\"])(?!<)[^'\"]{2,}\1", "…", getattr(error, "problem", None) or "unreadable")
        raise ConfigError(f"{where}{line}: not valid YAML: {problem}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML: {type(error).__name__}") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: expected keys such as 'cameras:', found {type(data).__name__}")
    return build_config(data, where=where)


def build_config(data: dict[str, Any], *, where: str = "config") -> GateConfig:
    """Validate a dictionary; `where` names it in messages. Raises `ConfigError`."""
    try:
        return GateConfig.model_validate(data)
    except ValidationError as error:
        problems = causes([dict(problem) for problem in error.errors(include_url=False, include_input=False)])
        raise ConfigError("\n".join(f"{where}: {explain(problem, GateConfig)}" for problem in problems)) from None


def json_schema() -> dict[str, Any]:
    """The configuration as JSON Schema, for editors and forms."""
    schema = GateConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
