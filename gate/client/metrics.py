"""Prometheus metrics of a consumer's process, for whoever serves them there."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gate.client.base import BaseStream
from gate.client.outcomes import Outcome
from gate.errors import PublishError
from gate.observe.table import PREFIX, MetricSpec

_ENTRIES = MetricSpec(
    f"{PREFIX}consumer_entries_total", "counter", "Stream entries by what became of them.", ("outcome",)
)
_UP = MetricSpec(f"{PREFIX}consumer_up", "gauge", "1 while the stream's server answers this process.")
_WAITING = MetricSpec(
    f"{PREFIX}consumer_waiting_entries",
    "gauge",
    "Entries that no consumer of the group was given yet; absent where the server cannot tell.",
    ("stream", "group"),
)
_PENDING = MetricSpec(
    f"{PREFIX}consumer_pending_entries",
    "gauge",
    "Entries that a consumer of the group was given and has not acknowledged.",
    ("stream", "group"),
)
_BEHIND = MetricSpec(
    f"{PREFIX}consumer_behind_seconds",
    "gauge",
    "From the newest entry that the group was given to the newest in the stream.",
    ("stream", "group"),
)

CONSUMER_DESIGN = (_ENTRIES, _UP, _WAITING, _PENDING, _BEHIND)
"""Every metric of a consumer's process."""


class ConsumerMetrics(Collector):
    """The counts and the lag of one stream, measured when Prometheus asks.

    ::

        stream = FaceStream("redis://…", group="recognizers", consumer="r1")
        ConsumerMetrics(stream)
        prometheus_client.start_http_server(9100)
    """

    def __init__(self, stream: BaseStream[Any], registry: CollectorRegistry | None = None) -> None:
        """Register at `registry`, by default prometheus_client's own. Lag is asked for on a connection of its own.

        Raises:
            ValueError: the stream follows along without a group, or `registry` has these metrics already.
        """
        self._stream = stream
        self._group, self._probe = stream.group, stream.lag_probe()
        (registry or REGISTRY).register(self)

    def close(self) -> None:
        """Disconnect; the next scrape connects again."""
        self._probe.close()

    def describe(self) -> Iterator[Metric]:
        """The names alone, so that registering asks no server."""
        yield from (_family(spec) for spec in CONSUMER_DESIGN)

    def collect(self) -> Iterator[Metric]:
        """Everything as it is now."""
        entries = _family(_ENTRIES)
        for outcome in Outcome:
            entries.add_metric((outcome.value,), self._stream.counts[outcome])
        up, waiting, pending, behind = (_family(spec) for spec in (_UP, _WAITING, _PENDING, _BEHIND))
        try:
            lags = self._probe.measure()
        except PublishError:
            lags = None
        up.add_metric((), lags is not None)
        for lag in lags or ():
            labels = (lag.stream, self._group)
            if lag.waiting is not None:
                waiting.add_metric(labels, lag.waiting)
            pending.add_metric(labels, lag.pending)
            behind.add_metric(labels, lag.behind_s)
        yield from (entries, up, waiting, pending, behind)


def _family(spec: MetricSpec) -> Any:
    kind = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    return kind(spec.name, spec.help, labels=spec.labels)
