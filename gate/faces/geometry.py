"""Arithmetic on boxes."""

import numpy as np
import numpy.typing as npt


def iou_matrix(
    first_xywh: npt.ArrayLike, second_xywh: npt.ArrayLike, *, margins_px: npt.ArrayLike = 0.0
) -> npt.NDArray[np.float64]:
    """Overlap of every box with every other: intersection over union in [0, 1].

    Args:
        first_xywh: (N, 4), pixels; (0, 4) or empty for no boxes.
        second_xywh: (M, 4), pixels.
        margins_px: (N,) or one number: both boxes of a pair are first grown by this much on every side.

    Returns:
        (N, M) float64. Boxes without area and boxes with NaN overlap nothing.
    """
    a = np.asarray(first_xywh, dtype=np.float64).reshape(-1, 1, 4)
    b = np.asarray(second_xywh, dtype=np.float64).reshape(1, -1, 4)
    grow = np.asarray(margins_px, dtype=np.float64).reshape(-1, 1, 1) * [-1.0, -1.0, 2.0, 2.0]
    a, b = a + grow, b + grow
    left_top = np.maximum(a[..., :2], b[..., :2])
    right_bottom = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.clip(right_bottom - left_top, 0.0, None), axis=-1)
    areas = [np.prod(np.clip(box[..., 2:], 0.0, None), axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    iou: npt.NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    # Rounding can make the shared area a hair larger than the union.
    return np.clip(np.nan_to_num(iou, nan=0.0), 0.0, 1.0)


def outside_share(box_xywh: npt.ArrayLike, width_px: int, height_px: int) -> float:
    """Share of a box's area that lies outside a picture, in [0, 1]; 1.0 for a box without area."""
    x, y, w, h = (float(value) for value in np.asarray(box_xywh, dtype=np.float64))
    if not (w > 0 and h > 0):
        return 1.0
    inside_w = max(0.0, min(x + w, float(width_px)) - max(x, 0.0))
    inside_h = max(0.0, min(y + h, float(height_px)) - max(y, 0.0))
    return 1.0 - (inside_w / w) * (inside_h / h)
