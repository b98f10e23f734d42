"""When a visit's faces are published: every policy on scripted tracks, in the camera's own time."""

import math
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import DecideConfig
from gate.decide.visits import FacePublication, Publication, VisitBook, VisitEnd
from gate.errors import ConfigError
from gate.reasons import Reason
from gate.types import ScoredFace, Verdict

MakeFace = Callable[..., ScoredFace]
MakeIds = Callable[[], Callable[[], str]]
ACCEPTED = Verdict()
REJECTED = Verdict((Reason.LOW_QUALITY.value,))
HERE, BESIDE, FAR = (100.0, 100.0, 50.0, 60.0), (120.0, 110.0, 50.0, 60.0), (400.0, 100.0, 50.0, 60.0)


@pytest.fixture
def book_of(id_maker: MakeIds) -> Callable[..., VisitBook]:
    return lambda **rules: VisitBook("door", DecideConfig(**rules), id_maker())


def shown(publications: list[Publication]) -> list[tuple[float | None, bool]]:
    """Quality and whether final, of each published face."""
    return [(item.face.quality, item.final) for item in publications if isinstance(item, FacePublication)]


def ended(publications: list[Publication]) -> int:
    return sum(isinstance(item, VisitEnd) for item in publications)


def test_an_improvement_is_published_when_it_is_large_enough_and_late_enough(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(on_improve_by=10, improve_every_s=1.0)
    (first,) = book.see(make_face(quality=50.0), ACCEPTED, 0.0)
    assert book.see(make_face(quality=59.0), ACCEPTED, 2.0) == [], "too small a step"
    assert book.see(make_face(quality=70.0), ACCEPTED, 0.5) == [], "too soon"
    assert book.see(make_face(quality=65.0), ACCEPTED, 3.0) == [], "not the best of the visit"
    (better,) = book.see(make_face(quality=80.0), ACCEPTED, 3.0)
    assert isinstance(better, FacePublication)
    assert (better.supersedes, better.seq, better.final) == (first.event_id, 1, False)
    assert shown(book.end(1)) == [(80.0, True)]


def test_the_best_so_far_is_published_once_at_the_deadline(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(on_enter=False, deadline_s=2.0)
    book.see(make_face(quality=40.0), ACCEPTED, 10.0)
    book.see(make_face(quality=60.0), ACCEPTED, 11.0)
    assert book.tick(11.9) == []
    assert shown(book.tick(12.0, triggered_s=99.0)) == [(60.0, False)]
    book.see(make_face(quality=90.0), ACCEPTED, 12.5)
    assert book.tick(60.0) == []
    assert shown(book.end(1)) == [(90.0, True)]


def test_a_deadline_waits_for_the_first_usable_face(book_of: Callable[..., VisitBook], make_face: MakeFace) -> None:
    book = book_of(on_enter=False, deadline_s=1.0)
    book.see(make_face(quality=5.0), REJECTED, 0.0)
    assert book.tick(5.0) == []
    book.see(make_face(quality=55.0), ACCEPTED, 6.0)
    assert shown(book.tick(6.0)) == [(55.0, False)]


def test_the_deadline_does_not_repeat_what_is_out(book_of: Callable[..., VisitBook], make_face: MakeFace) -> None:
    book = book_of(deadline_s=1.0)
    book.see(make_face(quality=50.0), ACCEPTED, 0.0)
    assert book.tick(1.5) == []


def test_a_face_that_comes_back_to_the_same_place_continues_its_visit(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(same_visit_s=3.0)
    (first,) = book.see(make_face(track=1, box=HERE), ACCEPTED, 0.0)
    assert book.end(1, at_s=2.0) == []
    assert book.see(make_face(track=2, box=BESIDE), ACCEPTED, 4.0) == [], "its first face is out already"
    *_, end = book.end(2) + book.tick(99.0)
    assert isinstance(end, VisitEnd)
    assert isinstance(first, FacePublication)
    assert (end.visit.visit, end.visit.faces) == (first.visit, 2)
    assert len(book) == 0


@pytest.mark.parametrize(
    ("box", "at_s"),
    [(FAR, 4.0), (HERE, 5.5), ((100.0, 100.0, 150.0, 180.0), 4.0)],
    ids=["elsewhere", "too late", "much larger"],
)
def test_another_place_time_or_size_is_another_visit(
    box: tuple[float, float, float, float],
    at_s: float,
    book_of: Callable[..., VisitBook],
    make_face: MakeFace,
) -> None:
    book = book_of(same_visit_s=3.0)
    book.see(make_face(track=1, box=HERE), ACCEPTED, 0.0)
    book.end(1, at_s=2.0)
    assert len(shown(book.see(make_face(track=2, box=box), ACCEPTED, at_s))) == 1
    assert ended(book.end_all()) == 2


def test_a_visit_that_nobody_continues_ends_when_its_time_is_over(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(same_visit_s=3.0)
    book.see(make_face(quality=44.0), ACCEPTED, 0.0)
    book.end(1, at_s=1.0)
    assert book.tick(4.0) == []
    assert shown(book.tick(4.1)) == [(44.0, True)]
    assert len(book) == 0


def test_crossing_people_keep_their_own_visits(book_of: Callable[..., VisitBook], make_face: MakeFace) -> None:
    book = book_of(same_visit_s=3.0)
    book.see(make_face(track=1, box=HERE), ACCEPTED, 0.0)
    book.see(make_face(track=2, box=BESIDE), ACCEPTED, 0.0)
    book.end(1, at_s=1.0)
    assert book.see(make_face(track=2, box=HERE), ACCEPTED, 1.1) == [], "a track that goes on is nobody's re-entry"
    assert len(book) == 2
    assert ended(book.end_all()) == 2


def test_several_shots_differ_in_pose_or_time_and_the_best_is_final(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(on_enter=False, shots=3)
    book.see(make_face(quality=60.0), ACCEPTED, 0.0)
    book.see(make_face(quality=90.0), ACCEPTED, 0.2)
    book.see(make_face(quality=85.0), ACCEPTED, 0.3)
    book.see(make_face(quality=50.0, yaw_deg=30.0), ACCEPTED, 0.4)
    book.see(make_face(quality=70.0), ACCEPTED, 5.0)
    book.see(make_face(quality=40.0), ACCEPTED, 9.0)
    publications = book.end(1)
    assert shown(publications) == [(70.0, False), (50.0, False), (90.0, True)]
    assert [item.supersedes for item in publications if isinstance(item, FacePublication)] == [None, None, None]


def test_the_low_bar_counts_once_the_high_one_was_passed(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(min_quality=50, keep_quality=30)
    book.see(make_face(quality=40.0), REJECTED, 0.0)
    assert not book.has_passed(1)
    book.see(make_face(quality=60.0), ACCEPTED, 0.1)
    assert book.has_passed(1)
    assert not book.has_passed(2)


def test_rules_that_change_hold_for_open_visits(book_of: Callable[..., VisitBook], make_face: MakeFace) -> None:
    book = book_of(on_exit=False)
    book.see(make_face(quality=60.0), REJECTED, 0.0)
    book.change_rules(DecideConfig(on_enter=False))
    assert book.see(make_face(quality=60.0), ACCEPTED, 0.1) == []
    assert shown(book.end(1)) == [(60.0, True)]


@pytest.mark.parametrize(
    "rules",
    [{"on_enter": False, "on_exit": False}, {"on_enter": False, "on_improve_by": 5}],
    ids=["nothing is published", "nothing to improve on"],
)
def test_policies_that_publish_nothing_are_refused(rules: dict[str, object]) -> None:
    from gate.config import build_config

    with pytest.raises(ConfigError, match="set on"):
        build_config({"cameras": [{"name": "door", "url": "webcam:0"}], "decide": rules})


def test_fifty_people_at_once_hold_one_crop_each(book_of: Callable[..., VisitBook], make_face: MakeFace) -> None:
    book = book_of()
    for moment in range(20):
        for track in range(50):
            book.see(make_face(track=track, quality=float(moment)), ACCEPTED, moment / 10)
    assert len(book) == 50
    publications = book.end_all()
    assert ended(publications) == 50
    assert shown(publications) == [(19.0, True)] * 50


STEP = st.tuples(
    st.integers(1, 4),
    st.floats(0, 100),
    st.floats(-1, 3),
    st.booleans(),
    st.sampled_from([HERE, BESIDE, FAR]),
)
RULES = st.fixed_dictionaries(
    {
        "on_enter": st.booleans(),
        "on_improve_by": st.none() | st.floats(1, 30),
        "improve_every_s": st.floats(0, 2),
        "deadline_s": st.none() | st.floats(0.1, 3),
        "on_exit": st.booleans(),
        "shots": st.integers(1, 3),
        "same_visit_s": st.sampled_from([0.0, 1.0, 5.0]),
        "min_quality": st.just(40.0),
        "keep_quality": st.sampled_from([None, 20.0]),
    }
)


@given(steps=st.lists(STEP, max_size=50), rules=RULES)
def test_whatever_happens_every_promise_holds(
    steps: list[tuple[int, float, float, bool, tuple[float, float, float, float]]],
    rules: dict[str, object],
    make_face: MakeFace,
    id_maker: MakeIds,
) -> None:
    try:
        config = DecideConfig(**rules)  # type: ignore[arg-type]
    except ValueError:
        return
    book = VisitBook("door", config, id_maker())
    publications: list[Publication] = []
    now_s, seen = 0.0, 0
    for track, quality, passed_s, leaves, box in steps:
        now_s += passed_s
        bar = 20.0 if config.keep_quality is not None and book.has_passed(track) else 40.0
        verdict = ACCEPTED if quality >= bar else REJECTED
        publications += book.see(make_face(track=track, quality=quality, box=box), verdict, now_s)
        seen += 1
        if leaves:
            publications += book.end(track, at_s=now_s)
        publications += book.tick(now_s)
        assert len(book) <= seen
    publications += book.end_all()
    _check_promises(publications, config, seen)


def _check_promises(publications: list[Publication], config: DecideConfig, seen: int) -> None:
    ends = [item.visit for item in publications if isinstance(item, VisitEnd)]
    faces = [item for item in publications if isinstance(item, FacePublication)]
    assert len({visit.visit for visit in ends}) == len(ends), "each visit ends exactly once"
    assert sum(visit.faces for visit in ends) == seen
    low = 20.0 if config.keep_quality is not None else 40.0
    assert all((item.face.quality or math.nan) >= low for item in faces), "nothing below the low bar is published"
    for visit in ends:
        own = [item for item in faces if item.visit == visit.visit]
        assert visit.published == len(own)
        assert [item.seq for item in own] == list(range(len(own)))
        assert sum(item.final for item in own) <= 1
        assert visit.faces == visit.accepted + sum(visit.rejected.values())
        chain = [item for item in own if item.supersedes is not None or item is own[0]]
        assert all(later.supersedes != later.event_id for later in chain)
        if config.on_exit and visit.accepted:
            assert own[-1].final
            assert all((own[-1].face.quality or 0) >= (item.face.quality or 0) for item in own)
        improved = [item.face.quality or 0 for item in own if not item.final and item.supersedes is not None]
        assert all(first < second for first, second in pairwise(improved))


def test_a_visit_whose_final_face_is_out_publishes_no_other_under_new_rules(
    book_of: Callable[..., VisitBook], make_face: MakeFace
) -> None:
    book = book_of(on_exit=False)
    assert shown(book.see(make_face(quality=50.0), ACCEPTED, 0.0)) == [(50.0, True)]
    book.change_rules(DecideConfig(on_improve_by=5, deadline_s=1.0, improve_every_s=0))
    assert book.see(make_face(quality=90.0), ACCEPTED, 1.0) == []
    assert book.tick(5.0) == []
    publications = book.end(1)
    assert shown(publications) == []
    assert ended(publications) == 1


HAPPENING = st.one_of(RULES, st.tuples(st.integers(1, 2), st.floats(0, 100), st.floats(0, 1)), st.integers(1, 2))


@given(st.lists(HAPPENING, max_size=40))
def test_whenever_rules_change_each_visit_ends_once_with_one_final_face_at_most(
    make_face: MakeFace, id_maker: MakeIds, happenings: list[dict[str, Any] | tuple[int, float, float] | int]
) -> None:
    book = VisitBook("door", DecideConfig(), id_maker())
    publications: list[Publication] = []
    now_s = 0.0
    for happening in happenings:
        if isinstance(happening, dict):
            with suppress(ValueError):
                book.change_rules(DecideConfig(**happening))
        elif isinstance(happening, tuple):
            track, quality, passed_s = happening
            now_s += passed_s
            verdict = ACCEPTED if quality >= 40 else REJECTED
            publications += book.see(make_face(track=track, quality=quality), verdict, now_s)
        else:
            publications += book.end(happening, at_s=now_s)
        publications += book.tick(now_s)
    publications += book.end_all()
    ends = [item.visit for item in publications if isinstance(item, VisitEnd)]
    faces = [item for item in publications if isinstance(item, FacePublication)]
    assert len({visit.visit for visit in ends}) == len(ends)
    assert {face.visit for face in faces} <= {visit.visit for visit in ends}
    for visit in ends:
        own = [face for face in faces if face.visit == visit.visit]
        assert visit.published == len(own)
        assert not any(face.final for face in own[:-1])
    assert len(book) == 0
