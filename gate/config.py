"""The whole configuration: one YAML file, every key written down here and nowhere else.

Unknown keys are refused and the nearest known one is named. Field descriptions feed the JSON Schema
(`gate config schema`) and the reference in the docs.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from gate.errors import ConfigError

CameraName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CameraConfig(Section):
    """One camera, file or virtual camera."""

    name: CameraName
    """Name in events, metrics and logs: letters, digits, `_`, `.`, `-`."""

    url: SecretStr
    """`rtsp://`, `rtsps://`, `http://`, `https://`, a file path, `webcam:0` or `virtual:`. Never logged as it is."""

    username: str | None = None
    """User of the camera, when it is not part of the URL."""

    password_file: Path | None = None
    """File that holds the camera's password; its trailing newline is ignored."""

    transport: Literal["tcp", "udp"] = "tcp"
    """RTSP transport. TCP survives Wi-Fi and NAT; UDP saves a little delay on a clean wire."""

    listen: bool = False
    """`rtsp://` only: wait at this address for a camera that pushes, instead of dialling it."""

    open_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """How long opening the camera may take."""

    read_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """How long the camera may send nothing before it counts as lost."""

    max_fps: float | None = Field(default=None, gt=0, le=240)
    """Analyse at most this many frames a second; the frames between are decoded and counted as dropped."""

    loop: bool = False
    """Files only: start again at the end."""

    pace: Literal["realtime", "fast"] = "realtime"
    """Files only: play at the file's own speed and drop what is late, or wait for the gate and drop nothing."""

    @property
    def address(self) -> str:
        """The URL as configured. It may hold a password: for opening the camera only."""
        return self.url.get_secret_value()


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


class TrackerConfig(Section):
    """How detections become tracks."""

    min_iou: float = Field(default=0.2, gt=0, lt=1)
    """Smallest overlap of a predicted box and a detection that can be the same person."""

    max_gap_s: float = Field(default=1.5, gt=0, le=60)
    """A track that was not seen for this long has ended."""


class QualityConfig(Section):
    """Which method scores, on which network and device."""

    method: str = "serfiq"
    """A name from `gate methods`."""

    backbone: str | None = None
    """A backbone from `gate models list`, a checkpoint path or `module:function`; default is the method's own."""

    weights: str | None = None
    """Weights of a regressor: zoo name or path."""

    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` takes the first GPU when torch sees one."""

    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the method, such as `phi: block2` of grafiqs."""

    calibration: Path | None = None
    """File of raw → 0..100 maps; default is the one that ships with the package."""

    max_batch: int = Field(default=32, ge=1, le=1024)
    """Most crops scored at once."""

    threads: int | None = Field(default=None, ge=1, le=256)
    """CPU threads of torch; default is half of the cores, at least one."""


class DecideConfig(Section):
    """The bars a face must pass, and when a visit is published."""

    min_detector_score: float = Field(default=0.7, ge=0, le=1)
    """Faces the detector is less sure of are rejected as `low_detector_score`."""

    min_inter_eye_px: float = Field(default=24.0, ge=0)
    """Faces whose eyes are closer together in the full frame are rejected as `too_small`."""

    max_outside_share: float = Field(default=0.1, ge=0, le=1)
    """Faces with a larger share of their box outside the picture are rejected as `cut_off`."""

    max_yaw_deg: float = Field(default=50.0, gt=0, le=90)
    """Heads turned further are rejected as `yaw`."""

    max_roll_deg: float = Field(default=45.0, gt=0, le=180)
    """Heads tilted further are rejected as `roll`."""

    min_luminance: float = Field(default=8.0, ge=0, le=100)
    """Darker crops (0..100) are rejected as `too_dark`."""

    max_luminance: float = Field(default=95.0, ge=0, le=100)
    """Brighter crops (0..100) are rejected as `too_bright`."""

    min_quality: float = Field(default=30.0, ge=0, le=100)
    """Faces of lower calibrated quality are rejected as `low_quality`."""

    on_enter: bool = True
    """Publish the first face of a visit that passes every bar: lowest latency at the door."""

    on_exit: bool = True
    """Publish the best accepted face when the visit ends."""

    max_frame_age_s: float = Field(default=2.0, gt=0, le=60)
    """Faces of frames older than this when their turn comes are rejected as `stale`. Not for `pace: fast` files."""


class RedisConfig(Section):
    """Where accepted faces go."""

    url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """`redis://`, `rediss://`, `unix://` or `embedded:` (a private server, nothing kept). Never logged as it is."""

    password_file: Path | None = None
    """File that holds the password, when it is not part of the URL."""

    stream: str = Field(default="facegate:faces", min_length=1)
    """Key of the stream; `{camera}` in it makes one stream per camera."""

    max_events: int | None = Field(default=100_000, ge=1)
    """Approximate most entries kept (MAXLEN ~); null keeps all."""

    max_age_s: float | None = Field(default=None, gt=0)
    """Approximate longest time an entry is kept (MINID ~); null keeps all."""

    queue_events: int = Field(default=10_000, ge=1)
    """Most events that wait in memory while Redis is away; beyond it the oldest is dropped and counted."""

    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Connect and reply time-out."""

    jpeg_quality: int = Field(default=95, ge=50, le=100)
    """JPEG quality of the published crop."""

    context_margin: float | None = Field(default=None, ge=0, le=3)
    """Also publish the face with this margin (share of the box side) from the full frame; null publishes none."""

    @property
    def address(self) -> str:
        """The URL as configured. It may hold a password: for connecting only."""
        return self.url.get_secret_value()


class HttpConfig(Section):
    """The page, health and metrics."""

    enabled: bool = True
    """False starts no HTTP server."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback shows faces' statistics to the network."""

    port: int = Field(default=8080, ge=0, le=65535)
    """Port to bind; 0 takes a free one and logs it."""


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

    decide: DecideConfig = DecideConfig()
    """Bars and publication."""

    redis: RedisConfig = RedisConfig()
    """Delivery."""

    http: HttpConfig = HttpConfig()
    """Page, health and metrics."""

    log: LogConfig = LogConfig()
    """Logging."""

    weights: WeightsConfig = WeightsConfig()
    """Weight files."""

    @field_validator("cameras")
    @classmethod
    def _names_are_unique(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        names = [camera.name for camera in cameras]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"camera names must be unique, used more than once: {', '.join(twice)}")
        return cameras

    @model_validator(mode="after")
    def _luminance_bars_are_ordered(self) -> "GateConfig":
        if self.decide.min_luminance >= self.decide.max_luminance:
            raise ValueError("decide.min_luminance must be below decide.max_luminance")
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
        raise ConfigError(f"{where}{line}: not valid YAML: {getattr(error, 'problem', 'unreadable')}") from None
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
        lines = [_explain(dict(problem)) for problem in error.errors(include_url=False, include_input=False)]
        raise ConfigError("\n".join(f"{where}: {line}" for line in lines)) from None


def json_schema() -> dict[str, Any]:
    """The configuration as JSON Schema, for editors and forms."""
    schema = GateConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _explain(problem: dict[str, Any]) -> str:
    location = problem["loc"]
    key = ".".join(str(part) for part in location) or "file"
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(location)
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {key!r}; {hint}"
    # Only the rule is repeated, never the value: it may be a password at the wrong place.
    return f"{key}: {re.sub(r'^Value error, ', '', problem['msg'])}"


def _keys_beside(location: tuple[int | str, ...]) -> list[str]:
    """The keys that are known where the last part of `location` was found."""
    model: type[BaseModel] = GateConfig
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        inner = [a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def _is_model(candidate: Any) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)
