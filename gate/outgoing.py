"""Publications become events: the last step before delivery, and the only one that encodes pictures."""

import math
from dataclasses import asdict

from gate.decide.visits import FacePublication, Publication
from gate.publish.event import MOST_CONTEXT_BYTES, Event, FaceEvent, VisitEndEvent
from gate.publish.jpeg import MOST_SIDE_PX, encode_crop
from gate.types import Image, ScoredFace


def to_event(publication: Publication, jpeg_quality: int = 95) -> Event:
    """The event of a publication; crops are encoded as JPEG of `jpeg_quality` (1..100).

    A context picture that no event may hold is left out: the face is worth more than its surroundings.
    """
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
        unscored=visit.unscored,
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
        context=None if face.context is None else _encode_context(face.context, jpeg_quality),
    )


def context_was_left_out(publication: Publication, event: Event) -> bool:
    """Whether `to_event` had to publish a face without its surroundings."""
    return (
        isinstance(publication, FacePublication)
        and publication.face.context is not None
        and isinstance(event, FaceEvent)
        and event.context is None
    )


def waits_since_s(publication: Publication) -> float:
    """Monotonic seconds from which the latency of a publication counts; not-a-number where it has none.

    It counts for the first face of a visit, from the frame that triggered it. A best shot that improves on a face
    that is out already keeps nobody waiting, and a visit's end shows no face.
    """
    if isinstance(publication, FacePublication) and publication.seq == 0:
        return publication.triggered_s
    return math.nan


def _encode_context(image: Image, jpeg_quality: int) -> bytes | None:
    # Consumers refuse pictures with longer sides; a JPEG cannot even hold one of more than 65,535 pixels.
    if max(image.shape[:2]) > MOST_SIDE_PX:
        return None
    data = encode_crop(image, jpeg_quality)
    return data if len(data) <= MOST_CONTEXT_BYTES else None


def _numbers(face: ScoredFace) -> tuple[float, float]:
    if face.quality is None or face.raw is None:
        raise ValueError("only scored faces are published")
    return face.quality, face.raw
