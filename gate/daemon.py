"""Builds a running gate from a configuration, keeps it running, and takes it down without losing a visit."""

import os
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import structlog

from gate import __version__
from gate.assembly import (
    build_camera_thread,
    build_observer,
    build_sink,
    check_cameras,
    check_weights,
    load_detector,
    load_duplicate_books,
    load_scorer,
    redis_address,
    rhythm_of,
)
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread
from gate.capture.virtual import parse_virtual
from gate.clock import Clock, SystemClock
from gate.config import CameraConfig, GateConfig
from gate.decide.duplicates import DuplicateBook
from gate.decide.visits import Publication, VisitBook
from gate.errors import ConfigError
from gate.faces.tracker import Tracker
from gate.observe.http import HttpServer
from gate.observe.logging import configure
from gate.observe.observer import CaptureReport
from gate.observe.routes import build_routes
from gate.outgoing import context_was_left_out, to_event, waits_since_s
from gate.pipeline import Pipeline
from gate.pipeline_parts import CameraState
from gate.publish.publisher import Publisher
from gate.publish.ulid import UlidFactory
from gate.publish.waiting import DropReason
from gate.reasons import FallbackCause
from gate.summary import SummaryFile
from gate.thresholds import resolve

log = structlog.get_logger(__name__)

STEP_TIMEOUT_S = 0.2
"""How often the engine looks up when no camera gives a frame."""

DRAIN_TIMEOUT_S = 10.0
"""How long a stopping gate waits for Redis to take what was accepted."""

JOIN_TIMEOUT_S = 2.0
"""How long a stopping gate waits for its camera threads together; one that hangs in the network is left behind."""

MAX_FAILURES_IN_A_ROW = 20
"""An engine that fails this often without one good step is broken for good: end, and let the supervisor restart."""


class _StoppedWhileStartingError(BaseException):
    """A signal came while weights are fetched or libraries load: minutes may pass before anybody looks at a flag."""


