"""From a batch of crops to the numbers of its rows."""

from typing import TYPE_CHECKING, Protocol

import numpy as np

from gate.errors import NotCalibratedError
from gate.types import FloatArray, Image

if TYPE_CHECKING:
    from gate.quality import QualityMethod
    from gate.quality.grafiqs import Grafiqs

VALUES = ("score", "raw", "quality")


class Scorer(Protocol):
    """Scores batches into one sheet, or into several at once."""

    sheets: tuple[str, ...]
    """Names of the sheets; one empty name where there is only one."""

    columns: tuple[str, ...]
    """Which of `VALUES` each sheet has."""

    def __call__(self, crops: Image) -> FloatArray:
        """(N, 112, 112, 3) uint8 RGB to (sheets, N, columns) float32."""
        ...


class MethodScorer:
    """One method, one sheet."""

    sheets: tuple[str, ...] = ("",)

    def __init__(self, method: "QualityMethod", columns: tuple[str, ...], seed: int = 0) -> None:
        """Score with `method`.

        Args:
            method: a loaded method.
            columns: which of `VALUES`.
            seed: of every crop, so that a crop's number does not depend on where it stands.

        Raises:
            NotCalibratedError: `quality` is wanted and there is no map to 0..100.
        """
        self.columns = columns
        self._method = method
        self._seed = seed
        if "quality" in columns:
            method.quality_of(np.empty(0, dtype=np.float32))

    def __call__(self, crops: Image) -> FloatArray:
        """See `Scorer`."""
        raw = self._method.raw(crops, seeds=self._seed)
        return np.stack([self._value(name, raw) for name in self.columns], axis=1)[None]

    def _value(self, name: str, raw: FloatArray) -> FloatArray:
        if name == "raw":
            return raw
        if name == "quality":
            return self._method.quality_of(raw)
        return self._method.score_of(raw)


class PhiScorer:
    """GraFIQs for all five φ from one backward pass, a sheet for each."""

    def __init__(self, method: "Grafiqs", columns: tuple[str, ...]) -> None:
        """Score with `method`.

        Args:
            method: GraFIQs with φ = all.
            columns: `score` or `raw`, or both.

        Raises:
            NotCalibratedError: `quality` is wanted; a map to 0..100 belongs to one φ.
        """
        from gate.quality.grafiqs import PHIS

        if "quality" in columns:
            raise NotCalibratedError(
                "grafiqs with --phi all has no quality of 0..100; choose one phi, or another --value."
            )
        self.sheets: tuple[str, ...] = PHIS
        self.columns = columns
        self._method = method

    def __call__(self, crops: Image) -> FloatArray:
        """See `Scorer`."""
        by_phi = self._method.raw_all(crops)
        signs = np.array([1.0 if name == "raw" else -1.0 for name in self.columns], dtype=np.float32)
        return np.stack([by_phi[phi][:, None] * signs for phi in self.sheets])


def is_calibrated(method: "QualityMethod") -> bool:
    """Whether there is a map to 0..100 for this method, its options and weights."""
    try:
        method.quality_of(np.empty(0, dtype=np.float32))
    except NotCalibratedError:
        return False
    return True
