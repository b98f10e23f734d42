import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.faces.align import align
from gate.quality.light import Light, Planes, measure_light
from gate.types import Image

ASTRONAUT = np.array([[203, 101], [247, 103], [223, 126], [202, 140], [246, 140]], np.float64)
ADMIRAL = np.array([[232, 193], [305, 195], [267, 238], [235, 270], [298, 271]], np.float64)
EYES_PX = (200, 100, 60, 36)
"""From eye to eye; at 36 the crop is as large as the face in the frame."""


def light_of(crop: Image) -> Light:
    return measure_light(Planes.of(crop))


def flat(*shades: int) -> Image:
    """A crop of vertical stripes, each a pixel wide, so that every shade is equally frequent."""
    row = np.resize(np.array(shades, np.uint8), 112)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (112, 112, 3)))


def linear(grey: int) -> float:
    """Linear light of a grey of sRGB, 0..255 (IEC 61966-2-1)."""
    code = grey / 255
    return 255 * (code / 12.92 if code <= 0.04045 else ((code + 0.055) / 1.055) ** 2.4)


@pytest.fixture(scope="module")
def portraits_with_landmarks(portraits: dict[str, Image]) -> list[tuple[Image, np.ndarray]]:
    return [(portraits["astronaut"], ASTRONAUT), (portraits["grace_hopper"], ADMIRAL)]


def sharpness_at(picture: Image, landmarks: np.ndarray, eyes_px: float, blur: float = 0.0) -> float:
    """Sharpness of a portrait scaled to so many pixels from eye to eye, blurred by `blur` times that."""
    scale = eyes_px / float(np.hypot(*(landmarks[1] - landmarks[0])))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
    if blur:
        scaled = cv2.GaussianBlur(scaled, (0, 0), blur * eyes_px)
    scale = scaled.shape[1] / picture.shape[1]
    crop = align(np.asarray(scaled, dtype=np.uint8), ((landmarks + 0.5) * scale - 0.5)[None])[0]
    return light_of(crop).sharpness


@pytest.mark.parametrize(("blur", "spread"), [(0.0, 7.5), (1 / 36, 4.0), (1 / 18, 2.0), (1 / 12, 1.0)])
def test_the_same_face_is_as_sharp_from_near_and_from_far(
    portraits_with_landmarks: list[tuple[Image, np.ndarray]], blur: float, spread: float
) -> None:
    for picture, landmarks in portraits_with_landmarks:
        found = [sharpness_at(picture, landmarks, eyes_px, blur) for eyes_px in EYES_PX]
        assert max(found) - min(found) < spread


def test_blur_weighs_more_than_size(portraits_with_landmarks: list[tuple[Image, np.ndarray]]) -> None:
    for picture, landmarks in portraits_with_landmarks:
        least_sharp = min(sharpness_at(picture, landmarks, eyes_px) for eyes_px in EYES_PX)
        most_blurred = max(sharpness_at(picture, landmarks, eyes_px, blur=1 / 36) for eyes_px in EYES_PX)
        assert most_blurred < least_sharp


def test_a_face_with_too_few_pixels_loses_sharpness_as_if_blurred(
    portraits_with_landmarks: list[tuple[Image, np.ndarray]],
) -> None:
    for picture, landmarks in portraits_with_landmarks:
        course = [sharpness_at(picture, landmarks, eyes_px) for eyes_px in (36, 24, 16, 8)]
        assert course == sorted(course, reverse=True)
        # Eight pixels from eye to eye hold as much as the large face blurred by an eighteenth of them, give or take.
        assert course[-1] == pytest.approx(sharpness_at(picture, landmarks, 200, blur=1 / 18), abs=8)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=4))
def test_shares_of_dark_and_bright_pixels_are_those_of_linear_light(shades: list[int]) -> None:
    # The colour black is kept for the border, and stripes of a pixel do not divide the ellipse evenly.
    shades = [max(1, shade) for shade in shades]
    light = light_of(flat(*shades))
    dark = sum(round(linear(shade)) <= 25 for shade in shades) / len(shades)
    bright = sum(round(linear(shade)) >= 247 for shade in shades) / len(shades)
    assert light.under_exposed_share == pytest.approx(dark, abs=0.03)
    assert light.over_exposed_share == pytest.approx(bright, abs=0.03)


