"""What methods share that need no torch: batches of arrays on the CPU."""

from abc import abstractmethod

import numpy as np

from gate.quality.method import CPU_BATCH, CalibratedMethod, Crops
from gate.types import FloatArray, Image


class ArrayMethod(CalibratedMethod):
    """Template of a method that works on arrays: subclasses score one batch."""

    @abstractmethod
    def _raw_batch(self, crops: Image) -> FloatArray:
        """(n, 112, 112, 3) uint8 RGB, n from 1 to `max_batch`, to (n,) raw numbers."""

    def _raw(self, crops: Crops, seeds: list[int]) -> FloatArray:
        del seeds
        images = crops if isinstance(crops, np.ndarray) else crops.detach().cpu().numpy()
        size = min(self.max_batch, CPU_BATCH) if self.device == "cpu" else self.max_batch
        parts = [self._raw_batch(images[start : start + size]) for start in range(0, len(images), size)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)
