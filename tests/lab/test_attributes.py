from itertools import product

import numpy as np
import pytest
from scipy import stats

from gate.errors import GateError
from gate.lab.attributes import AttributeResponse, attribute_response, ordered_levels, to_csv


def ask(scores: list[float], labels: list[str], order: list[str] | None = None) -> AttributeResponse:
    values = np.array(scores, dtype=np.float32)
    return attribute_response(values, labels, attribute="blur", method="m", order=order)


def test_means_counts_and_medians_are_those_of_the_level() -> None:
    response = ask([5.0, 7.0, 1.0, 2.0, 6.0], ["0", "0", "1", "1", "1"])
    clear, blurred = response.levels
    assert (clear.level, clear.count, clear.mean, clear.median) == ("0", 2, 6.0, 6.0)
    assert (blurred.level, blurred.count, blurred.mean, blurred.median) == ("1", 3, 3.0, 2.0)
    assert response.trend.falls_at_every_step


def test_the_interval_of_the_mean_is_near_the_textbook_one() -> None:
    scores = np.random.default_rng(0).normal(3.0, 2.0, 400)
    (level,) = ask(scores.tolist(), ["x"] * 400).levels
    error = scores.std() / 20
    assert level.low == pytest.approx(scores.mean() - 1.96 * error, abs=0.25 * error)
    assert level.high == pytest.approx(scores.mean() + 1.96 * error, abs=0.25 * error)


def jonckheere_z(groups: list[list[float]]) -> float:
    """Jonckheere (1954) without ties, written out."""
    statistic = sum((a < b) for i, low in enumerate(groups) for high in groups[i + 1 :] for a, b in product(low, high))
    sizes = np.array([len(group) for group in groups])
    n = sizes.sum()
    mean = (n**2 - (sizes**2).sum()) / 4
    variance = (n**2 * (2 * n + 3) - (sizes**2 * (2 * sizes + 3)).sum()) / 72
    return float((statistic - mean) / np.sqrt(variance))


def test_the_trend_is_the_jonckheere_terpstra_test() -> None:
    rng = np.random.default_rng(4)
    groups = [rng.normal(-0.3 * level, 1, 12 + 5 * level).tolist() for level in range(4)]
    scores = [score for group in groups for score in group]
    labels = [str(level) for level, group in enumerate(groups) for _ in group]
    trend = ask(scores, labels).trend
    assert trend.p == pytest.approx(2 * stats.norm.sf(abs(jonckheere_z(groups))), rel=1e-6)
    assert trend.tau < 0


def test_tied_scores_are_treated_as_scipy_does() -> None:
    scores, labels = [3, 3, 2, 2, 2, 1, 3, 1], ["0", "0", "0", "1", "1", "2", "1", "2"]
    expected = stats.kendalltau([int(label) for label in labels], scores, method="asymptotic")
    trend = ask([float(score) for score in scores], labels).trend
    assert (trend.tau, trend.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_a_rising_score_does_not_fall() -> None:
    trend = ask([1.0, 2.0, 3.0], ["0", "1", "2"]).trend
    assert trend.tau == pytest.approx(1.0)
    assert not trend.falls_at_every_step


@pytest.mark.parametrize(
    ("scores", "labels"), [([1.0, 2.0, 3.0], ["0"] * 3), ([1.0] * 3, ["0", "1", "1"]), ([2.0, 1.0], ["0", "1"])]
)
def test_one_level_one_score_or_two_images_make_no_trend(scores: list[float], labels: list[str]) -> None:
    trend = ask(scores, labels).trend
    assert np.isnan([trend.tau, trend.p]).all()


def test_unlabelled_and_unscored_images_are_left_out_and_counted() -> None:
    response = ask([1.0, 2.0, float("nan"), 4.0], ["0", "", "0", "1"])
    assert [level.count for level in response.levels] == [1, 1]
    assert response.unlabelled == 2


def test_levels_are_ordered_as_numbers_or_as_asked() -> None:
    assert ordered_levels(["2", "10", "", "1"]) == ["1", "2", "10"]
    assert ordered_levels(["none", "some"]) == ["none", "some"]
    response = ask([1.0, 2.0, 3.0], ["heavy", "none", "some"], order=["none", "some", "heavy", "total"])
    assert [(level.level, level.count) for level in response.levels] == [
        ("none", 1),
        ("some", 1),
        ("heavy", 1),
        ("total", 0),
    ]
    assert not response.trend.falls_at_every_step


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GateError, match="2 scores and 1 labels"):
        ask([1.0, 2.0], ["0"])
    with pytest.raises(GateError, match="no scored image carries a label"):
        ask([1.0, 2.0], ["", ""])


def test_the_csv_has_a_row_for_each_level() -> None:
    rows = to_csv([ask([2.0, 1.0], ["0", "1"])]).splitlines()
    assert rows[0] == "method,attribute,level,count,mean,low,high,median,tau,p,falls_at_every_step"
    assert rows[1].startswith("m,blur,0,1,2.0,")
    assert len(rows) == 3
