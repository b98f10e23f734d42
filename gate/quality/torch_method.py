"""What methods that run on torch share: batching and memory."""

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from gate.errors import DeviceError
from gate.quality.device import free_bytes, is_out_of_memory
from gate.quality.method import CPU_BATCH, CalibratedMethod, Crops, Seeds, checked_crops, seed_list
from gate.types import FloatArray

BatchScorer: TypeAlias = Callable[[Tensor, list[int]], Tensor]
"""(n, 112, 112, 3) uint8 RGB on the device and n seeds to (n,) or (n, columns) numbers."""

MEMORY_SHARE = 0.8
"""Share of the free memory that one batch may fill; the rest is for workspaces and neighbours."""


class TorchMethod(CalibratedMethod):
    """Template of a method that runs on torch: subclasses score one batch, this class does the rest.

    A batch is never larger than `max_batch` nor than what the device's free memory holds at `bytes_per_crop`. When
    the device runs out of memory all the same, the batch is halved, the event counted in `oom_count`, and the crops
    scored again; only a single crop that does not fit is an error.
    """

    bytes_per_crop: int = 32 * 2**20
    """Working memory that one crop needs on the device, in bytes; subclasses state their own."""

    oom_count: int = 0
    """How often memory ran out."""

    @abstractmethod
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        """Score one batch.

        Args:
            crops: (n, 112, 112, 3) uint8 RGB on the method's device, n at least 1.
            seeds: n seeds, one a crop; a crop's number depends on its own seed only.

        Returns:
            (n,) raw numbers.
        """

    def _raw(self, crops: Crops, seeds: list[int]) -> FloatArray:
        return self._map_batches(crops, seeds).reshape(-1)

    def _map_batches(
        self, crops: Crops, seeds: Seeds, *, columns: int = 1, score: BatchScorer | None = None
    ) -> FloatArray:
        """`score` (default `_raw_batch`) over all crops in batches that fit; (N, columns) float32."""
        scorer = self._raw_batch if score is None else score
        images = tensor_of(checked_crops(crops, self.name))
        all_seeds = seed_list(seeds, len(images), self.name)
        results = np.empty((len(images), columns), dtype=np.float32)
        size = self._batch_limit()
        start = 0
        while start < len(images):
            stop = min(start + size, len(images))
            numbers = self._try_batch(scorer, images[start:stop], all_seeds[start:stop])
            if numbers is None:
                size = self._halved(stop - start)
                continue
            results[start:stop] = numbers.detach().float().cpu().numpy().reshape(stop - start, columns)
            start = stop
        return results

    def _try_batch(self, scorer: BatchScorer, images: Tensor, seeds: list[int]) -> Tensor | None:
        """The batch's numbers, or None when memory ran out; the exception's frames hold tensors and must go first."""
        try:
            return scorer(images.to(self.device), seeds)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _halved(self, size: int) -> int:
        self.oom_count += 1
        if torch.device(self.device).type == "cuda":
            torch.cuda.empty_cache()
        if size == 1:
            raise DeviceError(
                f"{self.name}: {self.device} has too little free memory for a single crop "
                f"(about {self.bytes_per_crop / 2**20:.0f} MiB). Free memory there or use another device."
            )
        return size // 2

    def _batch_limit(self) -> int:
        free = free_bytes(self.device)
        largest = min(self.max_batch, CPU_BATCH) if self.device == "cpu" else self.max_batch
        if free is None:
            return largest
        return max(1, min(largest, int(free * MEMORY_SHARE) // self.bytes_per_crop))


def tensor_of(crops: Crops) -> Tensor:
    """Checked crops as a tensor, where they are."""
    if isinstance(crops, Tensor):
        return crops.detach()
    # A copy where the array is read-only or has negative strides: torch takes neither.
    writable = crops.flags.writeable and crops.flags.c_contiguous
    return torch.from_numpy(crops if writable else crops.copy())
