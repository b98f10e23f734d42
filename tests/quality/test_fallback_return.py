import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import WeightsError
from gate.quality.fallback import PATIENCE, FallbackMethod
from gate.quality.method import QualityMethod
from gate.quality.opinion import Budget, SecondOpinion
from gate.quality.rung import BAD_BATCHES, COOL_DOWN_S, LONGEST_COOL_DOWN_S
from gate.reasons import Shed
from gate.types import FloatArray
from tests.conftest import FakeClock
from tests.quality.scripted import Scripted, Stage, breaking, crops_of, methods_of, not_a_number

# Back to a better method.


def test_a_benched_method_comes_back_after_its_cool_down_and_self_test(stage: Stage) -> None:
    stage.broken["first"] = WeightsError("first is not here")
    chain = stage.chain("first", "second")
    del stage.broken["first"]
    stage.clock.advance(COOL_DOWN_S - 0.1)
    assert methods_of(chain, crops_of(10)) == ["second"]
    stage.clock.advance(0.1)
    assert methods_of(chain, crops_of(10)) == ["first"]
    assert stage.told.returns == [("first on cpu", "second")]
    assert (chain.name, chain.model) == ("first", "first@00000000")


def test_nothing_is_fetched_while_faces_wait(stage: Stage) -> None:
    stage.broken["first"] = WeightsError("first is not here")
    chain = stage.chain("first", "second")
    assert stage.loads == [("first", "cpu", True), ("second", "cpu", True)]
    stage.clock.advance(COOL_DOWN_S)
    chain.rate(crops_of(10))
    assert stage.loads[2:] == [("first", "cpu", False)]


def test_a_method_that_fails_its_self_test_again_waits_twice_as_long_each_time(stage: Stage) -> None:
    stage.broken["first"] = WeightsError("first is not here")
    chain = stage.chain("first", "second")
    tests_at_s = []
    for second in range(20_000):
        stage.clock.advance(1)
        before = len(stage.loads)
        chain.rate(crops_of(10))
        if len(stage.loads) > before:
            tests_at_s.append(second + 1)
    assert np.diff([0, *tests_at_s]).tolist()[:6] == [COOL_DOWN_S * 2**times for times in range(6)]
    assert max(np.diff(tests_at_s)) == LONGEST_COOL_DOWN_S
    assert stage.told.returns == []


def fail_until_benched(stage: Stage, chain: FallbackMethod) -> None:
    stage.methods["first"].rule = not_a_number(20)
    for _ in range(BAD_BATCHES):
        methods_of(chain, crops_of(20))
    stage.methods["first"].rule = lambda numbers: numbers


def test_a_method_that_fails_right_after_its_return_waits_longer_and_one_that_lasted_does_not(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    fail_until_benched(stage, chain)
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]
    fail_until_benched(stage, chain)
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["second"]
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]
    stage.clock.advance(LONGEST_COOL_DOWN_S)
    fail_until_benched(stage, chain)
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]


def test_with_two_methods_gone_the_better_one_is_taken_first(stage: Stage) -> None:
    stage.broken = {"first": WeightsError("first is not here"), "second": WeightsError("second is not here")}
    chain = stage.chain("first", "second", "third")
    assert [switch[2] for switch in stage.told.switches] == ["first", "second"]
    del stage.broken["second"]
    stage.clock.advance(COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["second"]
    del stage.broken["first"]
    stage.clock.advance(2 * COOL_DOWN_S)
    assert methods_of(chain, crops_of(10)) == ["first"]
    assert stage.told.returns == [("second on cpu", "third"), ("first on cpu", "second")]


def test_a_slower_method_is_given_its_time(stage: Stage) -> None:
    def slowly(numbers: FloatArray) -> FloatArray:
        stage.clock.advance(2.0 * len(numbers))
        return numbers

    stage.methods["second"] = Scripted("second")
    stage.methods["second"].rule = slowly
    chain = stage.chain("first", "second")
    assert stage.told.allowed_s == 0
    stage.methods["first"].rule = breaking(RuntimeError("out of order"))
    for _ in range(BAD_BATCHES):
        chain.rate(crops_of(10))
    assert stage.told.allowed_s == pytest.approx(PATIENCE * 32 * 2.0)


# Second opinions.


def asked_of(stage: Stage, name: str) -> list[float]:
    """What a method was shown since its self-test, which takes two batches."""
    return [number for batch in stage.methods[name].batches[2:] for number in batch]


def test_a_borderline_face_is_judged_by_the_next_method(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    stage.methods["second"].rule = lambda numbers: numbers + 50
    ratings = chain.rate(crops_of(24, 25, 30, 35, 36))
    assert [rating.method for rating in ratings] == ["first", "second", "second", "second", "first"]
    assert [rating.quality for rating in ratings] == [24, 75, 80, 85, 36]
    assert stage.told.causes == ["borderline"]
    assert stage.told.switches == []


def test_each_camera_s_bar_has_its_own_border(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0, 80.0), within=1.0, budget_ms_per_s=100))
    assert methods_of(chain, crops_of(30, 50, 80)) == ["second", "first", "second"]


def test_the_border_moves_with_the_bars(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=1.0, budget_ms_per_s=100))
    chain.decide_at((50.0, 80.0))
    assert methods_of(chain, crops_of(30, 50, 80)) == ["first", "second", "second"]


