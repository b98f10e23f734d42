"""Whether something covers the face: a mask, a hand, another head. A linear model cheap enough for every face."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.quality.light import Planes
from gate.types import FloatArray

COEFFICIENTS = Path(__file__).with_name("occlusion.json")
"""Weights of the features and their intercept."""

CELLS = 8
"""The face is looked at in so many rows and columns of cells."""

_PART = (slice(24, 112), slice(20, 92))
"""Rows and columns of the crop from forehead to chin and from ear to ear: cells of 11 x 9 pixels."""

FEATURES = CELLS * CELLS * 5


def occlusion(planes: Planes) -> float:
    """How covered a face looks, 0..100: a logistic regression on `features`, 0.15 ms a face.

    50 is what 2 % of the uncovered faces of the fit exceed. On people and photographs that were held out (five folds of
    11,993 faces, `scripts/fit_occlusion.py` prints the table), 50 finds 96 % of 709 face masks (area under the ROC
    curve 0.99), 55 % of 113 faces that WIDER FACE calls heavily occluded (0.87) and 19 % of 171 partly occluded ones
    (0.72). It takes 2.4 % of 789 bare faces beside the masks for covered, 4.5 % of 2,488 of WIDER's, 0.1 % of 3,500
    portraits, at most 0.3 % of any of their five groups of skin and origin, and 0.2 % of 3,851 of LFW. Without colour,
    as from an infrared camera, 8 % and 11 % of the first two. So it tells masks well, hands and other heads half the
    time, and partial covers hardly; glasses, hats and beards are not meant to count and have not been labelled.

    Args:
        planes: The crop, filtered.
    """
    seen = features(planes)
    if not seen.any():
        # Nothing but border: there is no face that anything could cover.
        return 0.0
    weights, intercept = _model()
    return 100.0 / (1.0 + math.exp(-max(-50.0, min(50.0, float(seen @ weights) + intercept))))


def features(planes: Planes) -> FloatArray:
    """What the linear model weighs: each cell against the rest of the same face, so that light and skin cancel out.

    Returns:
        (320,) float32: for each of 8 x 8 cells, row by row, its luminance in standard deviations from the mean of the
        cells, red and blue chroma in tens of grey levels from their median, and strength of vertical and horizontal
        edges over the mean of the face, less one. Cells that are mostly border are zero.
    """
    import cv2

    layers = [
        cv2.cvtColor(planes.crop[_PART], cv2.COLOR_RGB2YCrCb).astype(np.float32),
        np.abs(planes.across[_PART])[..., None],
        np.abs(planes.down[_PART])[..., None],
    ]
    usable = np.ones((CELLS, CELLS), dtype=np.bool_)
    if planes.border is None:
        cells = _mean_of_cells(layers)
    else:
        inside = (~planes.border[_PART])[..., None].astype(np.float32)
        share = _mean_of_cells([inside])
        usable = share[..., 0] > 0.5
        cells = _mean_of_cells([layer * inside for layer in layers])
        cells /= np.maximum(share, 0.01)
    known = cells[usable]
    relative = np.zeros((CELLS, CELLS, 5), dtype=np.float32)
    if not known.size:
        return relative.ravel()
    relative[..., 0] = (cells[..., 0] - known[:, 0].mean()) / (known[:, 0].std() + 8.0)
    relative[..., 1:3] = (cells[..., 1:3] - np.median(known[:, 1:3], axis=0)) / 10.0
    relative[..., 3:] = np.minimum(cells[..., 3:] / (known[:, 3:].mean() + 1.0), 4.0) - 1.0
    relative[~usable] = 0.0
    return relative.ravel()


def _mean_of_cells(layers: list[npt.NDArray[np.float32]]) -> FloatArray:
    """Layers of (88, 72, n) → (8, 8, sum of n)."""
    import cv2

    # Stacking the small means instead of the layers is ten times as fast.
    means = [cv2.resize(layer, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for layer in layers]
    return np.dstack(means).astype(np.float32, copy=False)


@cache
def _model() -> tuple[FloatArray, float]:
    """(320,) weights and the intercept."""
    stored = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    weights = np.array(stored["weights"], dtype=np.float32)
    if weights.shape != (FEATURES,):
        raise ValueError(f"{COEFFICIENTS.name}: {weights.shape} weights, expected {FEATURES}")
    weights.setflags(write=False)
    return weights, float(stored["intercept"])
