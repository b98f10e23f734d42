"""Whom a quality method turns away: discard rates, quality and recognition errors by group.

The discard threshold rises from nothing to most images; at each step a group's discard rate, its part among the
discarded and the kept (the stacked plots of Terhörst et al., IJCB 2020) and its FNMR among the kept are counted.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.fairness import FnmrPoint, GenuinePairs, Rate, Ratio, group_fnmr, rates_with_ratio
from gate.lab.groups import Grouping
from gate.lab.intervals import DoubleArray, bootstrap_mean, cluster_weights
from gate.lab.results import Histogram
from gate.types import FloatArray

DISCARD_SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of the images at which groups are counted."""

FEW_IMAGES = 30
"""A group with fewer images is shown, but no ratio is made of it."""

_BINS = 24
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class QualitySpread:
    """How one group's scores are spread."""

    group: str
    count: int
    mean: float
    low: float
    """Lower end of the mean's 95 % bootstrap interval over images."""

    high: float
    """Upper end."""

    quantiles: tuple[float, float, float, float, float]
    """5, 25, 50, 75 and 95 % quantiles; NaN for an empty group."""

    histogram: Histogram
    """Between edges that all groups share."""


@dataclass(frozen=True, slots=True)
class DiscardPoint:
    """The groups at one threshold."""

    share: float
    """Share of the images that was asked to go, 0..1."""

    realised: float
    """Share that went: ties stay together, so it may be smaller."""

    threshold: float
    """Images that score below it are discarded."""

    rates: tuple[Rate, ...]
    """Discard rate of each group, in the order of the groups."""

    ratio: Ratio
    """Largest over smallest discard rate."""

    among_discarded: tuple[float, ...]
    """Part of each group among the discarded, sums to 1; NaN when nothing was discarded."""

    among_kept: tuple[float, ...]
    """Part of each group among the kept."""


@dataclass(frozen=True, slots=True)
class BiasReport:
    """One method's dealings with the groups of one metadata column."""

    attribute: str
    method: str
    groups: tuple[str, ...]
    counts: tuple[int, ...]
    """Images in each group."""

    rule: str
    """How the groups were made, in words."""

    ungrouped: int
    """Images without a value, which take no part."""

    spreads: tuple[QualitySpread, ...]
    points: tuple[DiscardPoint, ...]
    fnmr: tuple[FnmrPoint, ...]
    """FNMR before (share 0) and after discards; empty without genuine pairs."""

    mixed_pairs: int
    """Genuine pairs left out because their images are in different groups or in none."""

    warnings: tuple[str, ...]


