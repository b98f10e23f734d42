"""Visits: one track from first to last sight, and what of it is published.

A visit is published when its first face passes every bar (`on_enter`, the door's latency) and when it ends
(`on_exit`, its best shot). A visit end is always told, also when nothing was usable: "somebody stood here and no
usable face was seen" is what a door operator needs.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from gate.config import DecideConfig
from gate.types import ScoredFace, Verdict, Visit


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
    """True for the last face of the visit."""

    face: ScoredFace


@dataclass(frozen=True, slots=True, eq=False)
class VisitEnd:
    """The end of a visit, with its counts."""

    event_id: str
    visit: Visit


Publication: TypeAlias = FacePublication | VisitEnd


@dataclass(slots=True)
class _OpenVisit:
    visit: str
    first_ms: int
    last_ms: int
    faces: int = 0
    accepted: int = 0
    published: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    best: ScoredFace | None = None
    best_quality: float | None = None
    last_event_id: str | None = None


class VisitBook:
    """The open visits of one camera. Holds one crop a visit, however long it lasts."""

    def __init__(self, camera: str, rules: DecideConfig, new_id: Callable[[], str]) -> None:
        self._camera = camera
        self._rules = rules
        self._new_id = new_id
        self._open: dict[int, _OpenVisit] = {}

    def __len__(self) -> int:
        """How many visits are open."""
        return len(self._open)

    def see(self, face: ScoredFace, verdict: Verdict) -> list[Publication]:
        """Enter one face with its verdict; returns what is to be published now."""
        visit = self._visit_of(face)
        visit.faces += 1
        visit.last_ms = face.sighting.captured_ms
        if face.quality is not None and (visit.best_quality is None or face.quality > visit.best_quality):
            visit.best_quality = face.quality
        if not verdict.accepted:
            visit.rejected[verdict.reasons[0]] += 1
            return []
        visit.accepted += 1
        if visit.best is None or _quality(face) > _quality(visit.best):
            visit.best = face
        if self._rules.on_enter and visit.published == 0:
            return [self._publish(visit, face, final=not self._rules.on_exit)]
        return []

    def end(self, track: int) -> list[Publication]:
        """Close the visit of a track; returns its best shot, where there is one, and its end."""
        visit = self._open.pop(track, None)
        if visit is None:
            return []
        publications: list[Publication] = []
        if self._rules.on_exit and visit.best is not None:
            publications.append(self._publish(visit, visit.best, final=True))
        publications.append(VisitEnd(self._new_id(), self._summary(visit)))
        return publications

    def end_all(self) -> list[Publication]:
        """Close every visit, oldest first: the camera has gone or the gate stops."""
        return [publication for track in list(self._open) for publication in self.end(track)]

    def _visit_of(self, face: ScoredFace) -> _OpenVisit:
        now_ms = face.sighting.captured_ms
        visit = self._open.get(face.tracked.track)
        if visit is None:
            visit = self._open[face.tracked.track] = _OpenVisit(self._new_id(), first_ms=now_ms, last_ms=now_ms)
        return visit

    def _publish(self, visit: _OpenVisit, face: ScoredFace, *, final: bool) -> FacePublication:
        publication = FacePublication(
            event_id=self._new_id(),
            visit=visit.visit,
            seq=visit.published,
            supersedes=visit.last_event_id,
            final=final,
            face=face,
        )
        visit.published += 1
        visit.last_event_id = publication.event_id
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
        )


def _quality(face: ScoredFace) -> float:
    """An accepted face has been scored; a missing quality would be a fault of the pipeline."""
    if face.quality is None:
        raise ValueError("an accepted face without a quality")
    return face.quality
