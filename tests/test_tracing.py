"""Traces of frames: what is in them, what never is, and that they cost nothing where nobody asked for them."""

import sys
from collections.abc import Sequence
from types import MappingProxyType

import pytest

from gate.clock import SystemClock
from gate.config import build_config
from gate.decide.visits import FacePublication
from gate.errors import ConfigError
from gate.outgoing import to_event
from gate.publish.event import Event
from gate.publish.sink import FaultCause, SinkError
from gate.traces import TracedSink, build_tracing
from tests.conftest import FakeClock
from tests.test_pipeline import Gate, a_face

pytest.importorskip("opentelemetry.sdk", reason="comes with facegate[otel]")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from gate.observe.tracing import MOST_FRAMES, Tracing

ATTRIBUTES = {"camera", "frame", "faces", "batch", "method", "verdict", "reason", "event_id"}


class Shelf:
    """A sink that keeps what it is sent, or refuses it."""

    positions: MappingProxyType[str, bytes] = MappingProxyType({})

    def __init__(self) -> None:
        self.kept: list[Event] = []
        self.away = False

    def send(self, events: Sequence[Event]) -> None:
        if self.away:
            raise SinkError("nobody is there", cause=FaultCause.UNREACHABLE, unsent=events)
        self.kept += events

    def doubt(self, events: Sequence[Event]) -> None: ...

    def check(self) -> str:
        return "a shelf"

    def tend(self) -> None: ...

    def close(self) -> None: ...


class Traced:
    """A pipeline whose frames are traced into memory."""

    def __init__(self, clock: FakeClock, *, ratio: float = 1.0, max_scores_per_s: float | None = None) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = Tracing(SimpleSpanProcessor(self.exporter), clock, ratio=ratio)
        self.gate = Gate(clock, tracer=self.tracing, max_scores_per_s=max_scores_per_s)
        self.shelf = Shelf()
        self.sink = TracedSink(self.shelf, self.tracing)

    def look(self, *places: float) -> None:
        self.gate.script.show(*(a_face(x, 1.0) for x in places), age_s=0.02)
        self.gate.step()
        self.gate.script.clock.advance(0.1)

    def deliver(self) -> None:
        """As the daemon does: every publication becomes an event, and is sent."""
        for publication in self.gate.published:
            if isinstance(publication, FacePublication):
                self.tracing.encoded(publication.face.sighting, publication.event_id, 0.001)
        self.sink.send([to_event(publication) for publication in self.gate.published])

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def names(self, frame: int) -> list[str]:
        """Of the spans of a frame's trace, in their order."""
        root = next(span for span in self.spans if span.name == "frame" and told(span)["frame"] == frame)
        return [span.name for span in self.spans if span.context.trace_id == root.context.trace_id]


def told(span: ReadableSpan) -> dict[str, object]:
    return {key.removeprefix("gate."): value for key, value in (span.attributes or {}).items()}


def test_a_frame_is_one_trace_from_its_decode_to_redis(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    traced.look(100)
    traced.deliver()
    way = ["capture", "detect", "track", "align", "signals", "score", "decide", "frame", "encode", "publish"]
    assert traced.names(0) == way
    (root,) = [span for span in traced.spans if span.parent is None]
    assert all(span.parent == root.context for span in traced.spans if span is not root)
    assert (root.name, told(root)) == ("frame", {"camera": "door", "frame": 0})
    (decided,) = [told(span) for span in traced.spans if "verdict" in told(span)]
    assert decided == {"verdict": "accepted", "reason": ""}
    assert next(told(span) for span in traced.spans if span.name == "score") == {"batch": 1, "method": "scripted"}


def test_a_trace_begins_when_its_frame_was_decoded(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    began_ms = fake_clock.now_ms
    traced.look(100)
    capture, root = (next(span for span in traced.spans if span.name == name) for name in ("capture", "frame"))
    assert capture.start_time == root.start_time == began_ms * 1_000_000
    # It waited for as long as it was old when the engine took it.
    assert capture.end_time is not None
    assert round((capture.end_time - began_ms * 1_000_000) / 1e6) == 20


def test_a_face_that_waits_for_its_score_stays_in_the_trace_of_its_own_frame(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock, max_scores_per_s=1.0)
    traced.look(20, 420)
    fake_clock.advance(1.0)
    traced.look()
    assert traced.names(0).count("score") == 2
    assert "score" not in traced.names(1)
    assert [told(span)["verdict"] for span in traced.spans if "verdict" in told(span)] == ["accepted"] * 2


def test_a_frame_that_cannot_be_looked_at_is_an_error(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    traced.gate.script.show(error=RuntimeError("rtsp://gate:secret@192.0.2.1/"))
    traced.gate.step()
    (root,) = [span for span in traced.spans if span.name == "frame"]
    assert root.status.status_code is StatusCode.ERROR
    assert "secret" not in "".join(span.to_json() for span in traced.spans)


def test_every_attempt_to_deliver_is_seen_with_what_was_wrong(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    traced.look(100)
    traced.shelf.away = True
    with pytest.raises(SinkError):
        traced.deliver()
    traced.shelf.away = False
    traced.sink.send([to_event(publication) for publication in traced.gate.published])
    attempts = [span.status for span in traced.spans if span.name == "publish"]
    assert [status.status_code for status in attempts] == [StatusCode.ERROR, StatusCode.UNSET]
    assert attempts[0].description == "unreachable"
    assert traced.tracing._events == {}


def test_spans_tell_nothing_about_a_face(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    for _ in range(5):
        traced.look(100, 420)
    traced.deliver()
    assert {key for span in traced.spans for key in told(span)} == ATTRIBUTES
    assert all(not span.events and not span.links for span in traced.spans)
    values = [value for span in traced.spans for value in told(span).values()]
    assert all(isinstance(value, str | int) for value in values)


def test_as_many_frames_are_traced_as_were_asked_for(fake_clock: FakeClock) -> None:
    one, some = Traced(fake_clock, ratio=1e-12), Traced(fake_clock, ratio=0.5)
    for traced in (one, some):
        for _ in range(200):
            traced.look()
    assert one.spans == []
    # Outside of this range once in 10^12 times.
    assert 50 < len({span.context.trace_id for span in some.spans}) < 150


def test_what_is_remembered_of_frames_does_not_grow_and_every_trace_has_its_root(fake_clock: FakeClock) -> None:
    traced = Traced(fake_clock)
    for _ in range(MOST_FRAMES + 50):
        traced.look()
    assert len(traced.tracing._frames) == MOST_FRAMES
    assert sum(span.name == "frame" for span in traced.spans) == MOST_FRAMES + 50


def config(**tracing: object) -> dict[str, object]:
    return {"cameras": [{"name": "door", "url": "virtual:"}], "tracing": tracing}


def test_without_the_package_the_gate_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gate.observe.tracing")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    wanted = build_config(config(endpoint="http://127.0.0.1:4318/v1/traces"), where="test")
    with pytest.raises(ConfigError, match=r"tracing\.endpoint: .*facegate\[otel\]"):
        build_tracing(wanted, SystemClock())