def bias_report(
    scores: FloatArray,
    grouping: Grouping,
    *,
    attribute: str,
    method: str,
    pairs: GenuinePairs | None = None,
    identities: Sequence[str] | None = None,
    shares: Sequence[float] = DISCARD_SHARES,
    replicates: int = 1000,
    seed: int = 0,
) -> BiasReport:
    """Count what a rising threshold does to each group.

    Thresholds are those of the images that are in a group; the others take no part.

    Args:
        scores: (N,), higher is better. Scores that are not finite take no part.
        grouping: Group of each image.
        attribute: Name of the metadata column.
        method: Name of the method.
        pairs: Genuine pairs and whether they matched, for the FNMR by group.
        identities: N names: the bootstrap resamples people; without them it resamples images.
        shares: Discarded shares, ascending, in (0, 1).
        replicates: Of the bootstrap; 0 for none.
        seed: Of the bootstrap.

    Raises:
        GateError: Lengths do not fit together, or fewer than two groups have images.
    """
    if len(scores) != len(grouping.index) or (identities is not None and len(identities) != len(scores)):
        raise GateError(f"bias over {attribute!r}: scores, groups and identities must have the same length")
    taking_part = (grouping.index >= 0) & np.isfinite(scores)
    groups = grouping.index[taking_part]
    values = scores[taking_part].astype(np.float64)
    counts = np.bincount(groups, minlength=len(grouping.names))
    if np.count_nonzero(counts) < 2:
        raise GateError(f"bias over {attribute!r}: at least two groups need images, found {np.count_nonzero(counts)}")
    clusters = _clusters(identities, taking_part)
    ladder = _Ladder.of(values, groups, len(grouping.names))
    points = _points(ladder, counts, clusters, shares, replicates=replicates, seed=seed)
    thresholds = [(0.0, -np.inf), *((point.share, point.threshold) for point in points)]
    fnmr: tuple[FnmrPoint, ...] = ()
    mixed = 0
    if pairs is not None:
        fnmr, mixed = group_fnmr(
            pairs,
            scores,
            np.where(taking_part, grouping.index, -1),
            len(grouping.names),
            thresholds,
            identities=identities,
            replicates=replicates,
            seed=seed,
        )
    return BiasReport(
        attribute=attribute,
        method=method,
        groups=grouping.names,
        counts=tuple(counts.tolist()),
        rule=grouping.rule,
        ungrouped=int(np.count_nonzero(~taking_part)),
        spreads=_spreads(values, groups, grouping.names, replicates=replicates, seed=seed),
        points=points,
        fnmr=fnmr,
        mixed_pairs=mixed,
        warnings=_warnings(grouping.names, counts, fnmr),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Ladder:
    """Images in ascending order of score, so that a threshold is a position."""

    values: DoubleArray
    order: npt.NDArray[np.intp]
    member: DoubleArray
    """(G, N): 1.0 where the image at this position is in the group."""

    first_of_tie: npt.NDArray[np.intp]
    """(N,) position of the first image with the same score."""

    @classmethod
    def of(cls, values: DoubleArray, groups: npt.NDArray[np.intp], count: int) -> "_Ladder":
        order = np.argsort(values, kind="stable")
        ascending = values[order]
        member = (groups[order][None, :] == np.arange(count)[:, None]).astype(np.float64)
        return cls(ascending, order, member, np.searchsorted(ascending, ascending, side="left"))

    def cut(self, share: float, below: DoubleArray) -> int:
        """Position up to which images go: the asked share of the weight, ties kept together.

        `below` is the weight before each position, with the whole weight at the end: (N + 1,).
        """
        # A share such as 0.3 of 10 images is 3 less a rounding error; the tolerance lets the third one go.
        position = int(np.searchsorted(below[1:], share * below[-1] * (1 + 1e-12), side="right"))
        return int(self.first_of_tie[min(position, len(self.first_of_tie) - 1)])


def _points(
    ladder: _Ladder,
    counts: npt.NDArray[np.intp],
    clusters: npt.NDArray[np.intp],
    shares: Sequence[float],
    *,
    replicates: int,
    seed: int,
) -> tuple[DiscardPoint, ...]:
    gone = _discarded(ladder, np.ones(len(ladder.values)), shares)[0]
    resampled = np.full((replicates, len(shares), len(counts)), np.nan)
    of_position = clusters[ladder.order]
    for number, weights in enumerate(cluster_weights(clusters, replicates=replicates, seed=seed)):
        lost, present = _discarded(ladder, weights[of_position], shares)
        resampled[number] = np.divide(lost, present, out=resampled[number], where=present > 0)
    cuts = [ladder.cut(share, np.arange(len(ladder.values) + 1.0)) for share in shares]
    return tuple(
        _point(share, float(ladder.values[cuts[k]]), gone[k], counts.astype(np.float64), resampled[:, k])
        for k, share in enumerate(shares)
    )


def _discarded(ladder: _Ladder, weights: DoubleArray, shares: Sequence[float]) -> tuple[DoubleArray, DoubleArray]:
    """Weight of each group that is discarded at each share, (K, G), and that is there at all, (G,)."""
    below = np.concatenate([[0.0], np.cumsum(weights)])
    by_group = np.concatenate([np.zeros((len(ladder.member), 1)), np.cumsum(ladder.member * weights, axis=1)], axis=1)
    return by_group[:, [ladder.cut(share, below) for share in shares]].T, by_group[:, -1]


def _point(
    share: float, threshold: float, gone: DoubleArray, counts: DoubleArray, resampled: DoubleArray
) -> DiscardPoint:
    rates, ratio = rates_with_ratio(gone, counts, resampled, usable=counts >= FEW_IMAGES)
    kept = counts - gone
    nan = np.full(len(counts), np.nan)
    return DiscardPoint(
        share=share,
        realised=float(gone.sum() / counts.sum()),
        threshold=threshold,
        rates=rates,
        ratio=ratio,
        among_discarded=tuple((gone / gone.sum() if gone.sum() else nan).tolist()),
        among_kept=tuple((kept / kept.sum() if kept.sum() else nan).tolist()),
    )


def _clusters(identities: Sequence[str] | None, taking_part: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    if identities is None:
        return np.arange(np.count_nonzero(taking_part))
    return np.unique(np.asarray(identities)[taking_part], return_inverse=True)[1].astype(np.intp)


def _spreads(
    values: DoubleArray, groups: npt.NDArray[np.intp], names: Sequence[str], *, replicates: int, seed: int
) -> tuple[QualitySpread, ...]:
    edges = np.histogram_bin_edges(values, bins=_BINS)
    spreads = []
    for number, name in enumerate(names):
        own = values[groups == number]
        histogram = Histogram(tuple(edges.tolist()), tuple(np.histogram(own, bins=edges)[0].tolist()))
        low, high = bootstrap_mean(own, replicates=replicates, seed=seed)
        quantiles = np.quantile(own, _QUANTILES) if len(own) else np.full(len(_QUANTILES), np.nan)
        a, b, c, d, e = quantiles.tolist()
        mean = float(own.mean()) if len(own) else float("nan")
        spreads.append(QualitySpread(name, len(own), mean, low, high, (a, b, c, d, e), histogram))
    return tuple(spreads)


def _warnings(names: Sequence[str], counts: npt.NDArray[np.intp], fnmr: Sequence[FnmrPoint]) -> tuple[str, ...]:
    small = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < FEW_IMAGES]
    warnings = []
    if small:
        warnings.append(f"groups with fewer than {FEW_IMAGES} images, in no ratio: {', '.join(small)}")
    if fnmr:
        before = fnmr[0]
        few = [
            f"{name} ({rate.hits:.0f})"
            for name, rate in zip(names, before.rates, strict=True)
            if rate.count and rate.hits < FEW_IMAGES
        ]
        if few:
            warnings.append(f"groups whose FNMR rests on fewer than {FEW_IMAGES} errors: {', '.join(few)}")
    return tuple(warnings)


def to_csv(reports: Sequence[BiasReport]) -> str:
    """One row for each method, column, discarded share, kind of rate and group; the ratio is that of the share."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    rate_columns = ("hits", "count", "value", "low", "high")
    writer.writerow(["method", "attribute", "rate", "discarded", "group", *rate_columns])
    for report in reports:
        for kind, points in (("discarded", report.points), ("fnmr", report.fnmr)):
            for point in points:
                start = [report.method, report.attribute, kind, point.share]
                for group, rate in zip(report.groups, point.rates, strict=True):
                    writer.writerow([*start, group, *(getattr(rate, column) for column in rate_columns)])
                ratio = point.ratio
                if ratio.worst >= 0:
                    pair = f"{report.groups[ratio.worst]} / {report.groups[ratio.best]}"
                    writer.writerow([*start, pair, "", "", ratio.value, ratio.low, ratio.high])
    return text.getvalue()
