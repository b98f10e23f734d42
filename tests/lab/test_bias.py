from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.errors import GateError
from gate.lab.bias import BiasReport, bias_report, to_csv
from gate.lab.fairness import GenuinePairs
from gate.lab.groups import OTHERS, group_images

SHARES = (0.1, 0.2, 0.5)


def report(
    scores: Sequence[float] | npt.NDArray[np.number],
    groups: Sequence[str],
    *,
    pairs: GenuinePairs | None = None,
    identities: Sequence[str] | None = None,
    shares: Sequence[float] = SHARES,
    replicates: int = 200,
) -> BiasReport:
    return bias_report(
        np.asarray(scores, dtype=np.float32),
        group_images(groups),
        attribute="race",
        method="m",
        pairs=pairs,
        identities=identities,
        shares=shares,
        replicates=replicates,
    )


def test_a_group_that_holds_the_worst_tenth_is_discarded_first() -> None:
    found = report(np.arange(100), ["a"] * 10 + ["b"] * 90)
    tenth, fifth, half = found.points
    assert [rate.value for rate in tenth.rates] == [1.0, 0.0]
    assert (tenth.realised, tenth.threshold) == (0.1, 10.0)
    assert tenth.among_discarded == (1.0, 0.0)
    assert tenth.among_kept == (0.0, 1.0)
    assert [rate.hits for rate in fifth.rates] == [10, 10]
    assert fifth.among_discarded == (0.5, 0.5)
    assert [rate.value for rate in half.rates] == pytest.approx([1.0, 40 / 90])


def test_alternating_groups_are_treated_alike() -> None:
    found = report(np.arange(200), ["a", "b"] * 100)
    for point in found.points:
        assert point.rates[0].value == point.rates[1].value == pytest.approx(point.share)
        assert point.ratio.value == 1.0
        assert point.ratio.low < 1.0 < point.ratio.high


def test_the_ratio_names_the_worst_and_the_best_group() -> None:
    scores = np.concatenate([np.arange(100) * 2.0, np.arange(100) * 2.0 + 40, np.arange(100) * 2.0 + 20])
    point = report(scores, ["bad"] * 100 + ["good"] * 100 + ["middle"] * 100).points[1]
    assert (point.ratio.worst, point.ratio.best) == (0, 1)
    assert point.ratio.value == pytest.approx(point.rates[0].value / point.rates[1].value)
    assert point.ratio.low > 1.0


def test_the_ratio_over_a_group_that_loses_nobody_is_infinite() -> None:
    point = report(np.arange(100), ["a"] * 40 + ["b"] * 60).points[0]
    assert point.ratio.value == np.inf


def test_the_rate_interval_is_near_the_textbook_one() -> None:
    rng = np.random.default_rng(3)
    groups = rng.permutation(["a"] * 400 + ["b"] * 400)
    rate = report(rng.random(800), groups.tolist(), replicates=1000).points[1].rates[0]
    # Given the whole share, what falls on one of two equal groups is hypergeometric.
    error = np.sqrt(0.2 * 0.8 / 400 * 0.5)
    assert rate.high - rate.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_people_with_many_images_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    people = np.repeat(np.arange(40), 20)
    scores = rng.random(40)[people] + 0.001 * rng.random(800)
    groups = np.where(people % 2 == 0, "a", "b").tolist()
    by_image = report(scores, groups).points[1].rates[0]
    by_person = report(scores, groups, identities=[str(person) for person in people]).points[1].rates[0]
    assert by_person.high - by_person.low > 2 * (by_image.high - by_image.low)


@given(
    scores=st.lists(st.integers(0, 6), min_size=4, max_size=60),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 100),
)
def test_ties_stay_together_and_never_more_than_the_share_goes(scores: list[int], share: float, seed: int) -> None:
    groups = ["a", "b", *np.random.default_rng(seed).choice(["a", "b"], len(scores) - 2).tolist()]
    (point,) = report(scores, groups, shares=(share,), replicates=2).points
    gone = np.asarray(scores) < point.threshold
    assert gone.mean() == pytest.approx(point.realised)
    assert point.realised <= share + 1e-9
    kept = np.sort(np.asarray(scores)[~gone])
    next_step = np.mean(np.asarray(scores) <= kept[0])
    assert next_step > share - 1e-9, "more ties could have gone"
    for number, name in enumerate("ab"):
        assert point.rates[number].hits == int(np.sum(gone & (np.asarray(groups) == name)))


def test_equal_scores_discard_nobody() -> None:
    point = report([1.0] * 100, ["a", "b"] * 50).points[2]
    assert (point.realised, [rate.hits for rate in point.rates]) == (0.0, [0, 0])
    assert np.isnan(point.among_discarded).all()
    assert np.isnan(point.ratio.value)


def test_images_without_a_group_or_a_score_take_no_part() -> None:
    found = report([0.0, np.nan, 5.0, 6.0, 7.0, 8.0], ["", "a", "a", "a", "b", "b"], shares=(0.25,))
    assert (found.counts, found.ungrouped) == ((2, 2), 2)
    assert found.points[0].threshold == 6.0


def test_small_groups_are_named_and_make_no_ratio() -> None:
    found = report(np.arange(120), ["tiny"] * 5 + ["a"] * 60 + ["b"] * 55)
    assert found.warnings == ("groups with fewer than 30 images, in no ratio: tiny (5)",)
    for point in found.points:
        assert "tiny" not in {found.groups[point.ratio.worst], found.groups[point.ratio.best]}


