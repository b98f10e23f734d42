"""The report's sections about errors: summary, curves, tables, significance, spread and provenance."""

import math
from collections.abc import Sequence
from datetime import datetime, timezone

from gate.lab.charts import LineChart
from gate.lab.figures import curve_of, operating_points, primary
from gate.lab.markup import Markup, element, interval, number, per_cent
from gate.lab.results import FEW_ERRORS, Curve, EvaluationResult, MethodResult, PairwiseTest, Recognizer
from gate.lab.svg import figure

_MODES = {
    "iso": "ISO style: genuine or impostor pairs only, one threshold for the whole set.",
    "crfiqa": "CR-FIQA's published rule: both kinds of pairs sorted together, a new threshold at each of 20 points.",
    "beyond-edc": "Images are discarded; a pair stays while both of its images stay.",
}


def section(anchor: str, title: str, *children: str) -> Markup:
    """A section that the page's navigation can point to."""
    return element("section", element("h2", title, id=f"{anchor}-title"), *children, id=anchor)


def table(head: Sequence[str], rows: Sequence[Markup], class_: str | None = None) -> Markup:
    """A table that scrolls by itself on a narrow screen."""
    heading = element("thead", element("tr", *(element("th", name, scope="col") for name in head)))
    body = element("table", heading, element("tbody", *rows), class_=class_)
    return element("div", body, class_="scroll", tabindex="0")


def header(result: EvaluationResult) -> Markup:
    """What was evaluated, on what, and what must be known before a number is read."""
    data = result.dataset
    compared = {
        "genuine pairs": f"{data.n_genuine:,}",
        "impostor pairs": f"{data.n_impostor:,}",
        "recognizer": result.recognizer.name,
    }
    facts = {
        "images": f"{data.n_images:,}",
        "people": f"{data.n_identities:,}",
        **(compared if result.recognizer.dimensions else {}),
        "methods": str(len(result.methods)),
        "intervals": f"95 %, {result.bootstrap} resamples of people" if result.bootstrap else "none asked for",
        "made": _date(result.created_ms),
    }
    listed = (element("div", element("dt", name), element("dd", value)) for name, value in facts.items())
    warnings = (element("li", warning) for warning in result.warnings)
    return element(
        "header",
        element("h1", "Quality evaluation"),
        element("p", data.description, class_="soft"),
        element("dl", *listed, class_="facts"),
        element("ul", *warnings, class_="warnings") if result.warnings else "",
    )


