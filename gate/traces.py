"""Traces where they are asked for: from the section `tracing` to what follows frames, and events to their sink."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from gate.clock import Clock
from gate.config import GateConfig
from gate.errors import ConfigError
from gate.publish.event import Event
from gate.publish.sink import Sink, SinkError

if TYPE_CHECKING:
    from gate.observe.tracing import Tracing


def build_tracing(config: GateConfig, clock: Clock) -> "Tracing | None":
    """What follows frames; None, and nothing imported, without an endpoint.

    Raises:
        ConfigError: the packages are missing.
    """
    section = config.tracing
    if section.endpoint is None:
        return None
    try:
        from gate.observe.tracing import Tracing, otlp

        processor = otlp(section.endpoint)
    except ImportError:
        raise ConfigError("tracing.endpoint: traces need OpenTelemetry; install it with facegate[otel]") from None
    return Tracing(processor, clock, ratio=section.ratio, service=section.service)


class TracedSink:
    """A sink that tells how each attempt to send an event went.

    Args:
        sink: Does the work.
        tracing: Is told.
    """

    def __init__(self, sink: Sink, tracing: "Tracing") -> None:
        self._sink = sink
        self._tracing = tracing

    def send(self, events: Sequence[Event]) -> None:
        """As the sink's own. Raises `SinkError`."""
        start_s = time.perf_counter()
        unsent: dict[str, str] = {}
        try:
            self._sink.send(events)
        except SinkError as error:
            unsent = dict.fromkeys((event.event_id for event in error.unsent), error.cause.value)
            raise
        finally:
            self._tracing.sent([event.event_id for event in events], unsent, time.perf_counter() - start_s)

    @property
    def positions(self) -> Mapping[str, bytes]:
        """As the sink's own."""
        return self._sink.positions

    def doubt(self, events: Sequence[Event]) -> None:
        """As the sink's own."""
        self._sink.doubt(events)

    def check(self) -> str:
        """As the sink's own. Raises `SinkError`."""
        return self._sink.check()

    def tend(self) -> None:
        """As the sink's own. Raises `SinkError`."""
        self._sink.tend()

    def close(self) -> None:
        """As the sink's own."""
        self._sink.close()
