"""What a camera gave when it was tuned: how its quality was spread, and how good the best face of each visit was.

`gate tune` writes it, `decide.min_quality` may be asked of it, and the drift of a running camera is held against it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.errors import ConfigError

FORMAT = 1

BINS = 20
"""Bins of equal width that quality, 0..100, is counted in."""

LEAST_OF_HOUR = 500
"""Faces from which an hour of the day has a baseline of its own: its chance adds up to 0.04 to the drift, 100 faces'
0.2."""

_HOUR_MS = 3_600_000

_HALF = 0.5
"""Faces of the smaller histogram that are added to each bin, so that an empty one has a logarithm."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One camera as it was tuned."""

    method: str
    """Name of the quality method that scored."""

    model: str
    """name@first 8 hex digits of the weights' sha256; empty for a method without weights."""

    date: str
    """Day of the recording, such as 2026-02-11."""

    histogram: tuple[int, ...]
    """How many faces had a quality in each of the 20 bins; faces that a cheap bar rejects are left out, for a running
    gate does not score them."""

    visits: int
    """How many visits there were in the zones of the camera."""

    best_quality: tuple[float, ...]
    """Ascending: the best quality of each visit that has a face which passes every other bar."""

    hours: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """The histogram's faces by hour of the day (UTC, 0..23), as far as there were any; empty where the recording came
    from a file, whose faces were seen at another time of day."""

    @property
    def faces(self) -> int:
        """How many faces the histogram counts."""
        return sum(self.histogram)

    @property
    def reachable_rate(self) -> float:
        """Share of visits that have a face which passes every bar but that of quality."""
        return len(self.best_quality) / self.visits if self.visits else 0.0

    def has_hour(self, hour: int) -> bool:
        """Whether enough faces were recorded in this hour of the day (UTC)."""
        return sum(self.hours.get(hour, ())) >= LEAST_OF_HOUR

    def expected_in(self, hours: Mapping[int, int]) -> tuple[float, ...]:
        """The histogram to expect of faces that were seen in these hours of the day.

        Args:
            hours: Hour (UTC) → faces.

        Returns:
            20 numbers: the shares are those of the same hours of the recording, weighted by the faces, and of the whole
            recording for hours that have too few; the sum is as many faces as are behind them.
        """
        parts = [(count, self.hours[hour] if self.has_hour(hour) else self.histogram) for hour, count in hours.items()]
        parts = [(count, histogram) for count, histogram in parts if count and sum(histogram)]
        total = sum(count for count, _ in parts)
        if not total:
            return tuple(float(count) for count in self.histogram)
        # The variance of a weighted mean of shares, as that of so many faces.
        size = 1 / sum((count / total) ** 2 / sum(histogram) for count, histogram in parts)
        return tuple(
            size * sum(count / total * histogram[place] / sum(histogram) for count, histogram in parts)
            for place in range(BINS)
        )

    def bar_at(self, accept_rate: float) -> float | None:
        """The highest quality bar, rounded down to hundredths, that accepts this share of visits; None where none does.

        >>> Baseline("m", "", "", (0,) * 20, 5, (10.0, 20.0, 30.0, 40.0)).bar_at(0.6)
        20.0
        """
        # 0.7 * 10 is 7.000000000000001.
        wanted = max(1, math.ceil(accept_rate * self.visits - 1e-9))
        if wanted > len(self.best_quality):
            return None
        return rounded_down(self.best_quality[-wanted])


def rounded_down(quality: float) -> float:
    """To hundredths, so that the face which gave the number still reaches it.

    >>> rounded_down(0.29), rounded_down(41.239)
    (0.29, 41.23)
    """
    hundredths = math.floor(quality * 100)
    # 0.29 * 100 is 28.999999999999996.
    return next(bar for bar in ((hundredths + 1) / 100, hundredths / 100) if bar <= quality)


def bin_of(quality: float) -> int:
    """The bin of a quality in 0..100.

    >>> [bin_of(quality) for quality in (0.0, 4.99, 5.0, 99.9, 100.0)]
    [0, 0, 1, 19, 19]
    """
    return max(0, min(BINS - 1, int(quality * BINS / 100)))


def hour_of(time_ms: int) -> int:
    """The hour of the day (UTC) of a Unix time in milliseconds; UTC, for a container rarely knows where it is.

    >>> hour_of(1_700_000_000_000)
    22
    """
    return time_ms // _HOUR_MS % 24


