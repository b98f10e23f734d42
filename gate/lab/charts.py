"""What a plot shows, apart from how it is drawn: the same values become a PNG, an SVG and the page's live chart."""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gate.errors import GateError

Numbers: TypeAlias = tuple[float, ...]
"""NaN marks a value that does not exist."""

AxisScale: TypeAlias = Literal["linear", "log"]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis."""

    label: str
    """What it is, with its unit in brackets."""

    scale: AxisScale = "linear"

    per_cent: bool = False
    """Values are shares in 0..1 and are written in per cent."""

    limits: tuple[float, float] | None = None
    """Ends of the axis; by default what the values need."""


@dataclass(frozen=True, slots=True)
class Line:
    """One series, with its 95 % interval where there is one."""

    name: str

    x: Numbers

    y: Numbers

    low: Numbers = ()
    """As long as y, or empty."""

    high: Numbers = ()

    reference: bool = False
    """Something to compare with (the ideal, chance): drawn thin and grey."""

    def __post_init__(self) -> None:
        lengths = {len(self.x), len(self.y)} | ({len(self.low), len(self.high)} if self.low or self.high else set())
        if len(lengths) > 1:
            raise GateError(f"line {self.name!r}: x, y and interval must be equally long, got {sorted(lengths)}")


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over numbers."""

    key: str
    """Part of file names and identifiers."""

    title: str

    x: Axis

    y: Axis

    lines: tuple[Line, ...]

    join: Literal["step", "linear"] = "linear"
    """`step` holds a value until the next point."""


@dataclass(frozen=True, slots=True)
class PointChart:
    """Points with intervals over named places; the lines' x are positions in `places`."""

    key: str

    title: str

    x: Axis

    y: Axis

    places: tuple[str, ...]

    lines: tuple[Line, ...]

    ordered: bool = True
    """Places follow each other, so that a line between them means something."""


@dataclass(frozen=True, slots=True)
class StackChart:
    """Parts of a whole, stacked over numbers; each line's y is its own part, not the sum."""

    key: str

    title: str

    x: Axis

    y: Axis

    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class HeatChart:
    """A table of shares with a colour for each."""

    key: str

    title: str

    rows: tuple[str, ...]

    columns: tuple[str, ...]

    values: tuple[Numbers, ...]
    """One tuple a row, 0..1."""

    legend: str
    """What a value is."""


Chart: TypeAlias = LineChart | PointChart | StackChart | HeatChart


def extent(chart: LineChart | PointChart | StackChart, which: Literal["x", "y"]) -> tuple[float, float]:
    """Ends of an axis: as asked, else what the finite values need, never of no length.

    A linear y axis starts at 0 when its values are not negative and reach near it.
    """
    axis = chart.x if which == "x" else chart.y
    if axis.limits is not None:
        return axis.limits
    if isinstance(chart, PointChart) and which == "x":
        return -0.5, max(0.5, len(chart.places) - 0.5)
    values = [value for value in _values(chart, which) if axis.scale == "linear" or value > 0]
    if not values:
        return (0.0, 1.0) if axis.scale == "linear" else (1e-3, 1.0)
    low, high = min(values), max(values)
    if axis.scale == "log":
        return (low, high) if high > low else (low / 10, high * 10)
    if which == "y" and 0 <= low < 0.5 * high and not isinstance(chart, PointChart):
        low = 0.0
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    if which == "x" and high > low:
        return low, high
    return (low if low == 0 else low - room), high + room


def _values(chart: LineChart | PointChart | StackChart, which: Literal["x", "y"]) -> Iterator[float]:
    for line in chart.lines:
        series = (line.x,) if which == "x" else (line.y, line.low, line.high)
        for numbers in series:
            yield from (value for value in numbers if math.isfinite(value))


def to_csv(chart: Chart) -> str:
    """The chart's numbers: a row for each point of each line, or the table of a heat map."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(chart, HeatChart):
        writer.writerow(["", *chart.columns])
        writer.writerows([row, *values] for row, values in zip(chart.rows, chart.values, strict=True))
        return text.getvalue()
    writer.writerow(["series", chart.x.label, chart.y.label, "low", "high"])
    for line in chart.lines:
        blank = ("",) * len(line.x)
        for x, y, low, high in zip(line.x, line.y, line.low or blank, line.high or blank, strict=True):
            place = chart.places[int(x)] if isinstance(chart, PointChart) else x
            writer.writerow([line.name, place, y, low, high])
    return text.getvalue()
