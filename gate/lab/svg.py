"""Charts as inline SVG for the page: colours come from its style sheet, values for its script lie beside them."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gate.lab.charts import Axis, HeatChart, Line, LineChart, Numbers, PointChart, StackChart, extent
from gate.lab.markup import Markup, element, join, number, per_cent
from gate.lab.palette import LIGHT, dash_of
from gate.lab.ticks import ticks

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 10, 10, 42
_TILTED_BOTTOM = 96
_LONGEST_LABEL = 22

Drawn: TypeAlias = LineChart | PointChart | StackChart


@dataclass(frozen=True, slots=True)
class _Frame:
    """Maps values to places in the picture."""

    x: Axis
    y: Axis
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]
    bottom: int
    """Room below the plot for its labels."""

    @property
    def floor(self) -> int:
        return _HEIGHT - self.bottom

    def at_x(self, value: float) -> float:
        return round(_LEFT + _place(self.x, self.x_ends, value) * (_WIDTH - _LEFT - _RIGHT), 1)

    def at_y(self, value: float) -> float:
        return round(self.floor - _place(self.y, self.y_ends, value) * (self.floor - _TOP), 1)

    def shows(self, x: float, y: float) -> bool:
        return all(
            math.isfinite(value) and (axis.scale == "linear" or value > 0) for axis, value in ((self.x, x), (self.y, y))
        )


def _place(axis: Axis, ends: tuple[float, float], value: float) -> float:
    low, high = ends
    if axis.scale == "log":
        low, high, value = math.log(low), math.log(high), math.log(value)
    # Bands may reach far outside the axis; the clip of the picture needs no more than one length of it.
    return min(2.0, max(-1.0, (value - low) / (high - low)))


def figure(chart: Drawn) -> Markup:
    """A `<figure>` with the chart, its legend and, as JSON, what the script shows on hover and on arrow keys."""
    long = isinstance(chart, PointChart) and sum(min(len(p), _LONGEST_LABEL) + 2 for p in chart.places) > 60
    frame = _Frame(chart.x, chart.y, extent(chart, "x"), extent(chart, "y"), _TILTED_BOTTOM if long else _BOTTOM)
    picture = element(
        "svg",
        _defs(chart, frame),
        _grid(chart, frame, tilted=long),
        element("g", *_marks(chart, frame), clip_path=f"url(#clip-{chart.key})"),
        element("g", class_="cursor"),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        tabindex="0",
        aria_label=f"{chart.title}. {chart.y.label} over {chart.x.label}. Arrow keys read the values.",
    )
    return element(
        "figure",
        element("figcaption", chart.title),
        element("div", picture, element("div", class_="tip", role="status", hidden=""), class_="plot"),
        _legend(chart) if len(chart.lines) > 1 else "",
        _data(chart, frame),
        class_="chart",
        id=chart.key,
    )


def _defs(chart: Drawn, frame: _Frame) -> Markup:
    box = element("rect", x=_LEFT, y=_TOP - 3, width=_WIDTH - _LEFT - _RIGHT, height=frame.floor - _TOP + 6)
    return element("defs", element("clipPath", box, id=f"clip-{chart.key}"))


def _grid(chart: Drawn, frame: _Frame, *, tilted: bool) -> Markup:
    parts = []
    for value, label in ticks(chart.y, *frame.y_ends):
        y = frame.at_y(value)
        parts.append(element("path", d=f"M{_LEFT} {y}H{_WIDTH - _RIGHT}", class_="grid"))
        parts.append(element("text", label, x=_LEFT - 6, y=y + 4, text_anchor="end"))
    if isinstance(chart, PointChart):
        parts.extend(_place_labels(chart, frame, tilted=tilted))
    else:
        for value, label in ticks(chart.x, *frame.x_ends):
            x = frame.at_x(value)
            parts.append(element("path", d=f"M{x} {_TOP}V{frame.floor}", class_="grid"))
            parts.append(element("text", label, x=x, y=frame.floor + 15, text_anchor="middle"))
    middle = (_TOP + frame.floor) / 2
    parts.append(element("path", d=f"M{_LEFT} {_TOP}V{frame.floor}H{_WIDTH - _RIGHT}", class_="axis"))
    parts.append(element("text", chart.x.label, x=(_LEFT + _WIDTH) / 2, y=_HEIGHT - 6, text_anchor="middle"))
    parts.append(
        element("text", chart.y.label, transform=f"translate(12 {middle:g}) rotate(-90)", text_anchor="middle")
    )
    return element("g", *parts, class_="frame")


def _place_labels(chart: PointChart, frame: _Frame, *, tilted: bool) -> Iterator[Markup]:
    for place, name in enumerate(chart.places):
        x = frame.at_x(place)
        short = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
        if tilted:
            where = f"translate({x} {frame.floor + 12}) rotate(-35)"
            yield element("text", short, transform=where, text_anchor="end")
        else:
            yield element("text", short, x=x, y=frame.floor + 15, text_anchor="middle")


def _marks(chart: Drawn, frame: _Frame) -> Iterator[Markup]:
    if isinstance(chart, StackChart):
        yield from _stacked(chart, frame)
        return
    step = isinstance(chart, LineChart) and chart.join == "step"
    bands, lines = [], []
    for place, line in _numbered(chart.lines):
        style = "reference" if place is None else f"series s{place % len(LIGHT)}"
        if line.low and isinstance(chart, LineChart):
            bands.append(
                element("path", d=_area(frame, line.x, line.low, line.high, step=step), class_=f"band {style}")
            )
        dash = " ".join(map(str, dash_of(place))) if place is not None else None
        if not isinstance(chart, PointChart) or chart.ordered:
            path = _path(frame, line.x, line.y, step=step and not line.reference)
            lines.append(element("path", d=path, class_=style, stroke_dasharray=dash or None))
        if isinstance(chart, PointChart) or _single(line):
            lines.extend(_points(frame, line, style))
    yield from bands
    yield from lines


def _numbered(lines: Sequence[Line]) -> Iterator[tuple[int | None, Line]]:
    """Each line with its place among those that are not references."""
    number = 0
    for line in lines:
        yield (None if line.reference else number), line
        number += not line.reference


def _single(line: Line) -> bool:
    return sum(math.isfinite(x) and math.isfinite(y) for x, y in zip(line.x, line.y, strict=True)) == 1


def _points(frame: _Frame, line: Line, style: str) -> Iterator[Markup]:
    blank = (math.nan,) * len(line.x)
    for x, y, low, high in zip(line.x, line.y, line.low or blank, line.high or blank, strict=True):
        if not frame.shows(x, y):
            continue
        if frame.shows(low, high):
            yield element("path", d=f"M{frame.at_x(x)} {frame.at_y(low)}V{frame.at_y(high)}", class_=f"{style} whisker")
        yield element("circle", cx=frame.at_x(x), cy=frame.at_y(y), r=4, class_=f"{style} dot")


def _path(frame: _Frame, xs: Numbers, ys: Numbers, *, step: bool) -> str:
    """The line's path; what cannot be drawn leaves a gap."""
    parts = []
    drawing = False
    for x, y in zip(xs, ys, strict=True):
        if not frame.shows(x, y):
            drawing = False
            continue
        across, up = frame.at_x(x), frame.at_y(y)
        parts.append(f"H{across}V{up}" if drawing and step else f"{'L' if drawing else 'M'}{across} {up}")
        drawing = True
    return "".join(parts)