class Daemon:
    """One running gate.

    `run` is the whole life for a command; `start`, `stop` and `wait` are for whoever embeds a gate.

    Args:
        config: What to run.
        until_eof: End when every file source has ended.
        summary: Write the final counts here as JSON.
        clock: Time.
    """

    def __init__(
        self,
        config: GateConfig,
        *,
        until_eof: bool = False,
        summary: Path | None = None,
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
        self._cameras: list[CameraThread] = []
        self._ended: set[str] = set()
        self._unreadable: set[str] = set()
        self._seen: set[str] = set()
        self._engine: threading.Thread | None = None
        self._http: HttpServer | None = None
        self.observer = build_observer(config, self._clock)

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
            self._check_that_files_end()
        self._starting = True
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._on_signal)
            self.start()
            self._starting = False
            self._stop.wait()
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

    def shut_down(self) -> None:
        """Stop the cameras, close every visit, deliver what was accepted, write the summary. Safe to call twice."""
        self._stop.set()
        self._resources.close()

    def _start(self) -> None:
        config, on_exit = self._config, self._resources.callback
        if self._summary is not None:
            self._summary.prepare()
        check_cameras(config, self._clock)
        _set_threads(config.quality.threads)
        on_exit(self._write_summary)
        if config.http.enabled:
            # First, so that /readyz can say "starting" while weights are fetched.
            routes = build_routes(self.observer.metrics, self.observer.health, self.observer.status)
            self._http = HttpServer(config.http.host, config.http.port, routes)
            self._http.start()
            on_exit(self._http.close)
            log.info("listening", address=self.http_address)
        detector = load_detector(config)
        scorer = load_scorer(config, self._clock, self.observer.pipeline)
        check_weights(self._thresholds, scorer)
        self.observer.pipeline.method_active(scorer.name)
        sink = build_sink(config, redis_address(config, self._resources), self._clock)
        publisher = Publisher(
            sink,
            capacity=config.redis.queue_events,
            capacity_bytes=config.redis.queue_bytes,
            clock=self._clock,
            observer=self.observer.publish,
        )
        on_exit(publisher.close)
        on_exit(self._drain, publisher)
        publisher.start()
        pipeline = self._build_pipeline(detector, scorer, publisher)
        on_exit(pipeline.finish)
        report = _Files(self.observer.capture, self._unreadable, self._seen)
        on_exit(self._leave_cameras)
        for camera in config.cameras:
            thread = build_camera_thread(camera, self._board, self._clock, report, self._stop)
            thread.start()
            self._cameras.append(thread)
        self._engine = threading.Thread(target=self._turn, args=(pipeline,), name="engine", daemon=True)
        self._engine.start()
        on_exit(self._engine.join)
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

    def _build_pipeline(self, detector: Any, scorer: Any, publisher: Publisher) -> Pipeline:
        config = self._config
        at_once, allowed_s = rhythm_of(scorer, config.quality.max_batch, self._clock)
        self.observer.pipeline.allow(allowed_s)
        new_id = UlidFactory(self._clock).new
        books = load_duplicate_books(config)
        states = {camera.name: self._state_of(camera, new_id, books) for camera in config.cameras}
        return Pipeline(
            cameras=states,
            board=self._board,
            detector=detector,
            scorer=scorer,
            publish=partial(self._publish, publisher),
            report=self.observer.pipeline,
            clock=self._clock,
            context_margin=config.redis.context_margin,
            max_gap_s=config.tracker.max_gap_s,
            crops_at_once=at_once,
        )

    def _state_of(
        self, camera: CameraConfig, new_id: Callable[[], str], books: Mapping[str, DuplicateBook]
    ) -> CameraState:
        tracker, rules = self._config.tracker, self._config.rules_of(camera)
        return CameraState(
            tracker=Tracker(min_iou=tracker.min_iou, max_gap_s=tracker.max_gap_s),
            visits=VisitBook(camera.name, rules, new_id),
            lossless=camera.pace == "fast",
            rules=rules,
            zones=camera.zones,
            duplicates=None if rules.duplicate_s is None else books[rules.duplicate_group],
        )

    def _publish(self, publisher: Publisher, publication: Publication) -> None:
        start_s = time.perf_counter()
        try:
            event = to_event(publication, self._config.redis.jpeg_quality)
        except Exception:
            # One picture that cannot be encoded must cost neither the other faces of the step nor a visit's end.
            log.exception("event_not_made", event_id=publication.event_id)
            self.observer.publish.dropped(DropReason.INVALID.value, 1)
            return
        self.observer.pipeline.stage("encode", time.perf_counter() - start_s)
        if context_was_left_out(publication, event):
            self.observer.pipeline.fallback(FallbackCause.CONTEXT_LEFT_OUT)
        publisher.offer(event, since_s=waits_since_s(publication))

    def _turn(self, pipeline: Pipeline) -> None:
        """The engine thread."""
        failures = 0
        try:
            while not self._stop.is_set():
                self.observer.pipeline.alive()
                # Asked first: what a camera that is over has left on the board is taken by the step that follows.
                over = self._over()
                failures = 0 if self._step(pipeline) else failures + 1
                if max(failures, pipeline.failures_in_a_row, pipeline.broken_in_a_row) >= MAX_FAILURES_IN_A_ROW:
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

    def _over(self) -> set[str]:
        """Files that have ended, and with `until_eof` those that cannot be read, as far as nobody knew yet."""
        unreadable = self._unreadable if self._until_eof else ()
        return {thread.camera for thread in self._cameras if thread.ended or thread.camera in unreadable} - self._ended

    def _close_ended(self, pipeline: Pipeline, over: set[str]) -> None:
        """End the visits of files that are over; with `until_eof`, end the gate after the last of them."""
        for camera in sorted(over):
            pipeline.end_camera(camera)
        self._ended |= over
        if self._until_eof and len(self._ended) == len(self._cameras):
            not_read = (self._ended - self._seen) | self._unreadable
            if not_read:
                log.error("files_not_read", cameras=sorted(not_read))
                self._failed = True
            self._stop.set()

    def _leave_cameras(self) -> None:
        for camera in self._cameras:
            camera.stop()
        deadline_s = self._clock.monotonic_s() + JOIN_TIMEOUT_S
        for camera in self._cameras:
            camera.join(max(0.0, deadline_s - self._clock.monotonic_s()))
        # Closed first: a camera that outlives the join must not leave a frame that nobody counts.
        self._board.close()
        for frame in self._board.take(0.0):
            self.observer.capture.dropped(frame.camera, 1)

    def _drain(self, publisher: Publisher) -> None:
        left = publisher.drain(DRAIN_TIMEOUT_S)
        if left:
            log.error("events_left_behind", events=left, waited_s=DRAIN_TIMEOUT_S)
            self._failed = True

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

    def _check_that_files_end(self) -> None:
        endless = [camera.name for camera in self._config.cameras if not _has_an_end(camera)]
        if endless:
            names = ", ".join(endless)
            raise ConfigError(f"--until-eof never ends with {names}: files without `loop` and virtual:?seconds=N do.")

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            # Asked twice: the person means it. What was not delivered yet is lost.
            os._exit(128 + number)
        self._signalled = True
        self._stop.set()
        if self._starting:
            raise _StoppedWhileStartingError


class _Files:
    """Passes a camera's reports on, and notes which files gave frames and which cannot be read."""

    def __init__(self, report: CaptureReport, unreadable: set[str], seen: set[str]) -> None:
        self._report = report
        self._unreadable = unreadable
        self._seen = seen
        self.up, self.dropped, self.corrupt, self.ended = report.up, report.dropped, report.corrupt, report.ended

    def frame(self, camera: str, captured_ms: int) -> None:
        """There is at least one picture in it."""
        self._seen.add(camera)
        self._report.frame(camera, captured_ms)

    def lost(self, camera: str, cause: str, message: str) -> None:
        """The file could not be opened: a run to the end does not wait for it."""
        self._report.lost(camera, cause, message)
        self._unreadable.add(camera)


def _has_an_end(camera: CameraConfig) -> bool:
    if camera.kind == "virtual":
        return "duration_s" in parse_virtual(camera.address)
    return camera.kind == "file" and not camera.loop


def _set_threads(threads: int | None) -> None:
    """Share the cores between torch, which scores, and OpenCV, which detects, instead of giving each all of them."""
    import cv2
    import torch

    # A container may be given fewer cores than the machine has.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or max(1, cores // 2))
    cv2.setNumThreads(max(1, cores // 2))
