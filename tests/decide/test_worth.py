"""Which faces are scored: scripted visits against scoring everything, and the promises of the budget."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.config import DecideConfig
from gate.decide.promise import expected_gain
from gate.decide.visits import FacePublication, Publication, Standing, VisitBook, VisitEnd
from gate.decide.worth import REST_S, SAMPLE_S, Choice, ScoreBook
from gate.types import ScoredFace, Verdict

MakeFace = Callable[..., ScoredFace]
MakeIds = Callable[[], Callable[[], str]]

BAR = 40.0
FRAME_S = 0.04
FIRST = Standing()


@dataclass
class Camera:
    """One camera whose faces have the quality that the script says, and signals that tell as much."""

    make_face: MakeFace
    ids: Callable[[], str]
    rate: float | None
    rules: DecideConfig = field(default_factory=DecideConfig)
    scored_s: list[float] = field(default_factory=list)
    scored: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    publications: list[Publication] = field(default_factory=list)
    left_out: int = 0
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.visits = VisitBook("door", self.rules, self.ids)
        self.book = ScoreBook(self.rate)
        self.truth: dict[int, float] = {}

    def frame(self, faces: dict[int, float], gone: Sequence[int] = (), step_s: float = FRAME_S) -> None:
        """The next frame: track to quality, and the tracks that have ended."""
        self.now_s += step_s
        choices = []
        for track, quality in faces.items():
            bare = self.make_face(track=track, quality=None, at_ms=round(self.now_s * 1000))
            # 0.45 points of quality a point of sharpness: the signals tell exactly what the network will.
            face = replace(bare, signals=replace(bare.signals, sharpness=quality / 0.45), method="")
            self.truth[id(face)] = quality
            self.visits.meet(face, self.now_s)
            left = self.book.offer(face, self.visits.standing(track), self.now_s)
            choices.append(Choice(leave_out=left))
        choices += [self.book.settle(track, self.visits.standing(track), self.now_s) for track in gone]
        choices.append(self.book.choose(self.visits.standing, self.now_s, self.visits.due(self.now_s)))
        self._rule(Choice.of(choices))
        for track in gone:
            self.publications += self.visits.end(track)
        self.publications += self.visits.tick(self.now_s)

    def _rule(self, choice: Choice) -> None:
        for face in choice.leave_out:
            self.left_out += 1
            self.visits.leave_out(face.tracked.track)
        for face in choice.score:
            quality = self.truth[id(face)]
            rated = replace(face, quality=quality, raw=quality, method="test")
            self.scored_s.append(self.now_s)
            self.scored[face.tracked.track].append(self.now_s)
            self.book.scored(rated, self.now_s)
            verdict = Verdict(() if quality >= BAR else ("low_quality",))
            self.publications += self.visits.see(rated, verdict, self.now_s)

    def finals(self) -> dict[str, float]:
        """The best shot of each visit that has one, by the visit's number."""
        faces = [item for item in self.publications if isinstance(item, FacePublication) and item.final]
        return {str(item.face.tracked.track): item.face.quality or math.nan for item in faces}

    def ends(self) -> list[VisitEnd]:
        return [item for item in self.publications if isinstance(item, VisitEnd)]


@pytest.fixture(scope="module")
def camera_of(make_face: MakeFace, id_maker: MakeIds) -> Callable[..., Camera]:
    def make(rate: float | None, **rules: object) -> Camera:
        return Camera(make_face, id_maker(), rate, DecideConfig.model_validate(rules))

    return make


QUALITIES = st.lists(st.floats(0, 100), min_size=1, max_size=40)
VISITS = st.lists(st.tuples(st.integers(0, 30), QUALITIES), min_size=1, max_size=12)
"""For each visit the frame in which it begins, and the quality of its face in each frame from there."""


def play(camera: Camera, visits: list[tuple[int, list[float]]]) -> None:
    for number in range(max(start + len(qualities) for start, qualities in visits) + 1):
        faces = {
            track: qualities[number - start]
            for track, (start, qualities) in enumerate(visits)
            if 0 <= number - start < len(qualities)
        }
        camera.frame(faces, [t for t, (start, found) in enumerate(visits) if number == start + len(found)])


@given(visits=VISITS, rate=st.floats(0.2, 30))
@settings(max_examples=150, deadline=None)
def test_no_visit_that_scoring_everything_accepts_is_missed_and_none_ends_with_a_worse_face(
    visits: list[tuple[int, list[float]]], rate: float, camera_of: Callable[..., Camera]
) -> None:
    thrifty, thorough = camera_of(rate), camera_of(None)
    play(thrifty, visits)
    play(thorough, visits)
    assert thrifty.finals() == pytest.approx(thorough.finals(), abs=1e-3)
    assert thorough.left_out == 0


@given(visits=VISITS, rate=st.floats(0.2, 30))
@settings(max_examples=100, deadline=None)
def test_counts_add_up_and_no_window_has_more_scores_than_were_earned_saved_and_due_at_ends(
    visits: list[tuple[int, list[float]]], rate: float, camera_of: Callable[..., Camera]
) -> None:
    camera = camera_of(rate)
    play(camera, visits)
    seen = sum(len(qualities) for _, qualities in visits)
    assert len(camera.scored_s) + camera.left_out == seen
    assert sum(end.visit.faces for end in camera.ends()) == seen
    for end in camera.ends():
        visit = end.visit
        assert visit.faces == visit.accepted + sum(visit.rejected.values()) + visit.unscored
    ended_s = [(start + len(qualities) + 1) * FRAME_S for start, qualities in visits]
    for first in range(len(camera.scored_s)):
        for last in range(first, len(camera.scored_s)):
            begin_s, end_s = camera.scored_s[first], camera.scored_s[last]
            ends = sum(begin_s - 1e-6 <= moment_s <= end_s + 1e-6 for moment_s in ended_s)
            assert last - first + 1 <= rate * (end_s - begin_s) + max(1.0, rate) + ends + 1e-6


