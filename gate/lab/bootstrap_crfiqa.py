"""The bootstrap of `crfiqa` curves, whose threshold moves with the discards.

The scheme of `gate.lab.bootstrap`, with two economies: the first `HEAVY_REPLICATES` replicates, and cuts at the ranks
that the whole set has its 20 points at (each replicate's own would differ by the chance of its draw only).
"""

from collections.abc import Sequence

import numpy as np

from gate.lab.bootstrap import HEAVY_REPLICATES, PairSet, impostor_sums, positive, weighted_thresholds
from gate.lab.curves import DoubleArray
from gate.lab.modes import crfiqa_points, cut_ranks
from gate.lab.results import IndexArray
from gate.types import FloatArray


class CrfiqaBootstrap:
    """One set of comparisons under the `crfiqa` rule, resampled; asked once for each method."""

    def __init__(
        self,
        genuine: PairSet,
        impostor: PairSet,
        weights: FloatArray,
        fmr_targets: Sequence[float],
        limits: Sequence[float],
    ) -> None:
        """Sort the impostors; arguments as those of `gate.lab.bootstrap.Bootstrap`."""
        self._genuine = genuine
        self._weights = np.ascontiguousarray(weights[:, :HEAVY_REPLICATES])
        self._order = np.argsort(-impostor.similarity, kind="stable")
        self._descending = impostor.taken(self._order)
        self._targets = tuple(fmr_targets)
        self._limits = tuple(limits)

    def areas(self, genuine_ranks: IndexArray, impostor_ranks: IndexArray) -> DoubleArray:
        """Normalised trapezoid areas, (F, L, B); NaN where a replicate runs out of pairs or starts without an error."""
        ranks = impostor_ranks[self._order]
        cuts = cut_ranks(genuine_ranks, impostor_ranks)
        totals = self._totals(ranks, cuts)
        y = np.stack(
            [self._fnmr(genuine_ranks, ranks, int(cut), total) for cut, total in zip(cuts, totals, strict=True)]
        )
        return np.stack([_areas(y[:, target], self._limits) for target in range(len(self._targets))])

    def _totals(self, ranks: IndexArray, cuts: IndexArray) -> DoubleArray:
        """Weight of the impostor pairs that stay at each cut, (20, B)."""
        bins = np.searchsorted(cuts, ranks, side="right").astype(np.int32)
        sums = impostor_sums(self._descending, bins, len(cuts) + 1, self._weights)
        return np.cumsum(sums[::-1], axis=0)[::-1][1:]

    def _fnmr(self, genuine_ranks: IndexArray, ranks: IndexArray, cut: int, totals: DoubleArray) -> DoubleArray:
        """FNMR of each target among what stays at one cut, (F, B)."""
        kept = self._descending.taken(np.flatnonzero(ranks >= cut))
        genuine = self._genuine.taken(np.flatnonzero(genuine_ranks >= cut))
        if len(kept.first) == 0 or len(genuine.first) == 0:
            return np.full((len(self._targets), self._weights.shape[1]), np.nan)
        thresholds = weighted_thresholds(kept, self._weights, totals, self._targets)
        suspects = genuine.taken(np.flatnonzero(genuine.similarity <= thresholds.max()))
        weights = self._weights[suspects.first]
        counts = np.bincount(genuine.first, minlength=len(self._weights)).astype(np.float32)
        left = positive((counts @ self._weights).astype(np.float64))
        wrong = [np.einsum("ij,ij->j", weights, suspects.similarity[:, None] <= row[None]) for row in thresholds]
        return np.stack(wrong) / left


def _areas(y: DoubleArray, limits: Sequence[float]) -> DoubleArray:
    """Normalised areas (L, B) under straight lines between y (20, B) at the 20 points."""
    x = crfiqa_points(len(y))
    start = positive(y[0])
    steps = (y[1:] + y[:-1]) / 2 * np.diff(x)[:, None]
    reached = np.concatenate([np.zeros((1, y.shape[1])), np.cumsum(steps, axis=0)])
    areas = np.empty((len(limits), y.shape[1]))
    for row, limit in enumerate(limits):
        place = min(int(np.searchsorted(x, limit + 1e-9, side="right")) - 1, len(x) - 2)
        width = limit - x[place]
        slope = (y[place + 1] - y[place]) / (x[place + 1] - x[place])
        areas[row] = (reached[place] + width * y[place] + slope * width**2 / 2) / (limit * start)
    return areas
