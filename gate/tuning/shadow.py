"""A gate that publishes nothing and lets everything pass, so that each face is measured and scored."""

import threading
from collections.abc import Callable

import structlog

from gate.assembly import (
    build_observer,
    build_open_state,
    check_cameras,
    load_detector,
    load_scorer,
    rhythm_of,
)
from gate.camera_set import CameraSet
from gate.capture.board import SlotBoard
from gate.clock import Clock
from gate.config import CameraConfig, DecideConfig, GateConfig
from gate.decide.visits import Publication, VisitBook
from gate.decide.zones import Approach
from gate.errors import GateError
from gate.faces.detector import Detector
from gate.observe.observer import Observer
from gate.pipeline import MAX_FAILURES_IN_A_ROW, STEP_TIMEOUT_S, Pipeline
from gate.pipeline_parts import CameraState, Scorer, circumstances_of
from gate.publish.ulid import UlidFactory
from gate.tuning.records import FaceRecord
from gate.types import ScoredFace, Verdict

log = structlog.get_logger(__name__)

MOST_FACES = 500_000
"""Where a recording ends by itself: half a gigabyte, and no threshold gets better by more."""


def open_rules(rules: DecideConfig) -> DecideConfig:
    """Rules that let every face pass, and make visits as `rules` do."""
    return DecideConfig(
        min_detector_score=0,
        min_inter_eye_px=0,
        max_outside_share=1,
        max_yaw_deg=90,
        max_pitch_deg=None,
        max_roll_deg=180,
        min_sharpness=None,
        min_luminance=0,
        max_luminance=100,
        max_over_exposed_share=None,
        min_contrast=None,
        min_quality=0,
        same_visit_s=rules.same_visit_s,
        max_scores_per_s=None,
        max_frame_age_s=60,
    )


class RecordingBook(VisitBook):
    """A visit book that notes each face with what today's rules ask about it."""

    def __init__(
        self, camera: CameraConfig, rules: DecideConfig, new_id: Callable[[], str], note: Callable[[FaceRecord], None]
    ) -> None:
        super().__init__(camera.name, open_rules(rules), new_id)
        self._zones = camera.zones
        self._approach = Approach(rules.direction_window_s) if rules.approaching_only else None
        self._note = note

    def see(self, face: ScoredFace, verdict: Verdict, at_s: float | None = None) -> list[Publication]:
        """Enter one face and note it."""
        publications = super().see(face, verdict, at_s)
        sighting, tracked = face.sighting, face.tracked
        self._note(
            FaceRecord(
                camera=sighting.camera,
                visit=self.visit_of(tracked.track) or "",
                time_ms=sighting.captured_ms,
                face=tracked.face,
                signals=face.signals,
                at=circumstances_of(
                    tracked,
                    sighting,
                    self._zones,
                    self._approach,
                    at_s=sighting.captured_s if at_s is None else at_s,
                    age_s=0.0,
                ),
                quality=face.quality,
                raw=face.raw,
                method=face.method,
                model=face.model,
            )
        )
        return publications

    def end(self, track: int, triggered_s: float = float("nan"), at_s: float | None = None) -> list[Publication]:
        """As in `VisitBook`; direction is forgotten with the track."""
        if self._approach is not None:
            self._approach.end([track])
        return super().end(track, triggered_s, at_s)

    def end_all(self) -> list[Publication]:
        """As in `VisitBook`."""
        if self._approach is not None:
            self._approach.end_all()
        return super().end_all()


class ShadowRun:
    """Watches the cameras of a configuration.

    Args:
        config: What `gate run` would be given; Redis and HTTP are not touched.
        clock: Time.
        stop: Ends the run early; what was recorded until then counts.
        detector: In place of the configured one.
        scorer: In place of the configured one.
    """

    def __init__(
        self,
        config: GateConfig,
        *,
        clock: Clock,
        stop: threading.Event | None = None,
        detector: Detector | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._stop = stop or threading.Event()
        self._detector = detector
        self._scorer = scorer
        self.records: list[FaceRecord] = []
        self.frames = 0

    def run(self, seconds: float | None) -> list[FaceRecord]:
        """Record for so long, or until every file has ended; whatever comes first.

        Raises:
            GateError: something cannot be used, or fails again and again.
        """
        check_cameras(self._config, self._clock)
        observer = build_observer(self._config, self._clock)
        board = SlotBoard()
        pipeline = self._pipeline(observer, board)
        cameras = CameraSet(board, self._clock, observer.capture)
        try:
            cameras.admit(cameras.start(self._config.cameras))
            log.info("watching", cameras=[camera.name for camera in self._config.cameras], seconds=seconds)
            self._watch(pipeline, cameras, None if seconds is None else self._clock.monotonic_s() + seconds)
            pipeline.finish()
        finally:
            cameras.leave()
        if not_read := cameras.not_read():
            log.warning("cameras_not_read", cameras=not_read)
        return self.records

    def _watch(self, pipeline: Pipeline, cameras: CameraSet, deadline_s: float | None) -> None:
        only_files = all(camera.kind in {"file", "virtual"} for camera in self._config.cameras)
        while not self._stop.is_set() and len(self.records) < MOST_FACES:
            # Asked first: what a file that is over has left on the board is taken by the step that follows.
            cameras.over(unreadable_too=only_files)
            all_over = cameras.all_over()
            self.frames += pipeline.step(STEP_TIMEOUT_S)
            failures = max(pipeline.failures_in_a_row, pipeline.broken_in_a_row)
            if failures >= MAX_FAILURES_IN_A_ROW:
                raise GateError(f"{failures} frames in a row could not be scored; the log says why.")
            if all_over or (deadline_s is not None and self._clock.monotonic_s() >= deadline_s):
                return

    def _pipeline(self, observer: Observer, board: SlotBoard) -> Pipeline:
        config = self._config
        detector = self._detector or load_detector(config)
        scorer, at_once = self._scorer, config.quality.max_batch
        if scorer is None:
            loaded = load_scorer(config, self._clock, observer.pipeline)
            scorer, at_once = loaded, rhythm_of(loaded, at_once, self._clock)[0]
        new_id = UlidFactory(self._clock).new
        return Pipeline(
            cameras={camera.name: self._state_of(camera, new_id) for camera in config.cameras},
            board=board,
            detector=detector,
            scorer=scorer,
            publish=lambda _publication: None,
            report=observer.pipeline,
            clock=self._clock,
            max_gap_s=config.tracker.max_gap_s,
            crops_at_once=at_once,
        )

    def _state_of(self, camera: CameraConfig, new_id: Callable[[], str]) -> CameraState:
        rules = self._config.rules_of(camera)
        book = RecordingBook(camera, rules, new_id, self.records.append)
        return build_open_state(self._config, camera, book, open_rules(rules))
