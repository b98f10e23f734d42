"""From sections of the configuration to the parts of a running gate."""

import platform
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog

from gate import __version__
from gate.baseline import Baseline, Baselines
from gate.capture.backoff import Backoff
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread, CaptureObserver
from gate.capture.causes import Cause
from gate.capture.changes import Change
from gate.capture.factory import open_source_for
from gate.capture.source import FrameSource
from gate.clock import Clock
from gate.config import CameraConfig, DecideConfig, FallbackConfig, GateConfig
from gate.decide.duplicates import DuplicateBook, Embed
from gate.decide.visits import VisitBook
from gate.errors import CaptureError
from gate.faces.build import DEFAULT_WEIGHTS, build_detector
from gate.faces.detector import Detector
from gate.faces.stillness import Stillness
from gate.faces.tracker import Tracker
from gate.observe.access import Access
from gate.observe.http import HttpServer
from gate.observe.images import Images
from gate.observe.metrics import Expected, Metrics
from gate.observe.observer import Observer
from gate.observe.routes import build_routes
from gate.observe.tls import Tls
from gate.pipeline_parts import CameraState
from gate.publish.jpeg import encode_crop
from gate.publish.waiting import DropReason
from gate.quality import load_method
from gate.quality.calibration import CalibrationTable
from gate.quality.device import cpu_threads, require_torch, resolve_device
from gate.quality.precision import OPTION as PRECISION
from gate.reasons import FallbackCause
from gate.thresholds import Thresholds
from gate.types import CROP_SIDE_PX, FloatArray, Image
from gate.weights.zoo import Zoo

if TYPE_CHECKING:
    from gate.quality import QualityMethod
    from gate.quality.fallback import FallbackMethod, FallbackReport
    from gate.quality.rung import Load

_GREY_CROP = np.full((1, CROP_SIDE_PX, CROP_SIDE_PX, 3), 128, np.uint8)

log = structlog.get_logger(__name__)

BEAT_S = 10.0
"""How often an engine that scores a large batch should show that it lives."""

PATIENCE = 3.0
"""How many times as long as at the start the same crops may take: by then cameras and detector want the cores too."""


def build_observer(config: GateConfig, clock: Clock) -> Observer:
    """Metrics, counts and health that know the configured cameras and every closed set of causes."""
    expected = Expected(
        camera_causes=tuple(cause.value for cause in Cause),
        stream_changes=tuple(change.value for change in Change),
        spool_reasons=tuple(reason.value for reason in DropReason),
        fallback_causes=tuple(cause.value for cause in FallbackCause),
        methods=tuple(entry.method for entry in config.quality.chain),
    )
    bars = sorted({config.rules_of(camera).quality_bar for camera in config.cameras})
    metrics = Metrics(expected=expected, quality_bars=bars)
    metrics.build(version=__version__, python=platform.python_version(), torch=version("torch"))
    images = Images(clock, encode_crop) if config.page.images and config.http.enabled else None
    observer = Observer(clock, metrics=metrics, images=images)
    observer.tally.know_methods(entry.method for entry in config.quality.chain)
    for camera in config.cameras:
        observer.add_camera(camera.name)
    describe_cameras(observer, config)
    observer.drift.follow(load_baselines(config))
    return observer


def describe_cameras(observer: Observer, config: GateConfig) -> None:
    """Tell the page where in each picture faces count, how large they must be, and which bar they are held against."""
    for camera in config.cameras:
        rules = config.rules_of(camera)
        sizes = {
            "inter_eye_px": {"min": rules.min_inter_eye_px, "max": rules.max_inter_eye_px},
            "face_px": {"min": rules.min_face_px, "max": rules.max_face_px},
        }
        zones = camera.zones.model_dump(mode="json")
        looks = {"zones": zones, "sizes": sizes, "approaching_only": rules.approaching_only}
        observer.tally.describe(camera.name, {"min_quality": rules.quality_bar, **looks})


def build_http(config: GateConfig, observer: Observer, clock: Clock) -> HttpServer:
    """The server of page, health and metrics, not started. Raises `ConfigError` for a token or certificate."""
    section = config.http
    tls = None if section.tls is None else Tls(section.tls)
    access = Access(
        clock,
        section.token_file,
        asks_for_certificate=tls is not None and tls.asks_for_certificate,
        cookie=f"facegate_{section.port}",
        secure=tls is not None,
    )
    if tls is not None:
        observer.watch_certificate(lambda: tls.expires_s)
    return HttpServer(section.host, section.port, build_routes(observer, access), tls=tls)


