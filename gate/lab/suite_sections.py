"""The report's sections about crops, degradations, attributes and groups of people."""

import base64
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from gate.lab.attributes import AttributeResponse
from gate.lab.bias import BiasReport, DiscardPoint
from gate.lab.charts import Chart, HeatChart
from gate.lab.fairness import FnmrPoint, Ratio
from gate.lab.gallery import Disagreement, disagreements, extremes, percentiles
from gate.lab.markup import Markup, element, interval, number, per_cent
from gate.lab.response import DegradationResponse
from gate.lab.results import Samples
from gate.lab.sections import section, table
from gate.lab.svg import figure, heat_table
from gate.types import Image

ReadCrop: TypeAlias = Callable[[int], Image]
"""Index into `Samples.paths` → (112, 112, 3) uint8 RGB."""

_JPEG_QUALITY = 85
_HEADLINE_SHARE = 0.2


def drawn(chart: Chart) -> Markup:
    """A chart for the page."""
    return heat_table(chart) if isinstance(chart, HeatChart) else figure(chart)


def data_uri(crop: Image) -> str:
    """A crop as JPEG inside an address."""
    import cv2

    _, jpeg = cv2.imencode(".jpg", crop[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def crops_section(samples: Samples, read_crop: ReadCrop) -> Markup:
    """The best and the worst crops of each method."""
    pictures = _Pictures(samples, read_crop)
    folded = []
    for number_, ends in enumerate(extremes(samples)):
        scores = samples.scores[ends.method]
        labels = [f"{score:.4g}" for score in scores.tolist()]
        folded.append(
            element(
                "details",
                element("summary", element("bdi", ends.method)),
                element("h3", "Worst"),
                pictures.listed(ends.worst, [labels[index] for index in ends.worst]),
                element("h3", "Best"),
                pictures.listed(ends.best, [labels[index] for index in ends.best]),
                open="" if number_ == 0 else None,
            )
        )
    return section("crops", "Best and worst crops", *folded)


def disagreement_section(samples: Samples, read_crop: ReadCrop) -> Markup | str:
    """Crops that two methods put at different ends."""
    found = disagreements(samples)
    if not found:
        return ""
    pictures = _Pictures(samples, read_crop)
    places = percentiles(samples)

    def labels(pair: Disagreement, indices: Sequence[int]) -> list[str]:
        a, b = places[pair.method_a], places[pair.method_b]
        return [f"{a[index]:.0f} : {b[index]:.0f}" for index in indices]

    folded = [
        element(
            "details",
            element(
                "summary",
                element("bdi", pair.method_a),
                " and ",
                element("bdi", pair.method_b),
                element("small", f"Spearman {number(pair.rho, 2)}"),
            ),
            element("h3", element("bdi", pair.method_a), " ranks higher"),
            pictures.listed(pair.a_higher, labels(pair, pair.a_higher)),
            element("h3", element("bdi", pair.method_b), " ranks higher"),
            pictures.listed(pair.b_higher, labels(pair, pair.b_higher)),
            open="" if place == 0 else None,
        )
        for place, pair in enumerate(found)
    ]
    note = "Under each crop: its place among all by the first and by the second method, 0 the worst and 100 the best."
    return section("disagreement", "Where methods disagree most", element("p", note, class_="soft"), *folded)


class _Pictures:
    """Crops as list entries; each crop is read and encoded once."""

    def __init__(self, samples: Samples, read_crop: ReadCrop) -> None:
        self._samples = samples
        self._read_crop = read_crop
        self._addresses: dict[int, str] = {}

    def listed(self, indices: Sequence[int], labels: Sequence[str]) -> Markup:
        entries = (self._entry(index, label) for index, label in zip(indices, labels, strict=True))
        return element("ul", *entries, class_="crops")

    def _entry(self, index: int, label: str) -> Markup:
        if index not in self._addresses:
            self._addresses[index] = data_uri(self._read_crop(index))
        path = self._samples.paths[index]
        picture = element("img", src=self._addresses[index], alt=f"Crop {path}", width=112, height=112, loading="lazy")
        return element("li", picture, element("b", label), element("span", element("bdi", path), title=path))


def degradation_section(responses: Sequence[DegradationResponse], charts: Sequence[HeatChart]) -> Markup | str:
    """Share of degraded faces below their clean original, a table for each method."""
    if not responses:
        return ""
    parts = []
    for response, chart in zip(responses, charts, strict=True):
        probes = "; ".join(f"{per_cent(probe.share_above)} of faces above {probe.name}" for probe in response.probes)
        note = f"{response.faces} faces, seed {response.seed}. {probes}"
        parts.append(element("div", heat_table(chart), element("p", note, class_="soft")))
    explanation = (
        "Each face is made worse in each way at five levels and scored again with the same seed. The number is the "
        "share of faces that score lower than their clean original, in per cent: 50 is guessing, 100 is never fooled."
    )
    return section(
        "degradations",
        "Faces made worse on purpose",
        element("p", explanation, class_="soft"),
        element("div", *parts, class_="grid2"),
    )


def attribute_section(responses: Sequence[AttributeResponse], charts: Sequence[Chart]) -> Markup | str:
    """Mean quality over labelled levels, and whether it falls."""
    if not responses:
        return ""
    rows = [
        element(
            "tr",
            element("th", response.attribute, scope="row"),
            element("td", element("bdi", response.method), class_="name"),
            element("td", number(response.trend.tau)),
            element("td", "< 0.001" if response.trend.p < 0.001 else number(response.trend.p)),
            element("td", "yes" if response.trend.falls_at_every_step else "no"),
            element("td", f"{sum(level.count for level in response.levels):,}"),
        )
        for response in responses
    ]
    test = responses[0].trend.test
    return section(
        "attributes",
        "Response to labelled attributes",
        element("p", f"{test}: \N{MINUS SIGN}1 means that the score falls without exception.", class_="soft"),
        table(["attribute", "method", "tau", "p", "mean falls at every step", "images"], rows),
        element("div", *(drawn(chart) for chart in charts), class_="grid2"),
    )


def bias_section(reports: Sequence[BiasReport], charts: Sequence[Sequence[Chart]]) -> Markup | str:
    """Whom each method turns away."""
    if not reports:
        return ""
    folded = [
        element(
            "details",
            element(
                "summary",
                element("bdi", report.attribute),
                ", ",
                element("bdi", report.method),
                element("small", _headline(report)),
            ),
            element("p", _about(report), class_="soft"),
            element("ul", *(element("li", w) for w in report.warnings), class_="warnings") if report.warnings else "",
            element("div", *map(drawn, own), class_="grid2"),
            element("h3", "Discard rates"),
            _discard_table(report),
            *((element("h3", "FNMR before and after"), _fnmr_table(report)) if report.fnmr else ()),
            open="" if place == 0 else None,
        )
        for place, (report, own) in enumerate(zip(reports, charts, strict=True))
    ]
    note = (
        "A group's discard rate is the share of its images that score below the threshold. The ratio compares the two "
        "groups with the largest and the smallest rate at that threshold, with a 95 % bootstrap interval: one that "
        "holds 1 is no evidence of a difference."
    )
    return section("bias", "Whom the threshold turns away", element("p", note, class_="soft"), *folded)


def _about(report: BiasReport) -> str:
    text = f"{sum(report.counts):,} images; {report.rule}."
    if report.ungrouped:
        text += f" {report.ungrouped:,} images without a value take no part."
    if report.mixed_pairs:
        text += f" {report.mixed_pairs:,} genuine pairs whose images share no group are left out."
    return text


def _headline(report: BiasReport) -> str:
    if not report.points:
        return ""
    point = min(report.points, key=lambda point: abs(point.share - _HEADLINE_SHARE))
    return f"ratio at {100 * point.share:g} % discarded: {_ratio_text(point.ratio, report.groups)}"


def _ratio_text(ratio: Ratio, groups: Sequence[str]) -> str:
    if ratio.worst < 0 or math.isnan(ratio.value):
        return number(math.nan)
    span = interval(ratio.low, ratio.high, 2)
    return f"{number(ratio.value, 2)} {span} ({groups[ratio.worst]} / {groups[ratio.best]})"


def _discard_table(report: BiasReport) -> Markup:
    return _rates_table(report, report.points, "discarded")


def _fnmr_table(report: BiasReport) -> Markup:
    return _rates_table(report, report.fnmr, "discarded before")


def _rates_table(report: BiasReport, points: Sequence[DiscardPoint | FnmrPoint], first: str) -> Markup:
    head = [first, *report.groups, "worst / best"]
    rows = [
        element(
            "tr",
            element("th", f"{100 * point.share:g} %", scope="row"),
            *(
                element("td", per_cent(rate.value), element("small", interval(100 * rate.low, 100 * rate.high, 1)))
                for rate in point.rates
            ),
            element("td", _ratio_text(point.ratio, report.groups)),
        )
        for point in points
    ]
    return table(head, rows)