def histogram_of(qualities: Sequence[float]) -> tuple[int, ...]:
    """Counts in the 20 bins."""
    counts = [0] * BINS
    for quality in qualities:
        counts[bin_of(quality)] += 1
    return tuple(counts)


def population_stability_index(expected: Sequence[float], actual: Sequence[float]) -> float:
    """How far two histograms differ: the sum over bins of (a - e) * ln(a / e), a and e the shares of a bin.

    0 where the shares are the same; below 0.1 is taken for stable, above 0.25 for a shift (Siddiqi, "Credit Risk
    Scorecards", 2006). The share of half a face of the smaller histogram is added to each bin of both, so that a bin
    which is empty in both says nothing, however many faces there are. Chance alone gives up to (bins - 1) * (1 / n +
    1 / m) for n and m independent faces of one population.

    Args:
        expected: Counts of the baseline.
        actual: Counts of now; as many.
    """
    added = _HALF / max(1, min(sum(expected), sum(actual)))
    e, a = _shares(expected, added), _shares(actual, added)
    return sum((new - old) * math.log(new / old) for old, new in zip(e, a, strict=True))


def _shares(counts: Sequence[float], added: float) -> list[float]:
    total = max(1, sum(counts))
    return [(count / total + added) / (1 + added * len(counts)) for count in counts]


@dataclass(frozen=True, slots=True)
class Baselines:
    """The baselines of one file, by camera."""

    cameras: Mapping[str, Baseline]

    where: str
    """Names the file in messages."""

    def of(self, camera: str) -> Baseline:
        """The baseline of one camera. Raises `ConfigError` where the file has none."""
        if camera not in self.cameras:
            has = ", ".join(sorted(self.cameras)) or "none"
            raise ConfigError(
                f"baseline {self.where}: nothing about camera {camera!r}; it has {has}. Run gate tune on this camera."
            )
        return self.cameras[camera]

    def to_text(self) -> str:
        """The file's text."""
        cameras = {
            name: {
                "method": baseline.method,
                "model": baseline.model,
                "date": baseline.date,
                "faces": baseline.faces,
                "visits": baseline.visits,
                "histogram": list(baseline.histogram),
                "hours": {str(hour): list(counts) for hour, counts in sorted(baseline.hours.items())},
                "best_quality": [round(quality, 4) for quality in baseline.best_quality],
            }
            for name, baseline in self.cameras.items()
        }
        return json.dumps({"format": FORMAT, "cameras": cameras}, indent=1) + "\n"

    @classmethod
    def from_text(cls, text: str, where: str) -> "Baselines":
        """Read a file's text; raises `ConfigError` for anything but a baseline file."""
        try:
            data = json.loads(text)
            if data["format"] != FORMAT:
                raise ConfigError(f"baseline {where}: of another version of gate. Run gate tune again.")
            return cls({str(name): _baseline(entry) for name, entry in data["cameras"].items()}, where)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(
                f"baseline {where}: not a baseline ({type(error).__name__} {error}). Make one with gate tune."
            ) from None

    @classmethod
    def load(cls, path: Path) -> "Baselines":
        """Read a file; raises `ConfigError` when it cannot be read or is no baseline file."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "not UTF-8 text"
            raise ConfigError(f"baseline {path}: {problem}. Make one with gate tune.") from None
        return cls.from_text(text, str(path))


def _baseline(entry: Mapping[str, Any]) -> Baseline:
    histogram = tuple(int(count) for count in entry["histogram"])
    hours = {int(hour): tuple(int(count) for count in counts) for hour, counts in entry.get("hours", {}).items()}
    best = tuple(float(quality) for quality in entry["best_quality"])
    visits = int(entry["visits"])
    if len(histogram) != BINS or min(histogram) < 0:
        raise ValueError(f"needs {BINS} counts")
    if any(not 0 <= hour < 24 or len(counts) != BINS or min(counts) < 0 for hour, counts in hours.items()):
        raise ValueError(f"needs {BINS} counts for an hour in 0..23")
    if list(best) != sorted(best) or len(best) > visits or not all(0 <= quality <= 100 for quality in best):
        raise ValueError("needs ascending qualities in 0..100, at most one a visit")
    return Baseline(str(entry["method"]), str(entry["model"]), str(entry["date"]), histogram, visits, best, hours)
