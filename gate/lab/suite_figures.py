"""The charts of the bias, attribute and degradation suites."""

from collections.abc import Sequence
from itertools import groupby

from gate.lab.attributes import AttributeResponse
from gate.lab.bias import BiasReport
from gate.lab.charts import Axis, Chart, HeatChart, Line, LineChart, PointChart, StackChart
from gate.lab.degrade import LEVELS, Degradation
from gate.lab.figures import density, slug
from gate.lab.response import DegradationResponse


def bias_charts(report: BiasReport) -> list[Chart]:
    """Stacked parts of the groups among the discarded and the kept, discard rates, quality, and FNMR where known."""
    key = f"bias-{slug(report.attribute)}-{slug(report.method)}"
    what = f"{report.attribute}, {report.method}"
    x = Axis("Discarded images [%]", per_cent=True)
    shares = tuple(point.share for point in report.points)
    charts: list[Chart] = [
        _stack(f"{key}-discarded", f"Groups among the discarded: {what}", report, kept=False),
        _stack(f"{key}-kept", f"Groups among the kept: {what}", report, kept=True),
        LineChart(
            key=f"{key}-rates",
            title=f"Discard rate by group: {what}",
            x=x,
            y=Axis("Discarded images of the group [%]", per_cent=True, limits=(0.0, 1.0)),
            lines=(
                *(
                    Line(
                        group,
                        shares,
                        tuple(point.rates[number].value for point in report.points),
                        tuple(point.rates[number].low for point in report.points),
                        tuple(point.rates[number].high for point in report.points),
                    )
                    for number, group in enumerate(report.groups)
                ),
                Line("all alike", shares, shares, reference=True),
            ),
        ),
        PointChart(
            key=f"{key}-quality",
            title=f"Mean score by group: {what}",
            x=Axis(report.attribute),
            y=Axis("Score (higher is better)"),
            places=report.groups,
            ordered=False,
            lines=(
                Line(
                    report.method,
                    tuple(float(number) for number in range(len(report.groups))),
                    tuple(spread.mean for spread in report.spreads),
                    tuple(spread.low for spread in report.spreads),
                    tuple(spread.high for spread in report.spreads),
                ),
            ),
        ),
    ]
    charts.insert(
        3,
        LineChart(
            key=f"{key}-distribution",
            title=f"Scores by group: {what}",
            x=Axis("Score (higher is better)"),
            y=Axis("Images of the group [%]", per_cent=True),
            lines=tuple(density(spread.group, spread.histogram) for spread in report.spreads),
            join="step",
        ),
    )
    if report.fnmr:
        charts.append(_fnmr(key, what, report))
    return charts


def _stack(key: str, title: str, report: BiasReport, *, kept: bool) -> StackChart:
    points = report.points
    return StackChart(
        key=key,
        title=title,
        x=Axis("Discarded images [%]", per_cent=True),
        y=Axis("Part of the images [%]", per_cent=True, limits=(0.0, 1.0)),
        lines=tuple(
            Line(
                group,
                tuple(point.share for point in points),
                tuple((point.among_kept if kept else point.among_discarded)[number] for point in points),
            )
            for number, group in enumerate(report.groups)
        ),
    )


def _fnmr(key: str, what: str, report: BiasReport) -> LineChart:
    return LineChart(
        key=f"{key}-fnmr",
        title=f"FNMR by group: {what}",
        x=Axis("Discarded images [%]", per_cent=True),
        y=Axis("FNMR [%]", per_cent=True),
        lines=tuple(
            Line(
                group,
                tuple(point.share for point in report.fnmr),
                tuple(point.rates[number].value for point in report.fnmr),
                tuple(point.rates[number].low for point in report.fnmr),
                tuple(point.rates[number].high for point in report.fnmr),
            )
            for number, group in enumerate(report.groups)
        ),
    )


def attribute_charts(responses: Sequence[AttributeResponse]) -> list[Chart]:
    """Mean score over the levels, one chart for each attribute and method: methods have scales of their own."""
    return [
        PointChart(
            key=f"attribute-{slug(response.attribute)}-{slug(response.method)}",
            title=f"Mean score over {response.attribute}: {response.method}",
            x=Axis(response.attribute),
            y=Axis("Score (higher is better)"),
            places=tuple(f"{level.level} (n={level.count})" for level in response.levels),
            lines=(
                Line(
                    response.method,
                    tuple(float(number) for number in range(len(response.levels))),
                    tuple(level.mean for level in response.levels),
                    tuple(level.low for level in response.levels),
                    tuple(level.high for level in response.levels),
                ),
            ),
        )
        for response in responses
    ]


def degradation_chart(response: DegradationResponse) -> HeatChart:
    """Share of faces below their clean original, a row for each degradation."""
    return HeatChart(
        key=f"degradations-{slug(response.method)}",
        title=f"Faces that score below their clean original: {response.method}",
        rows=response.kinds,
        columns=tuple(f"level {level}" for level in LEVELS),
        values=tuple(
            tuple(response.cell(Degradation(kind), level).share for level in LEVELS) for kind in response.kinds
        ),
        legend="Faces that score lower [%]",
    )


def by_attribute(reports: Sequence[BiasReport]) -> list[tuple[str, list[BiasReport]]]:
    """Reports grouped by the metadata column they are about."""
    ordered = sorted(reports, key=lambda report: report.attribute)
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda report: report.attribute)]
