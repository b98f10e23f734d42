import numpy as np
import numpy.typing as npt
import pytest

from gate.lab.bootstrap import (
    HEAVY_REPLICATES,
    Bootstrap,
    PairSet,
    identity_weights,
    interval,
    p_value,
    total_weight,
    weighted_thresholds,
)
from gate.lab.bootstrap_crfiqa import CrfiqaBootstrap
from gate.lab.curves import dense_ranks, linear_area, pair_ranks, step_area, step_curve, threshold_at
from gate.lab.modes import ImpostorOrder, beyond_edc_curve, crfiqa_curve
from gate.lab.results import IndexArray

TARGETS = (0.1, 0.02)
LIMITS = (0.1, 0.3)


class World:
    """A small set of images: people, qualities, similarities that follow them."""

    def __init__(self, people: int = 12, images: int = 60, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.identities = np.sort(np.concatenate([np.arange(people), random.integers(people, size=images - people)]))
        self.identities = self.identities.astype(np.int32)
        # Few different scores: ties are the hard part.
        self.scores = random.integers(0, 15, size=images).astype(np.float32)
        a, b = np.triu_indices(images, k=1)
        same = self.identities[a] == self.identities[b]
        similarity = random.standard_normal(len(a)) + same * (1 + 0.2 * np.minimum(self.scores[a], self.scores[b]))
        self.ends = np.stack([a, b]).astype(np.int32)
        self.same = same
        self.similarity = similarity.round(1).astype(np.float32)
        self.people = people

    def pairs(self, *, same: bool) -> tuple[IndexArray, IndexArray, npt.NDArray[np.float32]]:
        chosen = self.same == same
        return self.ends[0][chosen], self.ends[1][chosen], self.similarity[chosen]

    def pair_set(self, *, same: bool) -> PairSet:
        first, second, similarity = self.pairs(same=same)
        return PairSet(self.identities[first], self.identities[second], similarity)

    def ranks(self, *, same: bool) -> tuple[IndexArray, int]:
        ranks, count = dense_ranks(self.scores)
        first, second, _ = self.pairs(same=same)
        return pair_ranks(ranks, first, second), count

    def bootstrap(self, weights: npt.NDArray[np.float32]) -> Bootstrap:
        return Bootstrap(self.pair_set(same=True), self.pair_set(same=False), weights, TARGETS, LIMITS)


class Repeated:
    """One replicate written out: every pair as often as its weight says, without any weights left."""

    def __init__(self, world: World, weights: npt.NDArray[np.float32]) -> None:
        def times(*, same: bool) -> npt.NDArray[np.intp]:
            pairs = world.pair_set(same=same)
            both = weights[pairs.first] if same else weights[pairs.first] * weights[pairs.second]
            return np.repeat(np.arange(len(both)), both.astype(np.int64))

        self.genuine, self.impostor = times(same=True), times(same=False)
        self.images = np.repeat(np.arange(len(world.identities)), weights[world.identities].astype(np.int64))
        self.genuine_similarity = world.pairs(same=True)[2][self.genuine]
        self.impostor_similarity = world.pairs(same=False)[2][self.impostor]
        genuine_ranks, self.n_ranks = world.ranks(same=True)
        self.genuine_ranks = genuine_ranks[self.genuine]
        self.impostor_ranks = world.ranks(same=False)[0][self.impostor]
        self.image_ranks = dense_ranks(world.scores)[0][self.images]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def weights(world: World) -> npt.NDArray[np.float32]:
    return identity_weights(world.people, 40, seed=3)


def test_each_replicate_draws_as_many_people_as_there_are_and_is_repeatable() -> None:
    weights = identity_weights(100, 50, seed=1)
    assert weights.shape == (100, 50)
    np.testing.assert_array_equal(weights.sum(axis=0), 100)
    np.testing.assert_array_equal(weights, identity_weights(100, 50, seed=1))
    assert not np.array_equal(weights, identity_weights(100, 50, seed=2))
    assert np.mean(weights == 0) == pytest.approx(np.exp(-1), abs=0.02)


def test_thresholds_are_found_again_in_each_replicate(world: World, weights: npt.NDArray[np.float32]) -> None:
    found = world.bootstrap(weights).thresholds
    for column in range(weights.shape[1]):
        impostors = Repeated(world, weights[:, column]).impostor_similarity
        for row, target in enumerate(TARGETS):
            assert found[row, column] == pytest.approx(threshold_at(impostors, target))
    assert len(np.unique(found[1])) > 3


def test_thresholds_are_right_when_few_heavy_people_make_most_false_matches() -> None:
    # 20,000 impostor pairs; those of person 0 are the most similar, and in one replicate person 0 counts 500 times.
    random = np.random.default_rng(0)
    first = np.sort(random.integers(0, 50, size=20_000)).astype(np.int32)
    second = (first + 1 + random.integers(0, 48, size=20_000)).astype(np.int32) % 50
    similarity = np.where(first == 0, 2, 0) + random.random(20_000)
    pairs = PairSet(first, second.astype(np.int32), similarity.astype(np.float32))
    weights = np.ones((50, 2), dtype=np.float32)
    weights[0, 1] = 500
    order = np.argsort(-pairs.similarity)
    found = weighted_thresholds(pairs.taken(order), weights, total_weight(pairs, weights), (1e-3,))
    for column in range(2):
        both = weights[first, column] * weights[second, column]
        repeated = np.repeat(pairs.similarity, both.astype(np.int64))
        assert found[0, column] == pytest.approx(threshold_at(repeated, 1e-3))


def test_areas_of_a_replicate_are_those_of_its_pairs_written_out(
    world: World, weights: npt.NDArray[np.float32]
) -> None:
    ranks, count = world.ranks(same=True)
    found = world.bootstrap(weights).fnmr_areas(ranks, count)
    for column in range(weights.shape[1]):
        drawn = Repeated(world, weights[:, column])
        for row, target in enumerate(TARGETS):
            errors = drawn.genuine_similarity <= np.float32(threshold_at(drawn.impostor_similarity, target))
            curve = step_curve(drawn.genuine_ranks, errors, drawn.n_ranks)
            expected = [step_area(curve, limit).normalised for limit in LIMITS]
            np.testing.assert_allclose(found[row, :, column], expected, rtol=1e-6)


def test_false_match_areas_count_both_people_of_a_pair(world: World, weights: npt.NDArray[np.float32]) -> None:
    ranks, count = world.ranks(same=False)
    found = world.bootstrap(weights).fmr_areas(ranks, count)
    for column in range(weights.shape[1]):
        drawn = Repeated(world, weights[:, column])
        for row, target in enumerate(TARGETS):
            errors = drawn.impostor_similarity > np.float32(threshold_at(drawn.impostor_similarity, target))
            curve = step_curve(drawn.impostor_ranks, errors, drawn.n_ranks)
            expected = [step_area(curve, limit).normalised for limit in LIMITS]
            np.testing.assert_allclose(found[row, :, column], expected, rtol=1e-6)


def test_beyond_edc_areas_count_images_by_their_person(world: World, weights: npt.NDArray[np.float32]) -> None:
    ranks, count = world.ranks(same=True)
    image_ranks, _ = dense_ranks(world.scores)
    found = world.bootstrap(weights).fnmr_areas(ranks, count, (image_ranks, world.identities))
    for column in range(weights.shape[1]):
        drawn = Repeated(world, weights[:, column])
        errors = drawn.genuine_similarity <= np.float32(threshold_at(drawn.impostor_similarity, TARGETS[0]))
        curve = beyond_edc_curve(drawn.image_ranks, drawn.genuine_ranks, errors, drawn.n_ranks)
        expected = [step_area(curve, limit).normalised for limit in LIMITS]
        np.testing.assert_allclose(found[0, :, column], expected, rtol=1e-6)


def test_equal_weights_give_the_curve_itself(world: World) -> None:
    once = np.ones((world.people, 1), dtype=np.float32)
    ranks, count = world.ranks(same=True)
    _, _, genuine = world.pairs(same=True)
    _, _, impostors = world.pairs(same=False)
    found = world.bootstrap(once).fnmr_areas(ranks, count)
    curve = step_curve(ranks, genuine <= np.float32(threshold_at(impostors, TARGETS[0])), count)
    np.testing.assert_allclose(found[0, :, 0], [step_area(curve, limit).normalised for limit in LIMITS], rtol=1e-6)


def test_crfiqa_replicate_with_equal_weights_is_the_crfiqa_curve(world: World) -> None:
    limits = (0.1, 0.33, 0.95)
    once = np.ones((world.people, 1), dtype=np.float32)
    (genuine_ranks, _), (impostor_ranks, _) = world.ranks(same=True), world.ranks(same=False)
    _, _, genuine = world.pairs(same=True)
    _, _, impostors = world.pairs(same=False)
    order = ImpostorOrder.of(impostors)
    resampled = CrfiqaBootstrap(world.pair_set(same=True), world.pair_set(same=False), once, TARGETS, limits)
    found = resampled.areas(genuine_ranks, impostor_ranks)[:, :, 0]
    for row, target in enumerate(TARGETS):
        x, y = crfiqa_curve(genuine_ranks, genuine, impostor_ranks, order, target)
        np.testing.assert_allclose(found[row], [linear_area(x, y, limit).normalised for limit in limits], rtol=1e-6)


def test_crfiqa_replicate_finds_the_threshold_of_its_own_pairs_at_each_point(
    world: World, weights: npt.NDArray[np.float32]
) -> None:
    (genuine_ranks, _), (impostor_ranks, _) = world.ranks(same=True), world.ranks(same=False)
    resampled = CrfiqaBootstrap(world.pair_set(same=True), world.pair_set(same=False), weights, TARGETS, (0.05,))
    found = resampled.areas(genuine_ranks, impostor_ranks)
    from gate.lab.modes import cut_ranks

    cuts = cut_ranks(genuine_ranks, impostor_ranks)[:2]
    for column in range(weights.shape[1]):
        drawn = Repeated(world, weights[:, column])
        y = []
        for cut in cuts:
            threshold = threshold_at(drawn.impostor_similarity[drawn.impostor_ranks >= cut], TARGETS[0])
            y.append(np.mean(drawn.genuine_similarity[drawn.genuine_ranks >= cut] <= np.float32(threshold)))
        assert found[0, 0, column] == pytest.approx((y[0] + y[1]) / 2 / y[0])


def test_costly_curves_use_the_first_replicates_only(world: World) -> None:
    many = identity_weights(world.people, HEAVY_REPLICATES + 7, seed=0)
    ranks, count = world.ranks(same=False)
    assert world.bootstrap(many).fmr_areas(ranks, count).shape == (2, 2, HEAVY_REPLICATES)


def test_merging_ranks_into_bins_barely_moves_the_area() -> None:
    random = np.random.default_rng(0)
    pairs = 30_000
    quality = random.permutation(pairs).astype(np.int32)
    people = np.arange(pairs, dtype=np.int32)
    similarity = np.where(random.random(pairs) < 0.2 * np.exp(-quality / 5000), -1, 1).astype(np.float32)
    impostors = PairSet(people, np.roll(people, 1), np.zeros(pairs, dtype=np.float32))
    once = np.ones((pairs, 1), dtype=np.float32)
    found = Bootstrap(PairSet(people, people, similarity), impostors, once, (0.1,), (0.2,)).fnmr_areas(quality, pairs)
    exact = step_area(step_curve(quality, similarity < 0, pairs), 0.2).normalised
    assert found[0, 0, 0] == pytest.approx(exact, abs=0.003)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    # 60 worlds of independent people; the truth comes from a far larger one.
    def area(people: int, seed: int) -> tuple[float, tuple[float, float]]:
        random = np.random.default_rng(seed)
        who = np.repeat(np.arange(people, dtype=np.int32), 3)
        quality = random.random(len(who))
        wrong = random.random(len(who)) < 0.3 * (1 - quality)
        genuine = PairSet(who, who, np.where(wrong, -1, 1).astype(np.float32))
        impostor = PairSet(who, np.roll(who, 3), np.zeros(len(who), dtype=np.float32))
        ranks, count = dense_ranks(quality)
        point = step_area(step_curve(ranks, wrong, count), 0.3).normalised
        if people > 1000:
            return point, (np.nan, np.nan)
        areas = Bootstrap(genuine, impostor, identity_weights(people, 300, seed), (0.1,), (0.3,))
        return point, interval(areas.fnmr_areas(ranks, count)[0, 0])

    truth, _ = area(200_000, 1)
    inside = [low <= truth <= high for _, (low, high) in (area(150, seed) for seed in range(60))]
    assert 0.85 <= np.mean(inside) <= 1.0


def test_interval_leaves_out_replicates_without_errors_unless_they_are_most() -> None:
    values = np.concatenate([np.linspace(0, 1, 101), np.full(50, np.nan)])
    assert interval(values) == pytest.approx((0.025, 0.975))
    assert np.isnan(interval(np.array([1.0, np.nan, np.nan]))).all()
    assert np.isnan(interval(np.empty(0))).all()


def test_p_value_is_two_sided_and_never_zero() -> None:
    assert p_value(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert p_value(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert p_value(np.zeros(999)) == 1.0
    assert p_value(np.array([-1.0, 1.0] * 500)) == 1.0
    assert np.isnan(p_value(np.full(10, np.nan)))
