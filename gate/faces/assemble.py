"""From a detector's rows to faces: what is not a usable face ends here."""

import numpy as np
import numpy.typing as npt

from gate.faces.align import alignable
from gate.types import Face


def assemble_faces(
    boxes_xywh: npt.ArrayLike,
    landmarks: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    width_px: int,
    height_px: int,
) -> list[Face]:
    """Build faces, best score first.

    Dropped are rows with NaN or infinity, boxes without area, boxes entirely outside the picture, and landmarks that
    span nothing and so cannot be aligned. Boxes that reach outside the picture stay as they are.

    Args:
        boxes_xywh: (N, 4), pixels of the full frame.
        landmarks: (N, 5, 2), pixels of the full frame, in the order of `gate.types`.
        scores: (N,); values beyond [0, 1] are clipped.
        width_px: Columns of the full frame.
        height_px: Rows of the full frame.
    """
    # Numbers too large for float32 become infinite in the cast, and drop out with the others.
    with np.errstate(over="ignore"):
        boxes = np.asarray(boxes_xywh, dtype=np.float64).reshape(-1, 4).astype(np.float32)
        points = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2).astype(np.float32)
    sure = np.clip(np.asarray(scores, dtype=np.float64).reshape(-1), 0.0, 1.0)

    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2)) & np.isfinite(sure)
    x, y, w, h = np.where(finite[:, None], boxes, 0).astype(np.float64).T
    touches = (w > 0) & (h > 0) & (x < width_px) & (y < height_px) & (x + w > 0) & (y + h > 0)
    kept = np.flatnonzero(finite & touches & alignable(points))
    ranked = kept[np.argsort(-sure[kept], kind="stable")]
    return [Face(box_xywh=boxes[i].copy(), landmarks=points[i].copy(), score=float(sure[i])) for i in ranked]
