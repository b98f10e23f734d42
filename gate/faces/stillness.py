"""Frames that nobody has to search: they show what one without a face has shown."""

import numpy as np
import numpy.typing as npt

from gate.faces.change import cells_of
from gate.types import Image

_GRID = (34, 60)
"""Rows and columns of the cells that are compared: 32 pixels wide in 1080p, where the smallest useful face has 60."""

_PIXELS = 8
"""Of each cell, along both sides, that are averaged."""

_MOVED = 4.0
"""Levels of 255 by which one cell of some 2,000 must differ for somebody to have come. Noise of 6 levels a pixel does
not reach it; noisier pictures are searched every time."""

_LONGEST_S = 1.0
"""An empty picture is searched again after this, whatever it shows: nobody may slip in below the threshold for long."""


class Stillness:
    """Remembers the last picture of one camera in which the detector found no face."""

    def __init__(self) -> None:
        self._empty: npt.NDArray[np.float32] | None = None
        self._searched_s = 0.0

    def same_as_empty(self, image: Image, now_s: float) -> bool:
        """Whether (H, W, 3) uint8 is the picture in which there was nobody less than a second ago. 0.2 ms for 1080p."""
        if self._empty is None or not 0 <= now_s - self._searched_s < _LONGEST_S:
            return False
        cells = cells_of(image, *_GRID, pixels=_PIXELS)
        # Against the one that was searched, not against the last: who comes slowly is seen all the same.
        return bool((np.abs(cells - self._empty) < _MOVED).all())

    def searched(self, image: Image, now_s: float, *, found: bool) -> None:
        """The detector has looked, and found a face or none."""
        self._empty = None if found else cells_of(image, *_GRID, pixels=_PIXELS)
        self._searched_s = now_s
