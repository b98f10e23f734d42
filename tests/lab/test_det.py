import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gate.lab.curves import dense_ranks, pair_ranks
from gate.lab.det import DET_POINTS, det_curve, histogram, score_statistics, spearman
from gate.lab.modes import ImpostorOrder
from gate.lab.results import DetCurve
from gate.types import FloatArray


class Pairs:
    def __init__(self, seed: int = 0, images: int = 80) -> None:
        random = np.random.default_rng(seed)
        self.scores = random.random(images).astype(np.float32)
        self.ends = random.integers(images, size=(2, 2000)).astype(np.int32)
        self.same = random.random(2000) < 0.3
        good = np.minimum(self.scores[self.ends[0]], self.scores[self.ends[1]])
        self.similarity = (random.standard_normal(2000) + self.same * 4 * good).astype(np.float32)

    def det(self, discarded: float, scores: FloatArray | None = None) -> DetCurve:
        ranks, _ = dense_ranks(self.scores if scores is None else scores)
        both = pair_ranks(ranks, *self.ends)
        order = ImpostorOrder.of(self.similarity[~self.same])
        genuine = (both[self.same], self.similarity[self.same])
        return det_curve(discarded, ranks, genuine, both[~self.same], order)


@pytest.mark.parametrize("discarded", [0.0, 0.1, 0.5])
def test_rates_are_those_of_the_pairs_whose_images_stay(discarded: float) -> None:
    pairs = Pairs()
    det = pairs.det(discarded)
    kept = set(np.argsort(pairs.scores)[int(discarded * len(pairs.scores)) :].tolist())
    stays = np.array([{a, b} <= kept for a, b in pairs.ends.T.tolist()])
    genuine = pairs.similarity[pairs.same & stays]
    impostors = np.sort(pairs.similarity[~pairs.same & stays])[::-1]
    assert (det.n_genuine, det.n_impostor) == (len(genuine), len(impostors))
    for fmr, fnmr in zip(det.fmr, det.fnmr, strict=True):
        threshold = impostors[round(fmr * len(impostors))]
        assert fmr == pytest.approx(np.mean(impostors > threshold))
        assert fnmr == pytest.approx(np.mean(genuine <= threshold))


def test_curve_runs_from_the_rarest_false_match_to_all_of_them() -> None:
    det = Pairs().det(0.0)
    assert len(det.fmr) <= DET_POINTS
    assert det.fmr[0] <= 1 / det.n_impostor
    assert det.fmr[-1] == pytest.approx(1 - 1 / det.n_impostor)
    assert list(det.fmr) == sorted(det.fmr)
    assert list(det.fnmr) == sorted(det.fnmr, reverse=True)


def test_discarding_by_a_good_score_lowers_the_curve() -> None:
    pairs = Pairs()
    before, after = pairs.det(0.0), pairs.det(0.3)
    at = [float(np.interp(0.05, det.fmr, det.fnmr)) for det in (before, after)]
    assert at[1] < at[0] - 0.05


def test_equal_scores_are_not_torn_apart() -> None:
    pairs = Pairs()
    whole = pairs.det(0.3, np.zeros_like(pairs.scores))
    assert (whole.n_genuine, whole.n_impostor) == (int(pairs.same.sum()), int((~pairs.same).sum()))


def test_without_pairs_of_a_kind_there_are_no_points() -> None:
    pairs = Pairs()
    pairs.same[:] = False
    det = pairs.det(0.0)
    assert (det.n_genuine, det.fmr, det.fnmr) == (0, (), ())


def test_spearman_is_that_of_scipy_ties_included() -> None:
    random = np.random.default_rng(0)
    scores = [random.integers(0, 9, size=200).astype(np.float32) for _ in range(3)]
    found = spearman(["a", "b", "c"], scores)
    assert found.methods == ("a", "b", "c")
    assert [found.rho[place][place] for place in range(3)] == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(found.rho, stats.spearmanr(np.array(scores).T).statistic, atol=1e-12)


@given(st.floats(0.1, 3))
def test_spearman_sees_order_only(power: float) -> None:
    scores = np.linspace(0.01, 1, 50, dtype=np.float32)
    rho = spearman(["a", "b"], [scores, (-(scores**power)).astype(np.float32)]).rho
    assert rho[0][1] == pytest.approx(-1)


def test_a_constant_score_correlates_with_nothing() -> None:
    rho = np.array(spearman(["a", "b"], [np.zeros(5, np.float32), np.arange(5, dtype=np.float32)]).rho)
    assert np.isnan(rho[0]).all()
    assert rho[1, 1] == 1


def test_statistics_and_histogram_in_closed_form() -> None:
    scores = np.array([0, 0, 1, 4], dtype=np.float32)
    statistics = score_statistics(scores)
    assert (statistics.mean, statistics.minimum, statistics.median, statistics.maximum) == (1.25, 0, 0.5, 4)
    assert statistics.std == pytest.approx(np.std([0, 0, 1, 4]))
    assert statistics.distinct == 3
    assert sum(statistics.histogram.counts) == 4
    assert histogram(scores, bins=4).counts == (2, 1, 0, 1)
    assert histogram(scores, bins=4).edges == (0, 1, 2, 3, 4)
    assert sum(histogram(np.full(7, 0.3, np.float32)).counts) == 7