def test_of_fifty_people_whom_nothing_passes_nobody_waits_longer_than_a_round(camera_of: Callable[..., Camera]) -> None:
    camera = camera_of(10.0)
    for _ in range(round(20 / FRAME_S)):
        camera.frame(dict.fromkeys(range(50), 10.0))
    for moments_s in camera.scored.values():
        assert max(later - sooner for sooner, later in pairwise(moments_s)) <= 50 / 10 + 0.1
    assert set(camera.scored) == set(range(50))


def test_who_has_just_come_is_scored_before_those_who_failed_and_those_who_passed(
    camera_of: Callable[..., Camera],
) -> None:
    camera = camera_of(1.0)
    camera.frame({1: 10.0}, step_s=1.0)
    camera.frame({1: 10.0, 2: 60.0}, step_s=1.0)
    assert list(camera.scored) == [1, 2]
    camera.frame({1: 10.0, 2: 99.0, 3: 20.0}, step_s=1.0)
    assert list(camera.scored) == [1, 2, 3]
    camera.frame({1: 10.0, 2: 99.0, 3: 20.0}, step_s=1.0)
    assert len(camera.scored[1]) == 2


def test_a_face_that_cannot_beat_the_best_is_left_out_but_not_for_longer_than_a_rest(
    camera_of: Callable[..., Camera],
) -> None:
    camera = camera_of(100.0)
    camera.frame({1: 80.0})
    for _ in range(50):
        camera.frame({1: 70.0})
    assert len(camera.scored[1]) == 1 + math.floor(50 * FRAME_S / (REST_S + FRAME_S / 2))
    assert camera.left_out == 51 - len(camera.scored[1])


def test_nothing_is_scored_once_nothing_more_will_be_published(camera_of: Callable[..., Camera]) -> None:
    camera = camera_of(100.0, on_exit=False)
    for quality in (20.0, 50.0, 90.0, 95.0):
        camera.frame({1: quality})
    assert len(camera.scored[1]) == 2


def test_only_a_face_that_may_be_published_as_an_improvement_is_scored(camera_of: Callable[..., Camera]) -> None:
    camera = camera_of(100.0, on_exit=False, on_improve_by=20)
    for quality in (50.0, 65.0, 69.0, 71.0):
        camera.frame({1: quality})
    assert len(camera.scored[1]) == 2


def test_the_better_face_that_waits_is_scored_at_the_deadline_whatever_the_budget(
    camera_of: Callable[..., Camera],
) -> None:
    camera = camera_of(0.1, deadline_s=1.0)
    camera.frame({1: 50.0})
    camera.frame({1: 90.0})
    camera.frame({1: 45.0}, step_s=1.0)
    published = [item.face.quality for item in camera.publications if isinstance(item, FacePublication)]
    assert published == [50.0, 90.0]


def test_a_face_that_shows_another_side_is_scored_where_several_shots_are_wanted(make_face: MakeFace) -> None:
    for wants, chosen in ((True, 1), (False, 0)):
        book = ScoreBook(100.0)
        book.offer(make_face(quality=None), FIRST, 0.0)
        assert len(book.choose(lambda _track: FIRST, 0.0).score) == 1
        book.scored(make_face(quality=80.0), 0.0)
        passed = Standing(80.0, wants_views=wants)
        book.offer(make_face(quality=None, yaw_deg=30.0), passed, 0.1)
        assert len(book.choose(lambda _track, passed=passed: passed, 0.1).score) == chosen  # type: ignore[misc]


def test_one_face_a_second_of_a_visit_stands_for_what_the_camera_sees(camera_of: Callable[..., Camera]) -> None:
    book, face_of = ScoreBook(100.0), camera_of(None).make_face
    samples = 0
    for number in range(100):
        now_s = number * FRAME_S
        book.offer(face_of(quality=None), FIRST, now_s)
        assert book.choose(lambda _track: FIRST, now_s).score
        samples += book.scored(face_of(quality=50.0), now_s)
    assert samples == round(100 * FRAME_S / SAMPLE_S)


def test_a_budget_that_is_taken_away_scores_everything_and_one_that_is_given_counts_from_then(
    camera_of: Callable[..., Camera],
) -> None:
    camera = camera_of(1.0)
    for _ in range(10):
        camera.frame({1: 10.0})
    before = len(camera.scored_s)
    camera.book.change_budget(None)
    for _ in range(10):
        camera.frame({1: 10.0})
    assert len(camera.scored_s) == before + 10
    camera.book.change_budget(1.0)
    for _ in range(10):
        camera.frame({1: 10.0})
    assert len(camera.scored_s) <= before + 11


@given(
    name=st.sampled_from(["yaw_deg", "pitch_deg", "roll_deg", "occlusion", "sharpness", "luminance"]),
    first=st.floats(0, 90),
    second=st.floats(0, 90),
)
def test_the_expected_gain_is_monotone_in_each_signal(
    name: str, first: float, second: float, make_face: MakeFace
) -> None:
    low, high = sorted((first, second))
    face = make_face()
    worse, better = (replace(face, signals=replace(face.signals, **{name: value})) for value in (low, high))
    if name in {"yaw_deg", "pitch_deg", "roll_deg", "occlusion"}:
        worse, better = better, worse
    assert expected_gain(worse, better) >= 0