def _area(frame: _Frame, xs: Numbers, lows: Numbers, highs: Numbers, *, step: bool) -> str:
    known = [
        (x, low, high)
        for x, low, high in zip(xs, lows, highs, strict=True)
        if frame.shows(x, low) and frame.shows(x, high)
    ]
    if len(known) < 2:
        return ""
    there = _path(frame, tuple(k[0] for k in known), tuple(k[2] for k in known), step=step)
    back = [(frame.at_x(x), frame.at_y(low)) for x, low, _ in reversed(known)]
    if not step:
        return there + "".join(f"L{x} {y}" for x, y in back) + "Z"
    # Going back, a step's value is reached before its place.
    return there + f"V{back[0][1]}" + "".join(f"V{y}H{x}" for x, y in back) + "Z"


def _stacked(chart: StackChart, frame: _Frame) -> Iterator[Markup]:
    floor = [0.0] * len(chart.lines[0].x) if chart.lines else []
    for place, line in enumerate(chart.lines):
        top = [base + value for base, value in zip(floor, line.y, strict=True)]
        path = _area(frame, line.x, tuple(floor), tuple(top), step=False)
        yield element("path", d=path, class_=f"stack s{place % len(LIGHT)}")
        floor = top


def _legend(chart: Drawn) -> Markup:
    entries = []
    for place, line in _numbered(chart.lines):
        style = "reference" if place is None else f"series s{place % len(LIGHT)}"
        if isinstance(chart, StackChart):
            swatch = element("path", d="M0 1H22V11H0Z", class_=style.replace("series", "stack"))
        else:
            dash = " ".join(map(str, dash_of(place))) if place is not None else None
            swatch = element("path", d="M0 6H22", class_=style, stroke_dasharray=dash or None)
        entries.append(
            element("li", element("svg", swatch, viewBox="0 0 22 12", aria_hidden="true"), element("bdi", line.name))
        )
    return element("ul", *entries, class_="legend")