def people_pairs() -> tuple[npt.NDArray[np.float32], list[str], list[str], GenuinePairs]:
    """40 people with two images and one pair each; in group a the worst 5 pairs fail, in group b none."""
    identities = [f"p{person}" for person in range(80) for _ in range(2)]
    groups = ["a" if person < 40 else "b" for person in range(80) for _ in range(2)]
    scores = np.repeat(np.concatenate([np.arange(40), np.arange(40) + 0.5]), 2).astype(np.float32)
    first = np.arange(0, 160, 2)
    return scores, groups, identities, GenuinePairs(first, first + 1, np.arange(80) < 5)


def test_fnmr_falls_for_the_group_whose_failures_are_discarded() -> None:
    scores, groups, identities, pairs = people_pairs()
    found = report(scores, groups, pairs=pairs, identities=identities, shares=(0.05, 0.1))
    before, some, most = found.fnmr
    assert [point.share for point in found.fnmr] == [0.0, 0.05, 0.1]
    assert [(rate.hits, rate.count, rate.value) for rate in before.rates] == [(5, 40, 0.125), (0, 40, 0.0)]
    assert [(rate.hits, rate.count) for rate in some.rates] == [(3, 38), (0, 38)]
    assert [(rate.hits, rate.count) for rate in most.rates] == [(1, 36), (0, 36)]
    assert 0.02 < before.rates[0].low < 0.125 < before.rates[0].high <= 0.25
    assert before.ratio.value == np.inf
    assert "groups whose FNMR rests on fewer than 30 errors: a (5), b (0)" in found.warnings


def test_pairs_across_groups_are_left_out_and_counted() -> None:
    scores, groups, identities, pairs = people_pairs()
    groups[1], groups[3] = "b", ""
    found = report(scores, groups, pairs=pairs, identities=identities)
    assert found.mixed_pairs == 2
    assert found.fnmr[0].rates[0].count == 38


def test_the_spread_of_a_group_is_that_of_its_scores() -> None:
    scores = np.concatenate([np.arange(101), np.arange(101) + 1000])
    low, high = report(scores, ["a"] * 101 + ["b"] * 101).spreads
    assert (low.mean, low.quantiles) == (50.0, (5.0, 25.0, 50.0, 75.0, 95.0))
    assert low.low < 50 < low.high
    assert low.histogram.edges == high.histogram.edges
    assert sum(low.histogram.counts) == sum(high.histogram.counts) == 101
    assert sum(a * b for a, b in zip(low.histogram.counts, high.histogram.counts, strict=True)) == 0


def test_without_replicates_there_are_no_intervals() -> None:
    rate = report(np.arange(100), ["a", "b"] * 50, replicates=0).points[0].rates[0]
    assert rate.value == pytest.approx(0.1)
    assert np.isnan([rate.low, rate.high]).all()


def test_one_group_alone_is_refused() -> None:
    with pytest.raises(GateError, match="at least two groups"):
        report([1.0, 2.0], ["a", "a"])


def test_lengths_must_fit() -> None:
    with pytest.raises(GateError, match="same length"):
        report([1.0, 2.0, 3.0], ["a", "b"])


def test_the_csv_holds_rates_and_ratios() -> None:
    scores, groups, identities, pairs = people_pairs()
    rows = to_csv([report(scores, groups, pairs=pairs, identities=identities, shares=(0.1,))]).splitlines()
    assert rows[0] == "method,attribute,rate,discarded,group,hits,count,value,low,high"
    assert rows[1].startswith("m,race,discarded,0.1,a,8,80,0.1,")
    assert sum(row.startswith("m,race,fnmr,") and "a / b" in row for row in rows) == 2


def test_numbers_are_cut_at_their_fifths_and_the_edges_are_said() -> None:
    grouping = group_images([str(age) for age in range(1, 101)])
    assert np.bincount(grouping.index) == pytest.approx(20, abs=1)
    assert (grouping.names[0], grouping.names[-1]) == ("1 to <21", "80 to 100")
    assert grouping.rule == "bins cut at the column's fifths: edges 1, 21, 41, 60, 80, 100"


def test_given_edges_are_used_as_they_are() -> None:
    grouping = group_images(["0", "17.9", "18", "60", "99", "", "-1"], edges=[0, 18, 60])
    assert grouping.names == ("0 to <18", "18 to 60")
    assert grouping.index.tolist() == [0, 0, 1, 1, -1, -1, -1]
    assert grouping.rule == "bins as given: edges 0, 18, 60"


def test_few_different_numbers_are_codes() -> None:
    grouping = group_images(["0", "4", "1", "0", ""])
    assert grouping.names == ("0", "1", "4")
    assert grouping.index.tolist() == [0, 2, 1, 0, -1]


def test_many_categories_keep_the_largest() -> None:
    grouping = group_images([f"g{n}" for n in range(20) for _ in range(n + 1)])
    assert grouping.names[-1] == OTHERS
    assert len(grouping.names) == 12
    assert "g19" in grouping.names
    assert "g0" not in grouping.names
    assert np.bincount(grouping.index)[-1] == sum(range(1, 10))


@pytest.mark.parametrize(
    ("values", "edges", "message"),
    [
        (["", ""], None, "no image has a value"),
        (["a", "b"], [0.0, 1.0], "not numbers"),
        (["1", "2"], [1.0, 1.0], "must ascend"),
        (["1", "2"], [1.0], "at least two"),
    ],
)
def test_groups_that_cannot_be_made_say_why(values: list[str], edges: list[float] | None, message: str) -> None:
    with pytest.raises(GateError, match=message):
        group_images(values, edges=edges)
