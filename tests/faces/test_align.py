import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import estimate_transform

from gate.faces.align import TEMPLATE, align, align_tensor, alignable, similarity
from gate.faces.yunet import YuNetDetector
from gate.types import Image

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.05, 20.0)
shifts = st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000))
seeds = st.integers(0, 2**32 - 1)


def matrix_of(angle: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def noisy_landmarks(seed: int, count: int, noise_px: float = 4.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        way = matrix_of(rng.uniform(-3, 3), rng.uniform(0.3, 4), (rng.uniform(0, 900), rng.uniform(0, 700)))
        rows.append(apply(way, TEMPLATE + rng.normal(0, noise_px, (5, 2))))
    return np.stack(rows)


@given(angles, scales, shifts)
def test_the_transform_that_made_the_landmarks_is_recovered(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    made = matrix_of(angle, scale, shift)
    (found,) = similarity(apply(made, TEMPLATE)[None])
    there_and_back = np.vstack([found, [0, 0, 1]]) @ np.vstack([made, [0, 0, 1]])
    assert there_and_back == pytest.approx(np.eye(3), abs=1e-7)


@given(seeds)
def test_noisy_landmarks_give_the_least_squares_answer_of_scikit_image(seed: int) -> None:
    landmarks = noisy_landmarks(seed, 4)
    for found, points in zip(similarity(landmarks), landmarks, strict=True):
        theirs: Any = estimate_transform("similarity", points, TEMPLATE)  # type: ignore[no-untyped-call]
        assert found == pytest.approx(np.asarray(theirs.params)[:2], rel=1e-6, abs=1e-6)


def test_few_outliers_aside_opencv_finds_the_same() -> None:
    landmarks = noisy_landmarks(5, 6, noise_px=0.5)
    for found, points in zip(similarity(landmarks), landmarks, strict=True):
        theirs, _ = cv2.estimateAffinePartial2D(points, TEMPLATE, ransacReprojThreshold=1e3, refineIters=50)
        assert found == pytest.approx(theirs, abs=1e-3)


@given(seeds, st.integers(1, 9))
def test_a_batch_is_the_same_as_one_by_one(seed: int, count: int) -> None:
    landmarks = noisy_landmarks(seed, count)
    single = np.concatenate([similarity(row[None]) for row in landmarks])
    assert np.allclose(similarity(landmarks), single, rtol=1e-12)


@given(seeds)
def test_mirrored_landmarks_are_never_reflected(seed: int) -> None:
    mirrored = noisy_landmarks(seed, 1) * [-1, 1]
    (found,) = similarity(mirrored)
    if np.isfinite(found).all():
        assert np.linalg.det(found[:, :2]) > 0


def test_degenerate_landmarks_are_named_and_give_nan_without_harming_their_neighbours() -> None:
    good = noisy_landmarks(1, 1)[0]
    broken = good.copy()
    broken[2, 0] = np.nan
    batch = np.stack([good, np.full((5, 2), 77.0), broken, good * np.inf, good])
    assert alignable(batch).tolist() == [True, False, False, False, True]
    matrices = similarity(batch)
    assert np.isnan(matrices[1:4]).all()
    assert np.array_equal(matrices[0], matrices[4])
    assert np.allclose(matrices[:1], similarity(good[None]), rtol=1e-12)


def test_no_landmarks_give_no_crops() -> None:
    nothing = np.zeros((0, 5, 2), dtype=np.float32)
    assert similarity(nothing).shape == (0, 2, 3)
    assert alignable(nothing).shape == (0,)
    assert align(np.zeros((9, 9, 3), np.uint8), nothing).shape == (0, 112, 112, 3)
    assert align_tensor(torch.zeros(9, 9, 3, dtype=torch.uint8), nothing).shape == (0, 112, 112, 3)


def test_aligning_puts_painted_landmarks_on_the_template() -> None:
    landmarks = apply(matrix_of(0.4, 2.5, (150, 60)), TEMPLATE)
    picture = np.zeros((500, 500, 3), dtype=np.uint8)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255)]
    for (x, y), colour in zip(landmarks, colours, strict=True):
        cv2.circle(picture, (round(x), round(y)), 6, colour, -1)
    (crop,) = align(picture, landmarks[None])
    for place, colour in zip(TEMPLATE, colours, strict=True):
        ys, xs = np.nonzero((np.abs(crop.astype(int) - colour) < 60).all(axis=2))
        assert (xs.mean(), ys.mean()) == pytest.approx(tuple(place), abs=0.6)


def test_faces_of_the_portraits_land_on_the_template_again(yunet: YuNetDetector, portraits: dict[str, Image]) -> None:
    for name in ("astronaut", "grace_hopper"):
        (face,) = yunet.detect(portraits[name])
        (crop,) = align(portraits[name], face.landmarks[None])
        # Found again in the crop, enlarged by a border as the detector likes some surroundings.
        (again,) = yunet.detect(np.pad(crop, ((28, 28), (28, 28), (0, 0))))
        assert np.abs(again.landmarks - 28 - TEMPLATE).mean() < 4.0


def frames_and_landmarks() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), (0, 0), 1.5)
    inside = [matrix_of(0.3, 1.2, (100, 60)), matrix_of(-0.8, 0.6, (150, 150)), matrix_of(3.0, 1.7, (330, 260))]
    across_the_edge = [matrix_of(0.1, 1.5, (-60, -40)), matrix_of(0.0, 2.0, (320, 200))]
    far_outside = [matrix_of(0.0, 1.0, (3000, 3000))]
    minified = [matrix_of(0.2, 2.6, (60, 5))]
    ways = [*inside, *across_the_edge, *far_outside, *minified]
    return [(np.asarray(noise, dtype=np.uint8), np.stack([apply(way, TEMPLATE) for way in ways]))]


