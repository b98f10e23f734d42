"""Rates by group, the ratio of the worst to the best, and the FNMR of each group as images are discarded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.lab.intervals import DoubleArray, cluster_weights, percentile_interval
from gate.types import FloatArray

_FEW_PAIRS = 30
"""Groups with fewer genuine pairs left make no ratio."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Hits among trials in one group."""

    hits: int
    count: int
    value: float
    """hits / count, 0..1; NaN without trials."""

    low: float
    """Lower end of the 95 % bootstrap interval."""

    high: float
    """Upper end."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """The worst group's rate over the best group's.

    The two groups are named on the whole sample and stay the same in the bootstrap: were they chosen anew in each
    replicate, the ratio could never be below 1 and its interval would say nothing.
    """

    worst: int
    """Position of the group with the largest rate; -1 when fewer than two groups have enough trials."""

    best: int
    value: float
    """Infinite when the best group has no hits, NaN when neither has."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class GenuinePairs:
    """Comparisons of two images of one person at one fixed threshold."""

    first: npt.NDArray[np.integer]
    """(P,) index of an image."""

    second: npt.NDArray[np.integer]
    """(P,) index of the other."""

    missed: npt.NDArray[np.bool_]
    """(P,) True where the recognizer did not match them."""


@dataclass(frozen=True, slots=True)
class FnmrPoint:
    """FNMR of the groups after the images below a threshold went."""

    share: float
    """Share of the images that was asked to go; 0 is before any discard."""

    rates: tuple[Rate, ...]
    """FNMR of each group among the pairs whose two images stay."""

    ratio: Ratio


def rates_with_ratio(
    hits: DoubleArray, counts: DoubleArray, resampled: DoubleArray, *, usable: npt.NDArray[np.bool_]
) -> tuple[tuple[Rate, ...], Ratio]:
    """Each group's rate with its interval, and the ratio of the worst to the best.

    Args:
        hits: (G,) whole numbers.
        counts: (G,) whole numbers.
        resampled: (B, G) rates of the bootstrap's replicates, NaN where a group had no trials.
        usable: (G,) groups that a ratio may be made of.
    """
    values = np.divide(hits, counts, out=np.full(len(hits), math.nan), where=counts > 0)
    rates = []
    for number, value in enumerate(values.tolist()):
        low, high = percentile_interval(resampled[:, number])
        rates.append(Rate(int(hits[number]), int(counts[number]), value, low, high))
    candidates = np.flatnonzero(usable & (counts > 0))
    if len(candidates) < 2:
        return tuple(rates), Ratio(-1, -1, math.nan, math.nan, math.nan)
    worst = int(candidates[np.argmax(values[candidates])])
    others = candidates[candidates != worst]
    best = int(others[np.argmin(values[others])])
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = percentile_interval(resampled[:, worst] / resampled[:, best])
        value = float(np.float64(values[worst]) / values[best])
    return tuple(rates), Ratio(worst, best, value, low, high)


def group_fnmr(
    pairs: GenuinePairs,
    scores: FloatArray,
    groups: npt.NDArray[np.intp],
    group_count: int,
    thresholds: Sequence[tuple[float, float]],
    *,
    identities: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[tuple[FnmrPoint, ...], int]:
    """FNMR by group at each threshold on the images' quality.

    The bootstrap resamples people (the identity of each pair's first image), or pairs without identities; thresholds
    stay as they are.

    Args:
        pairs: The comparisons.
        scores: (N,) of the images.
        groups: (N,) of the images, -1 for none.
        group_count: G.
        thresholds: (discarded share, score below which images go), ascending.
        identities: N names.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        One point for each threshold, and how many pairs were left out because their images share no group.
    """
    group = groups[pairs.first]
    together = (group >= 0) & (group == groups[pairs.second])
    first, second = pairs.first[together], pairs.second[together]
    group, missed = group[together], pairs.missed[together].astype(np.float64)
    quality = np.minimum(scores[first], scores[second])
    clusters = _pair_clusters(first, identities)
    people = int(clusters.max()) + 1 if len(clusters) else 0
    # Sums for each person and group make a replicate one matrix product, however many pairs there are.
    cell = clusters * group_count + group
    errors = np.zeros((people, len(thresholds), group_count))
    trials = np.zeros_like(errors)
    for number, (_, threshold) in enumerate(thresholds):
        kept = quality >= threshold
        for table, weights in ((errors, missed[kept]), (trials, np.ones(np.count_nonzero(kept)))):
            sums = np.bincount(cell[kept], weights=weights, minlength=people * group_count)
            table[:, number] = sums.reshape(people, group_count)
    resampled = _resampled(errors, trials, clusters, replicates, seed)
    points = []
    for number, (share, _) in enumerate(thresholds):
        hits, counts = errors[:, number].sum(axis=0), trials[:, number].sum(axis=0)
        rates, ratio = rates_with_ratio(hits, counts, resampled[:, number], usable=counts >= _FEW_PAIRS)
        points.append(FnmrPoint(share, rates, ratio))
    return tuple(points), int(np.count_nonzero(~together))


def _pair_clusters(first: npt.NDArray[np.integer], identities: Sequence[str] | None) -> npt.NDArray[np.intp]:
    if identities is None:
        return np.arange(len(first))
    numbers = np.unique(np.asarray(identities), return_inverse=True)[1]
    return np.unique(numbers[first], return_inverse=True)[1].astype(np.intp)


def _resampled(
    errors: DoubleArray, trials: DoubleArray, clusters: npt.NDArray[np.intp], replicates: int, seed: int
) -> DoubleArray:
    """(B, K, G) rates."""
    rates = np.full((replicates, *errors.shape[1:]), math.nan)
    people = len(errors)
    flat_errors, flat_trials = errors.reshape(people, -1), trials.reshape(people, -1)
    for number, weights in enumerate(cluster_weights(clusters, replicates=replicates, seed=seed)):
        count = weights @ flat_trials
        hit = weights @ flat_errors
        rates[number] = np.divide(hit, count, out=np.full(count.shape, math.nan), where=count > 0).reshape(
            errors.shape[1:]
        )
    return rates
