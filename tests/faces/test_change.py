import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.faces.change import PictureChange
from gate.types import Image


def a_room(seed: int, height: int = 270, width: int = 480) -> Image:
    """Walls, windows and furniture: blocks of different grey."""
    blocks = np.random.default_rng(seed).integers(20, 230, (9, 16), dtype=np.uint8)
    rows = np.linspace(0, 8.999, height).astype(int)
    columns = np.linspace(0, 15.999, width).astype(int)
    return np.repeat(blocks[rows][:, columns][:, :, None], 3, axis=2)


def test_the_first_picture_is_no_change() -> None:
    assert not PictureChange().sees(a_room(1))


def test_another_scene_is_a_change_once() -> None:
    change = PictureChange()
    assert [change.sees(a_room(seed)) for seed in (1, 2, 2, 1)] == [False, True, False, True]


def test_a_light_that_goes_on_is_a_change() -> None:
    change = PictureChange()
    change.sees((a_room(1) * 0.3).astype(np.uint8))
    assert change.sees(a_room(1))


def test_somebody_who_fills_a_third_of_the_picture_in_one_frame_is_none() -> None:
    change, crowded = PictureChange(), a_room(1)
    change.sees(a_room(1))
    crowded[:, 160:320] = 255 - crowded[:, 160:320]
    assert not change.sees(crowded)


def test_noise_is_none() -> None:
    rng, change = np.random.default_rng(5), PictureChange()
    for _ in range(5):
        noise = rng.normal(0, 20, (270, 480, 3))
        assert not change.sees(np.clip(a_room(1) + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (1080, 1920)])
def test_any_size_of_picture_can_be_compared_with_any_other(size: tuple[int, int]) -> None:
    change = PictureChange()
    change.sees(a_room(1))
    assert change.sees(np.full((*size, 3), 255, np.uint8))


@given(seed=st.integers(0, 1000))
def test_the_same_picture_is_never_a_change(seed: int) -> None:
    change = PictureChange()
    change.sees(a_room(seed))
    assert not change.sees(a_room(seed))
