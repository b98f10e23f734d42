from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.faces.stillness import Stillness
from gate.types import Image


@cache
def a_hall(seed: int = 0, noise: float = 2.0, level: float = 1.0) -> Image:
    """720p: walls of a few greys, and the sensor's noise."""
    blocks = np.random.default_rng(1).integers(30, 220, (9, 16)).repeat(80, axis=0).repeat(80, axis=1)[:, :, None]
    grain = np.random.default_rng(seed).normal(0, noise, (720, 1280, 3))
    hall: Image = np.clip(blocks * level + grain, 0, 255).astype(np.uint8)
    hall.setflags(write=False)
    return hall


@pytest.fixture
def emptied() -> Stillness:
    still = Stillness()
    still.searched(a_hall(), 10.0, found=False)
    return still


def test_the_first_picture_is_searched() -> None:
    assert not Stillness().same_as_empty(a_hall(), 0.0)


def test_an_empty_hall_is_not_searched_again_at_once_and_is_after_a_second(emptied: Stillness) -> None:
    assert emptied.same_as_empty(a_hall(seed=1), 10.2)
    assert emptied.same_as_empty(a_hall(seed=2), 10.9)
    assert not emptied.same_as_empty(a_hall(seed=3), 11.0)


def test_time_that_goes_back_has_it_searched(emptied: Stillness) -> None:
    assert not emptied.same_as_empty(a_hall(), 9.0)


def test_where_there_was_a_face_every_picture_is_searched(emptied: Stillness) -> None:
    emptied.searched(a_hall(), 10.1, found=True)
    assert not emptied.same_as_empty(a_hall(), 10.2)


@settings(deadline=None, max_examples=25)
@given(x=st.integers(0, 1280 - 40), y=st.integers(0, 720 - 40), contrast=st.sampled_from([-60, -25, 25, 60]))
def test_a_small_face_anywhere_is_noticed(x: int, y: int, contrast: int) -> None:
    still, visited = Stillness(), a_hall(seed=1).copy()
    still.searched(a_hall(), 0.0, found=False)
    part = visited[y : y + 40, x : x + 40].astype(int)
    # Away from the end of the scale that it would be cut off at.
    visited[y : y + 40, x : x + 40] = np.where(part.mean() > 128, part - abs(contrast), part + abs(contrast))
    assert not still.same_as_empty(visited, 0.5)


def test_who_comes_in_slowly_is_compared_with_the_empty_hall(emptied: Stillness) -> None:
    levels = [1 + 0.005 * step for step in range(1, 8)]
    answers = [emptied.same_as_empty(a_hall(seed=step, level=level), 10.5) for step, level in enumerate(levels)]
    assert answers[0]
    assert not answers[-1]


def test_a_noisy_camera_is_searched_every_time(emptied: Stillness) -> None:
    assert not emptied.same_as_empty(a_hall(seed=1, noise=25), 10.2)


@pytest.mark.parametrize("shape", [(1, 1), (10, 500), (2160, 3840)])
def test_pictures_of_any_size_are_compared(shape: tuple[int, int]) -> None:
    still, image = Stillness(), np.full((*shape, 3), 90, np.uint8)
    still.searched(image, 0.0, found=False)
    assert still.same_as_empty(image, 0.1)
    assert not still.same_as_empty(image + 20, 0.1)
