"""The charts of an evaluation."""

import math
from collections.abc import Iterator

import numpy as np

from gate.lab.bands import fnmr_band
from gate.lab.charts import Axis, HeatChart, Line, LineChart, Numbers
from gate.lab.results import Curve, EvaluationResult, Histogram, MethodResult, Samples

_POINTS = 201
"""Places at which a curve is drawn."""

_LEAST_WIDTH = 0.5
"""Curves are drawn at least to this discarded fraction; the CSV of a chart holds the same."""

_DISCARDED_OF = {
    "iso": {"fnmr": "genuine pairs", "fmr": "impostor pairs"},
    "crfiqa": {"fnmr": "pairs", "fmr": "pairs"},
    "beyond-edc": {"fnmr": "images", "fmr": "images"},
}


def slug(name: str) -> str:
    """A file name's part: small letters, digits and hyphens only, never empty.

    >>> slug("../Ser-FIQ (p=0.4)")
    'ser-fiq-p-0-4'
    """
    letters = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in letters.split("-") if part) or "x"


def operating_points(result: EvaluationResult) -> list[tuple[str, str, float]]:
    """Every (mode, error, FMR target) that a method has a curve for, in the order of the result."""
    seen = ((c.mode, c.error, c.fmr_target) for method in result.methods for c in method.curves)
    return list(dict.fromkeys(seen))


def primary(result: EvaluationResult) -> tuple[str, str, float] | None:
    """The operating point that leads the report: ISO, FNMR, the FMR target nearest to 1e-3."""
    points = operating_points(result)
    if not points:
        return None

    def distance(point: tuple[str, str, float]) -> tuple[bool, bool, float]:
        mode, error, fmr = point
        return mode != "iso", error != "fnmr", abs(math.log10(fmr) + 3) if fmr > 0 else math.inf

    return min(points, key=distance)


def curve_of(method: MethodResult, point: tuple[str, str, float]) -> Curve | None:
    """The method's curve at an operating point, None when it has none."""
    return next((c for c in method.curves if (c.mode, c.error, c.fmr_target) == point), None)


def edc_chart(result: EvaluationResult, point: tuple[str, str, float], samples: Samples | None = None) -> LineChart:
    """Error versus discard of every method at one operating point, with the ideal and with chance.

    Args:
        result: The evaluation.
        point: One of `operating_points`.
        samples: For the intervals of ISO FNMR curves; without them there are none.
    """
    mode, error, fmr = point
    width = max(_LEAST_WIDTH, *result.limits) if result.limits else _LEAST_WIDTH
    grid = np.linspace(0, width, _POINTS)
    lines = []
    starts = []
    join = "step"
    for method in result.methods:
        curve = curve_of(method, point)
        if curve is None or not curve.x:
            continue
        starts.append(curve.y[0])
        x = grid if curve.interpolation == "step" else np.array(curve.x)[np.array(curve.x) <= width + 1e-9]
        join = "step" if curve.interpolation == "step" else "linear"
        low: Numbers = ()
        high: Numbers = ()
        if samples is not None and (mode, error) == ("iso", "fnmr") and method.name in samples.scores:
            low, high = fnmr_band(samples, method.name, curve.threshold, x.tolist(), seed=result.seed)
        lines.append(Line(method.name, tuple(x.tolist()), _held(curve, x), low, high))
    if starts and error == "fnmr":
        lines.extend(_references(starts[0], grid, ideal=mode == "iso"))
    name = {"fnmr": "FNMR", "fmr": "False match rate"}[error]
    return LineChart(
        key=f"edc-{mode}-{error}-{fmr:g}",
        title=f"{name} at FMR {fmr:g}, {mode}",
        x=Axis(f"Discarded {_DISCARDED_OF[mode][error]} [%]", per_cent=True, limits=(0.0, width)),
        y=Axis(f"{name} [%]", per_cent=True),
        lines=tuple(lines),
        join="step" if join == "step" else "linear",
    )


def _held(curve: Curve, x: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> Numbers:
    """The curve's values at x; NaN beyond its end, where nothing is kept."""
    ends, values = np.array(curve.x), np.array(curve.y)
    if curve.interpolation == "linear":
        return tuple(np.interp(x, ends, values, right=np.nan).tolist())
    place = np.searchsorted(ends, x + 1e-12, side="right") - 1
    return tuple(values[np.clip(place, 0, len(values) - 1)].tolist())


def _references(start: float, x: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]", *, ideal: bool) -> Iterator[Line]:
    at = tuple(x.tolist())
    # Where images or both kinds of pairs are discarded, one discard can remove more or fewer errors than one.
    if ideal:
        yield Line("ideal", at, tuple(np.maximum(start - x, 0).tolist()), reference=True)
    yield Line("random discards", (at[0], at[-1]), (start, start), reference=True)


def det_charts(result: EvaluationResult) -> list[LineChart]:
    """One DET chart for each method: a line for each discarded share of the images."""
    charts = []
    for method in result.methods:
        lines = tuple(
            Line(
                "nothing discarded" if det.discarded == 0 else f"worst {100 * det.discarded:g} % discarded",
                det.fmr,
                det.fnmr,
            )
            for det in method.det
        )
        if not lines:
            continue
        charts.append(
            LineChart(
                key=f"det-{slug(method.name)}",
                title=f"Detection error trade-off, {method.name}",
                x=Axis("FMR [%]", "log", per_cent=True),
                y=Axis("FNMR [%]", "log", per_cent=True),
                lines=lines,
                join="linear",
            )
        )
    return charts


def histogram_charts(result: EvaluationResult) -> list[LineChart]:
    """How the recognizer's similarities and each method's scores are spread."""
    charts = []
    both = result.similarities
    if both.genuine.counts or both.impostor.counts:
        charts.append(
            LineChart(
                key="similarities",
                title="Similarities of pairs",
                x=Axis("Cosine similarity"),
                y=Axis("Pairs of this kind [%]", per_cent=True),
                lines=(density("genuine", both.genuine), density("impostor", both.impostor)),
                join="step",
            )
        )
    charts.extend(
        LineChart(
            key=f"scores-{slug(method.name)}",
            title=f"Scores, {method.name}",
            x=Axis("Score (higher is better)"),
            y=Axis("Images [%]", per_cent=True),
            lines=(density(method.name, method.statistics.histogram),),
            join="step",
        )
        for method in result.methods
    )
    return charts


def density(name: str, histogram: Histogram) -> Line:
    """A histogram as a step line of shares; NaN where it counts nothing."""
    total = sum(histogram.counts)
    shares = tuple(count / total if total else math.nan for count in histogram.counts)
    # A step line needs a last point to hold its last bin.
    return Line(name, histogram.edges, (*shares, 0.0)[: len(histogram.edges)])


def spearman_chart(result: EvaluationResult) -> HeatChart | None:
    """How alike the methods rank the images; None for fewer than two."""
    matrix = result.spearman
    if len(matrix.methods) < 2:
        return None
    return HeatChart(
        key="spearman",
        title="Rank correlation of the methods' scores",
        rows=matrix.methods,
        columns=matrix.methods,
        values=matrix.rho,
        legend="Spearman's rho, times 100",
    )
