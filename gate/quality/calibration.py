"""From a method's number to a quality of 0..100: the share of a reference set that scores worse.

A map belongs to one method with its options on one set of weights. The package ships maps for its defaults in
`calibration.json`; `gate calibrate` makes others.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gate.errors import NotCalibratedError, QualityError
from gate.types import FloatArray

OptionValue: TypeAlias = str | int | float | bool | None

FORMAT = 1
QUANTILES = 101

FAR = 3.0
"""How many times its own width a number may lie outside the reference set before it is no quality at all."""


@dataclass(frozen=True, slots=True)
class CalibrationKey:
    """What a map was made for."""

    method: str
    """Name as in `gate methods`."""

    options: tuple[tuple[str, OptionValue], ...]
    """Options that change the number's meaning, sorted by name."""

    model: str
    """name@first 8 hex digits of the sha256 of the weights; empty for a method without weights."""

    @classmethod
    def of(cls, method: str, options: Mapping[str, OptionValue], model: str) -> "CalibrationKey":
        """A key from a dictionary of options."""
        return cls(method, tuple(sorted(options.items())), model)

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        return f"{self.method}({options})" + (f" on {self.model}" if self.model else "")


@dataclass(frozen=True, slots=True)
class Calibration:
    """A piecewise-linear map from the calibrated number (higher is better) to 0..100."""

    key: CalibrationKey

    quantiles: tuple[float, ...]
    """101 numbers, ascending: the 0th to the 100th percentile of the reference set."""

    count: int
    """How many crops the reference set had."""

    description: str = ""
    """What the reference set was made of."""

    seed: int | None = None
    """Seed with which the reference set was drawn, where it was drawn."""

    def quality_of(self, values: FloatArray) -> FloatArray:
        """(N,) numbers to (N,) float32 in 0..100; below the reference's worst is 0, above its best is 100.

        >>> flat = Calibration(CalibrationKey("m", (), ""), tuple(float(i) for i in range(101)), 101)
        >>> flat.quality_of(np.array([-5.0, 12.5, 1000.0], dtype=np.float32)).tolist()
        [0.0, 12.5, 100.0]
        """
        places = np.linspace(0.0, 100.0, len(self.quantiles))
        # A run of equal quantiles (a saturated number) maps to the middle of its run, not to whichever end comes first.
        levels, group = np.unique(np.asarray(self.quantiles, dtype=np.float64), return_inverse=True)
        centres = np.bincount(group, weights=places) / np.bincount(group)
        quality = np.interp(np.asarray(values, dtype=np.float64), levels, centres, left=0.0, right=100.0)
        return quality.astype(np.float32)

    def is_plausible(self, values: FloatArray) -> npt.NDArray[np.bool_]:
        """(N,) numbers to (N,) whether each is finite and not absurdly far outside the reference set.

        >>> unit = Calibration(CalibrationKey("m", (), ""), tuple(i / 100 for i in range(101)), 101)
        >>> unit.is_plausible(np.array([-1.0, 0.5, 3.9, 1e4, np.nan], dtype=np.float32)).tolist()
        [True, True, True, False, False]
        """
        low, high = self.quantiles[0], self.quantiles[-1]
        margin = FAR * (high - low)
        numbers = np.asarray(values, dtype=np.float64)
        return np.isfinite(numbers) & (numbers >= low - margin) & (numbers <= high + margin)

    def to_json(self) -> dict[str, Any]:
        """The map as plain values for JSON."""
        return {
            "method": self.key.method,
            "options": dict(self.key.options),
            "model": self.key.model,
            "reference": {"description": self.description, "crops": self.count, "seed": self.seed},
            "quantiles": [float(f"{value:.8g}") for value in self.quantiles],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Calibration":
        """The inverse of `to_json`; raises `QualityError` for anything that is no such map."""
        try:
            reference = data["reference"]
            quantiles = tuple(float(value) for value in data["quantiles"])
            key = CalibrationKey.of(str(data["method"]), dict(data["options"]), str(data["model"]))
            map_ = cls(key, quantiles, int(reference["crops"]), str(reference["description"]), reference.get("seed"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QualityError(
                f"not a calibration: {type(error).__name__} {error}. Make one with gate calibrate."
            ) from None
        if len(quantiles) != QUANTILES or not np.all(np.isfinite(quantiles)) or np.any(np.diff(quantiles) < 0):
            raise QualityError(f"calibration of {key}: needs {QUANTILES} finite quantiles in ascending order")
        return map_


def fit(values: npt.ArrayLike, key: CalibrationKey, *, description: str = "", seed: int | None = None) -> Calibration:
    """Make the map from the calibrated numbers of a reference set.

    Raises:
        QualityError: fewer than two numbers, or one that is not finite.
    """
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if numbers.size < 2 or not np.all(np.isfinite(numbers)):
        raise QualityError(f"calibration of {key}: needs at least two finite numbers, got {numbers.size}")
    quantiles = np.quantile(numbers, np.linspace(0.0, 1.0, QUANTILES))
    return Calibration(key, tuple(quantiles.tolist()), numbers.size, description, seed)


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """The maps of one file."""

    maps: tuple[Calibration, ...]

    where: str
    """Names the file in messages."""

    def find(self, key: CalibrationKey) -> Calibration:
        """The map made for exactly this pairing; raises `NotCalibratedError` naming the nearest ones otherwise."""
        for candidate in self.maps:
            if candidate.key == key:
                return candidate
        same = [str(m.key) for m in self.maps if m.key.method == key.method]
        others = same or [str(m.key) for m in self.maps]
        raise NotCalibratedError(
            f"no map to 0..100 for {key} in {self.where}; it has {'; '.join(others) or 'none'}. "
            "Make one with gate calibrate, or use a pairing that has one."
        )

    def with_map(self, added: Calibration) -> "CalibrationTable":
        """A table with this map, in place of one with the same key."""
        kept = tuple(m for m in self.maps if m.key != added.key)
        return CalibrationTable((*kept, added), self.where)

    def over(self, other: "CalibrationTable") -> "CalibrationTable":
        """These maps, and those of `other` for pairings that have none here."""
        own = {map_.key for map_ in self.maps}
        more = tuple(map_ for map_ in other.maps if map_.key not in own)
        return CalibrationTable((*self.maps, *more), f"{self.where} and {other.where}")

    def to_text(self) -> str:
        """The file's text."""
        return table_text(self.maps)

    @classmethod
    def from_text(cls, text: str, where: str) -> "CalibrationTable":
        """Read a file's text; raises `QualityError` for anything but a calibration file."""
        try:
            data = json.loads(text)
        except ValueError:
            raise QualityError(f"{where}: not JSON. Make a calibration with gate calibrate.") from None
        if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("maps"), list):
            raise QualityError(f"{where}: not a calibration file of format {FORMAT}. Make one with gate calibrate.")
        try:
            return cls(tuple(Calibration.from_json(entry) for entry in data["maps"]), where)
        except QualityError as error:
            raise QualityError(f"{where}: {error}") from None

    @classmethod
    def load(cls, path: Path) -> "CalibrationTable":
        """Read a file; raises `QualityError` when it cannot be read or is no calibration file."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise QualityError(f"{path}: cannot be read ({type(error).__name__}). Give a calibration file.") from None
        return cls.from_text(text, str(path))

    @classmethod
    def shipped(cls) -> "CalibrationTable":
        """The maps that come with the package."""
        text = resources.files("gate.quality").joinpath("calibration.json").read_text(encoding="utf-8")
        return cls.from_text(text, "the shipped calibration")


def table_text(maps: Iterable[Calibration]) -> str:
    """JSON text of several maps, one map's quantiles on one line so that a change reads as one line."""
    entries = []
    for map_ in sorted(maps, key=lambda m: str(m.key)):
        fields = [f"      {json.dumps(name)}: {json.dumps(value)}" for name, value in map_.to_json().items()]
        entries.append("    {\n" + ",\n".join(fields) + "\n    }")
    body = ",\n".join(entries)
    return f'{{\n  "format": {FORMAT},\n  "maps": [\n{body}\n  ]\n}}\n'
