"""The errors among images that reach a score, from which a quality bar can be chosen by its outcome."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class KeptCurve:
    """False non-matches among images that reach a score: from it a quality bar can be chosen by its outcome."""

    fmr_target: float
    """As in `Curve`; the threshold is set with nothing discarded, as that of a recognizer in service is."""

    scores: tuple[float, ...]
    """Ascending: images with a lower score are discarded."""

    fnmr: tuple[float, ...]
    """Error rate among the genuine pairs that are left; same length."""

    pairs: tuple[int, ...]
    """Genuine pairs that are left; same length."""


def kept_by_rank(
    ranks: npt.NDArray[np.int32], errors: npt.NDArray[np.bool_], n_ranks: int, resolution: int = 1000
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """What is left when images below a rank are discarded: the error rate, rank by rank.

    Args:
        ranks: (P,) int32 ranks of the genuine pairs.
        errors: (P,) True where the pair is decided wrongly at the fixed threshold.
        n_ranks: how many ranks the images have.
        resolution: about how many ranks to tell at most, equally far apart in pairs left.

    Returns:
        (K,) ascending ranks, and the (K,) error rates among the (K,) pairs of this rank or above.
    """
    pairs = np.bincount(ranks, minlength=n_ranks)
    wrong = np.bincount(ranks[errors], minlength=n_ranks)
    left, wrong_left = pairs.sum() - (np.cumsum(pairs) - pairs), wrong.sum() - (np.cumsum(wrong) - wrong)
    places = np.flatnonzero(pairs > 0)
    if len(places) > resolution:
        steps = left[places] * resolution // left[0]
        places = places[np.append(True, np.diff(steps) != 0)]
    return places.astype(np.int32), wrong_left[places] / left[places], left[places]
