"""Writes a finished evaluation for people: one HTML file, and beside it every plot and every number."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from gate.errors import GateError
from gate.lab import attributes as attributes_module
from gate.lab import bias as bias_module
from gate.lab import response as response_module
from gate.lab.attributes import AttributeResponse
from gate.lab.bias import BiasReport
from gate.lab.charts import Chart, HeatChart, LineChart, to_csv
from gate.lab.figures import det_charts, edc_chart, histogram_charts, operating_points, spearman_chart
from gate.lab.markup import Markup, element
from gate.lab.page import page
from gate.lab.plots import render
from gate.lab.response import DegradationResponse
from gate.lab.results import EvaluationResult, Samples
from gate.lab.sections import errors_section, header, provenance_section, section, significance_section
from gate.lab.suite_figures import attribute_charts, bias_charts, degradation_chart
from gate.lab.suite_sections import (
    ReadCrop,
    attribute_section,
    bias_section,
    crops_section,
    degradation_section,
    disagreement_section,
    drawn,
)

C = TypeVar("C", bound=Chart)

_TABLES = ("table", "pairwise", "scores", "bias", "attributes", "degradations", "report", "results")
"""Names of other files in the folder, which no chart may take."""


@dataclass(frozen=True, slots=True)
class _Charts:
    """Every chart of one report; no two share a key."""

    errors: list[LineChart]
    det: list[LineChart]
    spread: list[Chart]
    degradations: list[HeatChart]
    attributes: list[Chart]
    bias: list[list[Chart]]

    def all(self) -> list[Chart]:
        """All of them, in the order of the page."""
        flat = [chart for charts in self.bias for chart in charts]
        return [*self.errors, *self.det, *self.spread, *self.degradations, *self.attributes, *flat]


def write_report(
    result: EvaluationResult,
    folder: Path,
    *,
    samples: Samples | None = None,
    read_crop: ReadCrop | None = None,
    bias: Sequence[BiasReport] = (),
    attributes: Sequence[AttributeResponse] = (),
    degradations: Sequence[DegradationResponse] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `report.html`, `results.json`, and a `.png`, `.svg` and `.csv` for each chart.

    Args:
        result: What the evaluation found.
        folder: Made where missing; files of the same names are replaced.
        samples: Scores and pairs, for intervals of curves and for galleries; `result.samples` by default.
        read_crop: Reads the crop of `samples.paths[index]`; without it there are no galleries.
        bias: Reports by group, any number of columns and methods.
        attributes: Responses to labelled attributes.
        degradations: Answers to the degradation suite.
        progress: Called with plots drawn and in all, after each.

    Returns:
        The path of `report.html`.

    Raises:
        GateError: The folder cannot be written.
    """
    held = samples if samples is not None else result.samples
    charts = _charts(result, held, bias, attributes, degradations)
    html = page(
        "Quality evaluation",
        header(result),
        [
            errors_section(result, charts.errors),
            significance_section(result),
            _grid("det", "Detection error trade-off", charts.det),
            _grid("spread", "Similarities and scores", charts.spread),
            crops_section(held, read_crop) if held is not None and read_crop is not None else "",
            disagreement_section(held, read_crop) if held is not None and read_crop is not None else "",
            degradation_section(degradations, charts.degradations),
            attribute_section(attributes, charts.attributes),
            bias_section(bias, charts.bias),
            provenance_section(result),
        ],
    )
    tables = {
        "table.csv": _pauc_csv(result),
        "bias.csv": bias_module.to_csv(bias) if bias else "",
        "attributes.csv": attributes_module.to_csv(attributes) if attributes else "",
        "degradations.csv": response_module.to_csv(degradations) if degradations else "",
    }
    try:
        result.save(folder)
        path = folder / "report.html"
        path.write_text(html, encoding="utf-8")
        for name, text in tables.items():
            if text:
                _write_text(folder / name, text)
        _write_plots(folder, charts.all(), progress)
    except OSError as error:
        raise GateError(f"{folder}: the report cannot be written: {error.strerror}; choose another folder") from None
    return path


def _charts(
    result: EvaluationResult,
    samples: Samples | None,
    bias: Sequence[BiasReport],
    attributes: Sequence[AttributeResponse],
    degradations: Sequence[DegradationResponse],
) -> _Charts:
    names = _Names()
    ranks = spearman_chart(result)
    return _Charts(
        errors=names.own([edc_chart(result, point, samples) for point in operating_points(result)]),
        det=names.own(det_charts(result)),
        spread=names.own([*histogram_charts(result), *([ranks] if ranks else [])]),
        degradations=names.own([degradation_chart(response) for response in degradations]),
        attributes=names.own(attribute_charts(attributes)),
        bias=[names.own(bias_charts(report)) for report in bias],
    )


class _Names:
    """Gives each chart a key of its own: two methods may differ only in what file names cannot hold."""

    def __init__(self) -> None:
        self._taken: set[str] = {
            "table",
            "pairwise",
            "scores",
            "bias",
            "attributes",
            "degradations",
            "report",
            "results",
        }

    def own(self, charts: Sequence[C]) -> list[C]:
        return [replace(chart, key=self._free(chart.key)) for chart in charts]

    def _free(self, key: str) -> str:
        free, number = key, 2
        while free in self._taken:
            free, number = f"{key}-{number}", number + 1
        self._taken.add(free)
        return free


def _grid(anchor: str, title: str, charts: Sequence[Chart]) -> Markup | str:
    return section(anchor, title, element("div", *map(drawn, charts), class_="grid2")) if charts else ""


def _pauc_csv(result: EvaluationResult) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    curve_columns = ("mode", "error", "fmr_target", "fnmr0", "fmr0", "false_non_matches", "false_matches", "warning")
    area_columns = ("limit", "raw", "normalised", "low", "high", "share_of_ideal")
    writer.writerow(["method", "ms_per_crop", *curve_columns, *(f"pauc_{column}" for column in area_columns)])
    for method in result.methods:
        for curve in method.curves:
            start = [method.name, method.ms_per_crop, *(getattr(curve, column) for column in curve_columns)]
            writer.writerows([*start, *(getattr(area, column) for column in area_columns)] for area in curve.paucs)
    return text.getvalue()


def _write_plots(folder: Path, charts: Sequence[Chart], progress: Callable[[int, int], None] | None) -> None:
    for number, chart in enumerate(charts, start=1):
        (folder / f"{chart.key}.png").write_bytes(render(chart, "png"))
        (folder / f"{chart.key}.svg").write_bytes(render(chart, "svg"))
        _write_text(folder / f"{chart.key}.csv", to_csv(chart))
        if progress is not None:
            progress(number, len(charts))


def _write_text(path: Path, text: str) -> None:
    # Names of files may hold bytes that are no text.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
