"""Draws a dashboard's panels from a Prometheus, so that the documentation shows what Grafana will.

Run as `python -m dashboards.generator.pictures http://127.0.0.1:9090 -o docs/dashboards --seconds 120`.
"""

import argparse
import json
import math
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from dashboards.generator.boards import BOARDS
from dashboards.generator.panel import Board, Panel, Query

_COLUMNS = 24
_ROW_IN = 0.36
_COLUMN_IN = 0.62
_TITLE_ROWS = 1.5
_HEADLINE_ROWS = 1
_POINTS = 240

_UNITS: Mapping[str, tuple[float, str]] = {
    "s": (1, " s"),
    "percentunit": (100, " %"),
    "bytes": (1 / 1e6, " MB"),
    "cps": (1, "/s"),
    "short": (1, ""),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a panel."""

    name: str
    labels: Mapping[str, str]
    times: Any
    values: Any


class Source:
    """A Prometheus, and the choices of a dashboard's reader.

    Args:
        url: its address.
        seconds: length of the time shown, up to now.
        camera: regular expression of the cameras chosen.
    """

    def __init__(self, url: str, seconds: float, camera: str = ".*") -> None:
        self._url = url
        self._seconds = seconds
        self._variables = {
            "instance": ".*",
            "camera": camera,
            "__rate_interval": f"{max(4, round(seconds / 8))}s",
            "__range": f"{round(seconds)}s",
        }

    def ask(self, query: Query, *, instant: bool) -> list[Series]:
        """The series of a query; empty where there is no data."""
        end_s = time.time()
        step_s = max(1.0, self._seconds / _POINTS)
        values = {
            "query": query.resolved(self._variables),
            "start": end_s - self._seconds,
            "end": end_s,
            "step": step_s,
        }
        path = "query_range"
        if instant:
            values, path = {"query": values["query"], "time": end_s}, "query"
        address = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(values)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - the reader's own Prometheus
            found = json.load(answer)["data"]["result"]
        return [_series(query, entry) for entry in found]


def _series(query: Query, entry: Mapping[str, Any]) -> Series:
    labels = entry["metric"]
    points = np.asarray(entry.get("values") or [entry["value"]], dtype=float)
    name = re.sub(r"{{(\w+)}}", lambda match: labels.get(match[1], ""), query.legend)
    return Series(name, labels, points[:, 0], points[:, 1])


def has_data(panel: Panel, source: Source) -> bool:
    """Whether every query of a panel gives at least one number."""
    instant = panel.kind in {"stat", "bars"}
    return all(
        any(np.isfinite(series.values).any() for series in source.ask(query, instant=instant))
        for query in panel.queries
    )


def draw(board: Board, source: Source, file: Path) -> None:
    """One dashboard as a PNG."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = _TITLE_ROWS + sum(_HEADLINE_ROWS + _height(row.panels) for row in board.rows)
    with plt.style.context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = plt.figure(figsize=(_COLUMNS * _COLUMN_IN, rows * _ROW_IN))
        figure.text(0.01, 1 - 0.8 / rows, board.title, weight="bold", size=13)
        top = _TITLE_ROWS
        for row in board.rows:
            figure.text(0.01, 1 - (top + 0.7) / rows, row.title, weight="bold", size=10)
            top += _HEADLINE_ROWS
            for panel, (x, y) in _places(row.panels):
                axes = figure.add_axes(_rectangle(panel, x, top + y, rows))
                _draw(
                    panel, [s for query in panel.queries for s in source.ask(query, instant=_is_instant(panel))], axes
                )
            top += _height(row.panels)
        figure.savefig(file, dpi=80)
        plt.close(figure)


def _rectangle(panel: Panel, x: int, y: float, rows: float) -> tuple[float, float, float, float]:
    """Left, bottom, width, height in shares of the figure, with room for labels."""
    left, right = (2.6 if panel.kind in {"bars", "states"} else 1.2), 0.4
    above, below = 1.0, 1.6
    return (
        (x + left) / _COLUMNS,
        1 - (y + panel.height - below) / rows,
        (panel.width - left - right) / _COLUMNS,
        (panel.height - above - below) / rows,
    )


def _is_instant(panel: Panel) -> bool:
    return panel.kind in {"stat", "bars"}


def _places(panels: tuple[Panel, ...]) -> list[tuple[Panel, tuple[int, int]]]:
    """Left to right, a new line where a panel does not fit, as Grafana's builder places them."""
    placed: list[tuple[Panel, tuple[int, int]]] = []
    x = y = line = 0
    for panel in panels:
        if x + panel.width > _COLUMNS:
            x, y, line = 0, y + line, 0
        placed.append((panel, (x, y)))
        x, line = x + panel.width, max(line, panel.height)
    return placed


def _height(panels: tuple[Panel, ...]) -> int:
    return max(y + panel.height for panel, (_, y) in _places(panels))


def _draw(panel: Panel, series: list[Series], axes: Any) -> None:
    axes.set_title(panel.title, loc="left", size=9)
    if not series:
        axes.axis("off")
        axes.text(0.5, 0.5, "No data", ha="center", va="center", color="grey")
        return
    {"stat": _stat, "bars": _bars, "heatmap": _heatmap, "states": _states}.get(panel.kind, _lines)(panel, series, axes)


def _colour(panel: Panel, value: float) -> str:
    chosen = panel.steps[0].colour
    for step in panel.steps:
        if step.from_value is not None and value >= step.from_value:
            chosen = step.colour
    return {"transparent": "white", "green": "tab:green", "red": "tab:red", "orange": "tab:orange"}.get(
        chosen, "tab:blue"
    )


def _text(panel: Panel, value: float) -> str:
    if not math.isfinite(value):
        return "no data"
    factor, unit = _UNITS[panel.unit]
    return f"{value * factor:.4g}{unit}"


def _stat(panel: Panel, series: list[Series], axes: Any) -> None:
    axes.axis("off")
    shown = "\n".join(_text(panel, float(entry.values[-1])) for entry in series[:3])
    colour = _colour(panel, float(series[0].values[-1]))
    axes.text(0.5, 0.4, shown, ha="center", va="center", size=18, color=colour, weight="bold")


def _bars(panel: Panel, series: list[Series], axes: Any) -> None:
    ordered = sorted(series, key=lambda entry: float(entry.values[-1]))
    values = [float(entry.values[-1]) for entry in ordered]
    axes.barh([entry.name for entry in ordered], values, color=[_colour(panel, value) for value in values])
    for place, value in enumerate(values):
        axes.text(value, place, f" {_text(panel, value)}", va="center")
    axes.set_xlim(0, panel.most or (max([*values, 1e-9]) * 1.25))
    axes.set_xticks([])


def _lines(panel: Panel, series: list[Series], axes: Any) -> None:
    factor, unit = _UNITS[panel.unit]
    now_s = max(float(entry.times[-1]) for entry in series)
    if panel.kind == "stacked":
        times = np.unique(np.concatenate([entry.times for entry in series]))
        layers = [np.interp(times, entry.times, np.nan_to_num(entry.values), left=0, right=0) for entry in series]
        axes.stackplot(
            times - now_s, *(layer * factor for layer in layers), labels=[entry.name for entry in series], alpha=0.6
        )
    else:
        for entry in series:
            axes.plot(entry.times - now_s, entry.values * factor, label=entry.name, lw=1.2)
    axes.set_ylim(0, None if panel.most is None else panel.most * factor)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}{unit}")
    axes.set_xlabel("seconds before now", size=7)
    if any(entry.name for entry in series):
        axes.legend(loc="upper left", fontsize=7, ncols=2, frameon=False)