def load_baselines(config: GateConfig) -> dict[str, Baseline]:
    """The baseline of each camera that has one. Raises `ConfigError`."""
    files = {camera.name: config.rules_of(camera).baseline for camera in config.cameras}
    return {name: Baselines.load(file).of(name) for name, file in files.items() if file is not None}


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
        backend=config.backend,
        threads=cpu_threads(),
    )


def _is_pack(config: GateConfig, wish: str) -> bool:
    """Whether insightface finds the detector by the name of a pack; everything else is a file of ours."""
    section = config.detector
    if section.name != "scrfd" or Path(wish).is_file():
        return False
    if ((section.root or Path("~/.insightface")).expanduser() / "models" / wish).is_dir():
        return True
    return section.root is not None and wish not in {entry.name for entry in open_zoo(config).entries()}


def load_scorer(config: GateConfig, clock: Clock, report: "FallbackReport") -> "FallbackMethod":
    """The configured quality method and its fallbacks, tested and calibrated.

    Args:
        config: what is wanted.
        clock: time.
        report: is told which method scores in place of another, now and later.

    Raises:
        GateError: no method can be used, or one is asked for what it cannot do.
    """
    section = config.quality
    device = resolve_device(section.device)
    from gate.quality.fallback import FallbackMethod
    from gate.quality.opinion import SecondOpinion
    from gate.quality.rung import Rung

    asked = section.second_opinion
    bars = quality_bars(config)
    scorer = FallbackMethod(
        [Rung(entry.method, load, device=device, clock=clock) for entry, load in _loaders(config, device)],
        clock=clock,
        report=report,
        second_opinion=None if asked is None else SecondOpinion(bars, asked.within, asked.budget_ms_per_s),
        max_batch=section.max_batch,
    )
    scorer.start()
    return scorer


def check_weights(thresholds: Thresholds, scorer: "FallbackMethod") -> None:
    """Refuse bars and baselines of other weights than those of the wanted method. Raises `ConfigError`.

    While a fallback scores in its place there is nothing to compare; its quality is calibrated too.
    """
    if thresholds.pairings and (wanted := scorer.rungs[0].method) is not None:
        thresholds.check(wanted.name, wanted.model)


def quality_bars(config: GateConfig) -> tuple[float, ...]:
    """Every bar that decides about the quality of a face of some camera, 0..100, ascending."""
    rules = [config.rules_of(camera) for camera in config.cameras]
    return tuple(sorted({bar for rule in rules for bar in (rule.quality_bar, rule.keep_quality) if bar is not None}))


def _loaders(config: GateConfig, device: str) -> "Iterator[tuple[FallbackConfig, Load]]":
    """Each method of the chain, and how it is loaded."""
    section = config.quality
    own = None if section.calibration is None else CalibrationTable.load(section.calibration)
    spare = None if own is None else own.over(CalibrationTable.shipped())
    for place, entry in enumerate(section.chain):
        wanted = place == 0 or not section.has_default_fallback
        fetching = config.weights.download and wanted
        yield entry, _Loader(config, entry, own if place == 0 else spare, device, fetching=fetching)


@dataclass(frozen=True, slots=True)
class _Loader:
    """Loads one method of the chain; see `gate.quality.rung.Load`."""

    config: GateConfig
    entry: FallbackConfig
    calibration: CalibrationTable | None
    device: str
    """Where it should run; another one stands in for it."""

    fetching: bool
    """Whether its weights may be fetched at all."""

    def __call__(self, device: str, *, fetch: bool) -> "QualityMethod":
        return load_method(
            self.entry.method,
            backbone=self.entry.backbone,
            weights=self.entry.weights,
            device=device,
            max_batch=self.config.quality.max_batch,
            calibration=self.calibration,
            zoo=Zoo(self.config.weights.folder, fetching=fetch and self.fetching),
            backend=self.config.backend,
            **self._options(device),
        )

    def _options(self, device: str) -> dict[str, Any]:
        """A number format that was chosen for a GPU is not asked of the CPU that takes over when it fails."""
        stands_in = device != self.device
        return {name: value for name, value in self.entry.options.items() if not (stands_in and name == PRECISION)}


COMPARING_BACKBONE = "facexzoo-mobilefacenet"
"""Network whose embeddings tell duplicates: it recognizes, which a network trained for quality does less well."""


