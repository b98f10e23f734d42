"""Running counts for `/status`, the live table and the summary of a run."""

import math
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gate.clock import Clock
from gate.observe.table import EVENT_TYPES, Outcome, VisitResult, plain
from gate.observe.windows import RateWindow, Recent
from gate.reasons import Reason

CameraState = Literal["connecting", "up", "lost", "ended"]
RedisState = Literal["connecting", "connected", "away"]

_LATENCIES_IN_TOTAL = 10_000
_LATENCIES_A_CAMERA = 2_000


@dataclass(slots=True)
class _Counts:
    """What adds up, of one camera or of all."""

    latencies: Recent
    frames: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    unscored: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    def summary(self) -> dict[str, Any]:
        """The counts with the keys of `--summary`."""
        return {
            "frames": {outcome.value: self.frames[outcome.value] for outcome in Outcome},
            "faces": {
                "accepted": self.accepted,
                "rejected": self.reasons.total(),
                "unscored": self.unscored,
                "reasons": {name: count for name, count in sorted(self.reasons.items()) if count},
            },
            "visits": {result.value: self.visits[result.value] for result in VisitResult},
            "published": self.events.total(),
            "latency_ms": _latency_ms(self.latencies),
        }

    def status(self) -> dict[str, Any]:
        """The summary and the events by type."""
        return {**self.summary(), "events": {kind: self.events[kind] for kind in EVENT_TYPES}}


def _latency_ms(latencies: Recent) -> dict[str, float | None]:
    found = latencies.percentiles(50, 95, 99)
    values: list[float | None] = [None, None, None] if found is None else [round(value, 1) for value in found]
    return dict(zip(("p50", "p95", "p99"), values, strict=True))


@dataclass(slots=True)
class _Camera:
    """One camera's counts and how it is now."""

    counts: _Counts
    state: CameraState = "connecting"
    cause: str | None = None
    rate: RateWindow = field(default_factory=RateWindow)
    last_frame_ms: int | None = None
    best_now: float | None = None
    best_before: float | None = None
    looks: Mapping[str, Any] = field(default_factory=dict)

    def status(self, now_s: float) -> dict[str, Any]:
        """The counts and the present state."""
        best = self.best_before if self.best_now is None else self.best_now
        return {
            "state": self.state,
            "cause": self.cause,
            "fps": round(self.rate.per_second(now_s), 1),
            "last_frame_ms": self.last_frame_ms,
            "best_quality": None if best is None else round(best, 1),
            **self.looks,
            **self.counts.status(),
        }


