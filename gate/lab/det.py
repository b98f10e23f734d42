"""Detection error trade-off with and without discards, histograms, rank correlation."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gate.lab.curves import allowed_matches
from gate.lab.modes import ImpostorOrder
from gate.lab.results import DetCurve, Histogram, IndexArray, ScoreStatistics, SpearmanMatrix
from gate.types import FloatArray

BINS = 50
DET_POINTS = 61


def det_curve(
    discarded: float,
    image_ranks: IndexArray,
    genuine: tuple[IndexArray, FloatArray],
    impostor_ranks: IndexArray,
    impostors: ImpostorOrder,
) -> DetCurve:
    """The trade-off among the pairs that are left when the worst images are discarded.

    Args:
        discarded: share of images to discard; images with equal scores go together, and never more than this share.
        image_ranks: (N,) ranks of the images.
        genuine: (G,) ranks and (G,) similarities of the genuine pairs.
        impostor_ranks: (M,) ranks of the impostor pairs.
        impostors: their similarities, sorted.

    Returns:
        FNMR at up to 61 false match rates from 1 / (impostor pairs left) to 1, equally far apart on a log scale; no
        points where one kind of pairs is used up.
    """
    cut = _cut_rank(image_ranks, discarded)
    genuine_left = np.sort(genuine[1][genuine[0] >= cut])
    impostors_left = impostors.similarity[impostor_ranks[impostors.places] >= cut]
    n_genuine, n_impostor = len(genuine_left), len(impostors_left)
    if n_genuine == 0 or n_impostor == 0:
        return DetCurve(discarded, n_genuine, n_impostor, (), ())
    targets = np.geomspace(1 / n_impostor, 1, DET_POINTS)
    allowed = np.unique([allowed_matches(n_impostor, target) for target in targets])
    thresholds = impostors_left[allowed]
    fnmr = np.searchsorted(genuine_left, thresholds, side="right") / n_genuine
    fmr = np.searchsorted(-impostors_left, -thresholds, side="left") / n_impostor
    return DetCurve(discarded, n_genuine, n_impostor, tuple(fmr.tolist()), tuple(fnmr.tolist()))


def _cut_rank(image_ranks: IndexArray, discarded: float) -> int:
    up_to = np.cumsum(np.bincount(image_ranks))
    return int(np.searchsorted(up_to, int(discarded * len(image_ranks) + 1e-9), side="right"))


def histogram(values: npt.NDArray[np.floating], bins: int = BINS) -> Histogram:
    """Counts in equal bins from the lowest to the highest value."""
    counts, edges = np.histogram(np.asarray(values, dtype=np.float64), bins=bins)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def score_statistics(scores: FloatArray) -> ScoreStatistics:
    """How (N,) scores are spread, N at least 1."""
    values = scores.astype(np.float64)
    return ScoreStatistics(
        mean=float(values.mean()),
        std=float(values.std()),
        minimum=float(values.min()),
        median=float(np.median(values)),
        maximum=float(values.max()),
        distinct=len(np.unique(values)),
        histogram=histogram(values),
    )


def spearman(names: Sequence[str], scores: Sequence[FloatArray]) -> SpearmanMatrix:
    """Rank correlation between methods; equal scores share their mean rank."""
    from scipy.stats import rankdata

    ranks = np.array([rankdata(values) for values in scores], dtype=np.float64)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.full_like(centred, np.nan), where=length > 0)
    rho = np.clip((unit @ unit.T).round(12), -1.0, 1.0)
    return SpearmanMatrix(tuple(names), tuple(tuple(float(value) for value in row) for row in rho))
