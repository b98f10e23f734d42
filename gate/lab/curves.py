"""Error-versus-discard curves and the areas under them.

Everything rests on ranks: the images' scores become dense ranks 0..K-1 (equal scores share one), a pair's rank is the
smaller of its two, and discarding "up to rank k" is a cumulative count. So ties always go together, a strictly
monotone transform of the scores changes nothing, and no list of pairs is ever sorted by quality.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.results import BoolArray, IndexArray
from gate.types import FloatArray

DoubleArray = npt.NDArray[np.float64]
CountArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class StepCurve:
    """Error rates after discards: y[i] holds from x[i] up to x[i+1], the last one to 1."""

    x: DoubleArray
    """(K,) float64 discarded fractions, strictly ascending from 0."""

    y: DoubleArray
    """(K,) float64 error rate among what is kept."""


@dataclass(frozen=True, slots=True)
class Area:
    """Area under a curve up to one limit; see `gate.lab.results.Pauc`."""

    raw: float
    normalised: float
    share_of_ideal: float


def dense_ranks(scores: npt.NDArray[np.floating]) -> tuple[IndexArray, int]:
    """(N,) scores to (N,) int32 ranks from 0 for the lowest, equal scores alike, and how many ranks there are."""
    values, ranks = np.unique(scores, return_inverse=True)
    return ranks.astype(np.int32), len(values)


def pair_ranks(ranks: IndexArray, first: IndexArray, second: IndexArray) -> IndexArray:
    """Rank of each pair: that of its worse image, (P,) int32."""
    return np.minimum(ranks[first], ranks[second])


def threshold_at(impostor_similarity: FloatArray, fmr_target: float) -> float:
    """The lowest threshold at which the share of impostor pairs *above* it does not exceed the target.

    A pair matches when its similarity is above the threshold, never when equal: so tied impostors cannot push the rate
    over the target.

    Args:
        impostor_similarity: (M,) float32 in any order.
        fmr_target: 0..1.

    Raises:
        GateError: there are no impostor pairs.
    """
    count = len(impostor_similarity)
    if count == 0:
        raise GateError(
            "no impostor pairs, so no threshold can be set. Give pairs of different people, or --impostors."
        )
    place = count - 1 - allowed_matches(count, fmr_target)
    return float(np.partition(impostor_similarity, place)[place])


def allowed_matches(count: int, fmr_target: float) -> int:
    """How many of `count` impostor pairs may match at the target.

    >>> allowed_matches(3000, 1e-3), allowed_matches(300, 1e-3), allowed_matches(10, 1.0)
    (3, 0, 9)
    """
    # 3000 * 1e-3 is 3.0000000000000004 on some targets' products and 2.9999999999999996 on others.
    return min(int(np.floor(fmr_target * count + 1e-9)), count - 1)


def step_curve(ranks: IndexArray, errors: BoolArray, n_ranks: int) -> StepCurve:
    """The primary (ISO/IEC 29794-1) curve: one kind of pairs, discarded in ascending rank, ties together.

    Args:
        ranks: (P,) int32 ranks of the pairs, all of one kind (genuine for FNMR, impostor for FMR).
        errors: (P,) True where the pair is decided wrongly at the fixed threshold.
        n_ranks: how many ranks the images have.

    Raises:
        GateError: there are no pairs.
    """
    if len(ranks) == 0:
        raise GateError("no pairs of this kind, so there is no error rate to draw.")
    pairs = np.bincount(ranks, minlength=n_ranks)
    wrong = np.bincount(ranks[errors], minlength=n_ranks)
    return curve_of_counts(pairs, pairs, wrong)


def curve_of_counts(discarded: CountArray, pairs: CountArray, wrong: CountArray) -> StepCurve:
    """A step curve from counts by rank: what the x axis counts, the pairs, and those of them that are errors."""
    discarded_before = _before(discarded)
    left = pairs.sum() - _before(pairs)
    wrong_left = wrong.sum() - _before(wrong)
    steps = (discarded > 0) & (left > 0)
    return StepCurve(discarded_before[steps] / discarded.sum(), wrong_left[steps] / left[steps])


def _before(counts: CountArray) -> CountArray:
    return np.cumsum(counts) - counts


def step_area(curve: StepCurve, limit: float) -> Area:
    """Area under a step curve from 0 to `limit`."""
    edges = np.minimum(np.append(curve.x, 1.0), limit)
    return _judged(float(np.sum(curve.y * np.diff(edges))), float(curve.y[0]), limit)


def linear_area(x: DoubleArray, y: DoubleArray, limit: float) -> Area:
    """Trapezoid area from 0 to `limit` under straight lines between the points; NaN where they end before `limit`."""
    if x[-1] < limit - 1e-9:
        return Area(np.nan, np.nan, np.nan)
    inside = x < limit - 1e-9
    xs = np.append(x[inside], limit)
    ys = np.append(y[inside], np.interp(limit, x, y))
    return _judged(float(np.sum((ys[1:] + ys[:-1]) * np.diff(xs)) / 2), float(y[0]), limit)


def _judged(area: float, start: float, limit: float) -> Area:
    if start == 0:
        return Area(area, np.nan, np.nan)
    random = start * limit
    ideal = ideal_area(start, limit)
    return Area(area, area / random, (random - area) / (random - ideal))


def ideal_area(start: float, limit: float) -> float:
    """Area under max(start - x, 0) from 0 to `limit`: every discard removes an error until none is left."""
    width = min(start, limit)
    return start * width - width**2 / 2


def thinned(curve: StepCurve, resolution: int = 1000) -> StepCurve:
    """At most `resolution` + 1 points of the curve, each exact, none moved by more than 1/`resolution` when drawn."""
    if len(curve.x) <= resolution:
        return curve
    grid = np.linspace(0, 1, resolution + 1)
    kept = np.unique(np.searchsorted(curve.x, grid, side="right") - 1)
    return StepCurve(curve.x[kept], curve.y[kept])
