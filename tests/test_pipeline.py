import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import DecideConfig
from gate.decide.visits import FacePublication, Publication, VisitBook, VisitEnd
from gate.faces.stillness import Stillness
from gate.faces.tracker import Tracker
from gate.pipeline import Pipeline
from gate.pipeline_parts import CameraState, Tracer, Watcher
from gate.types import Face, FloatArray, Frame, Image, Rating
from tests.conftest import FakeClock

LANDMARKS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)


def a_face(x: float = 100.0, size: float = 2.0, score: float = 0.95) -> Face:
    box = np.array([x, 100, 100 * size, 110 * size], np.float32)
    return Face(box, (LANDMARKS * size + np.array([x, 100], np.float32)).astype(np.float32), score)


@dataclass
class Script:
    """A board, a detector and a scorer that do what the test says."""

    clock: FakeClock
    frames: list[Frame] = field(default_factory=list)
    faces: dict[int, list[Face] | Exception] = field(default_factory=dict)
    raw: Callable[[Image], FloatArray] = lambda crops: np.full(len(crops), 50, np.float32)
    name: str = "scripted"
    model: str = "scripted@00000000"
    device: str = "cpu"
    batches: list[int] = field(default_factory=list)
    displaced: int = 0

    def show(self, *faces: Face, camera: str = "door", error: Exception | None = None, age_s: float = 0.0) -> None:
        """One more frame with these faces; its number is written into its first pixel."""
        number = len(self.faces)
        image = np.full((480, 640, 3), 120, np.uint8)
        image[::2] = 140
        image[0, 0, :2] = divmod(number, 256)
        self.faces[number] = error or list(faces)
        self.frames.append(Frame(camera, number, image, self.clock.now_s - age_s, self.clock.now_ms))

    def take(self, timeout_s: float, limit: int | None = None) -> list[Frame]:
        taken, self.frames = self.frames[:limit], self.frames[len(self.frames[:limit]) :]
        return taken

    def waiting(self) -> frozenset[str]:
        return frozenset(frame.camera for frame in self.frames)

    def detect(self, image: Image) -> list[Face]:
        found = self.faces[int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])]
        if isinstance(found, Exception):
            raise found
        return found

    def rate(self, crops: Image) -> list[Rating]:
        return [Rating(value, value, self.name, self.model) for value in self.raw(crops).tolist()]


@dataclass
class Counts:
    """A report that counts."""

    frames: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    batches: list[int] = field(default_factory=list)
    working: bool = True
    samples: int = 0
    beats: int = 0

    def alive(self) -> None:
        self.beats += 1

    def processed(self, camera: str, age_s: float) -> None:
        self.frames["processed"] += 1

    def broken(self, camera: str) -> None:
        self.frames["broken"] += 1

    def still(self, camera: str) -> None:
        self.frames["still"] += 1

    def stage(self, stage: str, seconds: float) -> None:
        self.stages[stage] += 1

    def batch(self, faces: int) -> None:
        self.batches.append(faces)

    def scored(self, *, ok: bool) -> None:
        self.working = ok

    def face(
        self, camera: str, *, accepted: bool, reason: str, quality: float | None, method: str, sample: bool
    ) -> None:
        assert accepted == (not reason)
        self.reasons[reason or "accepted"] += 1
        self.samples += sample

    def unscored(self, camera: str) -> None:
        self.reasons["unscored"] += 1

    def visit(self, camera: str, result: str, *, best_quality: float | None) -> None:
        self.visits[result] += 1


