import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.lab.bands import fnmr_band
from gate.lab.figures import slug
from gate.lab.gallery import disagreements, extremes, percentiles
from gate.lab.markup import element, interval, number, per_cent
from gate.lab.markup import text as escaped
from gate.lab.results import Samples


def samples(scores: dict[str, list[float]]) -> Samples:
    count = len(next(iter(scores.values())))
    none = np.empty(0, dtype=np.int32)
    return Samples(
        paths=tuple(f"{index}.jpg" for index in range(count)),
        identities=tuple(f"p{index // 2}" for index in range(count)),
        scores={name: np.array(values, dtype=np.float32) for name, values in scores.items()},
        first=none,
        second=none,
        same=np.empty(0, dtype=np.bool_),
        similarity=np.empty(0, dtype=np.float32),
    )


def test_best_and_worst_are_the_ends_of_the_scores() -> None:
    (ends,) = extremes(samples({"m": [5, 1, 4, 2, 3, 0]}), count=2)
    assert (ends.worst, ends.best) == ((5, 1), (0, 2))


def test_no_crop_is_at_both_ends() -> None:
    (ends,) = extremes(samples({"m": [3, 1, 2]}))
    assert not set(ends.worst) & set(ends.best)


def test_percentiles_run_from_0_to_100_and_share_ties() -> None:
    places = percentiles(samples({"m": [1, 2, 3], "tied": [7, 7, 9]}))
    assert places["m"].tolist() == [0, 50, 100]
    assert places["tied"].tolist() == [25, 25, 100]


def test_disagreement_starts_with_the_least_alike_pair_and_the_furthest_crop() -> None:
    found = disagreements(samples({"a": [0, 1, 2, 3], "b": [0, 1, 2, 3], "c": [3, 1, 2, 0]}), count=1)
    first, last = found[0], found[-1]
    assert ("c" in {first.method_a, first.method_b}, (last.method_a, last.method_b)) == (True, ("a", "b"))
    assert (first.method_a, first.a_higher, first.b_higher) == ("a", (3,), (0,))
    assert last.rho == pytest.approx(1.0)
    assert (last.a_higher, last.b_higher) == ((), ())


def test_a_method_of_one_value_has_no_correlation() -> None:
    (found,) = disagreements(samples({"a": [0, 1], "flat": [1, 1]}))
    assert math.isnan(found.rho)


def test_one_method_disagrees_with_nobody() -> None:
    assert disagreements(samples({"a": [0, 1]})) == ()


def paired(people: int = 60) -> Samples:
    """Two images and one genuine pair a person; the worse third of the people never match."""
    scores = np.repeat(np.arange(people), 2).astype(np.float32)
    first = np.arange(0, 2 * people, 2, dtype=np.int32)
    return Samples(
        paths=tuple(map(str, range(2 * people))),
        identities=tuple(f"p{person}" for person in range(people) for _ in range(2)),
        scores={"m": scores, "flat": np.ones_like(scores)},
        first=first,
        second=first + 1,
        same=np.ones(people, dtype=np.bool_),
        similarity=np.where(np.arange(people) < people // 3, 0.1, 0.9).astype(np.float32),
    )


def test_the_band_holds_the_curve_and_has_the_binomial_width() -> None:
    low, high = fnmr_band(paired(), "m", 0.5, [0.0, 0.2, 0.5])
    rates = [20 / 60, 8 / 48, 0.0]
    for rate, bottom, top, kept in zip(rates, low, high, (60, 48, 30), strict=True):
        assert bottom <= rate <= top
        assert top - bottom == pytest.approx(2 * 1.96 * math.sqrt(rate * (1 - rate) / kept), rel=0.25)


def test_the_band_of_equal_scores_stays_level() -> None:
    low, high = fnmr_band(paired(), "flat", 0.5, [0.0, 0.5, 0.9])
    assert len(set(low)) == len(set(high)) == 1


def test_a_band_without_genuine_pairs_is_unknown() -> None:
    low, high = fnmr_band(samples({"m": [1, 2]}), "m", 0.5, [0.0, 0.1])
    assert np.isnan([*low, *high]).all()


@given(st.text())
def test_escaped_text_holds_no_markup_and_survives_utf8(text: str) -> None:
    written = escaped(text)
    assert not set(written) & set("<>\"'\x00\u202e")
    assert written.encode().decode() == written


def test_children_are_escaped_unless_they_are_markup() -> None:
    inner = element("b", "<i>")
    assert element("p", inner, "&", title='"', class_="x", hidden=None) == (
        '<p title="&quot;" class="x"><b>&lt;i&gt;</b>&amp;</p>'
    )


def test_numbers_are_written_for_readers() -> None:
    assert (number(-0.0001, 2), number(-1.5, 1), number(math.nan)) == ("0.00", "\N{MINUS SIGN}1.5", "\N{EN DASH}")
    assert (interval(0.1, 0.2, 1), interval(math.nan, 1.0)) == ("[0.1, 0.2]", "")
    assert (per_cent(0.1234), per_cent(math.nan)) == ("12.3 %", "\N{EN DASH}")


@given(st.text(max_size=40))
def test_a_slug_is_a_plain_file_name(name: str) -> None:
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert slug(name)