def _data(chart: Drawn, frame: _Frame) -> Markup:
    join_of = chart.join if isinstance(chart, LineChart) else "nearest"
    data: dict[str, Any] = {
        "join": join_of,
        "box": [_LEFT, _TOP, _WIDTH - _LEFT - _RIGHT, frame.floor - _TOP],
        "x": _axis(chart.x, frame.x_ends),
        "y": _axis(chart.y, frame.y_ends),
        "places": list(chart.places) if isinstance(chart, PointChart) else None,
        "dots": not isinstance(chart, StackChart),
        "lines": [
            {
                "name": line.name,
                "style": "reference" if place is None else f"s{place % len(LIGHT)}",
                "x": _short(line.x),
                "y": _short(line.y),
                "low": _short(line.low),
                "high": _short(line.high),
            }
            for place, line in _numbered(chart.lines)
        ],
    }
    return script_data(data)


def script_data(data: object) -> Markup:
    """A `<script>` of data; nothing in it can end the element."""
    written = json.dumps(data, allow_nan=False, separators=(",", ":"))
    safe = written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(f'<script type="application/json">{safe}</script>')


def _axis(axis: Axis, ends: tuple[float, float]) -> dict[str, Any]:
    return {"label": axis.label, "log": axis.scale == "log", "percent": axis.per_cent, "ends": list(ends)}


def _short(numbers: Numbers) -> list[float | None]:
    return [float(f"{value:.5g}") if math.isfinite(value) else None for value in numbers]


def heat_table(chart: HeatChart) -> Markup:
    """A heat map as a table, so that it is read aloud and selected as one."""
    head = element("tr", element("td"), *(element("th", name, scope="col") for name in chart.columns))
    rows = [
        element("tr", element("th", name, scope="row"), *(_heat_cell(value) for value in values))
        for name, values in zip(chart.rows, chart.values, strict=True)
    ]
    table = element("table", element("thead", head), element("tbody", *rows), class_="heat")
    caption = element("figcaption", join(chart.title, element("small", f" {chart.legend}")))
    return element("figure", caption, element("div", table, class_="scroll", tabindex="0"), id=chart.key)


def _heat_cell(value: float) -> Markup:
    if not math.isfinite(value):
        return element("td", per_cent(value))
    return element("td", number(100 * value, 0), class_=f"h{round(10 * min(1.0, max(0.0, value)))}")
