from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gate.errors import GateError
from gate.lab.curves import (
    StepCurve,
    dense_ranks,
    ideal_area,
    linear_area,
    pair_ranks,
    step_area,
    step_curve,
    thinned,
    threshold_at,
)

# Brute force, written from the definition alone: loops, sets and no ranks.


def brute_threshold(impostors: list[float], target: float) -> float:
    for candidate in sorted(impostors):
        if sum(value > candidate for value in impostors) <= target * len(impostors) + 1e-9:
            return candidate
    raise AssertionError


def brute_curve(scores: list[float], pairs: list[tuple[int, int]], errors: list[bool]) -> list[tuple[float, float]]:
    quality = [min(scores[a], scores[b]) for a, b in pairs]
    points = []
    for cut in sorted(set(quality)):
        kept = [wrong for value, wrong in zip(quality, errors, strict=True) if value >= cut]
        points.append((1 - len(kept) / len(pairs), sum(kept) / len(kept)))
    return points


def brute_area(points: list[tuple[float, float]], limit: float, slices: int = 1000) -> float:
    total = 0.0
    for number in range(slices):
        x = (number + 0.5) * limit / slices
        total += [y for start, y in points if start <= x + 1e-12][-1]
    return total * limit / slices


@dataclass
class Case:
    scores: list[float]
    pairs: list[tuple[int, int]]
    errors: list[bool]

    def curve(self) -> StepCurve:
        ranks, count = dense_ranks(np.array(self.scores, dtype=np.float32))
        first, second = np.array(self.pairs, dtype=np.int32).T
        return step_curve(pair_ranks(ranks, first, second), np.array(self.errors), count)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    images = draw(st.integers(2, 12))
    # Small whole numbers: many ties.
    scores = draw(st.lists(st.integers(-4, 4).map(float), min_size=images, max_size=images))
    one = st.integers(0, images - 1)
    pairs = draw(st.lists(st.tuples(one, one), min_size=1, max_size=30))
    errors = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    return Case(scores, pairs, errors)


@given(cases())
def test_curve_is_that_of_the_definition(case: Case) -> None:
    curve = case.curve()
    expected = brute_curve(case.scores, case.pairs, case.errors)
    np.testing.assert_allclose(np.stack([curve.x, curve.y], axis=1), expected, atol=1e-12)


@given(cases(), st.sampled_from([0.1, 0.2, 0.3, 1.0]))
def test_area_is_that_of_the_definition(case: Case, limit: float) -> None:
    points = brute_curve(case.scores, case.pairs, case.errors)
    area = step_area(case.curve(), limit)
    assert area.raw == pytest.approx(brute_area(points, limit), abs=limit / 500)
    if points[0][1] > 0:
        assert area.normalised == pytest.approx(area.raw / (limit * points[0][1]))


@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.integers(-8, 8).map(float)),
    st.sampled_from([1e-4, 1e-2, 0.1, 0.25, 0.5, 1.0]),
)
def test_threshold_is_the_lowest_that_keeps_the_target(impostors: np.ndarray, target: float) -> None:
    found = threshold_at(impostors, target)
    assert found == brute_threshold(impostors.tolist(), target)
    assert np.mean(impostors > found) <= target + 1e-9


def test_tied_impostors_do_not_push_the_rate_over_the_target() -> None:
    impostors = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], dtype=np.float32)
    threshold = threshold_at(impostors, 0.2)
    assert threshold == pytest.approx(0.5)
    assert np.mean(impostors > threshold) == pytest.approx(0.1)


@pytest.mark.parametrize(("count", "target", "matches"), [(3000, 1e-3, 3), (1000, 1e-2, 10), (999, 1e-3, 0)])
def test_threshold_lets_the_asked_number_of_impostors_through(count: int, target: float, matches: int) -> None:
    impostors = np.random.default_rng(0).permutation(count).astype(np.float32)
    assert np.count_nonzero(impostors > threshold_at(impostors, target)) == matches


def test_without_impostors_there_is_no_threshold() -> None:
    with pytest.raises(GateError, match="no impostor pairs"):
        threshold_at(np.empty(0, dtype=np.float32), 1e-3)


def perfect(errors: int, pairs: int) -> StepCurve:
    """Pair k joins images 2k and 2k + 1 of quality k; the errors are the worst ones."""
    quality = np.repeat(np.arange(pairs, dtype=np.float32), 2)
    ends = np.arange(2 * pairs).reshape(-1, 2).tolist()
    return Case(quality.tolist(), [(a, b) for a, b in ends], [k < errors for k in range(pairs)]).curve()


@given(st.integers(1, 50), st.sampled_from([0.1, 0.2, 0.3]))
def test_perfect_quality_hits_the_ideal(errors: int, limit: float) -> None:
    pairs = 1000
    curve = perfect(errors, pairs)
    start = errors / pairs
    np.testing.assert_allclose(
        curve.y[: errors + 1], (errors - np.arange(errors + 1)) / (pairs - np.arange(errors + 1))
    )
    area = step_area(curve, limit)
    # The ideal curve divides by all pairs and has no steps: up to 5 % of the pairs and a step of 1/1000 lie between.
    assert area.raw == pytest.approx(ideal_area(start, limit), abs=start * (1 / pairs + start**2))
    assert area.share_of_ideal > 0.97
    assert area.share_of_ideal <= 1