def _date(created_ms: int) -> str:
    return datetime.fromtimestamp(created_ms / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def errors_section(result: EvaluationResult, charts: Sequence[LineChart]) -> Markup:
    """The leading operating point with its chart and table, the others folded away.

    Args:
        result: The evaluation.
        charts: An EDC chart for each of `operating_points`, in that order.
    """
    points = operating_points(result)
    lead = primary(result)
    drawn = dict(zip(points, charts, strict=True))
    if lead is None:
        return section("errors", "Error versus discard", element("p", "This evaluation holds no curve."))
    rest = [point for point in points if point != lead]
    folded = [_folded(result, mode, [p for p in rest if p[0] == mode], drawn) for mode in _MODES]
    return section(
        "errors",
        "Error versus discard",
        element("p", f"{_MODES[lead[0]]} A method is good when its line falls fast towards the ideal.", class_="soft"),
        element("div", figure(drawn[lead]), class_="lead"),
        pauc_table(result, lead),
        element("p", _how_to_read(result), class_="soft"),
        *folded,
    )


def _how_to_read(result: EvaluationResult) -> str:
    note = (
        "pAUC is the area under the curve up to the limit, divided by that of random discards: 1 is no better than "
        "chance, lower is better. Ideal is the share of the way from chance to the ideal curve. "
    )
    if result.bootstrap:
        note += "Brackets hold the 95 % bootstrap interval over people; bands of ISO curves keep the thresholds fixed. "
    return note + f"\N{WARNING SIGN} marks numbers that rest on fewer than {FEW_ERRORS} errors."


def _folded(
    result: EvaluationResult,
    mode: str,
    points: Sequence[tuple[str, str, float]],
    drawn: dict[tuple[str, str, float], LineChart],
) -> Markup | str:
    if not points:
        return ""
    parts = [element("div", figure(drawn[point]), pauc_table(result, point)) for point in points]
    summary = element("summary", f"Other operating points: {mode}", element("small", _MODES[mode]))
    return element("details", summary, element("div", *parts, class_="grid2"))


def pauc_table(result: EvaluationResult, point: tuple[str, str, float]) -> Markup:
    """Normalised pAUC of every method at one operating point, best first by the middle limit."""
    found = [(method, curve) for method in result.methods if (curve := curve_of(method, point)) is not None]
    limits = result.limits
    middle = limits[len(limits) // 2] if limits else math.nan
    ordered = sorted(found, key=lambda pair: _rank(pair[1], middle))
    names = {"fnmr": "FNMR", "fmr": "FMR"}
    head = [
        "method",
        *(f"pAUC to {100 * limit:g}\N{NO-BREAK SPACE}%" for limit in limits),
        *([f"ideal at {100 * middle:g}\N{NO-BREAK SPACE}%"] if point[0] == "iso" else []),
        f"{names[point[1]]} before",
        "false non-matches",
        "false matches",
        "ms per crop",
    ]
    rows = [
        _pauc_row(method, curve, limits, middle, best=place == 0 and len(ordered) > 1)
        for place, (method, curve) in enumerate(ordered)
    ]
    warnings = dict.fromkeys(curve.warning for _, curve in ordered if curve.warning)
    notes = (element("p", f"\N{WARNING SIGN} {warning}", class_="few") for warning in warnings)
    return element("div", table(head, rows), *notes)


def _rank(curve: Curve, limit: float) -> float:
    area = next((pauc.normalised for pauc in curve.paucs if math.isclose(pauc.limit, limit)), math.nan)
    return math.inf if math.isnan(area) else area


def _pauc_row(method: MethodResult, curve: Curve, limits: Sequence[float], middle: float, *, best: bool) -> Markup:
    by_limit = {pauc.limit: pauc for pauc in curve.paucs}
    cells = []
    for limit in limits:
        pauc = by_limit.get(limit)
        if pauc is None:
            cells.append(element("td", number(math.nan)))
            continue
        cells.append(element("td", number(pauc.normalised), element("small", interval(pauc.low, pauc.high))))
    reached = by_limit[middle].share_of_ideal if middle in by_limit else math.nan
    ideal = [element("td", per_cent(reached))] if curve.mode == "iso" else []
    before = curve.fnmr0 if curve.error == "fnmr" else curve.fmr0
    return element(
        "tr",
        element("th", element("bdi", method.name), scope="row"),
        *cells,
        *ideal,
        element("td", per_cent(before, 2)),
        _counted(curve.false_non_matches),
        _counted(curve.false_matches),
        element("td", number(method.ms_per_crop, 1)),
        class_="best" if best else None,
    )


def _counted(errors: int) -> Markup:
    few = errors < FEW_ERRORS
    return element("td", f"{errors:,}" + (" \N{WARNING SIGN}" if few else ""), class_="few" if few else None)


def significance_section(result: EvaluationResult) -> Markup | str:
    """Paired comparisons of methods."""
    if not result.pairwise:
        return ""
    lead = primary(result)
    middle = result.limits[len(result.limits) // 2] if result.limits else math.nan
    shown = [test for test in result.pairwise if lead and test.fmr == lead[2] and math.isclose(test.limit, middle)]
    rest = [test for test in result.pairwise if test not in shown]
    return section(
        "significance",
        "Is the difference real?",
        element(
            "p",
            "Difference of normalised pAUC (ISO, FNMR): negative means that the first method is better. Paired "
            "bootstrap over people; p is two-sided and not corrected for the number of comparisons.",
            class_="soft",
        ),
        _comparisons(shown) if shown else "",
        element("details", element("summary", f"{len(rest)} more comparisons"), _comparisons(rest)) if rest else "",
    )


def _comparisons(tests: Sequence[PairwiseTest]) -> Markup:
    rows = [
        element(
            "tr",
            element("th", element("bdi", test.method_a), scope="row"),
            element("td", element("bdi", test.method_b), class_="name"),
            element("td", f"{test.fmr:g}"),
            element("td", f"{100 * test.limit:g} %"),
            element("td", number(test.difference), element("small", interval(test.low, test.high))),
            element("td", "< 0.001" if test.p < 0.001 else number(test.p)),
        )
        for test in tests
    ]
    return table(["method", "against", "FMR", "pAUC to", "difference", "p"], rows)


def provenance_section(result: EvaluationResult) -> Markup:
    """Everything somebody needs to get the same numbers again."""
    data = result.dataset
    facts = [
        ("gate", result.version),
        *result.libraries.items(),
        ("seed", str(result.seed)),
        ("images, sha256", data.checksum),
        ("pairs, sha256", data.pairs_checksum),
        *(_network_facts(result.recognizer) if result.recognizer.dimensions else ()),
        *((f"method {method.name}", _method_facts(method)) for method in result.methods),
    ]
    rows = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in facts]
    return section(
        "provenance",
        "How these numbers were made",
        element("pre", element("code", result.command), tabindex="0"),
        table(["what", "value"], rows, class_="wrap"),
    )


def _network_facts(network: Recognizer) -> tuple[tuple[str, str], ...]:
    described = f"{network.model} ({network.kind}), {number(network.ms_per_crop, 1)} ms per crop"
    return ("recognizer", described), ("recognizer, sha256", network.sha256)


def _method_facts(method: MethodResult) -> str:
    options = ", ".join(f"{name}={value}" for name, value in method.options.items())
    parts = [method.model or "no weights", options, method.device]
    return "; ".join(part for part in parts if part)
