"""An engine that scores what could matter: no face is lost on the way, whatever ends it."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import DecideConfig, ZonesConfig
from gate.types import FloatArray, Frame, Image, JudgedFace, TrackedFace
from tests.conftest import FakeClock
from tests.test_pipeline import Gate, a_face


def look(gate: Gate, *places: float, seconds: float = 0.04) -> None:
    """A frame with a face at each place, from the left."""
    gate.script.show(*(a_face(x, 1.0) for x in places))
    gate.step()
    gate.script.clock.advance(seconds)


def test_who_stands_there_is_scored_twice_a_second_once_the_face_is_out(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=20.0)
    for _ in range(50):
        look(gate, 100)
    assert 3 <= gate.counts.reasons["accepted"] <= 5
    assert gate.counts.reasons["unscored"] == 50 - gate.counts.reasons["accepted"]
    gate.pipeline.finish()
    (end,) = gate.ends
    assert (end.visit.faces, end.visit.unscored) == (50, gate.counts.reasons["unscored"])


def test_a_face_that_waits_when_its_camera_ends_is_scored_and_published(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=0.1)
    look(gate, 20, 220)
    assert gate.counts.batches == [1]
    gate.pipeline.end_camera("door")
    assert gate.counts.batches == [1, 1]
    assert sorted(end.visit.published for end in gate.ends) == [2, 2]
    assert [face.final for face in gate.faces].count(True) == 2


def test_a_face_that_waits_when_its_track_ends_is_scored_and_published(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=0.1)
    look(gate, 20, 420)
    for _ in range(5):
        look(gate, 20, seconds=0.5)
    (end,) = gate.ends
    # As the visit's first face, and as its best.
    assert (end.visit.accepted, end.visit.published) == (1, 2)


class Eyes:
    """A watcher that remembers, of each frame, which places had a verdict and which had none."""

    def __init__(self) -> None:
        self.seen: list[tuple[list[int], list[int]]] = []

    def looked(self, frame: Frame, judged: Sequence[JudgedFace], unscored: Sequence[TrackedFace]) -> None:
        own = [one.face.tracked for one in judged if one.face.sighting.seq == frame.seq]
        told, others = ([int(face.face.box_xywh[0]) for face in faces] for faces in (own, unscored))
        self.seen.append((told, others))


def test_who_watches_sees_every_face_of_a_frame_whether_or_not_it_was_scored(fake_clock: FakeClock) -> None:
    eyes = Eyes()
    gate = Gate(fake_clock, max_scores_per_s=1.0, watcher=eyes)
    look(gate, 20, 420)
    look(gate, 20, 420)
    look(gate, seconds=1.0)
    look(gate)
    # One score is there at once. The other face waits, and has its verdict when its frame is no longer shown.
    assert eyes.seen == [([20], [420]), ([], [20, 420]), ([], []), ([], [])]
    assert gate.counts.reasons["accepted"] == 2


def test_the_latency_of_a_face_that_waited_counts_from_its_own_frame(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=1.0)
    seen_s = fake_clock.now_s
    look(gate, 20, 220)
    # Nobody is seen, but the second face is scored as soon as the budget has earned it.
    look(gate, seconds=1.0)
    look(gate)
    assert len(gate.faces) == 2
    assert gate.faces[1].triggered_s == seen_s


def test_a_method_that_fails_loses_no_face(fake_clock: FakeClock) -> None:
    def fails(_crops: Image) -> FloatArray:
        raise RuntimeError("no method")

    gate = Gate(fake_clock, max_scores_per_s=5.0)
    gate.script.raw = fails
    for _ in range(20):
        look(gate, 100)
    gate.pipeline.finish()
    assert gate.counts.reasons.total() == 20
    assert set(gate.counts.reasons) <= {"low_quality", "unscored"}
    assert gate.ends[0].visit.faces == 20


def test_another_budget_holds_from_the_next_frame_on(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=20.0)
    for _ in range(5):
        look(gate, 100)
    assert gate.counts.reasons["unscored"] == 4
    gate.pipeline.change_camera("door", DecideConfig(max_scores_per_s=None), ZonesConfig(), None)
    for _ in range(5):
        look(gate, 100)
    assert gate.counts.reasons == {"accepted": 6, "unscored": 4}


@given(
    frames=st.lists(st.tuples(st.sets(st.sampled_from([20.0, 220.0, 420.0])), st.floats(0.01, 2.0)), max_size=25),
    rate=st.floats(0.1, 30),
    qualities=st.lists(st.floats(0, 100), min_size=7, max_size=7),
    lossless=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_every_face_is_counted_once_by_verdict_and_in_its_visit(
    frames: list[tuple[set[float], float]], rate: float, qualities: list[float], lossless: bool
) -> None:
    gate = Gate(FakeClock(), lossless=lossless, max_scores_per_s=rate)
    numbers = iter(range(10**6))
    gate.script.raw = lambda crops: np.array([qualities[next(numbers) % 7] for _ in crops], np.float32)
    for places, seconds in frames:
        look(gate, *sorted(places), seconds=seconds)
    gate.pipeline.finish()
    seen = sum(len(places) for places, _ in frames)
    assert gate.counts.reasons.total() == seen == sum(end.visit.faces for end in gate.ends)
    assert gate.counts.reasons["unscored"] == sum(end.visit.unscored for end in gate.ends)
    assert sum(gate.counts.batches) == seen - gate.counts.reasons["unscored"]
    assert all((face.face.quality or 0) >= DecideConfig().quality_bar for face in gate.faces)


def test_the_samples_for_drift_are_fewer_than_the_scores(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, max_scores_per_s=30.0)
    gate.script.raw = lambda crops: np.full(len(crops), 10, np.float32)
    for _ in range(75):
        look(gate, 100)
    assert gate.counts.reasons["low_quality"] == pytest.approx(75, abs=1)
    assert gate.counts.samples == 3
