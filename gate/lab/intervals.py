"""95 % intervals for shares and means, and weights of a bootstrap over images or identities."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

DoubleArray = npt.NDArray[np.float64]

_Z = 1.959963984540054
"""97.5 % quantile of the normal distribution."""

_QUANTILES = (0.025, 0.975)

_AT_ONCE = 4_000_000
"""Random indices drawn at a time: 32 MB."""


def wilson(hits: float, count: float) -> tuple[float, float]:
    """95 % interval of a share of independent trials (Wilson, JASA 1927); holds at 0 and at `count` hits.

    Returns:
        Low and high in [0, 1]; both NaN when there were no trials.

    >>> low, high = wilson(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    """
    if count == 0:
        return math.nan, math.nan
    share, weight = hits / count, _Z * _Z / count
    middle = (share + weight / 2) / (1 + weight)
    reach = _Z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def bootstrap_mean(values: npt.NDArray[np.floating], *, replicates: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean of independent values; both NaN for no values or no replicates."""
    if not len(values) or not replicates:
        return math.nan, math.nan
    rng = np.random.default_rng(seed)
    doubles = values.astype(np.float64)
    rows = max(1, _AT_ONCE // len(doubles))
    means = [
        doubles[rng.integers(0, len(doubles), (min(rows, replicates - done), len(doubles)))].mean(axis=1)
        for done in range(0, replicates, rows)
    ]
    return percentile_interval(np.concatenate(means))


def cluster_weights(clusters: npt.NDArray[np.intp], *, replicates: int, seed: int) -> Iterator[DoubleArray]:
    """How often each cluster (identity) is in each replicate of a bootstrap over clusters.

    Args:
        clusters: (N,) number of the cluster that each value belongs to, 0..C-1.
        replicates: How many times to resample.
        seed: At least 0.

    Yields:
        (C,) float64 whole numbers that sum to C.
    """
    rng = np.random.default_rng(seed)
    count = int(clusters.max()) + 1 if len(clusters) else 0
    for _ in range(replicates if count else 0):
        yield np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)


def percentile_interval(replicates: npt.NDArray[np.floating]) -> tuple[float, float]:
    """2.5 % and 97.5 % quantiles of the replicates that exist; both NaN where fewer than half of them do.

    An infinite replicate (a ratio over zero) counts: the quantile is then infinite, which is the truth.
    """
    known = np.sort(replicates[~np.isnan(replicates)])
    if len(known) == 0 or 2 * len(known) < len(replicates):
        return math.nan, math.nan
    low, high = (float(known[round(share * (len(known) - 1))]) for share in _QUANTILES)
    return low, high
