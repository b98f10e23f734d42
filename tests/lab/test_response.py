from collections.abc import Sequence

import numpy as np
import pytest

from gate.errors import QualityError
from gate.lab.degrade import LEVELS, Degradation, noise_images
from gate.lab.intervals import wilson
from gate.lab.response import run_suite, to_csv, to_markdown
from gate.quality import load_method
from gate.types import FloatArray, Image


class Fake:
    """Scores by a rule and remembers what it was asked."""

    name = "fake"

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.seeds: list[list[int]] = []

    def score(self, crops: Image, *, seeds: Sequence[int] | None = None) -> FloatArray:
        self.seeds.append(list(seeds or []))
        means: FloatArray = crops.reshape(len(crops), -1).mean(axis=1).astype(np.float32)
        if self.rule == "constant":
            return np.zeros(len(crops), dtype=np.float32)
        if self.rule == "missing":
            means[0] = np.nan
        return means


@pytest.fixture(scope="module")
def faces(portraits: dict[str, Image]) -> Image:
    import cv2

    picture = portraits["group"]
    corners = [(y, x) for y in range(100, 400, 100) for x in range(100, 900, 200)]
    crops = [cv2.GaussianBlur(picture[y : y + 112, x : x + 112], (0, 0), 0.7) for y, x in corners]
    return np.stack(crops).astype(np.uint8)


def test_a_blurred_face_is_always_less_sharp(faces: Image) -> None:
    kinds = (Degradation.GAUSSIAN_BLUR, Degradation.NOISE)
    response = run_suite(load_method("sharpness"), faces, kinds=kinds)
    for level in LEVELS:
        blurred, noisy = response.cell(Degradation.GAUSSIAN_BLUR, level), response.cell(Degradation.NOISE, level)
        assert (blurred.lower, blurred.count, blurred.share) == (len(faces), len(faces), 1.0)
        assert noisy.share == 0.0
        assert blurred.low < 1.0 == blurred.high
        assert blurred.drop > 0 > noisy.drop
    drops = [response.cell(Degradation.GAUSSIAN_BLUR, level).drop for level in LEVELS]
    assert drops == sorted(drops)


def test_noise_fools_sharpness_and_flat_pictures_do_not(faces: Image) -> None:
    noise, flat = run_suite(load_method("sharpness"), faces, kinds=()).probes
    assert (noise.name, noise.share_above) == ("random noise", 0.0)
    assert (flat.name, flat.share_above) == ("flat grey", 1.0)


def test_equal_is_not_lower(faces: Image) -> None:
    response = run_suite(Fake("constant"), faces, kinds=(Degradation.JPEG,))
    cell = response.cell(Degradation.JPEG, 5)
    assert (cell.lower, cell.share) == (0, 0.0)
    assert np.isnan(cell.drop)


def test_a_face_without_a_number_is_not_counted(faces: Image) -> None:
    cell = run_suite(Fake("missing"), faces, kinds=(Degradation.DARKER,)).cell(Degradation.DARKER, 5)
    assert cell.count == len(faces) - 1
    assert cell.share == 1.0


def test_clean_and_degraded_are_scored_with_the_same_seeds(faces: Image) -> None:
    method = Fake("mean")
    run_suite(method, faces, kinds=(Degradation.JPEG,), seed=9)
    assert method.seeds[0] == list(range(9, 9 + len(faces)))
    assert all(seeds == method.seeds[0] for seeds in method.seeds[: 1 + len(LEVELS)])


def test_the_same_seed_gives_the_same_answer(faces: Image) -> None:
    kinds = (Degradation.NOISE, Degradation.OCCLUDE_HALF)
    assert run_suite(Fake("mean"), faces, kinds=kinds, seed=3) == run_suite(Fake("mean"), faces, kinds=kinds, seed=3)
    assert run_suite(Fake("mean"), faces, kinds=kinds, seed=3) != run_suite(Fake("mean"), faces, kinds=kinds, seed=4)


def test_progress_counts_every_set(faces: Image) -> None:
    told: list[tuple[int, int]] = []
    run_suite(Fake("mean"), faces, kinds=(Degradation.JPEG,), progress=lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]


def test_no_crops_are_refused() -> None:
    with pytest.raises(QualityError, match="at least one crop"):
        run_suite(Fake("mean"), noise_images(1)[:0])


def test_tables_hold_every_cell(faces: Image) -> None:
    response = run_suite(Fake("mean"), faces, kinds=(Degradation.DARKER, Degradation.JPEG), name="a,b")
    rows = to_csv([response]).splitlines()
    assert rows[0].startswith("method,kind,level,strength,unit,count,lower,share")
    assert len(rows) == 1 + 2 * len(LEVELS)
    assert rows[1].startswith('"a,b",brightness-down,1,0.7,times')
    assert "| brightness-down | 100 | 100 | 100 | 100 | 100 |" in to_markdown(response)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)]
)
def test_wilson_interval_has_its_published_values(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_wilson_of_nothing_is_unknown() -> None:
    assert np.isnan(wilson(0, 0)).all()
