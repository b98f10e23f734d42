"""Whether quality falls as a labelled attribute (blur, occlusion, pose, illumination) gets worse."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.intervals import bootstrap_mean
from gate.types import FloatArray


@dataclass(frozen=True, slots=True)
class LevelSummary:
    """The scores of the images that carry one level of the attribute."""

    level: str
    """As the metadata writes it."""

    count: int

    mean: float
    """NaN without images."""

    low: float
    """Lower end of the mean's 95 % bootstrap interval over images."""

    high: float
    """Upper end."""

    median: float


@dataclass(frozen=True, slots=True)
class Trend:
    """Does the score move one way over the ordered levels?

    Kendall's tau-b between level and score, p from the normal approximation with the correction for ties
    (`scipy.stats.kendalltau(method="asymptotic")`). With a level for one of the two its S is the Jonckheere-Terpstra
    statistic less its mean, and the p is that test's.
    """

    test: str

    tau: float
    """-1 (falls without exception) to 1; NaN for fewer than three images, for one level, and for equal scores."""

    p: float
    """Two-sided; NaN as `tau`."""

    falls_at_every_step: bool
    """True when each level's mean is below the one before."""


@dataclass(frozen=True, slots=True)
class AttributeResponse:
    """One method's scores over the levels of one attribute."""

    attribute: str

    method: str

    levels: tuple[LevelSummary, ...]
    """In order, the best (lowest) first."""

    unlabelled: int
    """Images left out because they carry no label."""

    trend: Trend


def attribute_response(
    scores: FloatArray,
    labels: Sequence[str],
    *,
    attribute: str,
    method: str,
    order: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> AttributeResponse:
    """Mean score per level, and the trend over them.

    Args:
        scores: (N,), higher is better. Scores that are not finite count as unlabelled.
        labels: N levels; empty is unknown.
        attribute: Name of the attribute.
        method: Name of the method.
        order: Levels from best to worst; by default numbers ascending, as WIDER FACE labels them, and words by
            alphabet. Labels that are not in it count as unlabelled.
        replicates: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        GateError: No image carries a label, or there is not one label for each score.
    """
    if len(scores) != len(labels):
        raise GateError(f"attribute {attribute!r}: {len(scores)} scores and {len(labels)} labels do not fit together")
    levels = list(order) if order is not None else ordered_levels(labels)
    rank = {level: number for number, level in enumerate(levels)}
    ranks = np.array([rank.get(label, -1) for label in labels], dtype=np.intp)
    ranks[~np.isfinite(scores)] = -1
    if not np.any(ranks >= 0):
        raise GateError(f"attribute {attribute!r}: no scored image carries a label; check the column's name and values")
    summaries = tuple(
        _summary(level, scores[ranks == number].astype(np.float64), replicates, seed)
        for number, level in enumerate(levels)
    )
    return AttributeResponse(
        attribute=attribute,
        method=method,
        levels=summaries,
        unlabelled=int(np.count_nonzero(ranks < 0)),
        trend=_trend(ranks[ranks >= 0], scores[ranks >= 0].astype(np.float64), summaries),
    )


def ordered_levels(labels: Sequence[str]) -> list[str]:
    """The different labels, empty ones left out: ascending as numbers when all are, else by alphabet.

    >>> ordered_levels(["10", "", "9", "10"])
    ['9', '10']
    """
    different = sorted({label for label in labels if label})
    try:
        return sorted(different, key=float)
    except ValueError:
        return different


def _summary(level: str, scores: npt.NDArray[np.float64], replicates: int, seed: int) -> LevelSummary:
    if not len(scores):
        return LevelSummary(level, 0, math.nan, math.nan, math.nan, math.nan)
    low, high = bootstrap_mean(scores, replicates=replicates, seed=seed)
    return LevelSummary(level, len(scores), float(scores.mean()), low, high, float(np.median(scores)))


def _trend(ranks: npt.NDArray[np.intp], scores: npt.NDArray[np.float64], levels: Sequence[LevelSummary]) -> Trend:
    from scipy import stats

    means = [level.mean for level in levels if level.count]
    falls = len(means) > 1 and all(after < before for before, after in pairwise(means))
    tau, p = math.nan, math.nan
    # Two images are too few for the variance of the statistic.
    if len(scores) > 2 and len(np.unique(ranks)) > 1 and len(np.unique(scores)) > 1:
        result = stats.kendalltau(ranks, scores, method="asymptotic")
        tau, p = float(result.statistic), float(result.pvalue)
    return Trend("Jonckheere-Terpstra (Kendall tau-b)", tau, p, falls)


def to_csv(responses: Sequence[AttributeResponse]) -> str:
    """One row for each method, attribute and level."""
    text = io.StringIO()
    columns = ["method", "attribute", *LevelSummary.__dataclass_fields__, "tau", "p", "falls_at_every_step"]
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for response in responses:
        trend = {"tau": response.trend.tau, "p": response.trend.p}
        for level in response.levels:
            writer.writerow(
                {
                    "method": response.method,
                    "attribute": response.attribute,
                    **asdict(level),
                    **trend,
                    "falls_at_every_step": response.trend.falls_at_every_step,
                }
            )
    return text.getvalue()
