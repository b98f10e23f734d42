from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import QualityError
from gate.lab.degrade import (
    LEVELS,
    SCALES,
    Degradation,
    degrade,
    degrade_by,
    degrade_set,
    flat_images,
    generator_for,
    noise_images,
)
from gate.types import Image

KINDS = list(Degradation)
MOVING = {Degradation.ROTATION, Degradation.MISALIGNMENT}


@pytest.fixture(scope="module")
def face(portraits: dict[str, Image]) -> Image:
    import cv2

    head = portraits["astronaut"][0:224, 112:336]
    return np.asarray(cv2.resize(head, (112, 112), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def psnr_db(a: Image, b: Image) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


@pytest.mark.parametrize("kind", KINDS)
def test_every_level_takes_more_away_than_the_one_before(face: Image, kind: Degradation) -> None:
    for index in range(4):
        levels = [psnr_db(face, degrade(face, kind, level, generator_for(7, index, kind))) for level in LEVELS]
        # A face that was moved far enough may meet itself again.
        floor = 0.3 if kind in MOVING else 0.0
        assert all(after < before + floor for before, after in pairwise(levels)), levels
        assert levels[0] > levels[-1] + 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_degraded_crop_is_a_new_crop_of_the_same_form(face: Image, kind: Degradation) -> None:
    before = face.copy()
    for level in LEVELS:
        worse = degrade(face, kind, level, generator_for(0, 0, kind))
        assert worse.shape == (112, 112, 3)
        assert worse.dtype == np.uint8
        assert not np.shares_memory(worse, face)
        assert not np.array_equal(worse, face)
    assert np.array_equal(face, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_index_kind_and_level_give_the_same_picture(face: Image, kind: Degradation) -> None:
    crops = np.stack([face] * 3)
    whole = degrade_set(crops, kind, 3, seed=5)
    assert np.array_equal(whole, degrade_set(crops, kind, 3, seed=5))
    assert np.array_equal(whole[1:], degrade_set(crops[1:], kind, 3, seed=5, first_index=1))


@pytest.mark.parametrize(
    "kind",
    [
        Degradation.MOTION_BLUR,
        Degradation.NOISE,
        Degradation.OCCLUDE_EYES,
        Degradation.OCCLUDE_MOUTH,
        Degradation.MISALIGNMENT,
    ],
)
def test_crops_and_seeds_have_draws_of_their_own(face: Image, kind: Degradation) -> None:
    crops = np.stack([face, face])
    first, second = degrade_set(crops, kind, 4, seed=1)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, degrade_set(crops, kind, 4, seed=2)[0])


def test_both_sides_are_covered(face: Image) -> None:
    kind = Degradation.OCCLUDE_HALF

    def on_the_left(index: int) -> bool:
        changed = degrade(face, kind, 1, generator_for(0, index, kind)) != face
        return bool(changed[:56, :8].mean() > changed[:56, -8:].mean())

    assert {on_the_left(index) for index in range(20)} == {True, False}


def test_the_levels_share_their_draws(face: Image) -> None:
    kind = Degradation.OCCLUDE_EYES
    colours = [degrade(face, kind, level, generator_for(0, 3, kind))[52, 0].tolist() for level in LEVELS]
    assert len({tuple(colour) for colour in colours}) == 1


@given(
    kind=st.sampled_from(KINDS),
    level=st.sampled_from(LEVELS),
    seed=st.integers(0, 2**32),
    grey=st.integers(0, 255),
)
def test_no_flat_picture_is_too_much(kind: Degradation, level: int, seed: int, grey: int) -> None:
    crop = np.full((112, 112, 3), grey, dtype=np.uint8)
    worse = degrade(crop, kind, level, generator_for(seed, 0, kind))
    assert worse.shape == crop.shape
    if kind in {Degradation.GAUSSIAN_BLUR, Degradation.MOTION_BLUR, Degradation.DOWNSAMPLE, Degradation.ROTATION}:
        assert np.abs(worse.astype(int) - grey).max() <= 1, "a border was let in"


@given(kind=st.sampled_from(KINDS), factor=st.floats(0.0, 4.0))
def test_strengths_between_and_beyond_the_levels_work(kind: Degradation, factor: float) -> None:
    strengths = SCALES[kind].strengths
    strength = strengths[0] + factor * (strengths[-1] - strengths[0])
    if strength <= 0.05:
        return
    assert degrade_by(noise_images(1)[0], kind, strength, np.random.default_rng(0)).shape == (112, 112, 3)


def test_brightness_down_is_a_gain() -> None:
    crop = np.full((112, 112, 3), 200, dtype=np.uint8)
    assert degrade(crop, Degradation.DARKER, 2, np.random.default_rng(0)).max() == 100


def test_gaussian_blur_has_the_stated_spread() -> None:
    dot = np.zeros((112, 112, 3), dtype=np.uint8)
    dot[56, 56] = 255
    sigma = SCALES[Degradation.GAUSSIAN_BLUR].strength(1)
    peak = degrade(dot, Degradation.GAUSSIAN_BLUR, 1, np.random.default_rng(0))[56, 56, 0]
    assert peak == pytest.approx(255 / (2 * np.pi * sigma**2), rel=0.1)


def test_motion_blur_keeps_the_mean_and_smears_along_one_line() -> None:
    dot = np.zeros((112, 112, 3), dtype=np.uint8)
    dot[56, 56] = 255
    smear = degrade(dot, Degradation.MOTION_BLUR, 3, np.random.default_rng(1))[:, :, 0].astype(float)
    rows, columns = np.nonzero(smear)
    assert smear.sum() == pytest.approx(255, rel=0.1)
    covariance = np.cov(np.stack([rows, columns]), aweights=smear[rows, columns])
    small, large = np.sqrt(np.linalg.eigvalsh(covariance))
    assert large == pytest.approx(SCALES[Degradation.MOTION_BLUR].strength(3) / np.sqrt(12), rel=0.15)
    assert small < 0.8


def test_misalignment_moves_by_the_stated_distance() -> None:
    crop = np.zeros((112, 112, 3), dtype=np.uint8)
    crop[50:62, 50:62] = 255
    moved = degrade(crop, Degradation.MISALIGNMENT, 3, np.random.default_rng(2))[:, :, 0].astype(float)
    rows, columns = np.mgrid[0:112, 0:112]
    shift = np.hypot((moved * rows).sum() / moved.sum() - 55.5, (moved * columns).sum() / moved.sum() - 55.5)
    assert shift == pytest.approx(11.0, abs=0.2)


@pytest.mark.parametrize("level", [0, 6, -1])
def test_a_level_that_does_not_exist_is_refused(level: int) -> None:
    with pytest.raises(QualityError, match=f"1 to 5, got {level}"):
        degrade(noise_images(1)[0], Degradation.JPEG, level, np.random.default_rng(0))


def test_what_is_no_crop_is_refused() -> None:
    with pytest.raises(QualityError, match=r"\(64, 64, 3\)"):
        degrade(np.zeros((64, 64, 3), dtype=np.uint8), Degradation.JPEG, 1, np.random.default_rng(0))


def test_probes_hold_no_face() -> None:
    noise = noise_images(3, seed=1)
    assert noise.shape == (3, 112, 112, 3)
    assert np.array_equal(noise, noise_images(3, seed=1))
    assert not np.array_equal(noise, noise_images(3, seed=2))
    assert all(len(np.unique(picture)) == 1 for picture in flat_images())