@given(cases(), st.sampled_from([0.1, 0.2, 0.3]))
def test_no_quality_beats_the_ideal(case: Case, limit: float) -> None:
    area = step_area(case.curve(), limit)
    assert np.isnan(area.share_of_ideal) or area.share_of_ideal <= 1 + 1e-12


@given(st.integers(1, 20), st.integers(1, 20), st.floats(-5, 5, width=32))
def test_constant_quality_is_flat(errors: int, correct: int, level: float) -> None:
    wrong = [True] * errors + [False] * correct
    pairs = [(k, (k + 1) % len(wrong)) for k in range(len(wrong))]
    curve = Case([level] * len(wrong), pairs, wrong).curve()
    assert curve.x.tolist() == [0.0]
    area = step_area(curve, 0.2)
    assert area.normalised == pytest.approx(1.0)
    assert area.share_of_ideal == pytest.approx(0.0, abs=1e-12)


def test_random_quality_is_about_as_good_as_no_quality() -> None:
    random = np.random.default_rng(0)
    images = 20_000
    ranks, count = dense_ranks(random.random(images))
    ends = random.permutation(images).astype(np.int32).reshape(2, -1)
    curve = step_curve(pair_ranks(ranks, *ends), random.random(images // 2) < 0.2, count)
    assert step_area(curve, 0.3).normalised == pytest.approx(1.0, abs=0.02)


def test_ties_go_together() -> None:
    # Two of the three pairs have the lower quality: nothing can be discarded between 0 and 2/3.
    curve = Case([0, 0, 1, 1, 0, 1], [(0, 1), (2, 3), (4, 5)], [True, False, False]).curve()
    np.testing.assert_allclose(curve.x, [0, 2 / 3])
    np.testing.assert_allclose(curve.y, [1 / 3, 0])
    assert step_area(curve, 0.3).normalised == pytest.approx(1.0)


@given(cases())
def test_pair_quality_is_that_of_the_worse_image(case: Case) -> None:
    swapped = Case(case.scores, [(b, a) for a, b in case.pairs], case.errors)
    low = min(case.scores)
    dragged = Case([*case.scores, low], [(a, len(case.scores)) for a, _ in case.pairs], case.errors)
    np.testing.assert_array_equal(case.curve().y, swapped.curve().y)
    assert dragged.curve().x.tolist() == [0.0]


@given(cases(), st.sampled_from([np.exp, np.cbrt, lambda x: 3 * x - 7, np.arctan, lambda x: x**3 + x]))
def test_strictly_monotone_transforms_change_nothing(case: Case, transform: np.ufunc) -> None:
    moved = Case(transform(np.array(case.scores)).tolist(), case.pairs, case.errors)
    np.testing.assert_array_equal(case.curve().x, moved.curve().x)
    np.testing.assert_array_equal(case.curve().y, moved.curve().y)


@given(cases(), st.randoms(use_true_random=False))
def test_order_of_the_pairs_changes_nothing(case: Case, random: Random) -> None:
    order = list(range(len(case.pairs)))
    random.shuffle(order)
    shuffled = Case(case.scores, [case.pairs[k] for k in order], [case.errors[k] for k in order])
    np.testing.assert_array_equal(case.curve().x, shuffled.curve().x)
    np.testing.assert_array_equal(case.curve().y, shuffled.curve().y)


def test_areas_in_closed_form() -> None:
    curve = StepCurve(np.array([0.0, 0.1, 0.25]), np.array([0.4, 0.2, 0.1]))
    area = step_area(curve, 0.3)
    assert area.raw == pytest.approx(0.4 * 0.1 + 0.2 * 0.15 + 0.1 * 0.05)
    assert area.normalised == pytest.approx(area.raw / (0.3 * 0.4))
    assert area.share_of_ideal == pytest.approx((0.12 - area.raw) / (0.12 - (0.4 * 0.3 - 0.3**2 / 2)))
    assert step_area(curve, 0.05).raw == pytest.approx(0.02)


def test_area_without_errors_has_no_normalised_form() -> None:
    area = step_area(StepCurve(np.array([0.0, 0.5]), np.array([0.0, 0.0])), 0.2)
    assert area.raw == 0
    assert np.isnan(area.normalised)
    assert np.isnan(area.share_of_ideal)


def test_ideal_area_stops_where_no_error_is_left() -> None:
    assert ideal_area(0.1, 0.3) == pytest.approx(0.1 * 0.1 / 2)
    assert ideal_area(0.5, 0.3) == pytest.approx((0.5 + 0.2) / 2 * 0.3)


def test_trapezoid_in_closed_form_between_points_too() -> None:
    x, y = np.array([0.0, 0.1, 0.2]), np.array([0.4, 0.2, 0.1])
    assert linear_area(x, y, 0.2).raw == pytest.approx(0.03 + 0.015)
    assert linear_area(x, y, 0.15).raw == pytest.approx(0.03 + (0.2 + 0.15) / 2 * 0.05)
    assert np.isnan(linear_area(x, y, 0.3).raw)


def test_a_curve_without_pairs_is_refused() -> None:
    with pytest.raises(GateError, match="no pairs"):
        step_curve(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.bool_), 3)


def test_thinning_keeps_exact_points_and_moves_none_by_more_than_the_resolution() -> None:
    whole = perfect(500, 5000)
    few = thinned(whole, 100)
    assert len(few.x) <= 101
    assert few.x[0] == 0
    assert set(zip(few.x, few.y, strict=True)) <= set(zip(whole.x, whole.y, strict=True))
    assert np.max(np.diff(few.x)) <= 2 / 100
    assert thinned(few, 1000) is few
