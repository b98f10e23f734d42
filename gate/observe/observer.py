"""What the other rooms report to: one place that feeds metrics, counts, health and log."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from gate import __version__
from gate.clock import Clock
from gate.observe.changes import Changes
from gate.observe.drift import Drift
from gate.observe.feed import Feed
from gate.observe.health import Health
from gate.observe.hour import LastHour
from gate.observe.images import Images
from gate.observe.logging import get_logger
from gate.observe.metrics import Metrics
from gate.observe.reports import CaptureReport, ConfigReport, PipelineReport, PublishReport
from gate.observe.sinks import Log, Sinks
from gate.observe.tally import Tally


class Observer:
    """The whole room behind one door.

    Args:
        clock: where ages and time stamps come from.
        metrics: the metrics to feed; fresh ones by default, as for `health` and `log`.
        health: the conditions to feed.
        log: where changes of state are written.
        images: what the page may show of the cameras; None shows no picture.

    >>> from gate.clock import SystemClock
    >>> observer = Observer(SystemClock())
    >>> observer.add_camera("door")
    >>> observer.pipeline.processed("door", age_s=0.04)
    >>> observer.tally.summary()["frames"]["processed"]
    1
    """

    def __init__(
        self,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        health: Health | None = None,
        log: Log | None = None,
        images: Images | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self.tally = Tally(clock)
        self.health = health or Health(clock)
        self._changes = Changes(clock)
        self.drift = Drift(clock)
        self.hour = LastHour(clock)
        self.feed = Feed(clock)
        self.images = images
        self._certificate_expires_s: Callable[[], float] | None = None
        self.metrics.before_render(self._tell_what_time_changes)
        log = log or get_logger("gate.observe")
        sinks = Sinks(self.metrics, self.tally, self.health, log, self._changes, self.drift, self.hour, self.feed)
        self.capture = CaptureReport(sinks)
        self.publish = PublishReport(sinks)
        self.pipeline = PipelineReport(sinks)
        self.config = ConfigReport(sinks, clock)

    def add_camera(self, name: str) -> None:
        """Know a camera from now on; it is connecting until capture says otherwise."""
        self.metrics.add_camera(name)
        self.tally.add_camera(name)
        self.hour.add_camera(name)
        self.health.add_camera(name)
        if self.images is not None:
            self.images.add_camera(name)

    def begin_camera(self, name: str) -> None:
        """A camera begins, or begins anew in another way: it is connecting, and its counts go on."""
        self.health.forget_camera(name)
        self._changes.forget(f"camera {name}")
        self._changes.forget(f"stream of {name}")
        self.add_camera(name)
        self.metrics.camera_up(name, up=False)
        self.tally.camera(name, "connecting")

    def forget_camera(self, name: str) -> None:
        """Know a camera no longer: its series and tile disappear, its counts stay in the totals."""
        self.metrics.forget_camera(name)
        self.tally.forget_camera(name)
        self.health.forget_camera(name)
        self.drift.forget_camera(name)
        self.hour.forget_camera(name)
        if self.images is not None:
            self.images.forget_camera(name)
        self._changes.forget(f"camera {name}")
        self._changes.forget(f"stream of {name}")

    def watch_certificate(self, expires_s: Callable[[], float]) -> None:
        """Tell metrics from now on when the HTTP server's certificate expires, in Unix seconds."""
        self._certificate_expires_s = expires_s

    def _tell_what_time_changes(self) -> None:
        for camera, drift in self.drift.values().items():
            self.metrics.quality_drift(camera, drift)
        if self._certificate_expires_s is not None:
            self.metrics.certificate_expiry(self._certificate_expires_s())

    def status(self) -> dict[str, Any]:
        """What `/status` answers: the counts, and whether the gate is ready and why not."""
        ready, reasons = self.health.ready()
        known = {
            "version": __version__,
            "ready": ready,
            "reasons": reasons,
            "config": self.config.status(),
            "images": self.images is not None,
        }
        snapshot = self.tally.snapshot()
        for name, reading in self.drift.readings().items():
            if name in snapshot["cameras"]:
                snapshot["cameras"][name]["quality_drift"] = asdict(reading)
        return {**known, **snapshot}