class Tally:
    """Counts per camera and in total; safe to use from every thread.

    What a camera that is not known (any more) reports counts in the total only: a run's sums stay whole when a
    reload removes a camera.

    Latency is the time from the decode of the frame that triggered the first face of a visit to the acknowledged
    event: what the door waits for. A best shot that improves on that face has none. Percentiles are exact over the
    last 10,000 (2,000 of one camera), nearest rank.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._total = _Counts(Recent(_LATENCIES_IN_TOTAL))
        self._cameras: dict[str, _Camera] = {}
        self._started_s = clock.monotonic_s()
        self._method: str | None = None
        self._methods: tuple[str, ...] = ()
        self._fallbacks: Counter[str] = Counter()
        self._shedding: set[str] = set()
        self._shed: Counter[str] = Counter()
        self._redis_state: RedisState = "connecting"
        self._redis_cause: str | None = None
        self._waiting_events = 0
        self._waiting_bytes = 0
        self._lost: Counter[str] = Counter()

    def add_camera(self, name: str) -> None:
        """Know a camera; it is connecting. Again does nothing."""
        with self._lock:
            self._cameras.setdefault(name, _Camera(_Counts(Recent(_LATENCIES_A_CAMERA))))

    def describe(self, name: str, looks: Mapping[str, Any]) -> None:
        """Say where and how large faces count for a camera, ready for JSON."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                camera.looks = looks

    def forget_camera(self, name: str) -> None:
        """Drop a camera's own counts; the total keeps them."""
        with self._lock:
            self._cameras.pop(name, None)

    def camera(self, name: str, state: CameraState, cause: str | None = None) -> None:
        """Say how a camera is; `cause` is one word of a closed set."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                camera.state, camera.cause = state, cause

    def decoded(self, name: str, captured_ms: int) -> None:
        """A frame was decoded at this Unix time in milliseconds; it counts for the frame rate only."""
        with self._lock:
            if (camera := self._cameras.get(name)) is not None:
                camera.rate.add(self._clock.monotonic_s())
                camera.last_frame_ms = captured_ms

    def frames(self, name: str, outcome: Outcome, count: int = 1) -> None:
        """Count frames by what became of them."""
        with self._lock:
            for counts in self._of(name):
                counts.frames[outcome.value] += count

    def face(self, name: str, *, accepted: bool, reason: Reason | str = "", quality: float | None = None) -> None:
        """Count a judged face; `reason` is the decisive one of a rejection."""
        with self._lock:
            for counts in self._of(name):
                if accepted:
                    counts.accepted += 1
                else:
                    counts.reasons[plain(reason)] += 1
            camera = self._cameras.get(name)
            if camera is not None and quality is not None and math.isfinite(quality):
                camera.best_now = max(quality, -math.inf if camera.best_now is None else camera.best_now)

    def unscored(self, name: str) -> None:
        """Count a face that nobody scored."""
        with self._lock:
            for counts in self._of(name):
                counts.unscored += 1

    def visit(self, name: str, result: VisitResult | str) -> None:
        """Count a visit that ended; the best quality starts anew with the next face."""
        with self._lock:
            for counts in self._of(name):
                counts.visits[VisitResult(result).value] += 1
            if (camera := self._cameras.get(name)) is not None and camera.best_now is not None:
                camera.best_before, camera.best_now = camera.best_now, None

    def published(self, name: str, kind: str, capture_to_publish_s: float) -> None:
        """Count an acknowledged event of a type; the latency of one that keeps nobody waiting is NaN."""
        with self._lock:
            for counts in self._of(name):
                counts.events[plain(kind)] += 1
                if kind == "face" and math.isfinite(capture_to_publish_s):
                    counts.latencies.add(capture_to_publish_s * 1000)

    def redis(self, state: RedisState, cause: str | None = None) -> None:
        """Say how Redis is; `cause` is one word of a closed set."""
        with self._lock:
            self._redis_state, self._redis_cause = state, cause

    def waiting(self, events: int, size_bytes: int) -> None:
        """What waits for Redis now."""
        with self._lock:
            self._waiting_events, self._waiting_bytes = events, size_bytes

    def lost(self, reason: str, count: int) -> None:
        """Count accepted events that were lost before Redis had them."""
        with self._lock:
            self._lost[reason] += count

    def method(self, name: str) -> None:
        """Say which quality method is in use."""
        with self._lock:
            self._method = name

    def know_methods(self, names: Iterable[str]) -> None:
        """Say which quality methods may be in use, the wanted one first."""
        with self._lock:
            self._methods = tuple(names)

    def fallback(self, cause: str) -> None:
        """Count a weaker way that was taken; `cause` is one word of a closed set."""
        with self._lock:
            self._fallbacks[cause] += 1

    def shedding(self, what: str, *, on: bool) -> None:
        """Say whether the engine leaves this out now."""
        with self._lock:
            (self._shedding.add if on else self._shedding.discard)(what)

    def shed(self, what: str, count: int) -> None:
        """Count what it left out."""
        with self._lock:
            self._shed[what] += count

    def summary(self) -> dict[str, Any]:
        """The run's `frames`, `faces`, `visits`, `published`, `latency_ms`, and how many events were `lost` why."""
        with self._lock:
            return {**self._total.summary(), "lost": dict(self._lost)}

    def snapshot(self) -> dict[str, Any]:
        """Everything, ready for JSON; percentiles are None until something was published."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            cameras = {name: camera.status(now_s) for name, camera in self._cameras.items()}
            return {
                "now_ms": self._clock.unix_ms(),
                "uptime_s": round(now_s - self._started_s, 1),
                "method": self._method,
                "methods": list(self._methods),
                "fallbacks": dict(self._fallbacks),
                "shedding": sorted(self._shedding),
                "shed": dict(self._shed),
                "redis": {
                    "state": self._redis_state,
                    "cause": self._redis_cause,
                    "waiting_events": self._waiting_events,
                    "waiting_bytes": self._waiting_bytes,
                    "lost": dict(self._lost),
                },
                "total": {**self._total.status(), "fps": round(sum(camera["fps"] for camera in cameras.values()), 1)},
                "cameras": cameras,
            }

    def _of(self, name: str) -> list[_Counts]:
        camera = self._cameras.get(name)
        return [self._total] if camera is None else [self._total, camera.counts]
