import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.config import DecideConfig
from gate.decide.visits import FacePublication, Publication, VisitBook, VisitEnd
from gate.reasons import Reason
from gate.types import ScoredFace, Verdict

MakeFace = Callable[..., ScoredFace]
MakeIds = Callable[[], Callable[[], str]]
ACCEPTED = Verdict()
REJECTED = Verdict((Reason.LOW_QUALITY.value, Reason.YAW.value))


@pytest.fixture
def book(id_maker: MakeIds) -> VisitBook:
    return VisitBook("door", DecideConfig(), id_maker())


def faces_of(publications: list[Publication]) -> list[FacePublication]:
    return [publication for publication in publications if isinstance(publication, FacePublication)]


def ends_of(publications: list[Publication]) -> list[VisitEnd]:
    return [publication for publication in publications if isinstance(publication, VisitEnd)]


def test_the_first_accepted_face_is_published_at_once(book: VisitBook, make_face: MakeFace) -> None:
    assert book.see(make_face(quality=10.0), REJECTED) == []
    (first,) = faces_of(book.see(make_face(quality=40.0), ACCEPTED))
    assert (first.seq, first.supersedes, first.final) == (0, None, False)
    assert book.see(make_face(quality=90.0), ACCEPTED) == []


def test_the_best_shot_is_published_when_the_visit_ends(book: VisitBook, make_face: MakeFace) -> None:
    (first,) = faces_of(book.see(make_face(quality=40.0), ACCEPTED))
    for quality in (70.0, 90.0, 60.0):
        book.see(make_face(quality=quality), ACCEPTED)
    best, end = book.end(1)
    assert isinstance(best, FacePublication)
    assert isinstance(end, VisitEnd)
    assert (best.face.quality, best.seq, best.supersedes, best.final) == (90.0, 1, first.event_id, True)
    assert end.visit.published == 2


def test_a_better_but_rejected_face_is_never_the_best_shot(book: VisitBook, make_face: MakeFace) -> None:
    book.see(make_face(quality=50.0), ACCEPTED)
    book.see(make_face(quality=99.0), REJECTED)
    (best,) = faces_of(book.end(1))
    assert best.face.quality == 50.0


def test_a_visit_without_a_usable_face_still_ends_with_its_reasons(book: VisitBook, make_face: MakeFace) -> None:
    book.see(make_face(quality=None, at_ms=5), Verdict((Reason.TOO_SMALL.value,)))
    book.see(make_face(quality=9.0, at_ms=25), REJECTED)
    (end,) = book.end(1)
    assert isinstance(end, VisitEnd)
    visit = end.visit
    assert (visit.faces, visit.accepted, visit.published, visit.best_quality) == (2, 0, 0, 9.0)
    assert visit.rejected == {"too_small": 1, "low_quality": 1}
    assert (visit.first_ms, visit.last_ms) == (5, 25)


def test_the_last_visit_is_published_when_the_stream_ends(book: VisitBook, make_face: MakeFace) -> None:
    book.see(make_face(track=1), ACCEPTED)
    book.see(make_face(track=2, quality=3.0), REJECTED)
    publications = book.end_all()
    assert len(ends_of(publications)) == 2
    assert len(faces_of(publications)) == 1
    assert len(book) == 0


def test_each_publication_knows_the_frame_that_triggered_it(book: VisitBook, make_face: MakeFace) -> None:
    (first,) = faces_of(book.see(make_face(at_ms=1000, quality=40.0), ACCEPTED))
    book.see(make_face(at_ms=2000, quality=90.0), ACCEPTED)
    (best,) = faces_of(book.end(1, triggered_s=61.5))
    assert (first.triggered_s, best.triggered_s) == (1.0, 61.5)
    book.see(make_face(track=2), ACCEPTED)
    (unseen,) = faces_of(book.end_all())
    assert math.isnan(unseen.triggered_s)


def test_ending_an_unknown_track_publishes_nothing(book: VisitBook) -> None:
    assert book.end(77) == []


def test_without_on_exit_the_first_publication_is_the_final_one(make_face: MakeFace, id_maker: MakeIds) -> None:
    book = VisitBook("door", DecideConfig(on_exit=False), id_maker())
    (only,) = faces_of(book.see(make_face(), ACCEPTED))
    assert only.final
    assert faces_of(book.end(1)) == []


def test_without_on_enter_only_the_best_shot_is_published(make_face: MakeFace, id_maker: MakeIds) -> None:
    book = VisitBook("door", DecideConfig(on_enter=False), id_maker())
    assert book.see(make_face(quality=40.0), ACCEPTED) == []
    (best,) = faces_of(book.end(1))
    assert (best.seq, best.supersedes, best.final) == (0, None, True)


SIGHTINGS = st.lists(
    st.tuples(st.integers(1, 5), st.floats(0, 100), st.booleans(), st.booleans()),
    max_size=60,
)


@given(sightings=SIGHTINGS, when=st.sampled_from([(True, True), (True, False), (False, True)]))
def test_counts_add_up_and_each_visit_ends_exactly_once(
    sightings: list[tuple[int, float, bool, bool]],
    when: tuple[bool, bool],
    make_face: MakeFace,
    id_maker: MakeIds,
) -> None:
    on_enter, on_exit = when
    book = VisitBook("door", DecideConfig(on_enter=on_enter, on_exit=on_exit), id_maker())
    publications: list[Publication] = []
    for track, quality, accepted, ends in sightings:
        publications += book.see(make_face(track=track, quality=quality), ACCEPTED if accepted else REJECTED)
        if ends:
            publications += book.end(track)
    publications += book.end_all()

    visits = [end.visit for end in ends_of(publications)]
    faces = faces_of(publications)
    assert len({visit.visit for visit in visits}) == len(visits)
    assert {face.visit for face in faces} <= {visit.visit for visit in visits}
    assert sum(visit.faces for visit in visits) == len(sightings)
    assert all(visit.faces == visit.accepted + sum(visit.rejected.values()) for visit in visits)
    finals = Counter(face.visit for face in faces if face.final)
    assert all(count == 1 for count in finals.values())
    for visit in visits:
        own = [face for face in faces if face.visit == visit.visit]
        assert visit.published == len(own)
        assert [face.seq for face in own] == list(range(len(own)))
        if on_exit and own:
            assert own[-1].final
            assert all((own[-1].face.quality or 0) >= (face.face.quality or 0) for face in own)


def test_ids_are_never_used_twice(book: VisitBook, make_face: MakeFace) -> None:
    publications = [*book.see(make_face(), ACCEPTED), *book.end(1), *book.see(make_face(), ACCEPTED), *book.end(1)]
    ids = [publication.event_id for publication in publications]
    assert len(set(ids)) == len(ids) == 6