def test_crops_are_opencvs_own_warp() -> None:
    for picture, landmarks in frames_and_landmarks():
        for crop, matrix in zip(align(picture, landmarks), similarity(landmarks), strict=True):
            theirs = cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)
            assert np.array_equal(crop, theirs)


def test_torch_and_opencv_warps_agree_within_one_grey_level_on_average() -> None:
    for picture, landmarks in frames_and_landmarks():
        ours = align_tensor(torch.from_numpy(picture), landmarks).numpy()
        for crop, matrix in zip(ours, similarity(landmarks), strict=True):
            theirs = cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR).astype(int)
            assert np.abs(crop - theirs).mean() < 1.0
        assert ours[0].std() > 5
        assert not ours[5].any()


def test_torch_warps_a_portrait_as_opencv_does(portraits: dict[str, Image]) -> None:
    picture = portraits["astronaut"]
    landmarks = np.array([[[200, 102], [247, 103], [220, 125], [199, 143], [240, 144]]], dtype=np.float32)
    by_torch = align_tensor(torch.from_numpy(picture), landmarks).numpy().astype(int)
    assert np.abs(by_torch - align(picture, landmarks)).mean() < 1.0


def test_torch_gives_a_black_crop_for_degenerate_landmarks_and_leaves_the_others_alone() -> None:
    ((picture, landmarks),) = frames_and_landmarks()
    batch = np.stack([landmarks[0], np.full((5, 2), np.nan), landmarks[1]])
    by_torch = align_tensor(torch.from_numpy(picture), batch)
    assert not by_torch[1].any()
    assert not align(picture, batch)[1].any()
    assert torch.equal(by_torch[[0, 2]], align_tensor(torch.from_numpy(picture), landmarks[:2]))


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (0, 0, 3)])
def test_pictures_of_any_size_can_be_warped(shape: tuple[int, int, int]) -> None:
    picture = np.full(shape, 200, dtype=np.uint8)
    landmarks = TEMPLATE[None] - 50
    by_torch = align_tensor(torch.from_numpy(picture), landmarks).numpy().astype(int)
    assert np.abs(by_torch - align(picture, landmarks)).mean() < 1.0


def test_a_frame_that_may_not_be_written_to_can_be_aligned() -> None:
    ((picture, landmarks),) = frames_and_landmarks()
    frozen = picture.copy()
    frozen.setflags(write=False)
    assert np.array_equal(align(frozen, landmarks), align(picture, landmarks))
