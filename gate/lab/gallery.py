"""Which crops a report shows: each method's worst and best, and those on which two methods disagree most."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from gate.lab.results import Samples

SHOWN = 24
"""Crops at either end of a method's scores."""

DISAGREEING = 12
"""Crops on either side of a disagreement."""

_MOST_PAIRS = 6
"""Pairs of methods whose disagreement is shown, the least alike first."""


@dataclass(frozen=True, slots=True)
class Extremes:
    """The ends of one method's scores."""

    method: str

    worst: tuple[int, ...]
    """Indices into `Samples.paths`, the worst first."""

    best: tuple[int, ...]
    """The best first."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where two methods put the same crops at different ends."""

    method_a: str

    method_b: str

    rho: float
    """Spearman's correlation of the two; NaN when one gives a single value."""

    a_higher: tuple[int, ...]
    """Crops that a ranks high and b low, the furthest apart first."""

    b_higher: tuple[int, ...]


def extremes(samples: Samples, count: int = SHOWN) -> tuple[Extremes, ...]:
    """Each method's ends, equal scores in the order of the images. No crop is at both ends."""
    found = []
    for method, scores in samples.scores.items():
        order = np.argsort(scores, kind="stable")
        shown = min(count, len(order) // 2) or len(order)
        found.append(Extremes(method, tuple(order[:shown].tolist()), tuple(order[::-1][:shown].tolist())))
    return tuple(found)


def percentiles(samples: Samples) -> dict[str, npt.NDArray[np.float64]]:
    """Method → (N,) position of each image among all, 0 (worst) to 100 (best), ties in their middle."""
    from scipy.stats import rankdata

    count = max(1, len(samples.paths) - 1)
    return {method: 100 * (rankdata(scores) - 1) / count for method, scores in samples.scores.items()}


def disagreements(samples: Samples, count: int = DISAGREEING) -> tuple[Disagreement, ...]:
    """For the least alike pairs of methods, the images whose positions are furthest apart."""
    places = percentiles(samples)
    found = []
    for a, b in combinations(places, 2):
        apart = places[a] - places[b]
        order = np.argsort(apart, kind="stable")
        a_higher = [index for index in order[::-1][:count].tolist() if apart[index] > 0]
        b_higher = [index for index in order[:count].tolist() if apart[index] < 0]
        found.append(Disagreement(a, b, _correlation(places[a], places[b]), tuple(a_higher), tuple(b_higher)))
    return tuple(sorted(found, key=_likeness)[:_MOST_PAIRS])


def _correlation(a: Sequence[float] | npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def _likeness(pair: Disagreement) -> float:
    return pair.rho if np.isfinite(pair.rho) else 1.0
