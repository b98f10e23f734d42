"""Visits: one person from first to last sight, and what of it is published when.

Policies may be combined: the first face that passes every bar (`on_enter`, the door's latency), a clearly better one
later (`on_improve_by`), the best so far at a deadline (`deadline_s`), and the best shots when the visit ends
(`on_exit`). A visit's end is always told, also when nothing was usable: "somebody stood here and no usable face was
seen" is what a door operator needs.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from gate.config import DecideConfig
from gate.decide.shots import Shots
from gate.types import FloatArray, ScoredFace, Verdict, Visit


@dataclass(frozen=True, slots=True, eq=False)
class FacePublication:
    """One face to publish."""

    event_id: str
    visit: str
    seq: int
    """Counts the visit's publications from 0."""

    supersedes: str | None
    """`event_id` of the visit's earlier publication that this one replaces."""

    final: bool
    """True for the best shot of a visit that is over."""

    face: ScoredFace

    triggered_s: float
    """Monotonic seconds at decode of the frame that triggered the publication: the face's own at `on_enter`, the one
    on which the visit ended at `on_exit`; not-a-number where no frame did, as when the camera fell silent."""


@dataclass(frozen=True, slots=True, eq=False)
class VisitEnd:
    """The end of a visit, with its counts."""

    event_id: str
    visit: Visit


Publication: TypeAlias = FacePublication | VisitEnd


@dataclass(frozen=True, slots=True)
class Standing:
    """What a visit still waits for."""

    to_beat: float = -math.inf
    """Quality above which one more face changes what is published: minus infinity before a face has been accepted,
    infinity when nothing more is published."""

    wants_views: bool = False
    """Whether faces of lower quality count too, where they show another side of the person."""


@dataclass(slots=True)
class _OpenVisit:
    visit: str
    first_ms: int
    last_ms: int
    first_s: float
    shots: Shots
    box_xywh: FloatArray
    faces: int = 0
    accepted: int = 0
    published: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    unscored: int = 0
    best_quality: float | None = None
    shown: ScoredFace | None = None
    """The face that was published last."""

    shown_s: float = -math.inf
    last_event_id: str | None = None
    passed: bool = False
    """Whether a face of the visit has been accepted."""

    final: bool = False
    """Whether its final face is out: under whatever rules it goes on, no other follows."""

    deadline_met: bool = False
    gone_s: float | None = None
    """When its track ended, while it waits to be continued."""


