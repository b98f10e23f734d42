"""Every metric of the gate in one table; dashboards, alerts and docs are checked against it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

PREFIX = "facegate_"

OTHER = "other"
"""What a label says when the value given is not of its closed set."""


class Stage(str, Enum):
    """A leg of a frame's way through the gate; the value is what metrics carry."""

    DETECT = "detect"
    TRACK = "track"
    ALIGN = "align"
    SIGNALS = "signals"
    SCORE = "score"
    COMPARE = "compare"
    DECIDE = "decide"
    ENCODE = "encode"
    PUBLISH = "publish"


class Outcome(str, Enum):
    """What became of a frame."""

    PROCESSED = "processed"
    DROPPED = "dropped"
    CORRUPT = "corrupt"


class VisitResult(str, Enum):
    """What became of a visit."""

    PUBLISHED = "published"
    UNUSABLE = "unusable"


EVENT_TYPES = ("face", "visit_end")


def plain(word: str) -> str:
    """The bare text of a word, also where it is a member of a string enum, whose `str()` may be its name."""
    return str.__str__(word)


Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One row of the table."""

    name: str
    """Full name as scraped, `facegate_` and a counter's `_total` included."""

    kind: Kind

    help: str
    """One line for the scrape and the docs."""

    labels: tuple[str, ...] = ()
    """Names of the labels; `camera`, where there is one, comes first."""

    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, ascending, without +Inf."""

    @property
    def per_camera(self) -> bool:
        """True when every series belongs to one camera."""
        return self.labels[:1] == ("camera",)


def quality_buckets(bars: Iterable[float] = (30.0,)) -> tuple[float, ...]:
    """Tens from 10 to 100, and for each bar the bar itself and 5 to either side of it.

    The neighbourhood of a bar is where faces change sides, so that is where the histogram has to be fine.

    >>> quality_buckets([42.0])
    (10.0, 20.0, 30.0, 37.0, 40.0, 42.0, 47.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0)
    """
    tens = {10.0 * step for step in range(1, 11)}
    near = {bar + offset for bar in bars for offset in (-5.0, 0.0, 5.0)}
    return tuple(sorted(tens | {bound for bound in near if 0 < bound < 100}))


# A stage takes from a tenth of a millisecond (the verdict) to seconds (SER-FIQ on a loaded CPU).
_STAGE_S = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# 2 s is the default of decide.max_frame_age_s: what lies above it was stale.
_AGE_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
_PUBLISH_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Above a minute Redis was away.
_END_TO_END_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)


def _row(name: str, kind: Kind, text: str, *labels: str, buckets: tuple[float, ...] = ()) -> MetricSpec:
    return MetricSpec(name=PREFIX + name, kind=kind, help=text, labels=labels, buckets=buckets)


def design(quality_bars: Iterable[float] = (30.0,)) -> tuple[MetricSpec, ...]:
    """The table, with the quality histogram's buckets placed around `quality_bars` (0..100)."""
    return (
        _row("frames_total", "counter", "Frames by what became of them.", "camera", "outcome"),
        _row(
            "frames_still_total",
            "counter",
            "Frames that were not searched for faces: they showed what an empty one had shown a moment before. They "
            "count as processed.",
            "camera",
        ),
        _row("frame_age_seconds", "histogram", "Age of a frame when the engine took it.", "camera", buckets=_AGE_S),
        _row("stage_seconds", "histogram", "Time spent in one stage, per call.", "stage", buckets=_STAGE_S),
        _row("batch_faces", "histogram", "Faces scored in one batch.", buckets=_BATCH),
        _row(
            "faces_total",
            "counter",
            "Faces by verdict: accepted, rejected, or unscored where a score could change nothing; reason is the "
            "decisive one of a rejection, else empty.",
            *("camera", "verdict", "reason"),
        ),
        _row(
            "quality",
            "histogram",
            "Calibrated quality of scored faces, 0 to 100.",
            *("camera", "method"),
            buckets=quality_buckets(quality_bars),
        ),
        _row(
            "quality_drift",
            "gauge",
            "Population stability index of the last hour's quality against the tuned baseline, of the same hour of the "
            "day where it has 500 faces; absent without a baseline or below 50 faces.",
            "camera",
        ),
        _row("visits_total", "counter", "Visits that ended, by result.", "camera", "result"),
        _row("published_total", "counter", "Events that Redis acknowledged, by type.", "camera", "type"),
        _row("publish_seconds", "histogram", "Time of one write to Redis.", buckets=_PUBLISH_S),
        _row("spool_events", "gauge", "Events that wait for Redis."),
        _row("spool_bytes", "gauge", "Bytes of the events that wait for Redis."),
        _row(
            "spool_durable",
            "gauge",
            "1 while what waits for Redis is on the disk, 0 while some is in memory alone.",
        ),
        _row("spool_dropped_total", "counter", "Accepted events lost before Redis had them.", "reason"),
        _row(
            "capture_to_publish_seconds",
            "histogram",
            "From the decode of the frame that triggered the first face of a visit (with on_enter: false, the frame on "
            "which the visit ended) to the acknowledged event, by the monotonic clock.",
            "camera",
            buckets=_END_TO_END_S,
        ),
        _row("reconnects_total", "counter", "Failed or lost connections to a camera, by cause.", "camera", "cause"),
        _row(
            "stream_changes_total",
            "counter",
            "Changes in a camera's stream that it survived: another resolution, codec or decoder, time stamps that "
            "jump back.",
            *("camera", "change"),
        ),
        _row("camera_up", "gauge", "1 while the camera delivers, else 0.", "camera"),
        _row("last_frame_timestamp_seconds", "gauge", "Unix time of the last decoded frame.", "camera"),
        _row("method_active", "gauge", "1 for the quality method in use, else 0.", "method"),
        _row("fallback_total", "counter", "Times the gate fell back to a weaker way, by cause.", "cause"),
        _row("shedding", "gauge", "1 while the engine leaves this out, for it cannot keep up; else 0.", "what"),
        _row("shed_total", "counter", "What an engine that could not keep up has left out.", "what"),
        _row("device_memory_bytes", "gauge", "Memory the process holds on the compute device."),
        _row("config_reload_success", "gauge", "1 when the last (re)load of the configuration succeeded, else 0."),
        _row(
            "config_last_reload_timestamp_seconds",
            "gauge",
            "Unix time at which the configuration in force was (re)loaded.",
        ),
        _row(
            "http_certificate_expiry_timestamp_seconds",
            "gauge",
            "Unix time at which the first certificate of the HTTP server's chain expires; absent without http.tls.",
            # A label for the sake of absence: a gauge without one is 0 from the start, expired in 1970.
            "certificate",
        ),
        _row("build_info", "gauge", "Always 1; the labels say what runs.", "version", "python", "torch"),
    )


DESIGN = design()
"""The table with the default bar."""