class Gate:
    """A pipeline with its script, its counts and what it published. Scores every face unless a budget is given."""

    def __init__(
        self,
        clock: FakeClock,
        *cameras: str,
        lossless: bool = False,
        rules: DecideConfig | None = None,
        max_scores_per_s: float | None = None,
        watcher: Watcher | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        numbers = iter(range(10**6))
        self.script = Script(clock)
        self.counts = Counts()
        self.published: list[Publication] = []
        rules = (rules or DecideConfig()).model_copy(update={"max_scores_per_s": max_scores_per_s})
        states = {
            name: CameraState(
                Tracker(), VisitBook(name, rules, lambda: f"{next(numbers)}"), lossless=lossless, rules=rules
            )
            for name in cameras or ("door",)
        }
        self.pipeline = Pipeline(
            cameras=states,
            board=self.script,
            detector=self.script,
            scorer=self.script,
            publish=self.published.append,
            report=self.counts,
            clock=clock,
            context_margin=0.2,
            crops_at_once=2,
            watcher=watcher,
            tracer=tracer,
        )

    @property
    def faces(self) -> list[FacePublication]:
        return [publication for publication in self.published if isinstance(publication, FacePublication)]

    @property
    def ends(self) -> list[VisitEnd]:
        return [publication for publication in self.published if isinstance(publication, VisitEnd)]

    def step(self) -> None:
        self.pipeline.step(0.0)


@pytest.fixture
def gate(fake_clock: FakeClock) -> Gate:
    return Gate(fake_clock)


def test_an_accepted_face_is_published_with_its_crop_and_context(gate: Gate) -> None:
    gate.script.show(a_face())
    gate.step()
    (publication,) = gate.faces
    assert publication.face.quality == 50
    assert publication.face.crop.any()
    assert publication.face.context is not None
    assert publication.face.method == "scripted"
    assert gate.counts.reasons == {"accepted": 1}


def test_faces_of_all_cameras_are_scored_in_one_batch(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.script.show(a_face(), a_face(350), camera="north")
    gate.script.show(a_face(), camera="south")
    gate.step()
    assert gate.counts.batches == [3]


def test_a_large_batch_shows_that_the_engine_lives_while_it_is_scored(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    beats_when_scoring: list[tuple[int, int]] = []

    def raw(crops: Image) -> FloatArray:
        beats_when_scoring.append((len(crops), gate.counts.beats))
        return np.arange(len(crops), dtype=np.float32) + 50 + 10 * len(beats_when_scoring)

    gate.script.raw = raw
    gate.script.show(a_face(20, 1.0), a_face(220, 1.0), a_face(420, 1.0), camera="north")
    gate.script.show(a_face(20, 1.0), a_face(420, 1.0), camera="south")
    gate.step()
    assert beats_when_scoring == [(2, 0), (2, 1), (1, 2)]
    assert gate.counts.batches == [5]
    assert [face.face.quality for face in gate.faces] == [60, 61, 70, 71, 80]


def test_a_hopeless_face_never_reaches_the_network(gate: Gate) -> None:
    gate.script.show(a_face(size=0.3))
    gate.step()
    assert gate.counts.batches == []
    assert gate.counts.reasons == {"too_small": 1}


def test_a_frame_that_waited_too_long_is_stale(gate: Gate) -> None:
    gate.script.show(a_face(), age_s=DecideConfig().max_frame_age_s + 1)
    gate.step()
    assert gate.counts.reasons == {"stale": 1}


def test_a_file_played_fast_is_never_stale(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, lossless=True)
    gate.script.show(a_face(), age_s=1000)
    gate.step()
    assert gate.counts.reasons == {"accepted": 1}


def test_a_poisonous_frame_of_one_camera_does_not_stop_another(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.script.show(camera="north", error=RuntimeError("boom"))
    gate.script.show(a_face(), camera="south")
    gate.step()
    assert gate.counts.frames == {"broken": 1, "processed": 1}
    assert len(gate.faces) == 1


def test_a_failing_method_rejects_every_face_and_is_reported(gate: Gate) -> None:
    def fail(crops: Image) -> FloatArray:
        raise RuntimeError("device lost")

    gate.script.raw = fail
    gate.script.show(a_face(), a_face(350))
    gate.step()
    assert gate.counts.reasons == {"low_quality": 2}
    assert (gate.counts.working, gate.pipeline.failures_in_a_row) == (False, 1)
    gate.script.raw = lambda crops: np.full(len(crops), 50, np.float32)
    gate.script.show(a_face())
    gate.step()
    assert (gate.counts.working, gate.pipeline.failures_in_a_row) == (True, 0)


def test_a_score_that_is_not_a_number_is_rejected_alone(gate: Gate) -> None:
    gate.script.raw = lambda _crops: np.array([np.nan, 80], np.float32)
    gate.script.show(a_face(), a_face(350))
    gate.step()
    assert gate.counts.reasons == {"low_quality": 1, "accepted": 1}
    assert [face.face.quality for face in gate.faces] == [80]


def test_a_best_shot_was_triggered_by_the_frame_that_ended_the_visit(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(on_enter=False))
    gate.script.show(a_face())
    gate.step()
    for _ in range(20):
        fake_clock.advance(0.1)
        gate.script.show(age_s=0.04)
        gate.step()
        if gate.ends:
            break
    (best,) = gate.faces
    assert best.triggered_s == pytest.approx(fake_clock.now_s - 0.04)
    assert best.triggered_s - best.face.sighting.captured_s > 1.5


def test_a_best_shot_of_a_camera_that_fell_silent_was_triggered_by_no_frame(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, rules=DecideConfig(on_enter=False))
    gate.script.show(a_face())
    gate.step()
    fake_clock.advance(5.0)
    gate.step()
    assert [math.isnan(best.triggered_s) for best in gate.faces] == [True]


def test_a_visit_ends_when_its_camera_falls_silent(gate: Gate, fake_clock: FakeClock) -> None:
    gate.script.show(a_face())
    gate.step()
    fake_clock.advance(1.0)
    gate.step()
    assert gate.ends == []
    fake_clock.advance(1.0)
    gate.step()
    assert len(gate.ends) == 1
    assert gate.faces[-1].final


def test_a_slow_step_does_not_end_the_visits_of_people_who_stayed(gate: Gate, fake_clock: FakeClock) -> None:
    def slow(crops: Image) -> FloatArray:
        fake_clock.advance(4.0)
        return np.full(len(crops), 50, np.float32)

    gate.script.raw = slow
    for _ in range(3):
        gate.script.show(a_face())
        gate.step()
    assert gate.ends == []
    assert len(gate.faces) == 1


def test_a_camera_that_is_silent_beside_a_busy_one_ends_its_visits(fake_clock: FakeClock) -> None:
    gate = Gate(fake_clock, "north", "south")
    gate.script.show(a_face(), camera="north")
    for _ in range(3):
        gate.script.show(a_face(), camera="south")
        gate.step()
        fake_clock.advance(1.0)
    assert [end.visit.camera for end in gate.ends] == ["north"]


@pytest.mark.parametrize(("steps", "step_s"), [(4, 0.5), (2, 4.0)], ids=["frames go on", "the engine was busy"])
def test_a_visitor_who_left_the_picture_ends_the_visit(
    gate: Gate, fake_clock: FakeClock, steps: int, step_s: float
) -> None:
    gate.script.show(a_face())
    gate.step()
    for _ in range(steps):
        fake_clock.advance(step_s)
        gate.script.show()
        gate.step()
    assert len(gate.ends) == 1


def test_a_face_that_cannot_be_measured_costs_no_other_visit_its_end(
    gate: Gate, fake_clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    gate.script.show(a_face(20))
    gate.step()
    fake_clock.advance(1.0)
    gate.script.show(a_face(400))
    gate.step()
    fake_clock.advance(1.0)
    gate.script.show(a_face(400))
    with monkeypatch.context() as broken:
        broken.setattr("gate.pipeline.measure", fail)
        gate.step()
    assert gate.counts.frames == {"processed": 2, "broken": 1}
    assert len(gate.ends) == 1


def test_frames_that_fail_one_after_the_other_are_noticed_and_do_not_flood_the_log(gate: Gate) -> None:
    with structlog.testing.capture_logs() as entries:
        for number in range(1, 11):
            gate.script.show(error=RuntimeError("boom"))
            gate.step()
            assert gate.pipeline.broken_in_a_row == number
    assert [entry["times"] for entry in entries] == [1, 2, 4, 8]
    gate.script.show()
    gate.step()
    assert gate.pipeline.broken_in_a_row == 0


@pytest.mark.parametrize("numbers", [0, 1, 3])
def test_a_method_that_gives_more_or_fewer_numbers_than_faces_has_failed(gate: Gate, numbers: int) -> None:
    gate.script.raw = lambda _crops: np.full(numbers, 50, np.float32)
    gate.script.show(a_face(), a_face(350))
    gate.step()
    assert gate.counts.reasons == {"low_quality": 2}
    assert gate.counts.frames == {"processed": 1}
    assert gate.pipeline.failures_in_a_row == 1


def test_the_last_visit_is_never_lost(gate: Gate) -> None:
    gate.script.show(a_face())
    gate.step()
    gate.pipeline.finish()
    assert len(gate.ends) == 1
    assert gate.counts.visits == {"published": 1}


FRAMES = st.lists(
    st.tuples(
        st.sampled_from(["north", "south"]),
        st.lists(st.tuples(st.integers(0, 500), st.sampled_from([0.2, 1.0, 2.0]), st.floats(0, 1)), max_size=4),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(frames=FRAMES)
def test_counts_add_up_whatever_happens(
    frames: list[tuple[str, list[tuple[int, float, float]], bool]],
) -> None:
    clock = FakeClock()
    gate = Gate(clock, "north", "south")
    shown = 0
    for camera, faces, poison in frames:
        gate.script.show(
            *(a_face(x, size, score) for x, size, score in faces),
            camera=camera,
            error=RuntimeError("boom") if poison else None,
        )
        shown += 0 if poison else len(faces)
        gate.step()
        clock.advance(0.3)
    gate.pipeline.finish()
    assert sum(gate.counts.frames.values()) == len(frames)
    assert sum(gate.counts.reasons.values()) == shown
    assert sum(end.visit.faces for end in gate.ends) == shown
    assert sum(end.visit.accepted for end in gate.ends) == gate.counts.reasons["accepted"]
    assert sum(gate.counts.visits.values()) == len(gate.ends)


def test_an_empty_picture_is_not_searched_again_until_somebody_may_have_come(gate: Gate, fake_clock: FakeClock) -> None:
    (state,) = gate.pipeline._cameras.values()
    state.stillness = Stillness()
    for faces in ([], [], [], [], [a_face()], [a_face()]):
        gate.script.show(*faces)
        gate.step()
        fake_clock.advance(0.3)
    # The first is searched, three show the same; more than a second later it is searched all the same, and who is found
    # is followed.
    assert gate.counts.frames == {"processed": 6, "still": 3}
    assert gate.counts.stages["detect"] == 3
