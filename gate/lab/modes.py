"""The curves of published code whose rules differ from the primary one, so that its numbers can be compared.

`crfiqa` (Boutros et al., CVPR 2023, and the code its authors share): genuine and impostor pairs are sorted
*together*, the lowest share of both is discarded at 20 points, the threshold is found *again* on what is left, and the
points are joined by lines. Embeddings are those of the crop and of its mirror image, joined; distance is
arccos(cosine) / pi.

`beyond-edc`: *images* are discarded, and a pair stays while both of its images do; the threshold stays the one of the
whole set.

The published codes cut ties by their place in the file, so that their numbers depend on the order of the pairs; here
ties stay together, and a cut that would split them keeps them all.
"""

from dataclasses import dataclass

import numpy as np

from gate.lab.curves import CountArray, DoubleArray, StepCurve, allowed_matches, curve_of_counts
from gate.lab.results import BoolArray, IndexArray
from gate.types import FloatArray

CRFIQA_POINTS = 20
"""Discarded shares 0, 0.05, .. 0.95."""

CRFIQA_LIMIT = 0.95
"""Where the published area ends."""


@dataclass(frozen=True, slots=True, eq=False)
class ImpostorOrder:
    """Impostor pairs by falling similarity: sorted once, asked at every point of every method."""

    similarity: FloatArray
    """(M,) float32, descending."""

    places: IndexArray
    """(M,) index of each among the impostor pairs."""

    @classmethod
    def of(cls, similarity: FloatArray) -> "ImpostorOrder":
        """Sort (M,) similarities."""
        places = np.argsort(-similarity, kind="stable").astype(np.int32)
        return cls(similarity[places], places)


def joined(plain: FloatArray, mirrored: FloatArray) -> FloatArray:
    """(N, D) embeddings of the crops and of their mirror images to (N, 2D): the published `crfiqa` embedding."""
    return np.concatenate([plain, mirrored], axis=1)


def arccos_distance(similarity: float) -> float:
    """Cosine to arccos(cosine) / pi, 0 for equal directions and 1 for opposite ones.

    >>> arccos_distance(1.0), arccos_distance(0.0), arccos_distance(-1.0)
    (0.0, 0.5, 1.0)
    """
    return float(np.arccos(np.clip(similarity, -1.0, 1.0)) / np.pi)


def crfiqa_curve(
    genuine_ranks: IndexArray,
    genuine_similarity: FloatArray,
    impostor_ranks: IndexArray,
    impostors: ImpostorOrder,
    fmr_target: float,
) -> tuple[DoubleArray, DoubleArray]:
    """FNMR at the target FMR after discards of both kinds together, the threshold recomputed at each point.

    Args:
        genuine_ranks: (G,) ranks of the genuine pairs.
        genuine_similarity: (G,) cosines of the joined embeddings.
        impostor_ranks: (M,) ranks of the impostor pairs.
        impostors: their similarities, sorted.
        fmr_target: 0..1.

    Returns:
        x (K,) discarded shares and y (K,) FNMR, K at most 20: the curve ends where one kind has no pair left.
    """
    ranks_by_similarity = impostor_ranks[impostors.places]
    cuts = cut_ranks(genuine_ranks, impostor_ranks)
    y: list[float] = []
    for cut in cuts:
        kept = np.flatnonzero(ranks_by_similarity >= cut)
        genuine = genuine_similarity[genuine_ranks >= cut]
        if len(kept) == 0 or len(genuine) == 0:
            break
        threshold = impostors.similarity[kept[allowed_matches(len(kept), fmr_target)]]
        y.append(float(np.mean(genuine <= threshold)))
    return crfiqa_points(len(y)), np.array(y, dtype=np.float64)


def crfiqa_points(count: int = CRFIQA_POINTS) -> DoubleArray:
    """The first `count` discarded shares, (count,): 0, 0.05, ..."""
    return np.arange(count, dtype=np.float64) / CRFIQA_POINTS


def cut_ranks(genuine_ranks: IndexArray, impostor_ranks: IndexArray) -> IndexArray:
    """The lowest rank that stays at each of the 20 points."""
    pairs: CountArray = np.bincount(genuine_ranks)
    impostor_pairs = np.bincount(impostor_ranks, minlength=len(pairs))
    total = np.zeros(max(len(pairs), len(impostor_pairs)), dtype=np.int64)
    total[: len(pairs)] += pairs
    total += impostor_pairs
    up_to = np.cumsum(total)
    may_go = np.arange(CRFIQA_POINTS) * up_to[-1] // CRFIQA_POINTS
    cuts: IndexArray = np.searchsorted(up_to, may_go, side="right").astype(np.int32)
    return cuts


def beyond_edc_curve(image_ranks: IndexArray, ranks: IndexArray, errors: BoolArray, n_ranks: int) -> StepCurve:
    """Error rate among the pairs whose both images stay, over the share of images discarded.

    Args:
        image_ranks: (N,) ranks of the images.
        ranks: (P,) ranks of pairs of one kind.
        errors: (P,) True where the pair is decided wrongly at the threshold of the whole set.
        n_ranks: how many ranks the images have.
    """
    images = np.bincount(image_ranks, minlength=n_ranks)
    pairs = np.bincount(ranks, minlength=n_ranks)
    wrong = np.bincount(ranks[errors], minlength=n_ranks)
    return curve_of_counts(images, pairs, wrong)
