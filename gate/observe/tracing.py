"""A frame's way as OpenTelemetry spans: capture, detect, track, align, signals, score, decide, encode, publish.

One trace is one frame of those that the sampler takes. Only this module knows OpenTelemetry, and it is imported with
`tracing.endpoint` alone. Spans say which camera, frame, stage, method and verdict; neither where a face was nor its
quality, nothing of its picture, and no address.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from gate import __version__
from gate.clock import Clock
from gate.types import Frame, Sighting

MOST_FRAMES = 1_000
"""Sampled frames that are remembered for faces of them that wait for a score."""

MOST_EVENTS = 10_000
"""Events of sampled frames that are remembered while they wait for Redis."""

_TIMEOUT_S = 5.0
"""How long a collector may take for a batch."""

_NS = 1_000_000_000

_NOTHING: Mapping[str, str | int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class _Way:
    """One sampled frame."""

    root: Span
    context: Context
    offset_ns: int
    """Unix time minus monotonic time: a trace keeps to the clock of its frame, also where the machine's is set."""

    def at(self, monotonic_s: float) -> int:
        return int(monotonic_s * _NS) + self.offset_ns


class Tracing:
    """Writes the spans. Safe to use from every thread.

    Args:
        processor: Takes the spans that are over.
        clock: Time.
        ratio: Share of the frames that are traced, 0..1.
        service: Name of this gate.
    """

    def __init__(self, processor: SpanProcessor, clock: Clock, *, ratio: float, service: str = "facegate") -> None:
        resource = Resource.create({"service.name": service, "service.version": __version__})
        self._provider = TracerProvider(TraceIdRatioBased(ratio), resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._spans = self._provider.get_tracer("facegate", __version__)
        self._clock = clock
        self._lock = threading.Lock()
        self._frames: OrderedDict[tuple[str, int], _Way] = OrderedDict()
        self._events: OrderedDict[str, _Way] = OrderedDict()

    def taken(self, frames: Sequence[Frame]) -> None:
        """The engine has taken these frames: until now they were decoded, and waited."""
        now_s = self._clock.monotonic_s()
        for frame in frames:
            offset_ns = frame.captured_ms * 1_000_000 - int(frame.captured_s * _NS)
            root = self._spans.start_span(
                "frame", Context(), start_time=int(frame.captured_s * _NS) + offset_ns, kind=SpanKind.INTERNAL
            )
            if not root.is_recording():
                continue
            root.set_attributes({"gate.camera": frame.camera, "gate.frame": frame.seq})
            way = _Way(root, set_span_in_context(root, Context()), offset_ns)
            self._frames[frame.camera, frame.seq] = way
            if len(self._frames) > MOST_FRAMES:
                _end(self._frames.popitem(last=False)[1], now_s)
            self._span(way, "capture", frame.captured_s, now_s)

    def stage(self, stage: str, of: Iterable[Frame | Sighting], seconds: float, told: Mapping[str, str | int]) -> None:
        """A stage that worked on these frames is over just now."""
        if not self._frames:
            return
        end_s = self._clock.monotonic_s()
        for place in dict.fromkeys((one.camera, one.seq) for one in of):
            if (way := self._frames.get(place)) is not None:
                self._span(way, stage, end_s - seconds, end_s, told=told)

    def broken(self, frame: Frame) -> None:
        """A frame could not be looked at."""
        if (way := self._frames.get((frame.camera, frame.seq))) is not None:
            way.root.set_status(Status(StatusCode.ERROR, "the frame could not be looked at; see the log"))

    def left(self, frames: Sequence[Frame]) -> None:
        """The step that looked at these frames is over; a face of them that waits for its score comes later."""
        now_s = self._clock.monotonic_s()
        for frame in frames:
            if (way := self._frames.get((frame.camera, frame.seq))) is not None:
                _end(way, now_s)

    def encoded(self, sighting: Sighting, event_id: str, seconds: float) -> None:
        """A face of this frame has just become this event."""
        self.stage("encode", (sighting,), seconds, {"event_id": event_id})
        if (way := self._frames.get((sighting.camera, sighting.seq))) is not None:
            with self._lock:
                self._events[event_id] = way
                if len(self._events) > MOST_EVENTS:
                    self._events.popitem(last=False)

    def sent(self, event_ids: Iterable[str], unsent: Mapping[str, str], seconds: float) -> None:
        """An attempt to send events is over; `unsent` says of those that will be tried again why."""
        if not self._events:
            return
        end_s = self._clock.monotonic_s()
        for event_id in event_ids:
            with self._lock:
                way = self._events.get(event_id) if event_id in unsent else self._events.pop(event_id, None)
            if way is not None:
                problem = unsent.get(event_id)
                self._span(way, "publish", end_s - seconds, end_s, told={"event_id": event_id}, problem=problem)

    def close(self) -> None:
        """Send what is left, for as long as the processor allows."""
        self._provider.shutdown()

    def _span(
        self,
        way: _Way,
        name: str,
        start_s: float,
        end_s: float,
        *,
        told: Mapping[str, str | int] = _NOTHING,
        problem: str | None = None,
    ) -> None:
        attributes = {f"gate.{key}": value for key, value in told.items()}
        span = self._spans.start_span(name, way.context, start_time=way.at(start_s), attributes=attributes)
        if problem is not None:
            span.set_status(Status(StatusCode.ERROR, problem))
        span.end(way.at(end_s))


def otlp(endpoint: str) -> SpanProcessor:
    """Sends spans in batches from a thread of its own; what a collector does not take in time is dropped."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_TIMEOUT_S))


def _end(way: _Way, at_s: float) -> None:
    if way.root.is_recording():
        way.root.end(way.at(at_s))
