"""From sections of the configuration to the parts of a running gate."""

import platform
import threading
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import structlog

from gate import __version__
from gate.capture.backoff import Backoff
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread, CaptureObserver
from gate.capture.causes import Cause
from gate.capture.factory import open_source_for
from gate.clock import Clock
from gate.config import CameraConfig, GateConfig, RedisConfig
from gate.errors import CaptureError, ConfigError, QualityError
from gate.faces.build import DEFAULT_WEIGHTS, build_detector
from gate.faces.detector import Detector
from gate.observe.metrics import Expected, Metrics
from gate.observe.observer import Observer
from gate.publish.embedded import EmbeddedRedis
from gate.publish.redis_sink import RedisSink
from gate.publish.waiting import DropReason
from gate.quality import load_method
from gate.types import CROP_SIDE_PX
from gate.weights.zoo import Zoo

if TYPE_CHECKING:
    from gate.quality import QualityMethod

log = structlog.get_logger(__name__)

EMBEDDED_MAX_EVENTS = 5_000
"""Most entries an embedded Redis keeps unless told: at some 10 kB a face, 50 MB of this machine's memory."""


def build_observer(config: GateConfig, clock: Clock) -> Observer:
    """Metrics, counts and health that know the configured cameras and every closed set of causes."""
    expected = Expected(
        camera_causes=tuple(cause.value for cause in Cause),
        spool_reasons=tuple(reason.value for reason in DropReason),
    )
    metrics = Metrics(expected=expected, quality_bars=(config.decide.min_quality,))
    metrics.build(version=__version__, python=platform.python_version(), torch=version("torch"))
    observer = Observer(clock, metrics=metrics)
    for camera in config.cameras:
        observer.add_camera(camera.name)
    return observer


def open_zoo(config: GateConfig) -> Zoo:
    """The zoo in the configured folder."""
    return Zoo(config.weights.folder)


def weights_path(config: GateConfig, wish: str) -> Path:
    """The file of a zoo name or path; fetched when it is missing and fetching is allowed. Raises `WeightsError`."""
    if Path(wish).is_file():
        return Path(wish)
    zoo = open_zoo(config)
    return zoo.ensure(wish) if config.weights.download else zoo.path(wish)


def load_detector(config: GateConfig) -> Detector:
    """The configured detector, ready. Raises `GateError`."""
    section = config.detector
    wish = section.weights or DEFAULT_WEIGHTS[section.name]
    weights: str | Path = wish if _is_pack(config, wish) else weights_path(config, wish)
    return build_detector(
        section.name,
        weights,
        root=section.root,
        min_score=section.min_score,
        nms_iou=section.nms_iou,
        max_side_px=section.max_side_px,
    )


def _is_pack(config: GateConfig, wish: str) -> bool:
    """Whether insightface finds the detector by the name of a pack; everything else is a file of ours."""
    section = config.detector
    if section.name != "scrfd" or Path(wish).is_file():
        return False
    if ((section.root or Path("~/.insightface")).expanduser() / "models" / wish).is_dir():
        return True
    return section.root is not None and wish not in {entry.name for entry in open_zoo(config).entries()}


def load_scorer(config: GateConfig) -> "QualityMethod":
    """The configured quality method, ready and calibrated. Raises `GateError`."""
    section = config.quality
    method = load_method(
        section.method,
        backbone=section.backbone,
        weights=section.weights,
        device=section.device,
        max_batch=section.max_batch,
        calibration=section.calibration,
        zoo=open_zoo(config),
        **section.options,
    )
    # A method that cannot score one grey crop, or has no map to 0..100, must say so now and not at the door.
    quality = method.quality(np.full((1, CROP_SIDE_PX, CROP_SIDE_PX, 3), 128, np.uint8))
    if not np.isfinite(quality).all():
        raise QualityError(
            f"quality.method {section.method}: its self-test gave {quality[0]}. Are the weights damaged?"
        )
    return method


def redis_address(config: GateConfig, resources: ExitStack) -> str:
    """The Redis URL; `embedded:` starts a server that lives as long as `resources`."""
    address = config.redis.address
    if address != "embedded:":
        return address
    server = resources.enter_context(EmbeddedRedis(tcp_port=0))
    log.info("embedded_redis", address=server.tcp_url)
    return server.tcp_url or server.url


def build_sink(config: GateConfig, address: str, clock: Clock) -> RedisSink:
    """The Redis stream at `address`. Raises `GateError` when the address or the password file cannot be used."""
    section = config.redis
    embedded = section.address == "embedded:"
    # The default is meant for a server; whoever writes a number, or null, means it.
    by_default = "max_events" not in section.model_fields_set
    return RedisSink(
        address,
        clock=clock,
        # An embedded server has no password, and refuses clients that come with one.
        password=None if embedded else read_redis_password(section),
        stream=section.stream,
        max_events=EMBEDDED_MAX_EVENTS if embedded and by_default else section.max_events,
        max_age_s=section.max_age_s,
        timeout_s=section.timeout_s,
    )


def read_redis_password(section: RedisConfig) -> str | None:
    """The password of `redis.password_file`, None without one. Raises `ConfigError` when it cannot be read."""
    if section.password_file is None:
        return None
    try:
        return section.password_file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"redis.password_file {section.password_file}: {problem}.") from None


def check_cameras(config: GateConfig, clock: Clock) -> None:
    """Refuse addresses that no attempt could ever open. Raises `ConfigError`."""
    for camera in config.cameras:
        # A password file may still come; an address of no known kind would be tried again for ever.
        with suppress(CaptureError):
            open_source_for(camera, clock, threading.Event(), listen=camera.listen)


def build_camera_thread(
    camera: CameraConfig, board: SlotBoard, clock: Clock, observer: CaptureObserver, stop: threading.Event
) -> CameraThread:
    """The thread of one camera, not started."""
    return CameraThread(
        camera,
        lambda: open_source_for(camera, clock, stop, listen=camera.listen),
        board,
        clock=clock,
        observer=observer,
        backoff=Backoff(clock),
        stop=stop,
    )
