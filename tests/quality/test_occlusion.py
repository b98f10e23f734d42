import csv
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.faces.align import align
from gate.quality.light import Planes
from gate.quality.occlusion import FEATURES, features, occlusion
from gate.types import Image

ASTRONAUT = np.array([[203, 101], [247, 103], [223, 126], [202, 140], [246, 140]], np.float64)
ADMIRAL = np.array([[232, 193], [305, 195], [267, 238], [235, 270], [298, 271]], np.float64)


def covered(crop: Image) -> float:
    return occlusion(Planes.of(crop))


@pytest.fixture(scope="module")
def crops(portraits: dict[str, Image]) -> list[Image]:
    return [
        align(portraits["astronaut"], ASTRONAUT[None])[0],
        align(portraits["grace_hopper"], ADMIRAL[None])[0],
    ]


def masked(crop: Image, colour: tuple[int, int, int]) -> Image:
    """The face behind a mask from the bridge of the nose to the chin, with soft folds."""
    painted = crop.copy()
    outline = np.array([[30, 68], [56, 62], [82, 68], [80, 96], [66, 111], [46, 111], [32, 96]], np.int32)
    cv2.fillPoly(painted, [outline], colour)
    return np.asarray(cv2.GaussianBlur(painted, (0, 0), 0.8), dtype=np.uint8)


@pytest.mark.parametrize("colour", [(200, 220, 225), (40, 40, 45), (90, 150, 180)])
def test_a_mask_over_mouth_and_nose_is_seen_whatever_its_colour(
    crops: list[Image], colour: tuple[int, int, int]
) -> None:
    for crop in crops:
        assert covered(crop) < 35
        assert covered(masked(crop, colour)) > 60


def test_a_bare_face_is_bare_in_any_light_and_from_either_side(crops: list[Image]) -> None:
    for crop in crops:
        grey = np.repeat(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        variants = {
            "mirrored": np.ascontiguousarray(crop[:, ::-1]),
            "dim": (crop * 0.4).astype(np.uint8),
            "warm": np.clip(crop * np.array([1.15, 1.0, 0.8]), 0, 255).astype(np.uint8),
            "grey": np.asarray(grey, dtype=np.uint8),
            "soft": np.asarray(cv2.GaussianBlur(crop, (0, 0), 1.0), dtype=np.uint8),
        }
        assert {name: value for name, variant in variants.items() if (value := covered(variant)) > 50} == {}


def test_the_frames_border_covers_nothing(crops: list[Image]) -> None:
    for crop in crops:
        cut = crop.copy()
        cut[104:] = 0
        cut[:, :30] = 0
        assert covered(cut) < 50
    assert covered(np.zeros((112, 112, 3), np.uint8)) == 0.0


def test_what_is_around_the_face_does_not_count(crops: list[Image]) -> None:
    for crop in crops:
        framed = crop.copy()
        framed[:20], framed[:, :16], framed[:, 96:] = 200, 10, 90
        assert covered(framed) == pytest.approx(covered(crop), abs=3)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 20, 255]))
def test_any_pixels_give_a_number_within_range(seed: int, top: int) -> None:
    noise = np.random.default_rng(seed).integers(0, top + 1, (112, 112, 3), dtype=np.uint8)
    values = features(Planes.of(noise))
    assert values.shape == (FEATURES,)
    assert np.isfinite(values).all()
    assert 0.0 <= covered(noise) <= 100.0


def test_the_crop_is_left_as_it_was(crops: list[Image]) -> None:
    crop = crops[0].copy()
    crop.setflags(write=False)
    assert covered(crop) == covered(crops[0])


def test_real_masks_are_told_from_bare_faces(shared_data: Path) -> None:
    """Every fifth of the faces it was fitted on: that weights and features still belong together."""
    with (shared_data / "data" / "train-faces.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["masked"]][::5]
    found: dict[str, list[float]] = {"0": [], "1": []}
    with tarfile.open(shared_data / "data" / "train-faces.tar") as tar:
        for row in rows:
            member = tar.extractfile(row["file"])
            assert member is not None
            bgr = cv2.imdecode(np.frombuffer(member.read(), np.uint8), cv2.IMREAD_COLOR)
            found[row["masked"]].append(covered(np.ascontiguousarray(np.asarray(bgr)[:, :, ::-1])))
    assert np.mean(np.array(found["1"]) > 50) > 0.93
    assert np.mean(np.array(found["0"]) > 50) < 0.05
