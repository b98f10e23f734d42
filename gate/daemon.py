"""Builds a running gate from a configuration, keeps it running, and takes it down without losing a visit."""

import os
import platform
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from gate import __version__
from gate.assembly import (
    build_camera_state,
    build_http,
    build_observer,
    check_cameras,
    check_weights,
    load_detector,
    load_duplicate_books,
    load_scorer,
    rhythm_of,
)
from gate.camera_set import CameraSet
from gate.capture.board import SlotBoard
from gate.capture.virtual import parse_virtual
from gate.clock import Clock, SystemClock
from gate.config import CameraConfig, GateConfig
from gate.config_change import ConfigChange
from gate.decide.visits import FacePublication, Publication
from gate.delivery import build_backlog, build_sink, redis_address
from gate.errors import ConfigError, GateError
from gate.faces.detector import Detector
from gate.live_config import LiveConfig, Parts
from gate.observe.http import HttpServer
from gate.observe.logging import configure
from gate.outgoing import context_was_left_out, to_event, waits_since_s
from gate.pipeline import MAX_FAILURES_IN_A_ROW, STEP_TIMEOUT_S, Pipeline
from gate.publish.publisher import Publisher
from gate.publish.sink import Sink
from gate.publish.ulid import UlidFactory
from gate.publish.waiting import DropReason
from gate.quality.device import set_cpu_threads
from gate.quality.fallback import FallbackMethod
from gate.reasons import FallbackCause
from gate.reload import ConfigFile, Reloader
from gate.shedding import Shedding
from gate.summary import SummaryFile
from gate.supervisor import Supervisor
from gate.thresholds import resolve
from gate.traces import TracedSink, build_tracing

if TYPE_CHECKING:
    from gate.observe.tracing import Tracing

log = structlog.get_logger(__name__)

SIGNAL_POLL_S = 0.2
"""How often a running gate looks whether a signal came."""

DRAIN_TIMEOUT_S = 10.0
"""How long a stopping gate waits for Redis to take what was accepted."""


class _StoppedWhileStartingError(BaseException):
    """A signal came while weights are fetched or libraries load: minutes may pass before anybody looks at a flag."""


