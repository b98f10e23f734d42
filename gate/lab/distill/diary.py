"""The curves of a run: losses of every step and the checks on what was held back, as csv and as a picture."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gate.errors import GateError
from gate.lab.distill.plan import write_text
from gate.lab.palette import LIGHT, dash_of

_SHOWN_POINTS = 200
"""Points that a curve of losses is averaged to."""


class Diary:
    """Rows by step; those of a run that is continued are read back."""

    def __init__(self, folder: Path, losses: Sequence[str], first_step: int) -> None:
        """Read `curves.csv` up to `first_step`: what came after the checkpoint is computed again.

        Raises:
            GateError: the file is not one of ours.
        """
        self._csv, self._png = folder / "curves.csv", folder / "curves.png"
        self._losses = tuple(losses)
        self._rows: dict[int, dict[str, float]] = {}
        if first_step and self._csv.exists():
            self._rows = {step: row for step, row in _read(self._csv) if step <= first_step}

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, counted from 1."""
        self._rows.setdefault(step, {}).update(values)

    def recent(self, name: str, steps: int = 50) -> float:
        """Mean of a number over its last steps."""
        values = [row[name] for _, row in sorted(self._rows.items())[-steps:] if name in row]
        return float(np.mean(values)) if values else math.nan

    def write(self, *, picture: bool) -> None:
        """Write the csv, and the picture where wanted."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        columns = [*self._losses, *self._checks()]
        writer.writerow(["step", *columns])
        for step, row in sorted(self._rows.items()):
            writer.writerow([step, *(f"{row[name]:.6g}" if name in row else "" for name in columns)])
        write_text(self._csv, text.getvalue())
        if picture:
            self._png.write_bytes(self._drawn())

    def _checks(self) -> list[str]:
        return sorted({name for row in self._rows.values() for name in row} - set(self._losses))

    def _series(self, name: str) -> tuple[list[int], list[float]]:
        found = [(step, row[name]) for step, row in sorted(self._rows.items()) if name in row]
        return [step for step, _ in found], [value for _, value in found]

    def _drawn(self) -> bytes:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        checks = self._checks()
        figure = Figure(figsize=(7.0, 3.4 * (1 + bool(checks))), layout=ConstrainedLayoutEngine(), facecolor="white")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1 + bool(checks), 1, squeeze=False)[:, 0]
        _draw(panels[0], "losses by step", [(name, *_thinned(*self._series(name))) for name in self._losses])
        if checks:
            _draw(panels[1], "held back", [(name, *self._series(name)) for name in checks], marker="o")
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=130, metadata={"Software": None})
        return data.getvalue()


def _draw(axes: Any, title: str, lines: Sequence[tuple[str, Sequence[float], Sequence[float]]], **style: str) -> None:
    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="#e3e5e9", linewidth=0.7)
    for number, (name, x, y) in enumerate(lines):
        dash = (0, dash_of(number)) if dash_of(number) else "-"
        colour = LIGHT[number % len(LIGHT)]
        axes.plot(x, y, color=colour, linewidth=1.5, linestyle=dash, markersize=3.5, label=name, **style)
    axes.legend(frameon=False, fontsize=8)


def _thinned(steps: Sequence[int], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Means of equal stretches: single batches are too restless to see a course in."""
    if not steps:
        return [], []
    parts = min(len(steps), _SHOWN_POINTS)
    places = np.array_split(np.arange(len(steps)), parts)
    x, y = np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)
    return [float(x[some].mean()) for some in places], [float(y[some].mean()) for some in places]


def _read(path: Path) -> Iterator[tuple[int, dict[str, float]]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                yield step, {name: float(text) for name, text in row.items() if text}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GateError(f"{path} cannot be read ({error}); remove it to draw the curves from here on.") from None