def load_duplicate_books(config: GateConfig, known: Mapping[str, DuplicateBook]) -> dict[str, DuplicateBook]:
    """One book for each group of cameras that looks for duplicates, none where nobody does.

    Args:
        config: what is wanted.
        known: books that are in use; those of groups that go on are kept, and their network serves new groups too.

    Raises:
        GateError: the network cannot be used.
    """
    rules = [config.rules_of(camera) for camera in config.cameras]
    groups = sorted({rule.duplicate_group for rule in rules if rule.duplicate_s is not None})
    if not groups:
        return {}
    embed = next((book.embed for book in known.values()), None) or _load_embed(config)
    return {group: known[group] if group in known else DuplicateBook(embed) for group in groups}


def _load_embed(config: GateConfig) -> Embed:
    """The network that tells duplicates. Raises `GateError`."""
    device = resolve_device(config.quality.device)
    require_torch()
    import torch

    from gate.quality.loading import load_backbone

    zoo = Zoo(config.weights.folder, fetching=config.weights.download)
    backbone = load_backbone(COMPARING_BACKBONE, device, zoo=zoo).folded

    def embed(crops: Image) -> FloatArray:
        with torch.inference_mode():
            inputs = backbone.inputs(torch.from_numpy(crops).to(backbone.device))
            embeddings: FloatArray = backbone.embed(inputs).float().cpu().numpy()
        return embeddings

    return embed


def rhythm_of(scorer: "QualityMethod", max_batch: int, clock: Clock) -> tuple[int, float]:
    """How many crops to score at once, and how many seconds that may take before the engine counts as stuck.

    Measured on one crop by a loaded method: FaceQAN takes a second a crop on a CPU, DifFIQA minutes.
    """
    start_s = clock.monotonic_s()
    scorer.raw(_GREY_CROP)
    crop_s = clock.monotonic_s() - start_s
    at_once = max_batch if crop_s * max_batch <= BEAT_S else max(1, int(BEAT_S / crop_s))
    return at_once, PATIENCE * at_once * crop_s


def check_cameras(config: GateConfig, clock: Clock) -> None:
    """Refuse addresses that no attempt could ever open. Raises `ConfigError`."""
    for camera in config.cameras:
        # A password file may still come; an address of no known kind would be tried again for ever.
        with suppress(CaptureError):
            open_source_for(camera, clock, threading.Event(), listen=camera.listen)


def build_camera_thread(
    camera: CameraConfig,
    board: SlotBoard,
    clock: Clock,
    observer: CaptureObserver,
    stop: threading.Event,
    *,
    before_open: Callable[[], None] = lambda: None,
) -> CameraThread:
    """The thread of one camera, not started; `before_open` may let every attempt to open it wait."""

    def open_source() -> FrameSource:
        before_open()
        return open_source_for(camera, clock, stop, listen=camera.listen)

    return CameraThread(
        camera,
        open_source,
        board,
        clock=clock,
        observer=observer,
        backoff=Backoff(clock),
        stop=stop,
    )


def build_camera_state(
    config: GateConfig, camera: CameraConfig, new_id: Callable[[], str], books: Mapping[str, DuplicateBook]
) -> CameraState:
    """What the engine remembers of a camera that begins; `new_id` names its visits and events."""
    rules = config.rules_of(camera)
    state = build_open_state(config, camera, VisitBook(camera.name, rules, new_id), rules)
    state.zones, state.duplicates = camera.zones, duplicate_book(config, camera, books)
    return state


def build_open_state(config: GateConfig, camera: CameraConfig, visits: VisitBook, rules: DecideConfig) -> CameraState:
    """The same for other visits and rules, with the whole picture as its zone and nobody's duplicate."""
    return CameraState(
        tracker=Tracker(min_iou=config.tracker.min_iou, max_gap_s=config.tracker.max_gap_s),
        visits=visits,
        lossless=camera.pace == "fast",
        rules=rules,
        stillness=Stillness() if config.detector.skip_still else None,
    )


def duplicate_book(
    config: GateConfig, camera: CameraConfig, books: Mapping[str, DuplicateBook]
) -> DuplicateBook | None:
    """The book of a camera's group; None where the camera does not look for duplicates."""
    rules = config.rules_of(camera)
    return None if rules.duplicate_s is None else books[rules.duplicate_group]