class Daemon:
    """One running gate.

    `run` is the whole life for a command; `start`, `stop` and `wait` are for whoever embeds a gate.

    Args:
        config: What to run.
        until_eof: End when every file source has ended.
        summary: Write the final counts here as JSON.
        file: Where the configuration comes from; it is read again when it changes.
        supervised: Answer to the service manager that started this process, where there is one.
        clock: Time.
    """

    def __init__(
        self,
        config: GateConfig,
        *,
        until_eof: bool = False,
        summary: Path | None = None,
        file: ConfigFile | None = None,
        supervised: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._thresholds = resolve(config)
        config = self._config = self._thresholds.config
        self._until_eof = until_eof
        self._summary = None if summary is None else SummaryFile(summary)
        self._clock = clock or SystemClock()
        self._stop = threading.Event()
        self._starting = False
        self._running = False
        self._failed = False
        self._signalled = False
        self._resources = ExitStack()
        self._board = SlotBoard()
        self._live: LiveConfig | None = None
        self._http: HttpServer | None = None
        self._tracing: Tracing | None = None
        self.observer = build_observer(config, self._clock)
        self._cameras = CameraSet(self._board, self._clock, self.observer.capture)
        self._supervisor = Supervisor.from_environment(self._state, None if supervised else {})
        self._reloader = Reloader(file, self.change_to, self.observer.config, during=self._supervisor.reloading)

    @property
    def http_address(self) -> str | None:
        """Where page and metrics are, such as `http://127.0.0.1:8080/`; None when the server is off."""
        return None if self._http is None else self._http.url

    @property
    def failed(self) -> bool:
        """True when the gate ended for a fault, or something was lost on the way out; complete after `shut_down`."""
        return self._failed

    def run(self) -> int:
        """Run until SIGINT or SIGTERM, or until the files end; returns the exit code."""
        configure(self._config.log.level, self._config.log.format)
        if self._until_eof:
            _check_that_files_end(self._config)
        self._starting = True
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
            if hasattr(signal, "SIGHUP"):
                signal.signal(signal.SIGHUP, lambda *_: self._reloader.ask())
            self.start()
            self._starting = False
            # Not for ever: of two signals at a time the kernel may give one to another thread, which wakes nobody.
            while not self._signalled and not self._stop.wait(SIGNAL_POLL_S):
                pass
        except _StoppedWhileStartingError:
            log.info("stopped_while_starting")
        finally:
            self._starting = False
            self.shut_down()
        return 1 if self._failed else 0

    def start(self) -> None:
        """Load, connect and start every thread; returns when frames flow.

        Raises:
            GateError: weights, device, address or port cannot be used; nothing is left running.
        """
        try:
            self._start()
        except BaseException:
            self._stop.set()
            self._resources.close()
            raise

    def stop(self) -> None:
        """Ask the gate to end; returns at once."""
        self._stop.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end of a started gate; True when it has been asked to end."""
        return self._stop.wait(timeout_s)

    def change_to(self, config: GateConfig) -> ConfigChange:
        """Put another configuration in force while the gate runs; cameras that do not differ in it run on.

        Raises:
            ConfigError: something differs that cannot change while the gate runs, or an address can never be opened.
            GateError: weights that it needs cannot be had, or the gate does not run.

        After an error the old configuration is in force, whole.
        """
        if self._live is None:
            raise GateError("the gate does not run; its configuration cannot change")
        if self._until_eof:
            _check_that_files_end(config)
        return self._live.change_to(config)

    def shut_down(self) -> None:
        """Stop the cameras, close every visit, deliver what was accepted, write the summary. Safe to call twice."""
        self._supervisor.stopping()
        self._stop.set()
        self._resources.close()

    def _start(self) -> None:
        config, on_exit = self._config, self._resources.callback
        # First, so that it ends last: the watchdog is fed while the last faces are delivered.
        on_exit(self._supervisor.close)
        self._supervisor.start()
        if self._summary is not None:
            self._summary.prepare()
        check_cameras(config, self._clock)
        _set_threads(config.quality.threads)
        on_exit(self._write_summary)
        if config.http.enabled:
            # First, so that /readyz can say "starting" while weights are fetched.
            self._http = build_http(config, self.observer, self._clock)
            self._http.start()
            on_exit(self._http.close)
            log.info("listening", address=self.http_address)
        self._tracing = build_tracing(config, self._clock)
        if self._tracing is not None:
            # Before the publisher, so that it closes after the last delivery.
            on_exit(self._tracing.close)
        detector = load_detector(config)
        scorer = load_scorer(config, self._clock, self.observer.pipeline)
        check_weights(self._thresholds, scorer)
        self.observer.pipeline.method_active(scorer.name)
        backlog = build_backlog(config, self._clock, self.observer.publish)
        sink: Sink = build_sink(config, redis_address(config, self._resources), self._clock, backlog)
        if self._tracing is not None:
            sink = TracedSink(sink, self._tracing)
        publisher = Publisher(sink, backlog=backlog, clock=self._clock, observer=self.observer.publish)
        on_exit(publisher.close)
        on_exit(self._drain, publisher)
        publisher.start()
        engine = self._build_engine(detector, scorer, publisher)
        engine.start()
        on_exit(engine.join)
        on_exit(self._reloader.close)
        self._reloader.start()
        self._running = True
        log.info(
            "running",
            cameras=[camera.name for camera in config.cameras],
            detector=detector.name,
            detector_device=detector.device,
            method=scorer.name,
            model=scorer.model,
            version=__version__,
            python=platform.python_version(),
        )
        self._supervisor.ready()

    def _build_engine(self, detector: Detector, scorer: FallbackMethod, publisher: Publisher) -> threading.Thread:
        """The engine's thread, not started, and the cameras, started."""
        config, on_exit = self._config, self._resources.callback
        at_once, allowed_s = rhythm_of(scorer, config.quality.max_batch, self._clock)
        self.observer.pipeline.allow(allowed_s)
        new_id = UlidFactory(self._clock).new
        books = load_duplicate_books(config, {})
        pipeline = Pipeline(
            cameras={camera.name: build_camera_state(config, camera, new_id, books) for camera in config.cameras},
            board=self._board,
            detector=detector,
            scorer=scorer,
            publish=partial(self._publish, publisher),
            report=self.observer.pipeline,
            clock=self._clock,
            context_margin=config.redis.context_margin,
            max_gap_s=config.tracker.max_gap_s,
            crops_at_once=at_once,
            watcher=self.observer.images,
            shedding=Shedding(
                self._clock, self.observer.pipeline, scorer.pause_opinions if scorer.asks_again else None
            ),
            tracer=self._tracing,
        )
        on_exit(pipeline.finish)
        on_exit(self._cameras.leave)
        self._cameras.admit(self._cameras.start(config.cameras))
        parts = Parts(self._cameras, pipeline, scorer, self.observer, new_id)
        self._live = live = LiveConfig(config, books, parts, clock=self._clock, ends=self._stop)
        return threading.Thread(target=self._turn, args=(pipeline, live), name="engine", daemon=True)

    def _publish(self, publisher: Publisher, publication: Publication) -> None:
        start_s = time.perf_counter()
        try:
            event = to_event(publication, self._config.redis.jpeg_quality)
        except Exception:
            # One picture that cannot be encoded must cost neither the other faces of the step nor a visit's end.
            log.exception("event_not_made", event_id=publication.event_id)
            self.observer.publish.dropped(DropReason.INVALID.value, 1)
            return
        seconds = time.perf_counter() - start_s
        self.observer.pipeline.stage("encode", seconds)
        if self._tracing is not None and isinstance(publication, FacePublication):
            self._tracing.encoded(publication.face.sighting, publication.event_id, seconds)
        if context_was_left_out(publication, event):
            self.observer.pipeline.fallback(FallbackCause.CONTEXT_LEFT_OUT)
        publisher.offer(event, since_s=waits_since_s(publication))

    def _turn(self, pipeline: Pipeline, live: LiveConfig) -> None:
        """The engine thread."""
        failures = 0
        try:
            while not self._stop.is_set():
                self.observer.pipeline.turned()
                live.apply_waiting()
                # Asked first: what a camera that is over has left on the board is taken by the step that follows.
                over = self._cameras.over(unreadable_too=self._until_eof)
                failures = 0 if self._step(pipeline) else failures + 1
                if max(failures, pipeline.failures_in_a_row, pipeline.broken_in_a_row) >= MAX_FAILURES_IN_A_ROW:
                    # The supervisor restarts what ends.
                    log.error("giving_up", failures_in_a_row=MAX_FAILURES_IN_A_ROW)
                    self._fail()
                self._close_ended(pipeline, over)
        except Exception:
            log.exception("engine_died")
            self._fail()
        self.observer.pipeline.stopped()

    def _step(self, pipeline: Pipeline) -> bool:
        try:
            pipeline.step(STEP_TIMEOUT_S)
        except Exception:
            log.exception("engine_step_failed")
            return False
        return True

    def _fail(self) -> None:
        self._failed = True
        self._stop.set()

    def _close_ended(self, pipeline: Pipeline, over: list[str]) -> None:
        """End the visits of files that are over; with `until_eof`, end the gate after the last of them."""
        for camera in over:
            pipeline.end_camera(camera)
        if self._until_eof and self._cameras.all_over():
            not_read = self._cameras.not_read()
            if not_read:
                log.error("files_not_read", cameras=not_read)
                self._failed = True
            self._stop.set()

    def _drain(self, publisher: Publisher) -> None:
        at_risk = publisher.drain(DRAIN_TIMEOUT_S)
        if at_risk:
            log.error("events_left_behind", events=at_risk, waited_s=DRAIN_TIMEOUT_S)
            self._failed = True
        elif publisher.left:
            log.warning("events_kept_on_disk", events=publisher.left, waited_s=DRAIN_TIMEOUT_S)

    def _state(self) -> tuple[bool, str]:
        """Whether frames progress, as `/livez` answers; and how things stand, as `/readyz` does."""
        alive, late = self.observer.health.alive()
        ready, reasons = self.observer.health.ready()
        word = "serving" if alive and ready else "not serving"
        return alive, "; ".join([word, *late, *reasons])

    def _write_summary(self) -> None:
        if not self._running:
            return
        counts = self.observer.tally.summary()
        log.info("stopped", frames=counts["frames"], faces=counts["faces"], published=counts["published"])
        if self._summary is None:
            return
        try:
            self._summary.write(counts)
        except OSError:
            log.exception("summary_not_written")
            self._failed = True

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            # Asked twice: the person means it. What was not delivered yet is lost.
            os._exit(128 + number)
        # The event is left to `run`: setting it here would hang where the signal came while its lock is held.
        self._signalled = True
        if self._starting:
            raise _StoppedWhileStartingError


def _check_that_files_end(config: GateConfig) -> None:
    endless = [camera.name for camera in config.cameras if not has_an_end(camera)]
    if endless:
        names = ", ".join(endless)
        raise ConfigError(f"--until-eof never ends with {names}: files without `loop` and virtual:?seconds=N do.")


def has_an_end(camera: CameraConfig) -> bool:
    """Whether a camera is a file that ends, or a virtual camera that was told to."""
    if camera.kind == "virtual":
        return "duration_s" in parse_virtual(camera.address)
    return camera.kind == "file" and not camera.loop


def _set_threads(threads: int | None) -> None:
    """Share the cores between what scores and OpenCV, which detects, instead of giving each all of them."""
    import cv2

    # A container may be given fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    set_cpu_threads(threads or max(1, cores // 2))
    cv2.setNumThreads(max(1, cores // 2))
