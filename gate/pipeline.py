"""The engine: newest frames in, verdicts and publications out. One thread, one direction.

Every camera gives its newest frame, each frame is detected, tracked and measured, those of the faces that cheap bars
let through that could change what is published are scored together in one batch, and every face gets a verdict or is
counted as unscored. Nothing here waits for Redis or a camera.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import structlog

from gate.clock import Clock
from gate.config import DecideConfig, ZonesConfig
from gate.decide.bars import cheap_reasons, quality_reasons
from gate.decide.duplicates import DuplicateBook
from gate.decide.visits import Publication, VisitEnd
from gate.decide.worth import Choice
from gate.faces.align import align
from gate.faces.detector import Detector
from gate.faces.tracker import TrackUpdate
from gate.pipeline_parts import (
    CameraState,
    FrameBoard,
    PipelineReport,
    Scorer,
    Stages,
    Tracer,
    Watcher,
    circumstances_of,
    cut_context,
    show,
)
from gate.quality.signals import measure
from gate.rater import Rater
from gate.reasons import Reason
from gate.shedding import Shedding
from gate.types import Face, Frame, Image, JudgedFace, Rating, ScoredFace, TrackedFace, Verdict

log = structlog.get_logger(__name__)

STEP_TIMEOUT_S = 0.2
"""How often an engine looks up when no camera gives a frame."""

MAX_FAILURES_IN_A_ROW = 20
"""An engine that fails this often without one good step is broken for good."""

FRESH_SHARE = 0.25
"""Share of `max_frame_age_s` that the steps of an engine which cannot keep up should take."""

_MOST_OF_GAP = 0.99
"""A track that was only not looked at survives a gap of this share of `max_gap_s`, whatever rounding does."""


@dataclass(frozen=True, slots=True, eq=False)
class _Candidate:
    """A face on its way to a verdict."""

    face: ScoredFace
    reasons: tuple[str, ...]


class Pipeline:
    """Detects, tracks, aligns, scores and decides for all cameras of a process.

    Args:
        cameras: State per camera name; the names of the frames must be in it.
        board: Where frames come from.
        detector: Finds faces.
        scorer: Turns crops into numbers.
        publish: Takes each publication; must neither block nor raise.
        report: Is told of every frame, face and visit.
        clock: Time.
        context_margin: Also cut the face with this margin (share of the box side) from the full frame.
        max_gap_s: A camera that gave no frame for this long has no open visits.
        crops_at_once: Most crops handed to the scorer before the next sign of life.
        watcher: Is shown every frame with its faces; None costs nothing.
        shedding: Says what is left out when the engine cannot keep up; None leaves nothing out on purpose.
        tracer: Follows single frames; None costs nothing.
    """

    def __init__(
        self,
        *,
        cameras: Mapping[str, CameraState],
        board: FrameBoard,
        detector: Detector,
        scorer: Scorer,
        publish: Callable[[Publication], None],
        report: PipelineReport,
        clock: Clock,
        context_margin: float | None = None,
        max_gap_s: float = 1.5,
        crops_at_once: int = 32,
        watcher: Watcher | None = None,
        shedding: Shedding | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._cameras = dict(cameras)
        self._board = board
        self._detector = detector
        self._rater = Rater(scorer, report, crops_at_once)
        self._publish = publish
        self._report = report
        self._clock = clock
        self._context_margin = context_margin
        self._max_gap_s = max_gap_s
        self._watcher = watcher
        self._shedding = shedding
        self._tracer = tracer
        self._timed = Stages(report, tracer).timed
        self._displaced = board.displaced
        self.broken_in_a_row = 0
        """How many frames, of whichever camera, could not be looked at since one could."""

    @property
    def failures_in_a_row(self) -> int:
        """How often scoring has failed since it last worked."""
        return self._rater.failures_in_a_row

    def step(self, timeout_s: float) -> int:
        """Look at what the cameras have now; returns the number of frames, 0 after the time-out."""
        frames = self._board.take(timeout_s, self._frames_at_once())
        start_s = self._clock.monotonic_s()
        if self._tracer is not None:
            self._tracer.taken(frames)
        try:
            self._look_at(frames)
        finally:
            self._weigh(len(frames), self._clock.monotonic_s() - start_s)
            if self._tracer is not None:
                self._tracer.left(frames)
        return len(frames)

    def _frames_at_once(self) -> int | None:
        if self._shedding is None:
            return None
        ages_s = (state.rules.max_frame_age_s for state in self._cameras.values() if not state.lossless)
        return self._shedding.frames_at_once(FRESH_SHARE * min(ages_s, default=math.inf))

    def _weigh(self, taken: int, seconds: float) -> None:
        """Tell how the step went to who sheds load."""
        displaced = self._board.displaced
        lost, self._displaced = displaced - self._displaced, displaced
        if self._shedding is not None:
            self._shedding.stepped(taken, lost, seconds)

    def _look_at(self, frames: Sequence[Frame]) -> None:
        """One step: from frames to publications."""
        self._end_silent_visits(frames)
        seen: list[Frame] = []
        ended: list[tuple[Frame, int]] = []
        candidates: list[_Candidate] = []
        for frame in frames:
            try:
                update = self._follow(frame)
                # Kept even where a face of the frame cannot be measured: the tracker names each end only once.
                ended += [(frame, track) for track in update.ended]
                candidates += self._measure_all(frame, update.tracked)
            except Exception:
                # One poisonous frame of one camera must not stop the door of another. Told the 1st, 2nd, 4th, 8th …
                # time: a camera whose every frame fails would write 25 tracebacks a second.
                times = self._count_broken(frame)
                if times & (times - 1) == 0:
                    log.exception("frame_failed", camera=frame.camera, seq=frame.seq, times=times)
                continue
            self.broken_in_a_row = 0
            seen.append(frame)
        try:
            judged = self._judge(candidates, seen, ended)
            if self._watcher is not None:
                show(self._watcher, seen, judged, [candidate.face for candidate in candidates])
            for frame, track in ended:
                state = self._cameras[frame.camera]
                self._emit(state.visits.end(track, frame.captured_s, state.now_s))
            for frame in seen:
                state = self._cameras[frame.camera]
                self._emit(state.visits.tick(state.now_s, frame.captured_s))
        finally:
            now_s = self._clock.monotonic_s()
            for frame in seen:
                self._report.processed(frame.camera, now_s - frame.captured_s)

    def end_camera(self, camera: str) -> None:
        """Close the visits of a camera that will give no more frames."""
        state = self._cameras[camera]
        state.tracker.flush()
        state.approach.end_all()
        try:
            self._rule(self._settled(state, state.scores.tracks()))
        finally:
            self._emit(state.visits.end_all())

    def add_camera(self, camera: str, state: CameraState) -> None:
        """Know a camera from now on. Between two steps, as every change of the cameras."""
        self._cameras[camera] = state

    def remove_camera(self, camera: str) -> None:
        """Close the visits of a camera and know it no longer; the board must hold no frame of it at the next step."""
        self.end_camera(camera)
        del self._cameras[camera]

    def change_camera(
        self, camera: str, rules: DecideConfig, zones: ZonesConfig, duplicates: DuplicateBook | None
    ) -> None:
        """Judge a camera's faces by other rules from now on; its open visits go on."""
        self._cameras[camera].change_rules(rules, zones, duplicates)

    def finish(self) -> None:
        """Close every visit: the gate stops, and the last visit is never lost."""
        for camera in self._cameras:
            self.end_camera(camera)

    def _follow(self, frame: Frame) -> TrackUpdate:
        """Detect the faces of a frame and give them their tracks."""
        state = self._cameras[frame.camera]
        state.now_s = self._time_of(frame, state)
        faces = self._faces(frame, state)
        with self._timed("track", (frame,)):
            update = state.tracker.update(faces, state.now_s, changed=state.change.sees(frame.image))
        state.approach.end(update.ended)
        return update

    def _faces(self, frame: Frame, state: CameraState) -> Sequence[Face]:
        """The faces of a frame; it is not searched where it shows what an empty one has shown."""
        still = state.stillness
        if still is not None and not len(state.tracker) and still.same_as_empty(frame.image, state.now_s):
            self._report.still(frame.camera)
            return ()
        with self._timed("detect", (frame,)) as told:
            faces = self._detector.detect(frame.image)
            told["faces"] = len(faces)
        if still is not None:
            still.searched(frame.image, state.now_s, found=bool(faces))
        return faces

    def _time_of(self, frame: Frame, state: CameraState) -> float:
        """Seconds for the tracker: a file played fast has its own time, everything else the machine's.

        Nobody has left because nobody looked: where a step took longer than `max_gap_s`, such as for a crowd on a
        slow method, every track would end between two frames, and every face be published as a visit of its own. A
        camera that really gave nothing for so long has lost its tracks already.
        """
        if state.lossless and frame.pts_ms is not None:
            return frame.pts_ms / 1000
        state.tracked_s += min(frame.captured_s - state.captured_s, _MOST_OF_GAP * self._max_gap_s)
        state.captured_s = frame.captured_s
        return state.tracked_s

    def _measure_all(self, frame: Frame, tracked: Sequence[TrackedFace]) -> list[_Candidate]:
        lossless = self._cameras[frame.camera].lossless
        age_s = 0.0 if lossless else self._clock.monotonic_s() - frame.captured_s
        return [self._measure(frame, face, age_s) for face in tracked]

    def _count_broken(self, frame: Frame) -> int:
        """Count a frame that could not be looked at; returns how many of its camera there have been."""
        self._report.broken(frame.camera)
        if self._tracer is not None:
            self._tracer.broken(frame)
        self.broken_in_a_row += 1
        state = self._cameras[frame.camera]
        state.broken += 1
        return state.broken

    def _measure(self, frame: Frame, tracked: TrackedFace, age_s: float) -> _Candidate:
        with self._timed("align", (frame,)):
            crop = align(frame.image, tracked.face.landmarks[None])[0]
        with self._timed("signals", (frame,)):
            signals = measure(tracked.face, crop)
        state, sighting = self._cameras[frame.camera], frame.sighting
        approach = state.approach if state.rules.approaching_only else None
        at = circumstances_of(tracked, sighting, state.zones, approach, at_s=state.now_s, age_s=age_s)
        reasons = cheap_reasons(state.rules, tracked.face, signals, at)
        face = ScoredFace(
            sighting=sighting,
            tracked=tracked,
            signals=signals,
            crop=crop,
            quality=None,
            raw=None,
            method="",
            model="",
            context=None if reasons else self._context(frame, tracked),
        )
        return _Candidate(face, tuple(reason.value for reason in reasons))

    def _judge(
        self, candidates: Iterable[_Candidate], seen: Iterable[Frame], ended: Iterable[tuple[Frame, int]]
    ) -> list[JudgedFace]:
        """Give the hopeless faces their verdict, and those whose turn has come a score and theirs."""
        choices, judged = [], []
        for candidate in candidates:
            if candidate.reasons:
                judged.append(self._decide(candidate))
            else:
                choices.append(self._offer(candidate.face))
        with self._timed("decide"):
            choices += [self._settled(self._cameras[frame.camera], [track]) for frame, track in ended]
            for frame in seen:
                state = self._cameras[frame.camera]
                choices.append(state.scores.choose(state.visits.standing, state.now_s, state.visits.due(state.now_s)))
        return judged + self._rule(Choice.of(choices))

    def _offer(self, face: ScoredFace) -> Choice:
        """Put a face forward; what it takes the place of is left out."""
        state, track = self._cameras[face.sighting.camera], face.tracked.track
        state.visits.meet(face, state.now_s)
        return Choice(leave_out=state.scores.offer(face, state.visits.standing(track), state.now_s))

    def _settled(self, state: CameraState, tracks: Iterable[int]) -> Choice:
        """What becomes of the faces that wait when their tracks end."""
        return Choice.of([state.scores.settle(track, state.visits.standing(track), state.now_s) for track in tracks])

    def _rule(self, choice: Choice) -> list[JudgedFace]:
        """Count what is left out, and give the others a score and a verdict."""
        for face in choice.leave_out:
            self._cameras[face.sighting.camera].visits.leave_out(face.tracked.track)
            self._report.unscored(face.sighting.camera)
        return [self._decide(candidate) for candidate in self._score(choice.score)]

    def _score(self, faces: Sequence[ScoredFace]) -> list[_Candidate]:
        """Score faces together."""
        if not faces:
            return []
        with self._timed("score", [face.sighting for face in faces]) as told:
            ratings = self._rater.rate(np.stack([face.crop for face in faces]))
            told["batch"], told["method"] = len(faces), ratings[0].method
        self._report.batch(len(faces))
        return [self._rated(face, rating) for face, rating in zip(faces, ratings, strict=True)]

    def _rated(self, face: ScoredFace, rating: Rating) -> _Candidate:
        finite = math.isfinite(rating.quality) and math.isfinite(rating.raw)
        if not finite and not self.failures_in_a_row:
            log.warning("score_not_finite", camera=face.sighting.camera, method=rating.method)
        rated = replace(
            face,
            quality=rating.quality if finite else None,
            raw=rating.raw if finite else None,
            method=rating.method,
            model=rating.model,
        )
        return _Candidate(rated, tuple(reason.value for reason in self._quality_reasons(rated)))

    def _quality_reasons(self, face: ScoredFace) -> list[Reason]:
        state = self._cameras[face.sighting.camera]
        quality = math.nan if face.quality is None else face.quality
        return quality_reasons(state.rules, quality, passed_before=state.visits.has_passed(face.tracked.track))

    def _decide(self, candidate: _Candidate) -> JudgedFace:
        face, state = candidate.face, self._cameras[candidate.face.sighting.camera]
        verdict = Verdict(candidate.reasons)
        if verdict.accepted and self._is_duplicate(face, state):
            verdict = Verdict((Reason.DUPLICATE.value,))
        self._report.face(
            face.sighting.camera,
            accepted=verdict.accepted,
            reason=verdict.reasons[0] if verdict.reasons else "",
            quality=face.quality,
            method=face.method,
            sample=bool(face.method) and state.scores.scored(face, state.now_s),
        )
        with self._timed("decide", (face.sighting,)) as told:
            publications = state.visits.see(face, verdict, state.now_s)
            told["verdict"] = "accepted" if verdict.accepted else "rejected"
            told["reason"] = "" if verdict.accepted else verdict.reasons[0]
        self._emit(publications)
        return JudgedFace(face, verdict)

    def _is_duplicate(self, face: ScoredFace, state: CameraState) -> bool:
        """Whether the person was published lately in another visit; a visit that is out already goes on."""
        if state.duplicates is None or state.rules.duplicate_s is None:
            return False
        if state.visits.has_published(face.tracked.track):
            return False
        with self._timed("compare", (face.sighting,)):
            return state.duplicates.is_duplicate(
                face.crop,
                camera=face.sighting.camera,
                track=face.tracked.track,
                now_s=self._clock.monotonic_s(),
                within_s=state.rules.duplicate_s,
                similarity=state.rules.duplicate_similarity,
            )

    def _emit(self, publications: Iterable[Publication]) -> None:
        for publication in publications:
            if isinstance(publication, VisitEnd):
                visit = publication.visit
                result = "published" if visit.published else "unusable"
                self._report.visit(visit.camera, result, best_quality=visit.best_quality)
            else:
                self._remember(publication.face)
            self._publish(publication)

    def _remember(self, face: ScoredFace) -> None:
        state = self._cameras[face.sighting.camera]
        if state.duplicates is not None:
            with self._timed("compare", (face.sighting,)):
                state.duplicates.remember(
                    face.crop, camera=face.sighting.camera, track=face.tracked.track, now_s=self._clock.monotonic_s()
                )

    def _end_silent_visits(self, taken: Sequence[Frame]) -> None:
        """A camera that is silent has no tracker updates, but its visitors leave all the same.

        Judged when frames are taken, for then a camera that is not silent has one, among those or still on the board:
        how long the engine itself took does not count.
        """
        now_s = self._clock.monotonic_s()
        for frame in taken:
            self._cameras[frame.camera].taken_s = now_s
        waiting = self._board.waiting()
        for camera, state in self._cameras.items():
            silent = camera not in waiting and now_s - state.taken_s > self._max_gap_s
            if silent and len(state.visits) and not state.lossless:
                self.end_camera(camera)

    def _context(self, frame: Frame, tracked: TrackedFace) -> Image | None:
        return None if self._context_margin is None else cut_context(frame, tracked, self._context_margin)
