"""Prometheus metrics: recording by typed methods, and the text of a scrape.

Label values come from closed sets. A camera is known after `add_camera` and forgotten after `forget_camera`; what a
thread that outlives its camera still reports is not recorded, so a removed camera's series stay away.
"""

import math
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest as render_text
from prometheus_client.openmetrics.exposition import generate_latest as render_openmetrics

from gate.observe.series import Distribution, Family, Number, Series, scrape
from gate.observe.table import (
    DESIGN,
    EVENT_TYPES,
    OTHER,
    PREFIX,
    Outcome,
    Stage,
    VisitResult,
    design,
    plain,
)
from gate.reasons import Reason, Shed

__all__ = ["DESIGN", "Expected", "Metrics"]

_TEXT = "text/plain; version=0.0.4; charset=utf-8"
_OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_REASONS = {"": "", **{reason.value: reason.value for reason in Reason}}
_STAGES = {stage.value: stage.value for stage in Stage}
_OUTCOMES = {outcome.value: outcome.value for outcome in Outcome}
_RESULTS = {result.value: result.value for result in VisitResult}
_TYPES = {name: name for name in EVENT_TYPES}

_LEARNED_VALUES = 32
"""Most values a label learns beyond the expected ones; the rest is `other`. No closed set of ours is half as long."""


@dataclass(frozen=True, slots=True)
class Expected:
    """Closed sets that other rooms own; their series exist at 0 from the start, so that a first increase is seen."""

    camera_causes: tuple[str, ...] = ()
    """Why a camera is lost: values of `reconnects_total{cause}`."""

    spool_reasons: tuple[str, ...] = ()
    """Why an event is dropped: values of `spool_dropped_total{reason}`."""

    stream_changes: tuple[str, ...] = ()
    """What may change in a stream: values of `stream_changes_total{change}`."""

    fallback_causes: tuple[str, ...] = ()
    """Why the gate falls back: values of `fallback_total{cause}`."""

    methods: tuple[str, ...] = ()
    """Quality methods that may become active."""


class _Words:
    """A label's values: the expected ones and a bounded number of others, so that no bug floods Prometheus."""

    def __init__(self, expected: Iterable[str]) -> None:
        self._known = {plain(word) for word in expected}
        self._room = _LEARNED_VALUES

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._known))

    def close(self, word: str) -> str:
        """`word` where it belongs to the set, else `other`."""
        word = plain(word)
        if word in self._known:
            return word
        if self._room == 0 or not _is_word(word):
            return OTHER
        self._room -= 1
        self._known.add(word)
        return word


def _is_word(text: str) -> bool:
    """True for what may be a name of ours: never a URL, never a sentence."""
    return 0 < len(text) <= 48 and text.isascii() and all(c.isalnum() or c in "_-.()+" for c in text)


