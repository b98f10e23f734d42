"""The event survives the stream, and nothing else does."""

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import EventError
from gate.publish.event import (
    FIELDS,
    Event,
    FaceEvent,
    UnknownSchemaError,
    VisitEndEvent,
    as_json,
    decode,
    encode,
    json_schema,
)
from gate.publish.fields import MOST_MS, Picture

ULIDS = st.from_regex(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", fullmatch=True)
CAMERAS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
COUNTS = st.integers(0, MOST_MS)
LABELS = st.text(st.characters(codec="utf-8").filter(str.isprintable), min_size=1, max_size=30)
JPEGS = st.binary(max_size=200).map(lambda tail: b"\xff\xd8\xff" + tail)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


FACES = st.builds(
    FaceEvent,
    event_id=ULIDS,
    camera=CAMERAS,
    visit=ULIDS,
    seq=COUNTS,
    supersedes=st.none() | ULIDS,
    final=st.booleans(),
    captured_ms=COUNTS,
    frame_pts_ms=st.none() | floats(-1e12, 1e12),
    width=st.integers(1, 65535),
    height=st.integers(1, 65535),
    box=st.tuples(*[floats(-1e6, 1e6)] * 4),
    landmarks=st.tuples(*[floats(-1e6, 1e6)] * 10),
    det_score=floats(0, 1),
    quality=floats(0, 100),
    raw=floats(-1e12, 1e12),
    method=LABELS,
    model=LABELS,
    reasons=st.lists(NAMES, max_size=5).map(tuple),
    signals=st.dictionaries(NAMES, floats(-1e12, 1e12), max_size=8),
    crop=JPEGS,
    context=st.none() | JPEGS,
)
VISIT_ENDS = st.builds(
    VisitEndEvent,
    event_id=ULIDS,
    camera=CAMERAS,
    visit=ULIDS,
    first_ms=COUNTS,
    last_ms=COUNTS,
    faces=COUNTS,
    accepted=COUNTS,
    published=COUNTS,
    reasons_counts=st.dictionaries(NAMES, COUNTS, max_size=8),
    best_quality=st.none() | floats(0, 100),
)
FIELD_NAMES = sorted({field.name for fields in FIELDS.values() for field in fields})

Make = Callable[..., FaceEvent]


@given(FACES | VISIT_ENDS)
def test_an_event_reads_back_as_it_was_written(event: Event) -> None:
    entry = encode(event)
    assert all(isinstance(value, bytes) for value in entry.values())
    assert decode(entry) == event
    assert decode({name.encode(): value for name, value in entry.items()}) == event


@given(st.dictionaries(st.sampled_from(FIELD_NAMES) | st.text() | st.binary(), st.binary() | st.text() | st.none()))
def test_random_entries_raise_event_errors_only(entry: dict[Any, Any]) -> None:
    with pytest.raises(EventError):
        decode(entry)


@given(FACES | VISIT_ENDS, st.sampled_from(FIELD_NAMES), st.binary(max_size=64))
def test_one_damaged_field_is_read_or_refused_but_never_crashes(event: Event, name: str, damage: bytes) -> None:
    entry = {**encode(event), name: damage}
    try:
        read = decode(entry)
    except EventError:
        return
    assert decode(encode(read)) == read


@given(st.text("[]{}\"':,.0123456789eE+-truefalsnINity \\ud8", max_size=60) | st.just("[" * 5000))
def test_damaged_json_is_refused_without_a_crash(text: str) -> None:
    face = encode(_face())
    try:
        signals = decode({**face, "signals": text.encode()}).signals  # type: ignore[union-attr]
    except EventError:
        return
    assert all(math.isfinite(value) for value in signals.values())


@pytest.mark.parametrize("schema", ["0", "2", "99"])
def test_another_schema_is_refused_with_the_versions_this_reader_knows(schema: str) -> None:
    with pytest.raises(UnknownSchemaError, match=rf"'{schema}'.*\(1\).*Update"):
        decode({**encode(_face()), "schema": schema.encode()})


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(EventError, match="unknown type 'ghost'"):
        decode({**encode(_face()), "type": b"ghost"})


@pytest.mark.parametrize("name", [field.name for field in FIELDS["face"] if not field.optional])
def test_a_missing_field_is_named(name: str) -> None:
    entry = encode(_face())
    del entry[name]
    with pytest.raises(EventError, match=f"'{name}' is missing"):
        decode(entry)


def test_fields_of_newer_producers_are_ignored() -> None:
    face = _face()
    assert decode({**encode(face), "mood": b"\xff\x00"}) == face


def test_unknown_values_are_absent_from_the_entry() -> None:
    entry = encode(_face(supersedes=None, frame_pts_ms=None, context=None))
    assert {"supersedes", "frame_pts_ms", "context"}.isdisjoint(entry)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", b"nan"),
        ("quality", b"inf"),
        ("quality", b"1e999"),
        ("quality", b"100.1"),
        ("quality", b" 5"),
        ("quality", b"1_0"),
        ("quality", "\u0665".encode()),
        ("raw", b"-Infinity"),
        ("raw", b"0x10"),
        ("seq", b"1.0"),
        ("seq", b"-1"),
        ("seq", b"9" * 400),
        ("width", b"0"),
        ("final", b"true"),
        ("box", b"1,2,3"),
        ("box", b"1,2,3,nan"),
        ("landmarks", b"1,2,3,4,5,6,7,8,9,10,11"),
        ("event_id", b"01JD000000000000000000000I"),
        ("event_id", b"81JD0000000000000000000000"),
        ("camera", b"../../etc/passwd"),
        ("camera", b"door\x1b[2J"),
        ("camera", b"x" * 65),
        ("method", b"a\nb"),
        ("model", b"\xff"),
        ("reasons", b"too_small,"),
        ("reasons", b"Too Small"),
        ("signals", b'{"yaw_deg": NaN}'),
        ("signals", b'{"yaw_deg": 1e999}'),
        ("signals", b'{"yaw_deg": "1"}'),
        ("signals", b'{"yaw_deg": true}'),
        ("signals", b'{"yaw_deg": [1]}'),
        ("signals", b"[]"),
        ("signals", b'{"\\ud800": 1}'),
        ("crop", b""),
        ("crop", b"\x89PNG"),
        ("crop", b"\xff\xd8\xff" + bytes(2**20)),
    ],
)
def test_a_malformed_field_is_refused_and_named(name: str, value: bytes) -> None:
    with pytest.raises(EventError, match=f"^{name}: "):
        decode({**encode(_face()), name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("quality", math.nan),
        ("quality", "71"),
        ("raw", math.inf),
        ("seq", 1.5),
        ("seq", True),
        ("final", 1),
        ("box", (1.0, 2.0)),
        ("box", 3),
        ("landmarks", [math.nan] * 10),
        ("reasons", "yaw"),
        ("signals", {"Yaw": 1.0}),
        ("signals", {"yaw_deg": math.nan}),
        ("signals", 3),
        ("method", "\ud800"),
        ("method", ""),
        ("event_id", None),
        ("crop", "text"),
        ("crop", b"GIF89a"),
    ],
)
def test_a_producer_cannot_write_what_readers_refuse(name: str, value: Any) -> None:
    with pytest.raises(EventError, match=f"{name}: "):
        encode(_face(**{name: value}))


