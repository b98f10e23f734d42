import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.lab.curves import dense_ranks, linear_area, pair_ranks, step_curve, threshold_at
from gate.lab.modes import (
    CRFIQA_LIMIT,
    ImpostorOrder,
    arccos_distance,
    beyond_edc_curve,
    crfiqa_curve,
    cut_ranks,
    joined,
)
from gate.types import FloatArray


def ranks_of(values: list[float]) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.asarray(dense_ranks(np.array(values, dtype=np.float32))[0])


def curve_of(
    genuine_quality: FloatArray, genuine: FloatArray, impostor_quality: FloatArray, impostors: FloatArray, target: float
) -> tuple[FloatArray, FloatArray]:
    ranks = ranks_of([*genuine_quality, *impostor_quality])
    split = len(genuine)
    x, y = crfiqa_curve(ranks[:split], genuine, ranks[split:], ImpostorOrder.of(impostors), target)
    return x.astype(np.float32), y.astype(np.float32)


def brute_crfiqa(
    genuine_quality: list[float],
    genuine: list[float],
    impostor_quality: list[float],
    impostors: list[float],
    target: float,
) -> list[float]:
    """From the published rule: sort all pairs together, drop the lowest, set the threshold on the rest."""
    labelled = [(q, 1, s) for q, s in zip(genuine_quality, genuine, strict=True)]
    labelled += [(q, 0, s) for q, s in zip(impostor_quality, impostors, strict=True)]
    labelled.sort()
    found = []
    for step in range(20):
        cut = step * len(labelled) // 20
        # A cut in the middle of equal qualities keeps them all.
        kept = [entry for entry in labelled if entry[0] >= labelled[cut][0]]
        others = sorted((s for _, same, s in kept if not same), reverse=True)
        own = [s for _, same, s in kept if same]
        if not others or not own:
            break
        threshold = others[min(int(target * len(others) + 1e-9), len(others) - 1)]
        found.append(sum(s <= threshold for s in own) / len(own))
    return found


few = st.integers(-3, 3).map(float)


@given(
    st.lists(st.tuples(few, st.integers(0, 20).map(float)), min_size=1, max_size=40),
    st.lists(st.tuples(few, st.integers(-10, 10).map(float)), min_size=1, max_size=40),
    st.sampled_from([0.01, 0.1, 0.3]),
)
@settings(max_examples=200)
def test_crfiqa_is_that_of_the_definition(
    genuine: list[tuple[float, float]], impostor: list[tuple[float, float]], target: float
) -> None:
    genuine_quality, own = (np.array(column, dtype=np.float32) for column in zip(*genuine, strict=True))
    impostor_quality, other = (np.array(column, dtype=np.float32) for column in zip(*impostor, strict=True))
    x, y = curve_of(genuine_quality, own, impostor_quality, other, target)
    expected = brute_crfiqa(genuine_quality.tolist(), own.tolist(), impostor_quality.tolist(), other.tolist(), target)
    np.testing.assert_allclose(y, expected, atol=1e-6)
    np.testing.assert_allclose(x, np.arange(len(y)) * 0.05, atol=1e-6)


def test_crfiqa_finds_the_threshold_again_where_the_iso_rule_keeps_it() -> None:
    # The one very similar impostor pair has the lowest quality. Once it is gone, the crfiqa rule lowers its threshold
    # and every genuine pair matches; the ISO rule keeps the threshold and the two genuine errors.
    genuine_quality, genuine = np.arange(1, 101, dtype=np.float32), np.full(100, 0.9, dtype=np.float32)
    genuine[[90, 95]] = 0.5
    impostor_quality, impostors = np.arange(0, 100, dtype=np.float32) + 0.5, np.full(100, 0.1, dtype=np.float32)
    impostors[:2] = 0.6
    target = 0.01
    x, y = curve_of(genuine_quality, genuine, impostor_quality, impostors, target)
    assert y[0] == pytest.approx(0.02)
    assert y[1:].tolist() == [0.0] * 19

    threshold = threshold_at(impostors, target)
    fixed = step_curve(np.arange(100, dtype=np.int32), genuine <= np.float32(threshold), 100)
    assert threshold == pytest.approx(0.6)
    assert np.all(fixed.y[:90] > 0)
    assert x[-1] == pytest.approx(CRFIQA_LIMIT)