class VisitBook:
    """The open visits of one camera. Holds `shots` crops and the last published one a visit, however long it lasts.

    Times are seconds of the camera: monotonic ones, or the file's own where it is played fast.
    """

    def __init__(self, camera: str, rules: DecideConfig, new_id: Callable[[], str]) -> None:
        self._camera = camera
        self._rules = rules
        self._new_id = new_id
        self._open: dict[int, _OpenVisit] = {}
        self._waiting: list[_OpenVisit] = []

    def __len__(self) -> int:
        """How many visits are open, those that wait to be continued included."""
        return len(self._open) + len(self._waiting)

    def change_rules(self, rules: DecideConfig) -> None:
        """From now on follow other rules; open visits go on under them."""
        self._rules = rules

    def has_passed(self, track: int) -> bool:
        """Whether a face of the track's visit has been accepted before: its bar is then `keep_quality`."""
        visit = self._open.get(track)
        return visit is not None and visit.passed

    def visit_of(self, track: int) -> str | None:
        """The ULID of the track's open visit, None without one."""
        visit = self._open.get(track)
        return None if visit is None else visit.visit

    def has_published(self, track: int) -> bool:
        """Whether a face of the track's visit has been published."""
        visit = self._open.get(track)
        return visit is not None and visit.published > 0

    def standing(self, track: int) -> Standing:
        """What the visit of a track waits for; a track without one for its first face."""
        visit, rules = self._open.get(track), self._rules
        if visit is None or not visit.passed:
            return Standing()
        best = visit.shots.best
        if visit.final or best is None:
            return Standing(math.inf)
        if rules.on_exit or (rules.deadline_s is not None and not visit.deadline_met):
            return Standing(quality_of(best), wants_views=rules.on_exit and rules.shots > 1)
        if rules.on_improve_by is not None and visit.shown is not None:
            return Standing(quality_of(visit.shown) + rules.on_improve_by)
        return Standing(math.inf)

    def due(self, at_s: float) -> list[int]:
        """The tracks for which `tick` will publish a face at this time, because their deadline has come."""
        return [track for track, visit in self._open.items() if self._has_deadline(visit, at_s)]

    def meet(self, face: ScoredFace, at_s: float) -> None:
        """A face is there: its visit is open from now on, whenever its verdict comes."""
        visit = self._entered(face, at_s)
        if face.sighting.captured_ms >= visit.last_ms:
            visit.last_ms = face.sighting.captured_ms
            visit.box_xywh = face.tracked.face.box_xywh

    def leave_out(self, track: int) -> None:
        """A face of the track that was met gets no verdict: nobody scores it."""
        visit = self._open[track]
        visit.faces += 1
        visit.unscored += 1

    def see(self, face: ScoredFace, verdict: Verdict, at_s: float | None = None) -> list[Publication]:
        """Enter one face with its verdict; returns what is to be published now.

        `at_s` is the camera's time; default is when the frame was decoded.
        """
        at_s = face.sighting.captured_s if at_s is None else at_s
        self.meet(face, at_s)
        visit = self._open[face.tracked.track]
        visit.faces += 1
        if face.quality is not None and (visit.best_quality is None or face.quality > visit.best_quality):
            visit.best_quality = face.quality
        if not verdict.accepted:
            visit.rejected[verdict.reasons[0]] += 1
            return []
        visit.accepted += 1
        visit.passed = True
        visit.shots.add(face, at_s)
        if not self._is_due(visit, face, at_s):
            return []
        alone = not (self._rules.on_exit or self._rules.on_improve_by is not None or self._rules.deadline_s is not None)
        return [self._publish(visit, face, face.sighting.captured_s, at_s, final=alone)]

    def tick(self, at_s: float, triggered_s: float = math.nan) -> list[Publication]:
        """What time alone brings: deadlines, and the end of visits that nobody continued."""
        publications: list[Publication] = []
        if self._rules.deadline_s is not None:
            for visit in self._open.values():
                publications += self._at_deadline(visit, at_s, triggered_s)
        over = [visit for visit in self._waiting if not self._may_continue(visit, at_s)]
        for visit in over:
            self._waiting.remove(visit)
            publications += self._closed(visit, triggered_s, at_s)
        return publications

    def end(self, track: int, triggered_s: float = math.nan, at_s: float | None = None) -> list[Publication]:
        """A track has ended: close its visit, or let it wait for `same_visit_s` to be continued.

        Args:
            track: Its number; one that has no visit is ignored.
            triggered_s: When the frame that ended it was decoded, in monotonic seconds; not-a-number without one.
            at_s: The camera's time; without it the visit is closed at once.

        Returns:
            Its best shots, where there are any, and its end; nothing while it waits.
        """
        visit = self._open.pop(track, None)
        if visit is None:
            return []
        if at_s is None or self._rules.same_visit_s <= 0:
            return self._closed(visit, triggered_s, visit.first_s if at_s is None else at_s)
        visit.gone_s = at_s
        self._waiting.append(visit)
        return []

    def end_all(self) -> list[Publication]:
        """Close every visit, oldest first: the camera has gone or the gate stops."""
        visits = sorted([*self._waiting, *self._open.values()], key=lambda visit: visit.first_s)
        self._waiting, self._open = [], {}
        return [item for visit in visits for item in self._closed(visit, math.nan, visit.first_s)]

    def _entered(self, face: ScoredFace, at_s: float) -> _OpenVisit:
        track = face.tracked.track
        if track not in self._open:
            self._open[track] = self._continued(face, at_s) or self._started(face, at_s)
        return self._open[track]

    def _started(self, face: ScoredFace, at_s: float) -> _OpenVisit:
        now_ms = face.sighting.captured_ms
        shots = Shots(self._rules.shots)
        return _OpenVisit(self._new_id(), now_ms, now_ms, at_s, shots, face.tracked.face.box_xywh)

    def _continued(self, face: ScoredFace, at_s: float) -> _OpenVisit | None:
        """The visit that ended a moment ago where this face appears, nearest first."""
        recent = [visit for visit in self._waiting if self._may_continue(visit, at_s)]
        distances = [_apart(visit.box_xywh, face.tracked.face.box_xywh) for visit in recent]
        near = [(distance, place) for place, distance in enumerate(distances) if distance < 1]
        if not near:
            return None
        visit = recent[min(near)[1]]
        self._waiting.remove(visit)
        visit.gone_s = None
        return visit

    def _may_continue(self, visit: _OpenVisit, at_s: float) -> bool:
        return visit.gone_s is None or at_s - visit.gone_s <= self._rules.same_visit_s

    def _is_due(self, visit: _OpenVisit, face: ScoredFace, at_s: float) -> bool:
        """Whether a face that was just accepted is published at once."""
        rules = self._rules
        if visit.final:
            return False
        if visit.published == 0:
            return rules.on_enter
        return (
            rules.on_improve_by is not None
            and visit.shown is not None
            and face is visit.shots.best
            and quality_of(face) >= quality_of(visit.shown) + rules.on_improve_by
            and at_s - visit.shown_s >= rules.improve_every_s
        )

    def _at_deadline(self, visit: _OpenVisit, at_s: float, triggered_s: float) -> list[Publication]:
        best = visit.shots.best
        if best is None or not self._has_deadline(visit, at_s):
            return []
        visit.deadline_met = True
        return [] if best is visit.shown else [self._publish(visit, best, triggered_s, at_s, final=False)]

    def _has_deadline(self, visit: _OpenVisit, at_s: float) -> bool:
        """Whether its deadline is now and there is something to publish."""
        due = self._rules.deadline_s is not None and at_s - visit.first_s >= self._rules.deadline_s
        return due and not (visit.deadline_met or visit.final or visit.shots.best is None)

    def _closed(self, visit: _OpenVisit, triggered_s: float, at_s: float) -> list[Publication]:
        publications: list[Publication] = []
        best = visit.shots.best
        if self._rules.on_exit and best is not None and not visit.final:
            publications += [
                self._publish(visit, shot, triggered_s, at_s, final=False, replaces=False)
                for shot in visit.shots.others
                if shot is not visit.shown
            ]
            publications.append(self._publish(visit, best, triggered_s, at_s, final=True))
        publications.append(VisitEnd(self._new_id(), self._summary(visit)))
        return publications

    def _publish(
        self,
        visit: _OpenVisit,
        face: ScoredFace,
        triggered_s: float,
        at_s: float,
        *,
        final: bool,
        replaces: bool = True,
    ) -> FacePublication:
        earlier = visit.last_event_id if replaces else None
        event_id = self._new_id()
        publication = FacePublication(event_id, visit.visit, visit.published, earlier, final, face, triggered_s)
        visit.published += 1
        visit.final = visit.final or final
        if replaces:
            visit.last_event_id = event_id
            visit.shown, visit.shown_s = face, at_s
        return publication

    def _summary(self, visit: _OpenVisit) -> Visit:
        return Visit(
            visit=visit.visit,
            camera=self._camera,
            first_ms=visit.first_ms,
            last_ms=visit.last_ms,
            faces=visit.faces,
            accepted=visit.accepted,
            published=visit.published,
            best_quality=visit.best_quality,
            rejected=dict(visit.rejected),
            unscored=visit.unscored,
        )


def quality_of(face: ScoredFace) -> float:
    """The quality of an accepted face; a missing one would be a fault of the pipeline."""
    if face.quality is None:
        raise ValueError("an accepted face without a quality")
    return face.quality


def _apart(first: FloatArray, second: FloatArray) -> float:
    """Distance of two boxes' centres in sides of the smaller box; infinite where one is twice as large."""
    sides = math.sqrt(max(0.0, float(first[2] * first[3]))), math.sqrt(max(0.0, float(second[2] * second[3])))
    if min(sides) <= 0 or max(sides) > 2 * min(sides):
        return math.inf
    centres = (first[:2] + first[2:] / 2) - (second[:2] + second[2:] / 2)
    return float(math.hypot(*centres.tolist())) / min(sides)
