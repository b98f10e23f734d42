"""The event: what one entry of the Redis stream holds, schema "1". Every field is written down here and nowhere else.

An entry is flat: field names and values are bytes, so that redis-cli and any language can read it. A field that is
not known is absent. Readers ignore fields they do not know, so a producer may be newer than its consumers; a change
of meaning takes a new `schema`, which readers refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from gate.errors import EventError
from gate.publish.fields import Flag, Integer, Kind, NamedValues, Names, Number, Numbers, Picture, Text
from gate.publish.ulid import ULID_PATTERN

SCHEMA = "1"
"""The schema this version writes."""

KNOWN_SCHEMAS = (SCHEMA,)
"""The schemas this version reads."""


class UnknownSchemaError(EventError):
    """The entry is an event, but of a schema this version does not read."""


_CAMERA = Text("[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_ULID = Text(ULID_PATTERN)
_LABEL = Text(".{1,128}")
_QUALITY = Number(0, 100)
_MOST_CROP_BYTES = 2**20

MOST_CONTEXT_BYTES = 8 * 2**20
"""Longest context picture that an event may hold."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an entry."""

    name: str
    kind: Kind
    """How it is written."""

    meaning: str
    unit: str = ""
    optional: bool = False
    """True when the field may be absent."""


_HEAD = (
    Field("schema", Text("[0-9]{1,4}"), f'version of this layout, "{SCHEMA}"'),
    Field("event_id", _ULID, "ULID made by the producer; the key for idempotence: the same id is the same event"),
    Field("type", Text("[a-z_]{1,32}"), "`face` or `visit_end`"),
    Field("camera", _CAMERA, "name of the camera in the configuration"),
    Field("visit", _ULID, "ULID of the visit: one person seen by one camera, from first to last sight"),
)

