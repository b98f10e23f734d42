"""When the whole picture changes from one frame to the next: a cut in a file, a camera that turns, a light."""

import numpy as np
import numpy.typing as npt

from gate.types import Image

_ROWS, _COLUMNS = 18, 32
"""Cells of the picture that are compared."""

_OTHER = 12.0
"""Levels of 255 from which a cell has changed."""

_MOST = 0.5
"""Share of the cells that must have changed.

Five cuts of a film changed 55 to 95 % of them; people who walk past changed at most 25 % at 2 frames a second, and a
hand-held camera in a crowd 17 % at 25 frames a second and 43 % at 6.
"""


class PictureChange:
    """Compares each frame of one camera with the one before."""

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None

    def sees(self, image: Image) -> bool:
        """Whether (H, W, 3) uint8 is another picture than the last; False for the first. 0.1 ms for 1080p."""
        before, self._before = self._before, cells_of(image, _ROWS, _COLUMNS, pixels=4)
        return before is not None and float((np.abs(self._before - before) > _OTHER).mean()) > _MOST


def cells_of(image: Image, rows: int, columns: int, *, pixels: int) -> npt.NDArray[np.float32]:
    """(rows, columns) float32: the mean green, which is most of the luminance, of `pixels` x `pixels` of each cell."""
    import cv2

    height, width = image.shape[:2]
    few = image[:: max(1, height // (pixels * rows)), :: max(1, width // (pixels * columns)), 1]
    cells = cv2.resize(few.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(cells, dtype=np.float32)
