import numpy as np
import pytest

from gate.lab.kept import kept_by_rank


def test_what_is_kept_is_counted_from_each_rank_that_loses_a_pair() -> None:
    ranks = np.array([0, 0, 2, 2, 3], dtype=np.int32)
    errors = np.array([True, False, True, False, False])
    places, fnmr, pairs = kept_by_rank(ranks, errors, 5)
    assert places.tolist() == [0, 2, 3]
    assert fnmr.tolist() == pytest.approx([2 / 5, 1 / 3, 0.0])
    assert pairs.tolist() == [5, 3, 1]


def test_a_long_list_of_what_is_kept_is_thinned_to_exact_points() -> None:
    random = np.random.default_rng(0)
    ranks = random.integers(0, 5000, 20_000).astype(np.int32)
    errors = random.random(20_000) < 0.1
    places, fnmr, pairs = kept_by_rank(ranks, errors, 5000, resolution=100)
    assert 90 <= len(places) <= 102
    assert pairs[0] == 20_000
    assert all(-np.diff(pairs) <= 2 * 20_000 / 100)
    for place, rate, left in zip(places.tolist(), fnmr.tolist(), pairs.tolist(), strict=True):
        kept = ranks >= place
        assert left == np.count_nonzero(kept)
        assert rate == pytest.approx(errors[kept].mean())
