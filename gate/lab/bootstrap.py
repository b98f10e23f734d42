"""Intervals and tests by resampling identities.

Scheme: a replicate draws as many identities as there are, with replacement; identity i comes up w_i times. A genuine
pair of person i counts w_i times, an impostor pair of persons i and j w_i * w_j times, an image of person i w_i
times: comparisons that share a person are not independent, and resampling pairs would pretend that they are.
The threshold is found again in each replicate, so that a false match rate that rests on three pairs shows in the
interval. All methods see the same replicates, which makes differences between them paired. Intervals are the 2.5 % and
97.5 % quantiles; replicates without a single error have no normalised area and are left out.

Curves over impostor pairs, and those whose threshold moves along the curve, use the first `HEAVY_REPLICATES`
replicates: they cost a hundred times as much (3 million pairs instead of the few thousand genuine ones).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from gate.lab.curves import CountArray, DoubleArray
from gate.lab.results import IndexArray
from gate.types import FloatArray

HEAVY_REPLICATES = 200

_FINE_BINS = 2000
_COARSE_BINS = 400
"""Ranks are merged into at most so many steps; fewer pairs than that keep their own steps. Merging 100,000 ranks into
2,000 moves a normalised area by less than 0.001."""

_CHUNK = 2048
"""Pairs at once: their weights in 1,000 replicates take 8 MB, which the cache still helps with."""

_BLOCK = 256
"""Impostor pairs summed together on the way to a threshold."""

_ROUNDING = 1e-6
"""Weights are whole numbers: this only undoes the rounding of rate times total."""

RowWeights = Callable[[slice], FloatArray]
"""Rows of pairs to their (rows, B) weights."""


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """Pairs of one kind."""

    first: IndexArray
    """(P,) identity of the first image, 0..I-1."""

    second: IndexArray
    """(P,) identity of the second; the same numbers for genuine pairs."""

    similarity: FloatArray
    """(P,) cosines."""

    def taken(self, places: npt.NDArray[np.integer]) -> "PairSet":
        """Some of the pairs."""
        return PairSet(self.first[places], self.second[places], self.similarity[places])


def identity_weights(n_identities: int, replicates: int, seed: int) -> FloatArray:
    """How often each identity is drawn, (I, B) float32; columns sum to I."""
    random = np.random.default_rng(seed)
    weights = np.empty((replicates, n_identities), dtype=np.float32)
    for row in weights:
        row[:] = np.bincount(random.integers(n_identities, size=n_identities), minlength=n_identities)
    return np.ascontiguousarray(weights.T)


class Bootstrap:
    """One set of comparisons, resampled; asked once for each method."""

    def __init__(
        self,
        genuine: PairSet,
        impostor: PairSet,
        weights: FloatArray,
        fmr_targets: Sequence[float],
        limits: Sequence[float],
    ) -> None:
        """Find every replicate's thresholds.

        Args:
            genuine: at least one pair.
            impostor: at least one pair.
            weights: (I, B) from `identity_weights`.
            fmr_targets: F false match rates.
            limits: L discarded fractions.
        """
        self._genuine = genuine
        self._impostor = impostor
        self._weights = weights
        self._heavy = np.ascontiguousarray(weights[:, :HEAVY_REPLICATES])
        self._targets = tuple(fmr_targets)
        self._limits = tuple(limits)
        descending = np.argsort(-impostor.similarity, kind="stable")
        self._sorted = impostor.taken(descending)
        self._descending = descending
        self.thresholds = weighted_thresholds(self._sorted, weights, total_weight(impostor, weights), self._targets)
        """(F, B) float32."""

    def fnmr_areas(
        self, ranks: IndexArray, n_ranks: int, image: tuple[IndexArray, IndexArray] | None = None
    ) -> DoubleArray:
        """Normalised pAUC of the FNMR curve in each replicate.

        Args:
            ranks: (G,) ranks of the genuine pairs.
            n_ranks: how many ranks the images have.
            image: (N,) ranks and (N,) identities of the images when these are what is discarded (`beyond-edc`).

        Returns:
            (F, L, B) float64, NaN where a replicate has no error.
        """
        pairs = self._genuine
        weights = self._weights
        bins, n_bins = _bins(ranks if image is None else image[0], n_ranks, _FINE_BINS)
        pair_bins = bins[ranks]
        left = _sums_by_bin(pair_bins, pairs.first, n_bins, weights)
        gone = left if image is None else _sums_by_bin(bins[image[0]], image[1], n_bins, weights)
        suspects = np.flatnonzero(pairs.similarity <= self.thresholds.max())
        suspects = suspects[np.argsort(pair_bins[suspects], kind="stable")]
        few = pairs.taken(suspects)
        errors = self._errors(
            few.similarity,
            pair_bins[suspects],
            n_bins,
            lambda rows: weights[few.first[rows]],
            lambda similarity, threshold: similarity <= threshold,
        )
        return _areas(gone, left, errors, self._limits)

    def fmr_areas(self, ranks: IndexArray, n_ranks: int) -> DoubleArray:
        """Normalised pAUC of the false-match curve in each replicate.

        Args:
            ranks: (M,) ranks of the impostor pairs.
            n_ranks: how many ranks the images have.

        Returns:
            (F, L, min(B, HEAVY_REPLICATES)) float64, NaN where a replicate has no error.
        """
        weights = self._heavy
        bins, n_bins = _bins(ranks, n_ranks, _COARSE_BINS)
        pair_bins = bins[ranks]
        left = impostor_sums(self._impostor, pair_bins, n_bins, weights)
        lowest = self.thresholds[:, : weights.shape[1]].min()
        suspects = self._descending[: int(np.searchsorted(-self._sorted.similarity, -lowest, side="left"))]
        suspects = suspects[np.argsort(pair_bins[suspects], kind="stable")]
        few = self._impostor.taken(suspects)
        errors = self._errors(
            few.similarity,
            pair_bins[suspects],
            n_bins,
            lambda rows: weights[few.first[rows]] * weights[few.second[rows]],
            lambda similarity, threshold: similarity > threshold,
        )
        return _areas(left, left, errors, self._limits)

    def _errors(
        self,
        similarity: FloatArray,
        bins: IndexArray,
        n_bins: int,
        weights_of: RowWeights,
        is_error: Callable[[FloatArray, FloatArray], npt.NDArray[np.bool_]],
    ) -> DoubleArray:
        """Weight of the errors by bin, (F, n_bins, B), of pairs in ascending bins."""
        columns = weights_of(slice(0, 0)).shape[1]
        sums = np.zeros((len(self._targets), n_bins, columns))
        for place, rows in _runs(bins):
            weights = weights_of(rows)
            for target, thresholds in enumerate(self.thresholds[:, :columns]):
                wrong = is_error(similarity[rows, None], thresholds[None])
                sums[target, place] += np.einsum("ij,ij->j", weights, wrong)
        return sums


def impostor_sums(pairs: PairSet, bins: IndexArray, n_bins: int, weights: FloatArray) -> DoubleArray:
    """Weight of impostor pairs by bin, (n_bins, B); bins (M,) below 65,536."""
    order = np.argsort(bins.astype(np.uint16), kind="stable")  # 16 bits: numpy sorts them by radix
    ordered = pairs.taken(order)
    sums = np.zeros((n_bins, weights.shape[1]))
    for place, rows in _runs(bins[order]):
        sums[place] += np.einsum("ij,ij->j", weights[ordered.first[rows]], weights[ordered.second[rows]])
    return sums


def total_weight(pairs: PairSet, weights: FloatArray) -> DoubleArray:
    """Sum of the weights of impostor pairs in each replicate, (B,): one sparse product instead of P x B numbers."""
    size = len(weights)
    counts = sparse.coo_matrix((np.ones(len(pairs.first), dtype=np.float32), (pairs.first, pairs.second)), (size, size))
    totals: DoubleArray = np.einsum("ij,ij->j", weights, counts.tocsr() @ weights, dtype=np.float64)
    return totals


def weighted_thresholds(
    descending: PairSet, weights: FloatArray, totals: DoubleArray, fmr_targets: Sequence[float]
) -> FloatArray:
    """Threshold of each target in each replicate, (F, B), as `gate.lab.curves.threshold_at` finds it without weights.

    Sums of blocks tell the block in which a replicate's allowance runs out, and one block a replicate is looked at
    closely: ten times as fast as cumulative sums.

    Args:
        descending: impostor pairs by falling similarity.
        weights: (I, B).
        totals: (B,) sum of all their weights.
        fmr_targets: F false match rates.
    """
    count = len(descending.first)
    # Weights vary: three times the expected number is nearly always enough, and where it is not, the loop goes on.
    size = min(count, int(3 * max(fmr_targets) * count) + 10 * _BLOCK)
    while True:
        before = np.cumsum(_block_sums(descending, size, weights), axis=0)
        if size == count or bool(np.all(before[-1] > max(fmr_targets) * totals + _ROUNDING)):
            break
        size = min(count, 2 * size)
    before = np.concatenate([np.zeros((1, weights.shape[1])), before])
    places = [_place(descending, before, weights, target * totals + _ROUNDING) for target in fmr_targets]
    return descending.similarity[np.minimum(places, count - 1)]


def _block_sums(pairs: PairSet, size: int, weights: FloatArray) -> DoubleArray:
    sums = np.empty((-(-size // _BLOCK), weights.shape[1]))
    for block, row in enumerate(sums):
        rows = slice(block * _BLOCK, min((block + 1) * _BLOCK, size))
        np.einsum("ij,ij->j", weights[pairs.first[rows]], weights[pairs.second[rows]], out=row)
    return sums


def _place(pairs: PairSet, before: DoubleArray, weights: FloatArray, allowed: DoubleArray) -> npt.NDArray[np.int64]:
    """Where each replicate's running weight first exceeds what is allowed, (B,)."""
    replicates = np.arange(weights.shape[1])
    blocks = np.minimum((before <= allowed).sum(axis=0) - 1, len(before) - 2)
    rows = blocks[:, None] * _BLOCK + np.arange(_BLOCK)
    inside = np.minimum(rows, len(pairs.first) - 1)
    columns = replicates[:, None]
    close = weights[pairs.first[inside], columns] * weights[pairs.second[inside], columns]
    reached = before[blocks, replicates][:, None] + np.cumsum(close, axis=1, dtype=np.float64)
    places: npt.NDArray[np.int64] = rows[:, 0] + (reached <= allowed[:, None]).sum(axis=1)
    return places


