"""Publications become events: the last step before delivery, and the only one that encodes pictures."""

from dataclasses import asdict

from gate.decide.visits import FacePublication, Publication
from gate.publish.event import Event, FaceEvent, VisitEndEvent
from gate.publish.jpeg import encode_crop
from gate.types import ScoredFace


def to_event(publication: Publication, jpeg_quality: int = 95) -> Event:
    """The event of a publication; crops are encoded as JPEG of `jpeg_quality` (1..100)."""
    if isinstance(publication, FacePublication):
        return _face_event(publication, jpeg_quality)
    visit = publication.visit
    return VisitEndEvent(
        event_id=publication.event_id,
        camera=visit.camera,
        visit=visit.visit,
        first_ms=visit.first_ms,
        last_ms=visit.last_ms,
        faces=visit.faces,
        accepted=visit.accepted,
        published=visit.published,
        reasons_counts=visit.rejected,
        best_quality=visit.best_quality,
    )


def _face_event(publication: FacePublication, jpeg_quality: int) -> FaceEvent:
    face = publication.face
    quality, raw = _numbers(face)
    detection = face.tracked.face
    return FaceEvent(
        event_id=publication.event_id,
        camera=face.sighting.camera,
        visit=publication.visit,
        seq=publication.seq,
        supersedes=publication.supersedes,
        final=publication.final,
        captured_ms=face.sighting.captured_ms,
        frame_pts_ms=face.sighting.pts_ms,
        width=face.sighting.width_px,
        height=face.sighting.height_px,
        box=tuple(detection.box_xywh.tolist()),
        landmarks=tuple(detection.landmarks.ravel().tolist()),
        det_score=detection.score,
        quality=quality,
        raw=raw,
        method=face.method,
        # A method without weights, as sharpness is one, is all the model there is; an event's model is never empty.
        model=face.model or face.method,
        signals=asdict(face.signals),
        crop=encode_crop(face.crop, jpeg_quality),
        context=None if face.context is None else encode_crop(face.context, jpeg_quality),
    )


def _numbers(face: ScoredFace) -> tuple[float, float]:
    if face.quality is None or face.raw is None:
        raise ValueError("only scored faces are published")
    return face.quality, face.raw
