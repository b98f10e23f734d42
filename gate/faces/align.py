"""Faces moved onto the ArcFace template.

The transform is the least-squares similarity of five landmarks (Umeyama, "Least-squares estimation of transformation
parameters between two point patterns", PAMI 1991). In the plane it has a closed form: with points as complex numbers,
w = a·z + b and a = Σ conj(z')w' / Σ |z'|² on centred points, which cannot reflect.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gate.types import CROP_SIDE_PX, Image

if TYPE_CHECKING:
    from torch import Tensor

TEMPLATE: npt.NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""(5, 2) float64: where the landmarks of `gate.types` stand in a 112x112 crop, (x, y) pixels."""
TEMPLATE.setflags(write=False)

_MIN_SPREAD_PX = 0.5
"""Landmarks whose root mean square distance from their centre is smaller are one point, not a face."""


def similarity(landmarks: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Least-squares similarities (rotation, one scale, translation) that carry landmarks onto `TEMPLATE`.

    Args:
        landmarks: (N, 5, 2), pixels.

    Returns:
        (N, 2, 3) float64 matrices from frame to crop, as `cv2.warpAffine` takes them. Rows of landmarks that
        `alignable` refuses are NaN.
    """
    points = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2)
    usable = alignable(points)
    safe = np.where(usable[:, None, None], points, TEMPLATE)
    a = _turn_and_scale(safe)
    linear = np.stack([np.stack([a.real, -a.imag], axis=-1), np.stack([a.imag, a.real], axis=-1)], axis=1)
    shift = TEMPLATE.mean(axis=0) - np.einsum("nij,nj->ni", linear, safe.mean(axis=1))
    matrices = np.concatenate([linear, shift[..., None]], axis=-1)
    matrices[~usable] = np.nan
    return matrices


def alignable(landmarks: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Tell which landmarks define a transform: finite, not all in one point, not a mirror image that has no scale.

    Args:
        landmarks: (N, 5, 2), pixels.

    Returns:
        (N,) bool.
    """
    points = np.asarray(landmarks, dtype=np.float64).reshape(-1, 5, 2)
    finite = _finite(points)
    safe = np.where(finite[:, None, None], points, 0.0)
    spread = np.sqrt(((safe - safe.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1))
    fits: npt.NDArray[np.bool_] = finite & (spread >= _MIN_SPREAD_PX)
    a = _turn_and_scale(np.where(fits[:, None, None], safe, TEMPLATE))
    # |a| · spread is the size of the face in the crop; it vanishes where landmarks and template do not correlate.
    fits &= np.abs(a) * spread >= _MIN_SPREAD_PX
    return fits


def align(image: Image, landmarks: npt.ArrayLike) -> Image:
    """Cut aligned crops out of a frame: bilinear, black border, at any scale, as the published aligners do.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (N, 5, 2), pixels of `image`.

    Returns:
        (N, 112, 112, 3) uint8 RGB. Landmarks that `alignable` refuses give a black crop.
    """
    import cv2

    matrices = similarity(landmarks)
    crops = np.zeros((len(matrices), CROP_SIDE_PX, CROP_SIDE_PX, 3), dtype=np.uint8)
    for crop, matrix in zip(crops, matrices, strict=True):
        if np.isfinite(matrix).all() and image.size:
            cv2.warpAffine(
                image, matrix, (CROP_SIDE_PX, CROP_SIDE_PX), dst=crop, flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0)
            )
    return crops


def align_tensor(image: "Tensor", landmarks: npt.ArrayLike) -> "Tensor":
    """Cut aligned crops with torch, on the image's device, all faces of the frame in one call.

    Args:
        image: (H, W, 3) uint8 RGB.
        landmarks: (N, 5, 2), pixels of `image`.

    Returns:
        (N, 112, 112, 3) uint8 RGB on the device of `image`. Landmarks that `alignable` refuses give a black crop.
        Equal to `align` within 1 grey level on average (OpenCV rounds positions to 1/32 pixel).
    """
    import torch
    from torch.nn import functional

    height, width = image.shape[:2]
    matrices = similarity(landmarks)
    side = CROP_SIDE_PX
    if not (len(matrices) and height and width):
        return torch.zeros((len(matrices), side, side, 3), dtype=torch.uint8, device=image.device)
    places = torch.from_numpy(_crop_grid_in_frame(matrices, width, height)).to(image.device)
    # One tall grid instead of N expanded copies of the frame.
    picture = image.permute(2, 0, 1)[None].to(torch.float32)
    flat = functional.grid_sample(
        picture, places.view(1, -1, side, 2), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    crops = flat.view(3, -1, side, side).permute(1, 2, 3, 0)
    return crops.round().clamp(0, 255).to(torch.uint8).contiguous()


def _finite(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """(N, a, b) → (N,) bool: rows without NaN and infinity."""
    return np.asarray(np.isfinite(rows).all(axis=(1, 2)), dtype=np.bool_)


def _turn_and_scale(points: npt.NDArray[np.float64]) -> npt.NDArray[np.complex128]:
    """(N, 5, 2) finite points that are not all equal → (N,) complex factor towards the template."""
    z = (points - points.mean(axis=1, keepdims=True)) @ np.array([1.0, 1.0j])
    w = (TEMPLATE - TEMPLATE.mean(axis=0)) @ np.array([1.0, 1.0j])
    factor: npt.NDArray[np.complex128] = (z.conj() @ w) / (np.abs(z) ** 2).sum(axis=1)
    return factor


def _crop_grid_in_frame(matrices: npt.NDArray[np.float64], width: int, height: int) -> npt.NDArray[np.float32]:
    """(N, 2, 3) matrices → (N, 112, 112, 2): each crop pixel's place in the frame, in grid_sample's [-1, 1]."""
    usable = _finite(matrices)
    inverse = np.linalg.inv(np.where(usable[:, None, None], matrices, np.eye(2, 3))[:, :, :2])
    axis = np.arange(CROP_SIDE_PX, dtype=np.float64)
    crop_xy = np.stack(np.meshgrid(axis, axis), axis=-1)
    frame_xy = np.einsum("nij,nhwj->nhwi", inverse, crop_xy - np.nan_to_num(matrices[:, None, None, :, 2]))
    grid = (2.0 * frame_xy + 1.0) / np.array([width, height]) - 1.0
    # Far outside, where zeros are sampled. Also keeps a wild transform within float32.
    grid[~usable] = -4.0
    clipped: npt.NDArray[np.float32] = np.clip(grid, -4.0, 4.0).astype(np.float32)
    return clipped
