import numpy as np
import pytest

from gate.decide.duplicates import MOST_REMEMBERED, DuplicateBook
from gate.types import FloatArray, Image


def crop_of(person: int) -> Image:
    return np.full((112, 112, 3), person, dtype=np.uint8)


class Embedder:
    """Every grey is a person of its own; 255 is a picture that breaks the network."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, crops: Image) -> FloatArray:
        self.asked += len(crops)
        people = crops[:, 0, 0, 0].astype(int)
        rows: FloatArray = np.eye(256, dtype=np.float32)[people] * np.float32(3)
        rows[people == 255] = np.nan
        return rows


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
def book(embedder: Embedder) -> DuplicateBook:
    return DuplicateBook(embedder)


def seen_before(
    book: DuplicateBook,
    person: int,
    *,
    camera: str = "lobby",
    track: int = 9,
    now_s: float = 5.0,
    within_s: float = 10.0,
) -> bool:
    return book.is_duplicate(
        crop_of(person), camera=camera, track=track, now_s=now_s, within_s=within_s, similarity=0.5
    )


def test_the_same_person_at_another_camera_is_a_duplicate(book: DuplicateBook) -> None:
    book.remember(crop_of(1), camera="door", track=1, now_s=0.0)
    assert seen_before(book, 1)
    assert not seen_before(book, 2)


def test_a_visit_is_no_duplicate_of_itself(book: DuplicateBook) -> None:
    book.remember(crop_of(1), camera="door", track=1, now_s=0.0)
    assert not seen_before(book, 1, camera="door", track=1)
    assert seen_before(book, 1, camera="door", track=2)


def test_after_its_time_a_person_is_new_again_and_forgotten(book: DuplicateBook) -> None:
    book.remember(crop_of(1), camera="door", track=1, now_s=0.0)
    assert seen_before(book, 1, now_s=10.0)
    assert not seen_before(book, 1, now_s=10.1)
    assert len(book) == 0


def test_a_camera_that_looks_back_less_takes_nothing_from_its_neighbours(book: DuplicateBook) -> None:
    book.remember(crop_of(1), camera="door", track=1, now_s=0.0)
    assert seen_before(book, 1, now_s=5.0, within_s=60.0)
    assert not seen_before(book, 1, now_s=20.0, within_s=10.0)
    assert seen_before(book, 1, now_s=21.0, within_s=60.0)


def test_asking_and_remembering_takes_one_pass_of_the_network(book: DuplicateBook, embedder: Embedder) -> None:
    book.remember(crop_of(1), camera="door", track=1, now_s=0.0)
    crop = crop_of(2)
    book.is_duplicate(crop, camera="lobby", track=1, now_s=1.0, within_s=10.0, similarity=0.5)
    book.remember(crop, camera="lobby", track=1, now_s=1.0)
    assert embedder.asked == 2


def test_nobody_to_compare_with_costs_nothing(book: DuplicateBook, embedder: Embedder) -> None:
    assert not seen_before(book, 1)
    assert embedder.asked == 0


def test_an_embedding_that_is_no_number_is_like_nobody(book: DuplicateBook) -> None:
    book.remember(crop_of(255), camera="door", track=1, now_s=0.0)
    assert not seen_before(book, 255)


def test_memory_is_bounded(book: DuplicateBook) -> None:
    for track in range(MOST_REMEMBERED + 10):
        book.remember(crop_of(track % 250), camera="door", track=track, now_s=0.0)
    assert len(book) == MOST_REMEMBERED