@pytest.mark.parametrize(
    ("colour", "dark", "bright"),
    [
        ((89, 89, 89), 1.0, 0.0),
        ((90, 90, 90), 0.0, 0.0),
        ((251, 251, 251), 0.0, 0.0),
        ((252, 252, 252), 0.0, 1.0),
        # BT.709: 0.2126, 0.7152 and 0.0722 of the linear light.
        ((0, 0, 255), 1.0, 0.0),
        ((255, 0, 0), 0.0, 0.0),
        ((255, 255, 0), 0.0, 0.0),
    ],
)
def test_the_edges_of_dark_and_bright(colour: tuple[int, int, int], dark: float, bright: float) -> None:
    light = light_of(np.full((112, 112, 3), colour, np.uint8))
    assert (light.under_exposed_share, light.over_exposed_share) == (dark, bright)


def test_prevention_falls_as_the_standard_maps_it() -> None:
    """Q = 1 / (x + 0.01) for bright pixels, Q = 120 (0.832 - 1 / (1 + exp((0.92 - x) / 0.05))) for dark ones."""
    for dark, bright in ((0, 0), (0, 5), (0, 40), (50, 10), (92, 0), (100, 0), (0, 100)):
        crop = np.full((112, 112, 3), 128, np.uint8)
        rows = np.arange(112)[:, None] * 112 + np.arange(112)[None, :]
        # Pixels in a scattered order: a share of the crop is then a share of the ellipse.
        order = np.random.default_rng(3).permutation(rows.size).reshape(rows.shape)
        crop[order < rows.size * dark / 100] = 30
        crop[order >= rows.size * (1 - bright / 100)] = 255
        light = light_of(crop)
        x, y = light.under_exposed_share, light.over_exposed_share
        assert (x, y) == pytest.approx((dark / 100, bright / 100), abs=0.02)
        expected = 120 * (0.832 - 1 / (1 + math.exp((0.92 - x) / 0.05)))
        assert light.under_exposure_prevention == pytest.approx(min(100.0, max(0.0, expected)), abs=1e-9)
        assert light.over_exposure_prevention == pytest.approx(min(100.0, 1 / (y + 0.01)), abs=1e-9)


@pytest.mark.parametrize(("count", "expected"), [(1, 0.0), (2, 12.5), (4, 25.0), (16, 50.0)])
def test_dynamic_range_is_the_entropy_of_the_shades(count: int, expected: float) -> None:
    # Shades so far apart that each has a linear luminance of its own.
    shades = [grey for grey in range(60, 256) if grey == 60 or round(linear(grey)) > round(linear(grey - 1))]
    found = light_of(flat(*shades[:count])).dynamic_range
    assert found == pytest.approx(expected, abs=0.2)


def test_luminance_spread_is_the_standard_deviation() -> None:
    assert light_of(flat(100, 200)).luminance_spread == pytest.approx(50 / 2.55, rel=1e-3)
    assert light_of(flat(1, 255)).luminance_spread == pytest.approx(127 / 2.55, rel=1e-3)
    assert light_of(flat(128)).luminance_spread == pytest.approx(0.0, abs=1e-6)


def test_a_burnt_out_and_a_starved_portrait_show_in_every_measure(portable: Path) -> None:
    for name in sorted(portable.glob("*.png")):
        crop = np.asarray(cv2.imread(str(name)))[:, :, ::-1]
        good = light_of(np.ascontiguousarray(crop))
        burnt = light_of(np.minimum(crop.astype(np.int32) * 4, 255).astype(np.uint8))
        starved = light_of(np.maximum(crop // 12, 1).astype(np.uint8))
        assert burnt.over_exposed_share > 0.2 > good.over_exposed_share
        assert burnt.over_exposure_prevention < 10
        assert starved.under_exposed_share == 1.0
        assert starved.under_exposure_prevention == 0.0
        assert max(burnt.dynamic_range, starved.dynamic_range) < good.dynamic_range


def test_a_crop_that_is_all_border_measures_nothing() -> None:
    assert light_of(np.zeros((112, 112, 3), np.uint8)) == Light()


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 20, 255]))
def test_everything_stays_within_its_range_on_noise(seed: int, top: int) -> None:
    noise = np.random.default_rng(seed).integers(0, top + 1, (112, 112, 3), dtype=np.uint8)
    light = light_of(noise)
    for value in (light.dynamic_range, light.under_exposure_prevention, light.over_exposure_prevention):
        assert 0.0 <= value <= 100.0
    assert 0.0 <= light.luminance_spread <= 50.0
    assert 0.0 <= light.under_exposed_share + light.over_exposed_share <= 1.0