def test_crfiqa_discards_both_kinds_of_pairs_together() -> None:
    # All impostor pairs are worse than all genuine ones: half of the discards touch no genuine pair at all.
    genuine_quality, genuine = np.arange(100, 200, dtype=np.float32), np.linspace(0, 1, 100, dtype=np.float32)
    impostor_quality, impostors = np.arange(100, dtype=np.float32), np.full(100, 0.25, dtype=np.float32)
    x, y = curve_of(genuine_quality, genuine, impostor_quality, impostors, 0.05)
    np.testing.assert_allclose(y, np.full(10, 0.25), atol=1e-6)
    assert len(x) == 10, "past one half there is no impostor pair left to set a threshold on"
    assert math.isnan(linear_area(x.astype(np.float64), y.astype(np.float64), CRFIQA_LIMIT).raw)


def test_crfiqa_has_twenty_points_and_its_area_is_a_trapezoid_to_95_per_cent() -> None:
    random = np.random.default_rng(0)
    values = random.random((4, 400)).astype(np.float32)
    x, y = curve_of(values[0], values[1], values[2], values[3], 0.1)
    np.testing.assert_allclose(x, np.arange(0, 1, 0.05), atol=1e-6)
    wide_x, wide_y = x.astype(np.float64), y.astype(np.float64)
    assert linear_area(np.round(wide_x, 6), wide_y, CRFIQA_LIMIT).raw == pytest.approx(np.trapezoid(wide_y, wide_x))


def test_crfiqa_keeps_ties_together() -> None:
    assert cut_ranks(np.zeros(10, dtype=np.int32), np.zeros(30, dtype=np.int32)).tolist() == [0] * 20
    ranks = np.repeat(np.array([0, 1], dtype=np.int32), [5, 15])
    cuts = cut_ranks(ranks, ranks)
    assert cuts.tolist() == [0] * 5 + [1] * 15


def test_crfiqa_embedding_is_that_of_the_crop_and_of_its_mirror_image() -> None:
    plain, mirrored = np.array([[3.0, 4.0]], np.float32), np.array([[0.0, 5.0]], np.float32)
    assert joined(plain, mirrored).tolist() == [[3.0, 4.0, 0.0, 5.0]]


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_arccos_distance_orders_pairs_as_the_cosine_does(a: float, b: float) -> None:
    assert 0 <= arccos_distance(a) <= 1
    if a < b:
        assert arccos_distance(a) >= arccos_distance(b)
    assert arccos_distance(a) == pytest.approx(math.acos(a) / math.pi)


def brute_beyond(scores: list[float], pairs: list[tuple[int, int]], errors: list[bool]) -> list[tuple[float, float]]:
    points = []
    for cut in sorted(set(scores)):
        images = {place for place, score in enumerate(scores) if score >= cut}
        kept = [wrong for (a, b), wrong in zip(pairs, errors, strict=True) if {a, b} <= images]
        if kept:
            points.append((1 - len(images) / len(scores), sum(kept) / len(kept)))
    return points


@given(st.data())
def test_beyond_edc_discards_images_and_keeps_pairs_whose_both_images_stay(data: st.DataObject) -> None:
    images = data.draw(st.integers(2, 10))
    scores = data.draw(st.lists(few, min_size=images, max_size=images))
    one = st.integers(0, images - 1)
    pairs = data.draw(st.lists(st.tuples(one, one), min_size=1, max_size=20))
    errors = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    ranks, count = dense_ranks(np.array(scores))
    first, second = np.array(pairs, dtype=np.int32).T
    curve = beyond_edc_curve(ranks, pair_ranks(ranks, first, second), np.array(errors), count)
    expected = brute_beyond(scores, pairs, errors)
    np.testing.assert_allclose(np.stack([curve.x, curve.y], axis=1), expected, atol=1e-12)


def test_beyond_edc_counts_images_where_the_iso_rule_counts_pairs() -> None:
    # One bad image of five is in three of the four pairs.
    ranks, count = dense_ranks(np.array([0, 1, 1, 1, 1.0]))
    first, second = np.array([[0, 1], [0, 2], [0, 3], [3, 4]], dtype=np.int32).T
    errors = np.array([True, True, False, False])
    pairs = pair_ranks(ranks, first, second)
    assert beyond_edc_curve(ranks, pairs, errors, count).x.tolist() == [0, 0.2]
    assert step_curve(pairs, errors, count).x.tolist() == [0, 0.75]
    assert beyond_edc_curve(ranks, pairs, errors, count).y.tolist() == [0.5, 0]
