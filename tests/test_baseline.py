import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.baseline import BINS, LEAST_OF_HOUR, Baseline, Baselines, histogram_of, population_stability_index
from gate.errors import ConfigError

COUNTS = st.lists(st.integers(0, 1000), min_size=BINS, max_size=BINS)


def baseline(*best: float, visits: int | None = None) -> Baseline:
    faces = histogram_of([*best, *best])
    return Baseline("serfiq", "net@12345678", "2026-02-11", faces, visits or len(best), tuple(sorted(best)))


def test_the_index_is_that_of_a_hand_computed_table() -> None:
    # 80 and 20 of 100 became 30 and 70; half a count in each of 20 bins makes the totals 110.
    expected, actual = [0] * BINS, [0] * BINS
    expected[10], expected[15] = 80, 20
    actual[10], actual[15] = 30, 70
    first = (30.5 - 80.5) / 110 * math.log(30.5 / 80.5)
    second = (70.5 - 20.5) / 110 * math.log(70.5 / 20.5)
    assert first == pytest.approx(0.4411, abs=1e-4)
    assert second == pytest.approx(0.5615, abs=1e-4)
    assert population_stability_index(expected, actual) == pytest.approx(first + second)


@given(COUNTS, COUNTS)
def test_the_index_is_symmetric_finite_and_zero_only_where_nothing_changed(old: list[int], new: list[int]) -> None:
    index = population_stability_index(old, new)
    assert math.isfinite(index)
    assert index >= 0
    assert index == pytest.approx(population_stability_index(new, old), abs=1e-9)
    assert population_stability_index(old, old) == 0


def test_a_bar_accepts_at_least_the_share_that_was_asked_for_and_no_higher_bar_does() -> None:
    known = baseline(*range(10, 100, 10), visits=10)
    for rate in (0.05, 0.1, 0.5, 0.7, 0.9):
        bar = known.bar_at(rate)
        assert bar is not None
        assert sum(best >= bar for best in known.best_quality) / 10 >= rate - 1e-9
        assert sum(best > bar for best in known.best_quality) / 10 < rate - 1e-9


def test_visits_without_a_usable_face_count_as_not_accepted() -> None:
    known = baseline(40.0, 60.0, visits=4)
    assert known.bar_at(0.5) == 40.0
    assert known.bar_at(0.51) is None
    assert known.reachable_rate == 0.5


@given(st.lists(st.floats(0, 100), min_size=1, max_size=40), st.floats(0.01, 0.99))
def test_the_visit_that_gives_the_bar_passes_it(best: list[float], rate: float) -> None:
    known = baseline(*best)
    bar = known.bar_at(rate)
    assert bar is not None
    assert sum(value >= bar for value in best) >= rate * len(best) - 1e-6


@given(COUNTS, st.integers(1, 50))
def test_more_of_the_same_is_no_drift(counts: list[int], times: int) -> None:
    assert population_stability_index(counts, [times * count for count in counts]) == pytest.approx(0, abs=1e-9)


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    known = replace(baseline(12.5, 80.25, visits=3), hours={7: histogram_of([12.5]), 23: histogram_of([80.25] * 3)})
    written = Baselines({"door": known}, str(file))
    file.write_text(written.to_text())
    again = Baselines.load(file)
    assert again == written
    with pytest.raises(ConfigError, match=r"nothing about camera 'gate'; it has door\. Run gate tune"):
        again.of("gate")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 1}', '{"format": 2, "cameras": {}}', '{"format": 1, "cameras": {"a": {}}}'],
)
def test_what_is_no_baseline_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^baseline b\.json: .*gate tune"):
        Baselines.from_text(text, "b.json")


@pytest.mark.parametrize(("old", "new"), [("12.5", "120"), ('"visits": 3', '"visits": 1'), ("80.25", "2")])
def test_numbers_that_cannot_be_are_refused(old: str, new: str) -> None:
    text = Baselines({"door": baseline(12.5, 80.25, visits=3)}, "").to_text()
    assert old in text
    with pytest.raises(ConfigError, match="needs ascending qualities"):
        Baselines.from_text(text.replace(old, new), "b.json")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file.*gate tune"):
        Baselines.load(tmp_path / "none.json")


NIGHT, NOON = histogram_of([20.0] * LEAST_OF_HOUR), histogram_of([70.0] * 3 * LEAST_OF_HOUR)
DAY = tuple(night + noon for night, noon in zip(NIGHT, NOON, strict=True))
WHOLE = Baseline("serfiq", "net@12345678", "2026-02-11", DAY, 10, (), {2: NIGHT, 12: NOON, 13: histogram_of([70.0])})


def test_what_is_expected_of_an_hour_is_what_was_seen_in_it() -> None:
    assert WHOLE.expected_in({2: 60}) == pytest.approx(NIGHT)
    assert WHOLE.expected_in({12: 60}) == pytest.approx(NOON)


@pytest.mark.parametrize("hour", [13, 17])
def test_an_hour_that_the_baseline_hardly_knows_is_held_against_the_whole_day(hour: int) -> None:
    assert not WHOLE.has_hour(hour)
    assert WHOLE.expected_in({hour: 60}) == pytest.approx(DAY)


def test_an_hour_that_spans_two_expects_as_much_of_each_as_came() -> None:
    expected = WHOLE.expected_in({2: 20, 12: 60})
    assert expected[14] == pytest.approx(3 * expected[4])
    # A quarter of 500 faces' certainty and three quarters of 1500's.
    assert sum(expected) == pytest.approx(1 / (0.25**2 / 500 + 0.75**2 / 1500))


@given(st.dictionaries(st.integers(0, 23), st.integers(0, 500), max_size=4))
def test_what_is_expected_is_always_a_histogram(hours: dict[int, int]) -> None:
    expected = WHOLE.expected_in(hours)
    assert len(expected) == BINS
    assert min(expected) >= 0
    assert 0 < sum(expected) <= sum(DAY) * (1 + len(hours))


def test_a_baseline_without_hours_is_read() -> None:
    data = json.loads(Baselines({"door": baseline(40.0)}, "").to_text())
    del data["cameras"]["door"]["hours"]
    assert Baselines.from_text(json.dumps(data), "").of("door") == baseline(40.0)


@pytest.mark.parametrize("hours", [{"24": [0] * BINS}, {"3": [0] * 3}, {"3": [-1] * BINS}, {"x": [0] * BINS}, [3]])
def test_hours_that_cannot_be_are_refused(hours: object) -> None:
    data = json.loads(Baselines({"door": baseline(40.0)}, "").to_text())
    data["cameras"]["door"]["hours"] = hours
    with pytest.raises(ConfigError, match="not a baseline"):
        Baselines.from_text(json.dumps(data), "")
