"""What every quality method is, and what all of ours share: checking what they are given, and the way to 0..100."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.errors import QualityError
from gate.quality.calibration import CalibrationKey, CalibrationTable, OptionValue
from gate.types import CROP_SIDE_PX, FloatArray, Image

if TYPE_CHECKING:
    from torch import Tensor

Crops: TypeAlias = "Image | Tensor"
"""(N, 112, 112, 3) uint8 RGB, numpy or torch, on any device."""

Seeds: TypeAlias = int | Sequence[int] | None
"""None is 0 for every crop; one int is the same for every crop; a sequence has one int a crop."""

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


class CalibratedMethod(ABC):
    """A method that has a map from its raw numbers to 0..100; subclasses make the raw numbers."""

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
        self._calibration = calibration

    @abstractmethod
    def _raw(self, crops: Crops, seeds: list[int]) -> FloatArray:
        """(N,) raw numbers of N checked crops, each with its seed."""

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
        images = checked_crops(crops, self.name)
        return self._raw(images, seed_list(seeds, len(images), self.name))

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


def checked_crops(crops: Crops, who: str) -> Crops:
    """The crops, where they are aligned crops; raises `QualityError` for anything else."""
    if not isinstance(crops, np.ndarray) and not is_tensor(crops):
        raise QualityError(f"{who}: crops must be a numpy array or a torch tensor, got {type(crops).__name__}")
    wanted = (CROP_SIDE_PX, CROP_SIDE_PX, 3)
    # torch writes its own as torch.uint8.
    is_uint8 = str(crops.dtype).rpartition(".")[2] == "uint8"
    if crops.ndim != 4 or tuple(crops.shape[1:]) != wanted or not is_uint8:
        raise QualityError(
            f"{who}: crops must be (N, {CROP_SIDE_PX}, {CROP_SIDE_PX}, 3) uint8 RGB, "
            f"got {tuple(crops.shape)} {crops.dtype}. Align the faces first; one crop is crops[None]."
        )
    return crops


def is_tensor(crops: object) -> bool:
    """Whether this is torch's; nobody can have made one where torch was never imported."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(crops, torch.Tensor)


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