class Metrics:
    """Every metric of `gate.observe.table`; safe to use from every thread.

    Args:
        expected: closed sets of the other rooms.
        quality_bars: the gate's own quality thresholds (0..100); buckets are placed around them.
    """

    def __init__(
        self,
        *,
        expected: Expected | None = None,
        quality_bars: Iterable[float] = (30.0,),
    ) -> None:
        expected = expected or Expected()
        self.table = design(quality_bars)
        self._lock = threading.Lock()
        self._cameras: dict[str, set[tuple[str, tuple[str, ...]]]] = {}
        self._camera_causes = _Words(expected.camera_causes)
        self._stream_changes = _Words(expected.stream_changes)
        self._spool_reasons = _Words(expected.spool_reasons)
        self._fallback_causes = _Words(expected.fallback_causes)
        self._methods = _Words(expected.methods)
        self._method: str | None = None
        self._refresh: Callable[[], None] = lambda: None
        self._metrics = {spec.name.removeprefix(PREFIX): Family(spec) for spec in self.table}
        self._per_camera = {spec.name.removeprefix(PREFIX) for spec in self.table if spec.per_camera}
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        PlatformCollector(registry=self._process)
        self._start_shared_series()

    def _start_shared_series(self) -> None:
        for stage in Stage:
            self._touch("stage_seconds", stage.value)
        for reason in self._spool_reasons:
            self._touch("spool_dropped_total", reason)
        for cause in self._fallback_causes:
            self._touch("fallback_total", cause)
        for method in self._methods:
            self._touch("method_active", method)
        for metric in ("shedding", "shed_total"):
            for what in Shed:
                self._touch(metric, what.value)

    def add_camera(self, name: str) -> None:
        """Know a camera and start its series at 0; again does nothing."""
        with self._lock:
            if name in self._cameras:
                return
            self._cameras[name] = set()
        series = [("frames_total", outcome.value) for outcome in Outcome]
        series += [("visits_total", result.value) for result in VisitResult]
        series += [("published_total", kind) for kind in EVENT_TYPES]
        series += [("reconnects_total", cause) for cause in self._camera_causes]
        series += [("stream_changes_total", change) for change in self._stream_changes]
        for metric, value in series:
            self._touch(metric, name, value)
        self._touch("faces_total", name, "accepted", "")
        self._touch("faces_total", name, "unscored", "")
        for reason in Reason:
            self._touch("faces_total", name, "rejected", reason.value)
        # No time stamp yet: 0 would say that the last frame came in 1970.
        self._touch("frames_still_total", name)
        for metric in ("frame_age_seconds", "capture_to_publish_seconds", "camera_up"):
            self._touch(metric, name)
        if self._method is not None:
            self._touch("quality", name, self._method)

    def forget_camera(self, name: str) -> None:
        """Remove every series of a camera; an unknown one is no error."""
        with self._lock:
            for metric, values in self._cameras.pop(name, set()):
                self._metrics[metric].forget(values)

    def frames(self, camera: str, outcome: Outcome | str, count: int = 1) -> None:
        """Count frames by what became of them."""
        self._count("frames_total", camera, _OUTCOMES.get(outcome, OTHER), by=count)

    def still(self, camera: str) -> None:
        """Count a frame that was not searched."""
        self._count("frames_still_total", camera)

    def frame_age(self, camera: str, age_s: float) -> None:
        """Age of a frame when the engine took it."""
        self._observe("frame_age_seconds", age_s, camera)

    def last_frame(self, camera: str, captured_ms: int) -> None:
        """Unix milliseconds of the newest decoded frame."""
        self._set("last_frame_timestamp_seconds", captured_ms / 1000, camera)

    def stage(self, stage: Stage | str, seconds: float) -> None:
        """Time of one call of one stage."""
        self._observe("stage_seconds", seconds, _STAGES.get(stage, OTHER))

    def batch(self, faces: int) -> None:
        """Size of one scored batch."""
        self._observe("batch_faces", faces)

    def face(self, camera: str, *, accepted: bool, reason: Reason | str = "") -> None:
        """Count a judged face; `reason` is the decisive one of a rejection and is ignored for an accepted face."""
        if accepted:
            self._count("faces_total", camera, "accepted", "")
        else:
            self._count("faces_total", camera, "rejected", _REASONS.get(reason) or OTHER)

    def unscored(self, camera: str) -> None:
        """Count a face that nobody scored, for it could have changed nothing."""
        self._count("faces_total", camera, "unscored", "")

    def quality(self, camera: str, method: str, quality: float) -> None:
        """Calibrated quality, 0..100, of a scored face."""
        with self._lock:
            method = self._methods.close(method)
        self._observe("quality", quality, camera, method)

    def quality_drift(self, camera: str, drift: float | None) -> None:
        """How far the quality has drifted from the baseline; None takes the series away."""
        if drift is not None:
            self._set("quality_drift", drift, camera)
            return
        series = ("quality_drift", (camera,))
        with self._lock:
            written = self._cameras.get(camera, set())
            if series in written:
                written.remove(series)
                self._metrics["quality_drift"].forget((camera,))

    def before_render(self, refresh: Callable[[], None]) -> None:
        """Call this before every scrape: what changes with time alone is brought up to date."""
        self._refresh = refresh

    def visit(self, camera: str, result: VisitResult | str) -> None:
        """Count a visit that ended."""
        self._count("visits_total", camera, _RESULTS.get(result, OTHER))

    def published(self, camera: str, kind: str, *, capture_to_publish_s: float, publish_s: float) -> None:
        """Count an acknowledged event of a type, with its latency (or not-a-number) and the time of its write."""
        self._count("published_total", camera, _TYPES.get(kind, OTHER))
        self._observe("capture_to_publish_seconds", capture_to_publish_s, camera)
        self._observe("publish_seconds", publish_s)

    def spool(self, *, events: int, size_bytes: int) -> None:
        """What waits for Redis now."""
        self._set("spool_events", events)
        self._set("spool_bytes", size_bytes)

    def spool_durable(self, *, durable: bool) -> None:
        """Whether what waits for Redis outlives this process."""
        self._set("spool_durable", float(durable))

    def spool_dropped(self, reason: str, count: int = 1) -> None:
        """Count accepted events that were lost."""
        with self._lock:
            reason = self._spool_reasons.close(reason)
        self._count("spool_dropped_total", reason, by=count)

    def camera_up(self, camera: str, *, up: bool) -> None:
        """Whether the camera delivers."""
        self._set("camera_up", float(up), camera)

    def reconnect(self, camera: str, cause: str) -> None:
        """Count a failed or lost connection."""
        with self._lock:
            cause = self._camera_causes.close(cause)
        self._count("reconnects_total", camera, cause)

    def stream_change(self, camera: str, change: str) -> None:
        """Count a change in a camera's stream."""
        with self._lock:
            change = self._stream_changes.close(change)
        self._count("stream_changes_total", camera, change)

    def method_active(self, method: str) -> None:
        """Say which quality method is in use; every other one goes to 0."""
        with self._lock:
            method = self._methods.close(method)
            if method == self._method:
                return
            self._method = method
            names, cameras = list(self._methods), list(self._cameras)
        for name in {*names, method}:
            self._set("method_active", float(name == method), name)
        for camera in cameras:
            self._touch("quality", camera, method)

    def fallback(self, cause: str) -> None:
        """Count a fall-back to a weaker method, detector or device."""
        with self._lock:
            cause = self._fallback_causes.close(cause)
        self._count("fallback_total", cause)

    def shedding(self, what: Shed, *, on: bool) -> None:
        """Whether this is left out now, because the engine cannot keep up."""
        self._set("shedding", float(on), what.value)

    def shed(self, what: Shed, count: int) -> None:
        """Count what was left out so."""
        self._count("shed_total", what.value, by=count)

    def device_memory(self, size_bytes: int) -> None:
        """Memory held on the compute device."""
        self._set("device_memory_bytes", size_bytes)

    def config_loaded(self, at_ms: int) -> None:
        """The configuration was loaded at this Unix time in milliseconds, at the start or while running."""
        self._set("config_reload_success", 1.0)
        self._set("config_last_reload_timestamp_seconds", at_ms / 1000)

    def config_kept(self) -> None:
        """The last attempt to load the configuration failed: an earlier one is in force."""
        self._set("config_reload_success", 0.0)

    def certificate_expiry(self, at_s: float) -> None:
        """Unix time at which the HTTP server's certificate expires."""
        self._set("http_certificate_expiry_timestamp_seconds", at_s, "server")

    def build(self, *, version: str, python: str, torch: str) -> None:
        """Say what runs: versions of gate, Python and torch (empty when it is not loaded)."""
        self._set("build_info", 1.0, version, python, torch)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The scrape and its content type; OpenMetrics when the `Accept` header asks for it."""
        self._refresh()
        openmetrics = "application/openmetrics-text" in accept
        with self._lock:
            families = [(family, family.all()) for family in self._metrics.values()]
        # Written without the lock, so that a scrape keeps nobody waiting who counts.
        ours = "".join(scrape(families, openmetrics=openmetrics)).encode()
        if openmetrics:
            process: bytes = render_openmetrics(self._process)  # type: ignore[no-untyped-call]
            return ours + process, _OPENMETRICS
        return ours + render_text(self._process), _TEXT

    def _count(self, metric: str, *values: str, by: float = 1) -> None:
        with self._lock:
            series = self._series(metric, values)
            if isinstance(series, Number):
                series.value += by

    def _set(self, metric: str, value: float, *values: str) -> None:
        with self._lock:
            series = self._series(metric, values)
            if isinstance(series, Number):
                series.value = float(value)

    def _observe(self, metric: str, value: float, *values: str) -> None:
        # One NaN would make the histogram's sum NaN for ever.
        if not math.isfinite(value):
            return
        with self._lock:
            series = self._series(metric, values)
            if isinstance(series, Distribution):
                series.observe(value)

    def _touch(self, metric: str, *values: str) -> None:
        with self._lock:
            self._series(metric, values)

    def _series(self, metric: str, values: tuple[str, ...]) -> Series | None:
        """The series of these label values; None when its camera is not known. The lock is held."""
        if metric in self._per_camera:
            written = self._cameras.get(values[0])
            if written is None:
                return None
            written.add((metric, values))
        return self._metrics[metric].series(values)
