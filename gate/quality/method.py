"""What every quality method is, and what those that run on torch share: checking, batching and memory."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gate.errors import DeviceError, QualityError
from gate.quality.calibration import CalibrationKey, CalibrationTable, OptionValue
from gate.quality.device import free_bytes, is_out_of_memory
from gate.types import CROP_SIDE_PX, FloatArray

Crops: TypeAlias = npt.NDArray[np.uint8] | Tensor
"""(N, 112, 112, 3) uint8 RGB, numpy or torch, on any device."""

Seeds: TypeAlias = int | Sequence[int] | None
"""None is 0 for every crop; one int is the same for every crop; a sequence has one int a crop."""

BatchScorer: TypeAlias = Callable[[Tensor, list[int]], Tensor]
"""(n, 112, 112, 3) uint8 RGB on the device and n seeds to (n,) or (n, columns) numbers."""

MEMORY_SHARE = 0.8
"""Share of the free memory that one batch may fill; the rest is for workspaces and neighbours."""

CPU_BATCH = 8
"""Most crops at once on a CPU: beyond it activations fall out of the cache. MobileFaceNet takes 8.5 ms a crop in
batches of 8 and 14 ms in one of 32 on one core."""


class QualityMethod(Protocol):
    """Turns aligned crops into numbers. Used by one thread at a time."""

    name: str
    """Name as in `gate methods`."""

    model: str
    """name@first 8 hex digits of the sha256 of the weights that score; empty for a method without weights."""

    device: str
    """Where it really runs, such as `cpu` or `cuda:0`."""

    def raw(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """The published number, unflipped, (N,) float32. Raises `QualityError` for crops of another shape or type."""
        ...

    def score(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """(N,) float32, higher is better. Raises as `raw` does."""
        ...

    def score_of(self, raw: FloatArray) -> FloatArray:
        """Raw numbers of this method to scores without scoring again."""
        ...

    def quality(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """(N,) float32 in 0..100. Raises as `raw`, and `NotCalibratedError` where there is no map to 0..100."""
        ...

    def quality_of(self, raw: FloatArray) -> FloatArray:
        """Raw numbers of this method to 0..100 without scoring again. Raises `NotCalibratedError`."""
        ...

    def is_plausible(self, raw: FloatArray) -> npt.NDArray[np.bool_]:
        """(N,) raw to (N,) whether it may be a number of this method at all. Raises `NotCalibratedError`."""
        ...


class TorchMethod(ABC):
    """Template of a method that runs on torch: subclasses score one batch, this class does the rest.

    A batch is never larger than `max_batch` nor than what the device's free memory holds at `bytes_per_crop`. When
    the device runs out of memory all the same, the batch is halved, the event counted in `oom_count`, and the crops
    scored again; only a single crop that does not fit is an error.
    """

    bytes_per_crop: int = 32 * 2**20
    """Working memory that one crop needs on the device, in bytes; subclasses state their own."""

    def __init__(
        self,
        *,
        name: str,
        model: str,
        device: str,
        max_batch: int = 32,
        calibration: CalibrationTable | None = None,
    ) -> None:
        if max_batch < 1:
            raise QualityError(f"{name}: max_batch must be at least 1, got {max_batch}")
        self.name = name
        self.model = model
        self.device = device
        self.max_batch = max_batch
        self.oom_count = 0
        self._calibration = calibration

    @abstractmethod
    def _raw_batch(self, crops: Tensor, seeds: list[int]) -> Tensor:
        """Score one batch.

        Args:
            crops: (n, 112, 112, 3) uint8 RGB on the method's device, n at least 1.
            seeds: n seeds, one a crop; a crop's number depends on its own seed only.

        Returns:
            (n,) raw numbers.
        """

    def score_of(self, raw: FloatArray) -> FloatArray:
        """Raw to higher-is-better; the identity unless a method says otherwise."""
        return raw

    def _calibrated_value(self, raw: FloatArray) -> FloatArray:
        """The number that the calibration's quantiles are of: the score, unless the score saturates."""
        return self.score_of(raw)

    def calibration_options(self) -> dict[str, OptionValue]:
        """Options that change the meaning of the number, and with it the map to 0..100."""
        return {}

    @property
    def calibration_key(self) -> CalibrationKey:
        """What a map to 0..100 must have been made for to be used here."""
        return CalibrationKey.of(self.name, self.calibration_options(), self.model)

    def raw(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.raw`."""
        return self._map_batches(crops, seeds).reshape(-1)

    def score(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.score`."""
        return self.score_of(self.raw(crops, seeds=seeds))

    def quality(self, crops: Crops, *, seeds: Seeds = None) -> FloatArray:
        """See `QualityMethod.quality`. A missing calibration is told before anything is scored."""
        self._table().find(self.calibration_key)
        return self.quality_of(self.raw(crops, seeds=seeds))

    def quality_of(self, raw: FloatArray) -> FloatArray:
        """See `QualityMethod.quality_of`."""
        calibration = self._table().find(self.calibration_key)
        return calibration.quality_of(self._calibrated_value(np.asarray(raw, dtype=np.float32)))

    def is_plausible(self, raw: FloatArray) -> npt.NDArray[np.bool_]:
        """See `QualityMethod.is_plausible`: finite, and not absurdly far outside the calibration's reference set."""
        calibration = self._table().find(self.calibration_key)
        return calibration.is_plausible(self._calibrated_value(np.asarray(raw, dtype=np.float32)))

    def calibrated_value(self, raw: FloatArray) -> FloatArray:
        """The number whose quantiles a new calibration of this method is made of, (N,) float32."""
        return self._calibrated_value(np.asarray(raw, dtype=np.float32))

    def _table(self) -> CalibrationTable:
        if self._calibration is None:
            self._calibration = CalibrationTable.shipped()
        return self._calibration

    def _map_batches(
        self, crops: Crops, seeds: Seeds, *, columns: int = 1, score: BatchScorer | None = None
    ) -> FloatArray:
        """`score` (default `_raw_batch`) over all crops in batches that fit; (N, columns) float32."""
        scorer = self._raw_batch if score is None else score
        images = checked_crops(crops, self.name)
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


def checked_crops(crops: Crops, who: str) -> Tensor:
    """Aligned crops as a (N, 112, 112, 3) uint8 tensor where they are; raises `QualityError` for anything else."""
    if not isinstance(crops, (np.ndarray, Tensor)):
        raise QualityError(f"{who}: crops must be a numpy array or a torch tensor, got {type(crops).__name__}")
    wanted = (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    is_uint8 = crops.dtype in {np.dtype(np.uint8), torch.uint8}
    if crops.ndim != 4 or tuple(crops.shape[1:]) != wanted or not is_uint8:
        raise QualityError(
            f"{who}: crops must be (N, {CROP_SIDE_PX}, {CROP_SIDE_PX}, 3) uint8 RGB, "
            f"got {tuple(crops.shape)} {crops.dtype}. Align the faces first; one crop is crops[None]."
        )
    if isinstance(crops, Tensor):
        return crops.detach()
    # A copy where the array is read-only or has negative strides: torch takes neither.
    writable = crops.flags.writeable and crops.flags.c_contiguous
    return torch.from_numpy(crops if writable else crops.copy())


def seed_list(seeds: Seeds, count: int, who: str) -> list[int]:
    """One seed a crop; raises `QualityError` when their number does not fit."""
    if seeds is None:
        return [0] * count
    if isinstance(seeds, (int, np.integer)):
        return [int(seeds)] * count
    given = [int(seed) for seed in seeds]
    if len(given) != count:
        raise QualityError(f"{who}: {count} crops need {count} seeds (or one for all), got {len(given)}")
    return given
