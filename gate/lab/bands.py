"""Pointwise 95 % intervals of an error-versus-discard curve, by a bootstrap over people."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gate.lab.charts import Numbers
from gate.lab.intervals import DoubleArray
from gate.lab.results import Samples

_REPLICATES = 400


def fnmr_band(
    samples: Samples, method: str, threshold: float, discarded: Sequence[float], *, seed: int = 0
) -> tuple[Numbers, Numbers]:
    """Where the FNMR of the ISO curve may lie at each discarded fraction.

    People are resampled; the recognizer's threshold and the quality thresholds stay as they are, so the interval is
    that of the FNMR at these thresholds.

    Args:
        samples: Scores, pairs and similarities.
        method: A key of `samples.scores`.
        threshold: A pair matches when its similarity is above it.
        discarded: K fractions of the genuine pairs, ascending from 0.
        seed: Of the bootstrap.

    Returns:
        K lower and K upper ends; NaN where nothing is kept.
    """
    genuine = np.flatnonzero(samples.same)
    scores = samples.scores[method]
    first = samples.first[genuine]
    quality = np.minimum(scores[first], scores[samples.second[genuine]])
    missed = (samples.similarity[genuine] <= threshold).astype(np.float64)
    ascending = np.sort(quality)
    # A cut falls before the first pair of its tie; what is kept at it is everything from there on.
    wanted = np.minimum(np.floor(np.asarray(discarded) * len(genuine) * (1 + 1e-12)), max(0, len(genuine) - 1))
    if not len(genuine):
        nothing = (float("nan"),) * len(discarded)
        return nothing, nothing
    cuts = np.searchsorted(ascending, ascending[wanted.astype(int)], side="left")
    bins = np.searchsorted(cuts, np.searchsorted(ascending, quality, side="left"), side="right")
    people = np.unique(np.asarray(samples.identities), return_inverse=True)[1][first]
    with_pairs = np.bincount(people) > 0
    people = (np.cumsum(with_pairs) - 1)[people]
    count, width = int(with_pairs.sum()), len(discarded) + 1
    cell = people * width + bins
    kept = _kept(np.bincount(cell, minlength=count * width).reshape(count, width))
    wrong = _kept(np.bincount(cell, weights=missed, minlength=count * width).reshape(count, width))
    return _interval(wrong, kept, seed)


def _kept(by_bin: npt.NDArray[Any]) -> DoubleArray:
    """(people, K + 1) sums by bin → (people, K) sums of what each cut keeps."""
    kept: DoubleArray = by_bin[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:].astype(np.float64)
    return kept


def _interval(wrong: DoubleArray, kept: DoubleArray, seed: int) -> tuple[Numbers, Numbers]:
    rng = np.random.default_rng(seed)
    count = len(kept)
    rates = np.full((_REPLICATES, kept.shape[1]), np.nan)
    for replicate in rates:
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        total = weights @ kept
        np.divide(weights @ wrong, total, out=replicate, where=total > 0)
    ordered = np.sort(rates, axis=0)
    low, high = ordered[round(0.025 * (_REPLICATES - 1))], ordered[round(0.975 * (_REPLICATES - 1))]
    return tuple(low.tolist()), tuple(high.tolist())