def test_numpy_numbers_are_written_as_numbers() -> None:
    box = tuple(np.array([0.1, 2, 3, 4], np.float32))
    read = decode(encode(_face(box=box, seq=np.int64(7), quality=np.float32(12.5))))
    assert isinstance(read, FaceEvent)
    assert read.box == tuple(float(value) for value in box)
    assert (read.seq, read.quality) == (7, 12.5)


@pytest.mark.parametrize(("name", "kind"), [("face", FaceEvent), ("visit_end", VisitEndEvent)])
def test_the_table_of_fields_and_the_classes_agree(name: str, kind: type[Event]) -> None:
    listed = [field.name for field in FIELDS[name]]
    assert listed[0] == "schema"
    assert sorted(listed) == sorted({"schema", "type", *(field.name for field in dataclasses.fields(kind))})
    assert all(field.meaning for field in FIELDS[name])


@given(FACES | VISIT_ENDS)
def test_json_holds_every_known_value_and_only_described_ones(event: Event) -> None:
    shown = json.loads(json.dumps(as_json(event), allow_nan=False))
    described = {entry["title"]: entry for entry in json_schema()["oneOf"]}[event.type]
    assert set(described["required"]) <= set(shown) <= set(described["properties"])
    assert described["properties"]["type"]["const"] == shown["type"]
    pictures = {field.name for field in FIELDS[event.type] if isinstance(field.kind, Picture)}
    assert set(as_json(event, images=False)) == set(shown) - pictures


def _face(**changes: Any) -> FaceEvent:
    values: dict[str, Any] = {
        "event_id": "01JD0000000000000000000001",
        "camera": "door",
        "visit": "01JD0000000000000000000000",
        "seq": 0,
        "final": True,
        "captured_ms": 1,
        "width": 640,
        "height": 480,
        "box": (1.0, 2.0, 3.0, 4.0),
        "landmarks": (0.0,) * 10,
        "det_score": 0.9,
        "quality": 50.0,
        "raw": 0.5,
        "method": "serfiq",
        "model": "m@01234567",
        "signals": {"yaw_deg": 1.0},
        "crop": b"\xff\xd8\xff\xe0",
    }
    return FaceEvent(**{**values, **changes})
