from collections.abc import Callable

import numpy as np
import pytest

from gate.quality import load_method
from gate.quality.backbone import Backbone
from gate.quality.selftest import SelfTestError, self_test, synthetic_crops
from gate.types import FloatArray
from tests.conftest import FakeClock
from tests.quality.scripted import Scripted

Rule = Callable[[FloatArray], FloatArray]


def of_the_first(value: float) -> Rule:
    """This number for the first crop of two, 2 for the other."""
    return lambda numbers: np.array([value, 2.0][-len(numbers) :], np.float32)


def drifting() -> Rule:
    calls = iter((1.0, 1.5))

    def rule(numbers: FloatArray) -> FloatArray:
        return np.arange(len(numbers), dtype=np.float32) + next(calls)

    return rule


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (of_the_first(np.nan), "not numbers"),
        (of_the_first(np.inf), "not numbers"),
        (of_the_first(-4000.0), "far outside its calibration"),
        (of_the_first(2.0), "the same for different ones"),
        (drifting(), "not the same number twice"),
        (lambda numbers: numbers[:1], "shape"),
    ],
)
def test_a_method_that_measures_nothing_is_found_out(rule: Rule, problem: str, fake_clock: FakeClock) -> None:
    method = Scripted("odd")
    method.rule = rule
    with pytest.raises(SelfTestError, match=problem):
        self_test(method, fake_clock)


def test_a_sound_method_is_timed(fake_clock: FakeClock) -> None:
    method = Scripted("sound")

    def rule(numbers: FloatArray) -> FloatArray:
        fake_clock.advance(0.5 * len(numbers))
        return numbers

    method.rule = rule
    assert self_test(method, fake_clock) == 0.5


def test_what_a_gpu_prepares_for_a_batch_size_is_not_the_price_of_a_crop(fake_clock: FakeClock) -> None:
    method = Scripted("sound", "cuda:0")
    prepared: set[int] = set()

    def rule(numbers: FloatArray) -> FloatArray:
        fake_clock.advance(0.01 if len(numbers) in prepared else 5.0)
        prepared.add(len(numbers))
        return numbers

    method.rule = rule
    assert self_test(method, fake_clock) == pytest.approx(0.01)


@pytest.mark.parametrize("name", ["serfiq", "grafiqs", "embedding-norm", "mirror-cosine", "sharpness"])
def test_every_calibrated_method_passes(name: str, facexzoo: Backbone, fake_clock: FakeClock) -> None:
    method = load_method(name) if name == "sharpness" else load_method(name, backbone=facexzoo)
    self_test(method, fake_clock)


def test_the_crops_are_always_the_same_and_differ() -> None:
    crops = synthetic_crops()
    assert crops.shape == (2, 112, 112, 3)
    assert crops.dtype == np.uint8
    np.testing.assert_array_equal(crops, synthetic_crops())
    assert crops[0].std() > 2 * crops[1].std()
