"""The numbers of an evaluation as text: one Markdown table, and the scores as csv."""

import csv
import io
import math

from gate.lab.results import Curve, EvaluationResult, MethodResult


def markdown_tables(result: EvaluationResult) -> str:
    """`markdown_table` for every limit; empty without ISO curves."""
    if "iso" not in result.modes or not result.methods[0].curves:
        return ""
    return "\n".join(
        f"Normalised pAUC up to a discarded share of {limit:g}\n\n{markdown_table(result, limit)}"
        for limit in result.limits
    )


def markdown_table(result: EvaluationResult, limit: float) -> str:
    """Normalised pAUC of the ISO FNMR curves up to `limit`, a row a method, a column an operating point.

    A cell has the area with its 95 % interval; the heading has the errors that the column rests on, and a warning sign
    where they are fewer than 30.
    """
    shown = [curve for curve in result.methods[0].curves if (curve.mode, curve.error) == ("iso", "fnmr")]
    headings = [_heading(curve) for curve in shown]
    lines = [
        "| method | ms per crop | " + " | ".join(headings) + " |",
        "|---|---:|" + "---:|" * len(headings),
    ]
    for method in sorted(result.methods, key=lambda method: _rank(method, shown, limit)):
        cells = [_cell(method.curve("iso", "fnmr", curve.fmr_target), limit) for curve in shown]
        cost = "" if math.isnan(method.ms_per_crop) else f"{method.ms_per_crop:.2g}"
        lines.append(f"| {method.name} | {cost} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _heading(curve: Curve) -> str:
    mark = " ⚠" if curve.warning else ""
    return (
        f"FMR {curve.fmr_target:g}: FNMR {100 * curve.fnmr0:.2f} % "
        f"({curve.false_non_matches} false non-matches, {curve.false_matches} false matches){mark}"
    )


def _rank(method: MethodResult, shown: list[Curve], limit: float) -> float:
    middle = shown[len(shown) // 2].fmr_target if shown else 0.0
    value = method.curve("iso", "fnmr", middle).pauc(limit).normalised if shown else 0.0
    return math.inf if math.isnan(value) else value


def _cell(curve: Curve, limit: float) -> str:
    area = curve.pauc(limit)
    if math.isnan(area.normalised):
        return "no errors"
    return f"{area.normalised:.3f}" + ("" if math.isnan(area.low) else f" ({area.low:.3f} to {area.high:.3f})")


def scores_csv(result: EvaluationResult) -> str:
    """Every image's score by every method; empty without samples."""
    if result.samples is None:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "identity", *result.samples.scores])
    columns = [values.tolist() for values in result.samples.scores.values()]
    writer.writerows(zip(result.samples.paths, result.samples.identities, *columns, strict=True))
    return text.getvalue()


def pairwise_csv(result: EvaluationResult) -> str:
    """Every paired test; empty without a bootstrap."""
    if not result.pairwise:
        return ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("method_a", "method_b", "fmr", "limit", "difference", "low", "high", "p")
    writer.writerow(columns)
    writer.writerows([getattr(test, column) for column in columns] for test in result.pairwise)
    return text.getvalue()