def _bins(ranks: IndexArray, n_ranks: int, most: int) -> tuple[IndexArray, int]:
    """Bin of each rank, (n_ranks,), so that no more than about `most` bins hold all pairs; and how many there are."""
    counts: CountArray = np.bincount(ranks, minlength=n_ranks)
    if np.count_nonzero(counts) <= most:
        edges = np.cumsum(counts > 0) - 1
        return np.maximum(edges, 0).astype(np.int32), int(max(edges[-1], 0)) + 1
    before = np.cumsum(counts) - counts
    used, bins = np.unique(before * most // counts.sum(), return_inverse=True)
    return bins.astype(np.int32), len(used)


def _runs(ascending: IndexArray) -> Iterator[tuple[int, slice]]:
    """(bin, rows) of ascending bins, in pieces of at most `_CHUNK` rows."""
    edges = np.flatnonzero(np.diff(ascending)) + 1
    for start, stop in zip([0, *edges.tolist()], [*edges.tolist(), len(ascending)], strict=True):
        for piece in range(start, stop, _CHUNK):
            yield int(ascending[start]), slice(piece, min(piece + _CHUNK, stop))


def _sums_by_bin(bins: IndexArray, identities: IndexArray, n_bins: int, weights: FloatArray) -> DoubleArray:
    ones = np.ones(len(bins), dtype=np.float32)
    counts = sparse.coo_matrix((ones, (bins, identities)), (n_bins, len(weights)))
    return np.asarray(counts.tocsr() @ weights, dtype=np.float64)


def _areas(gone: DoubleArray, left: DoubleArray, wrong: DoubleArray, limits: Sequence[float]) -> DoubleArray:
    """Normalised areas (F, L, B) of step curves from weights by bin.

    Args:
        gone: (K, B) what the x axis counts.
        left: (K, B) the pairs.
        wrong: (F, K, B) those of them that are errors.
        limits: L discarded fractions.
    """
    x = np.concatenate([np.zeros((1, gone.shape[1])), np.cumsum(gone, axis=0)]) / positive(gone.sum(axis=0))
    # Beyond the last limit nothing counts: two thirds of the bins, usually.
    steps = max(1, int(np.count_nonzero(np.any(x[:-1] < max(limits), axis=1))))
    pairs_left = left.sum(axis=0) - (np.cumsum(left[:steps], axis=0) - left[:steps])
    widths = [np.diff(np.minimum(x[: steps + 1], limit), axis=0) for limit in limits]
    areas = np.empty((len(wrong), len(limits), left.shape[1]))
    for row, errors in enumerate(wrong):
        wrong_left = errors.sum(axis=0) - (np.cumsum(errors[:steps], axis=0) - errors[:steps])
        # What is left may be images in no pair: they add no errors.
        y = np.divide(wrong_left, pairs_left, out=np.zeros_like(pairs_left), where=pairs_left > 0)
        for column, limit in enumerate(limits):
            areas[row, column] = np.einsum("ij,ij->j", y, widths[column]) / (limit * positive(y[0]))
    return areas


def positive(values: DoubleArray) -> DoubleArray:
    """The values, NaN where they are not above 0: a divisor that makes a share of nothing NaN."""
    return np.where(values > 0, values, np.nan)


def interval(values: DoubleArray) -> tuple[float, float]:
    """2.5 % and 97.5 % quantiles over the last axis' finite values; NaN where fewer than half are finite."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or 2 * len(finite) < len(values):
        return np.nan, np.nan
    low, high = np.quantile(finite, [0.025, 0.975])
    return float(low), float(high)


def p_value(differences: DoubleArray) -> float:
    """Two-sided: twice the smaller share of replicates on either side of zero, itself included; NaN as `interval`."""
    finite = differences[np.isfinite(differences)]
    if len(finite) == 0 or 2 * len(finite) < len(differences):
        return np.nan
    smaller = min(np.count_nonzero(finite <= 0), np.count_nonzero(finite >= 0))
    return float(min(1.0, 2 * (smaller + 1) / (len(finite) + 1)))