def _heatmap(panel: Panel, series: list[Series], axes: Any) -> None:
    ordered = sorted((entry for entry in series if entry.labels["le"] != "+Inf"), key=lambda e: float(e.labels["le"]))
    times = np.unique(np.concatenate([entry.times for entry in ordered]))
    filled = np.array([np.interp(times, e.times, np.nan_to_num(e.values), left=0, right=0) for e in ordered])
    counts = np.diff(filled, axis=0, prepend=0).clip(0)
    edges = np.array([0.0, *(float(entry.labels["le"]) for entry in ordered)])
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    axes.pcolormesh(np.append(times, times[-1] + step_s) - times[-1], edges, counts, cmap="Blues")
    axes.set_xlabel("seconds before now", size=7)
    axes.set_ylim(0, panel.most)


def _states(panel: Panel, series: list[Series], axes: Any) -> None:
    now_s = max(float(entry.times[-1]) for entry in series)
    step_s = float(np.median(np.diff(series[0].times))) if len(series[0].times) > 1 else 1.0
    for place, entry in enumerate(series):
        for moment, value in zip(entry.times, entry.values, strict=True):
            axes.barh(place, step_s, left=moment - now_s, height=0.7, color=_colour(panel, float(value)))
    axes.set_yticks(range(len(series)), [entry.name for entry in series])
    axes.set_xlabel("seconds before now", size=7)


def main() -> None:
    """Draw every dashboard."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.generator.pictures", description=__doc__)
    parser.add_argument("url", help="address of a Prometheus that scrapes a gate")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the pictures go")
    parser.add_argument("--seconds", type=float, default=120.0, help="length of the time shown (default 120)")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        draw(board, Source(args.url, args.seconds), args.output / f"{board.uid}.png")


if __name__ == "__main__":
    main()
