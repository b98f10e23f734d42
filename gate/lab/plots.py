"""Charts as PNG and SVG files by matplotlib, without its global state: usable from any thread, without a display."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gate.lab.charts import Axis, Chart, HeatChart, LineChart, PointChart, StackChart, extent
from gate.lab.palette import LIGHT, dash_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_INCHES = (7.0, 4.8)
_DOTS_PER_INCH = 130
_GREY = "#8a8f98"
_LEGEND_ROWS = 8


def render(chart: Chart, kind: Literal["png", "svg"]) -> bytes:
    """The chart as a picture with a light ground; the same chart gives the same bytes.

    Missing and infinite values leave gaps; a line of one point shows its marker.
    """
    figure = draw(chart)
    data = io.BytesIO()
    # A name in a script that the font lacks is shown as boxes; the user can do nothing about the warning.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # The date would make two runs differ.
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(data, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    if kind == "svg":
        return _with_stable_ids(data.getvalue())
    return data.getvalue()


def draw(chart: Chart) -> "Figure":
    """The chart as a matplotlib figure with an Agg canvas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    height = _SIZE_INCHES[1] if not isinstance(chart, HeatChart) else max(2.4, 1.5 + 0.34 * len(chart.rows))
    figure = Figure(
        figsize=(_SIZE_INCHES[0], height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1), facecolor="white"
    )
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(plain(chart.title), loc="left", fontsize=11)
    if isinstance(chart, HeatChart):
        _draw_heat(figure, axes, chart)
        return figure
    _dress(axes, chart)
    if isinstance(chart, LineChart):
        _draw_lines(axes, chart)
    elif isinstance(chart, StackChart):
        _draw_stack(axes, chart)
    else:
        _draw_points(axes, chart)
    _draw_legend(figure, axes, chart.lines)
    return figure


def plain(text: str) -> str:
    """A text that matplotlib draws as it is: dollars are no formula, and a leading underscore hides nothing."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return (" " if printable.startswith("_") else "") + printable.replace("$", r"\$")


def _dress(axes: Any, chart: LineChart | PointChart | StackChart) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e3e5e9", linewidth=0.7)
    axes.set_axisbelow(True)
    for which, axis in (("x", chart.x), ("y", chart.y)):
        low, high = extent(chart, "x" if which == "x" else "y")
        getattr(axes, f"set_{which}label")(plain(axis.label))
        getattr(axes, f"set_{which}scale")(axis.scale)
        getattr(axes, f"set_{which}lim")(low, high)
        _write_per_cent(getattr(axes, f"{which}axis"), axis)


def _write_per_cent(axis: Any, described: Axis) -> None:
    from matplotlib.ticker import FuncFormatter

    if described.per_cent:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))
        if described.scale == "log":
            axis.set_minor_formatter(FuncFormatter(lambda _value, _position: ""))


def _finite(numbers: Sequence[float]) -> Any:
    values = np.asarray(numbers, dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _draw_lines(axes: Any, chart: LineChart) -> None:
    number = 0
    for line in chart.lines:
        x, y = _finite(line.x), _finite(line.y)
        if chart.y.scale == "log":
            y = np.where(y > 0, y, np.nan)
        if line.reference:
            axes.plot(x, y, color=_GREY, linewidth=1, linestyle=(0, (3, 3)), label=plain(line.name))
            continue
        colour = LIGHT[number % len(LIGHT)]
        style = {"drawstyle": "steps-post"} if chart.join == "step" else {}
        marker = {"marker": "o", "markersize": 5} if np.isfinite(x + y).sum() == 1 else {}
        dash = (0, dash_of(number)) if dash_of(number) else "-"
        axes.plot(x, y, color=colour, linewidth=1.7, linestyle=dash, label=plain(line.name), **style, **marker)
        if line.low:
            step = "post" if chart.join == "step" else None
            axes.fill_between(x, _finite(line.low), _finite(line.high), color=colour, alpha=0.12, lw=0, step=step)
        number += 1


def _draw_stack(axes: Any, chart: StackChart) -> None:
    floor = np.zeros(len(chart.lines[0].x)) if chart.lines else np.zeros(0)
    hatches = ("", "///", "...", "\\\\\\")
    for number, line in enumerate(chart.lines):
        top = floor + np.nan_to_num(_finite(line.y))
        known = np.isfinite(_finite(line.y))
        axes.fill_between(
            _finite(line.x),
            floor,
            top,
            where=known,
            color=LIGHT[number % len(LIGHT)],
            alpha=0.85,
            lw=0.6,
            edgecolor="white",
            hatch=hatches[number // len(LIGHT) % len(hatches)],
            label=plain(line.name),
        )
        floor = top


def _draw_points(axes: Any, chart: PointChart) -> None:
    axes.set_xticks(range(len(chart.places)), [plain(place) for place in chart.places])
    if sum(map(len, chart.places)) > 60:
        axes.tick_params(axis="x", labelrotation=35)
    for number, line in enumerate(chart.lines):
        shift = 0.12 * (number - (len(chart.lines) - 1) / 2)
        x, y = _finite(line.x) + shift, _finite(line.y)
        colour = LIGHT[number % len(LIGHT)]
        spread = None
        if line.low:
            # An interval that does not hold its mean would be a negative bar, which matplotlib refuses.
            spread = np.clip([y - _finite(line.low), _finite(line.high) - y], 0, None)
        style = "-" if chart.ordered else ""
        axes.errorbar(x, y, yerr=spread, color=colour, marker="o", ls=style, capsize=3, lw=1.2, label=plain(line.name))


def _draw_heat(figure: Any, axes: Any, chart: HeatChart) -> None:
    values = np.array(chart.values, dtype=np.float64).reshape(len(chart.rows), len(chart.columns))
    if not values.size:
        return
    picture = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(chart.columns)), [plain(name) for name in chart.columns])
    axes.set_yticks(range(len(chart.rows)), [plain(name) for name in chart.rows])
    for row, column in np.ndindex(*values.shape):
        value = values[row, column]
        text = f"{100 * value:.0f}" if np.isfinite(value) else "n/a"
        # Cividis is dark below its middle.
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if value < 0.55 else "black")
    bar = figure.colorbar(picture, ax=axes, label=plain(chart.legend))
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25", "50", "75", "100"])


def _draw_legend(figure: Any, axes: Any, lines: Sequence[object]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        columns = min(4, len(lines)) if len(lines) <= 4 * _LEGEND_ROWS else 6
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def _with_stable_ids(svg: bytes) -> bytes:
    """Matplotlib draws random identifiers unless a global setting says otherwise; they are numbered instead."""
    import re

    numbers: dict[bytes, bytes] = {}

    def numbered(match: "re.Match[bytes]") -> bytes:
        return numbers.setdefault(match[0], b"n%d" % len(numbers))

    return re.sub(rb"(?<=[\"#])[A-Za-z0-9_]*?[0-9a-f]{10}(?=[\")])", numbered, svg)