FIELDS: Mapping[str, tuple[Field, ...]] = {
    "face": (
        *_HEAD,
        Field("seq", Integer(), "counts the faces published for this visit, from 0"),
        Field("supersedes", _ULID, "event_id of the earlier face of this visit that this one improves on", "", True),
        Field("final", Flag(), "1 when the visit is over and this is its best face"),
        Field("captured_ms", Integer(), "when the frame was decoded, by the gate's clock", "Unix ms"),
        Field("frame_pts_ms", Number(), "presentation time stamp of the frame, where the source has one", "ms", True),
        Field("width", Integer(1, 65535), "columns of the full frame", "px"),
        Field("height", Integer(1, 65535), "rows of the full frame", "px"),
        Field("box", Numbers(4), "x, y, w, h of the face in the full frame; may reach outside it", "px"),
        Field("landmarks", Numbers(10), "x, y of left eye, right eye, nose tip, left and right mouth corner", "px"),
        Field("det_score", Number(0, 1), "the detector's confidence", "0..1"),
        Field("quality", _QUALITY, "calibrated quality, higher is better", "0..100"),
        Field("raw", Number(), "the number the quality method's paper publishes, unflipped"),
        Field("method", _LABEL, "the quality method that scored this face"),
        Field("model", _LABEL, "its weights: name@first 8 hex digits of their sha256"),
        Field("reasons", Names(), "what spoke against this face; empty when it was accepted without reserve"),
        Field("signals", NamedValues(Number()), "measurements without a network; the reference lists them"),
        Field("crop", Picture(_MOST_CROP_BYTES), "the face aligned to the ArcFace template, 112x112"),
        Field("context", Picture(MOST_CONTEXT_BYTES), "the face with a margin, cut from the full frame", "", True),
    ),
    "visit_end": (
        *_HEAD,
        Field("first_ms", Integer(), "first sight, by the gate's clock", "Unix ms"),
        Field("last_ms", Integer(), "last sight, by the gate's clock", "Unix ms"),
        Field("faces", Integer(), "how many times the face was seen"),
        Field("accepted", Integer(), "how many of them were accepted"),
        Field("published", Integer(), "how many were published; 0 means: somebody stood here, no usable face was seen"),
        Field("reasons_counts", NamedValues(Integer()), "decisive reason -> how many faces it rejected"),
        Field("unscored", Integer(), "how many faces were not scored, for they could change nothing", "", True),
        Field("best_quality", _QUALITY, "highest quality seen; absent when no face was worth scoring", "0..100", True),
    ),
}
"""Type of event -> its fields, in the order in which they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceEvent:
    """One accepted face. `FIELDS["face"]` says what each field means and in which unit."""

    type: ClassVar[Literal["face"]] = "face"
    schema: ClassVar[str] = SCHEMA

    event_id: str
    camera: str
    visit: str
    seq: int
    supersedes: str | None = None
    final: bool
    captured_ms: int
    frame_pts_ms: float | None = None
    width: int
    height: int
    box: tuple[float, ...]
    landmarks: tuple[float, ...]
    det_score: float
    quality: float
    raw: float
    method: str
    model: str
    reasons: tuple[str, ...] = ()
    signals: Mapping[str, float]
    crop: bytes
    context: bytes | None = None

    def __repr__(self) -> str:
        return f"FaceEvent({self.event_id}, {self.camera!r}, seq={self.seq}, quality={self.quality:.1f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class VisitEndEvent:
    """The end of a visit. `FIELDS["visit_end"]` says what each field means and in which unit."""

    type: ClassVar[Literal["visit_end"]] = "visit_end"
    schema: ClassVar[str] = SCHEMA

    event_id: str
    camera: str
    visit: str
    first_ms: int
    last_ms: int
    faces: int
    accepted: int
    published: int
    reasons_counts: Mapping[str, int]
    unscored: int | None = None
    best_quality: float | None = None


Event: TypeAlias = FaceEvent | VisitEndEvent

_CLASSES: Mapping[str, type[FaceEvent] | type[VisitEndEvent]] = {"face": FaceEvent, "visit_end": VisitEndEvent}


def encode(event: Event) -> dict[str, bytes]:
    """The entry for `XADD`: field name -> bytes, unknown values absent.

    Raises:
        EventError: a value is one that `decode` would refuse (NaN, too long, wrong type).
    """
    entry = {}
    for field in FIELDS[event.type]:
        value = getattr(event, field.name)
        if value is None and field.optional:
            continue
        try:
            entry[field.name] = field.kind.write(value)
        except EventError as error:
            raise EventError(f"{event.type} event of camera {event.camera!r}: {field.name}: {error}") from None
    return entry


def decode(entry: Mapping[Any, Any]) -> Event:
    """The event of a stream entry, its field names as bytes or text, its values as bytes.

    Raises:
        UnknownSchemaError: another schema.
        EventError: an unknown type, or a field that is missing, malformed, out of range or too long.
    """
    named = {_name(key): value for key, value in entry.items()}
    schema = _read(_HEAD[0], named)
    if schema not in KNOWN_SCHEMAS:
        raise UnknownSchemaError(
            f"schema {schema!r} is not one this version reads ({', '.join(KNOWN_SCHEMAS)}). Update facegate."
        )
    kind = _read(_HEAD[2], named)
    if kind not in FIELDS:
        raise EventError(f"unknown type {kind!r}; this version reads {', '.join(FIELDS)}")
    values = {field.name: _read(field, named) for field in FIELDS[kind] if field.name not in {"schema", "type"}}
    return _CLASSES[kind](**values)


def as_json(event: Event, *, images: bool = True) -> dict[str, Any]:
    """The event as `json_schema` describes it; pictures in base64, or left out when `images` is false."""
    kept = (field for field in FIELDS[event.type] if images or not isinstance(field.kind, Picture))
    values = ((field, getattr(event, field.name)) for field in kept)
    return {field.name: field.kind.plain(value) for field, value in values if value is not None}


def json_schema() -> dict[str, Any]:
    """JSON Schema of an event as `as_json` writes it; descriptions say how the field looks in the Redis stream."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"facegate event, schema {SCHEMA}",
        "oneOf": [_object_schema(name, fields) for name, fields in FIELDS.items()],
    }


def _object_schema(name: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    fixed = {"schema": SCHEMA, "type": name}
    properties = {}
    for field in fields:
        unit = f" [{field.unit}]" if field.unit else ""
        described = {"description": f"{field.meaning}{unit} (in the stream: {field.kind.form})"}
        rule = {"const": fixed[field.name]} if field.name in fixed else field.kind.schema()
        properties[field.name] = {**rule, **described}
    required = [f.name for f in fields if not f.optional and not isinstance(f.kind, Picture)]
    return {"title": name, "type": "object", "properties": properties, "required": required}


def _name(key: Any) -> str:
    return key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key)


def _read(field: Field, entry: Mapping[str, Any]) -> Any:
    data = entry.get(field.name)
    if data is None:
        if field.optional:
            return None
        raise EventError(f"field {field.name!r} is missing: this entry is not an event of a gate")
    if not isinstance(data, bytes):
        raise EventError(f"{field.name}: expected bytes, got {type(data).__name__}; connect without decode_responses")
    try:
        return field.kind.read(data)
    except EventError as error:
        raise EventError(f"{field.name}: {error}") from None