def test_while_the_engine_cannot_keep_up_nobody_is_asked_again_and_that_is_counted(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    assert chain.asks_again
    chain.pause_opinions(True)
    assert methods_of(chain, crops_of(28, 31, 60)) == ["first"] * 3
    assert stage.told.left_out == {Shed.SECOND_OPINIONS: 2}
    chain.pause_opinions(False)
    assert methods_of(chain, crops_of(28, 60)) == ["second", "first"]
    assert stage.told.left_out == {Shed.SECOND_OPINIONS: 2}


def test_where_nobody_could_be_asked_nothing_is_left_out(stage: Stage) -> None:
    chain = stage.chain("first", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    chain.pause_opinions(True)
    assert methods_of(chain, crops_of(30)) == ["first"]
    assert stage.told.left_out == {}


def test_second_opinions_keep_to_their_budget_and_the_nearest_faces_come_first(stage: Stage) -> None:
    def slowly(numbers: FloatArray) -> FloatArray:
        stage.clock.advance(0.03 * len(numbers))
        return numbers

    stage.methods["second"] = Scripted("second")
    stage.methods["second"].rule = slowly
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    chain.rate(crops_of(26, 27, 28, 29, 30))
    assert sorted(asked_of(stage, "second")) == [28, 29, 30]
    stage.clock.advance(0.1)
    chain.rate(crops_of(30))
    assert len(asked_of(stage, "second")) == 3
    stage.clock.advance(0.4)
    chain.rate(crops_of(30))
    assert len(asked_of(stage, "second")) == 4


def test_a_failure_does_not_make_the_next_method_cheap(stage: Stage) -> None:
    def slowly(numbers: FloatArray) -> FloatArray:
        stage.clock.advance(1.0 * len(numbers))
        return numbers

    stage.methods["second"] = Scripted("second")
    stage.methods["second"].rule = slowly
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    crops = crops_of(30, 30, 30, 30)
    stage.clock.advance(60)
    stage.methods["second"].rule = breaking(RuntimeError("out of order"))
    assert methods_of(chain, crops) == ["first"] * 4
    stage.methods["second"].rule = slowly
    assert sorted(methods_of(chain, crops)) == ["first"] * 3 + ["second"]


def test_a_face_that_the_next_method_cannot_score_keeps_its_first_number(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    stage.methods["second"].rule = not_a_number(30)
    assert methods_of(chain, crops_of(30, 31)) == ["first", "second"]
    stage.methods["second"].rule = breaking(RuntimeError("out of order"))
    assert methods_of(chain, crops_of(30)) == ["first"]


def test_a_method_without_weights_is_not_asked(stage: Stage) -> None:
    stage.methods["second"] = Scripted("second", model="")
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    assert methods_of(chain, crops_of(30)) == ["first"]


def test_nobody_is_asked_about_what_a_fallback_scored(stage: Stage) -> None:
    chain = stage.chain("first", "second", opinion=SecondOpinion((30.0,), within=5.0, budget_ms_per_s=100))
    stage.methods["first"].rule = not_a_number(30)
    chain.rate(crops_of(30))
    assert asked_of(stage, "second") == [30]


@given(
    share=st.floats(1, 1000),
    crop_s=st.floats(0.001, 5),
    steps=st.lists(st.tuples(st.floats(0, 20), st.integers(0, 50)), max_size=30),
)
def test_a_budget_is_never_overdrawn(share: float, crop_s: float, steps: list[tuple[float, int]]) -> None:
    clock = FakeClock()
    budget, start_s, spent_s = Budget(share, clock), clock.now_s, 0.0
    for seconds, wanted in steps:
        clock.advance(seconds)
        crops = budget.crops(wanted, crop_s)
        assert 0 <= crops <= wanted
        budget.spend(crops * crop_s)
        spent_s += crops * crop_s
        earned_s = (clock.now_s - start_s) * share / 1000
        assert spent_s <= earned_s + share / 1000 + 1e-6


def test_a_method_dearer_than_a_second_s_budget_is_asked_now_and_then(fake_clock: FakeClock) -> None:
    budget = Budget(100, fake_clock)
    asked = 0
    for _ in range(60):
        fake_clock.advance(1)
        crops = budget.crops(3, 1.0)
        budget.spend(crops * 1.0)
        asked += crops
    assert asked in {5, 6}


# As any other method.


def test_a_chain_is_a_quality_method(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    method: QualityMethod = chain
    stage.methods["first"].rule = not_a_number(20)
    crops = crops_of(10, 20)
    assert method.raw(crops).tolist() == [10, 20]
    assert method.score(crops).tolist() == [-10, -20]
    assert method.quality(crops).tolist() == [10, 20]
    numbers = np.array([40.0], np.float32)
    assert method.score_of(numbers).tolist() == [-40]
    assert method.quality_of(numbers).tolist() == [40]
    assert method.is_plausible(numbers).tolist() == [True]
    assert method.raw(crops, seeds=[5, 6]).dtype == np.float32
    assert stage.methods["second"].seeds == [6]


def test_no_crops_have_no_ratings(stage: Stage) -> None:
    chain = stage.chain("first", "second")
    stage.methods["first"].rule = breaking(RuntimeError("out of order"))
    assert chain.rate(crops_of()) == []
    assert stage.told.causes == []
