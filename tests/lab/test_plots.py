import subprocess
import sys
from importlib import resources
from xml.etree import ElementTree as ET

import cv2
import numpy as np
import pytest

from gate.errors import GateError
from gate.lab.charts import Axis, Chart, HeatChart, Line, LineChart, PointChart, StackChart, extent, to_csv
from gate.lab.palette import DARK, LIGHT, dash_of
from gate.lab.plots import draw, render
from gate.lab.svg import figure, heat_table
from gate.lab.ticks import ticks

NAN, INF = float("nan"), float("inf")
HOSTILE = ("$\\frac{", "_hidden", "\N{CJK UNIFIED IDEOGRAPH-6C49}", "a\x00b\u202e", "<b>&\"'", "")


def line_chart(*lines: Line, **axes: Axis) -> LineChart:
    x, y = axes.get("x", Axis("Discarded [%]", per_cent=True)), axes.get("y", Axis("FNMR [%]", per_cent=True))
    return LineChart("k", "Title", x, y, lines, "step")


HEALTHY = line_chart(
    Line("a", (0.0, 0.1, 0.2), (0.3, 0.2, 0.1), (0.2, 0.1, 0.0), (0.4, 0.3, 0.2)),
    Line("ideal", (0.0, 0.2), (0.3, 0.1), reference=True),
)
STACK = StackChart(
    "s",
    "Stack",
    Axis("Discarded [%]"),
    Axis("Part"),
    (Line("a", (0.1, 0.5), (0.4, 0.6)), Line("b", (0.1, 0.5), (0.6, 0.4))),
)
POINTS = PointChart(
    "p", "Points", Axis("blur"), Axis("Score"), ("0", "1"), (Line("m", (0.0, 1.0), (5.0, 3.0), (4.0, 2.0), (6.0, 4.0)),)
)
HEAT = HeatChart("h", "Heat", ("jpeg", "noise"), ("level 1", "level 2"), ((0.5, 1.0), (NAN, 0.0)), "Share [%]")
ALL: list[Chart] = [HEALTHY, STACK, POINTS, HEAT]

DAMAGED: list[Chart] = [
    line_chart(),
    line_chart(Line("one point", (0.2,), (0.3,), (0.1,), (0.5,))),
    line_chart(Line("nothing", (0.0, 0.1), (NAN, NAN), (NAN, NAN), (NAN, NAN))),
    line_chart(Line("holes", (0.0, NAN, 0.2, 0.3), (0.1, 0.2, INF, -INF))),
    line_chart(Line("empty", (), ())),
    line_chart(Line("flat", (0.1, 0.2), (0.0, 0.0))),
    line_chart(Line("log of zero", (0.0, 0.1, 1.0), (1.0, 0.5, 0.0)), x=Axis("FMR", "log"), y=Axis("FNMR", "log")),
    line_chart(Line("log of nothing", (0.0,), (0.0,)), x=Axis("FMR", "log"), y=Axis("FNMR", "log")),
    line_chart(Line("log of one", (0.5,), (0.5,)), x=Axis("FMR", "log"), y=Axis("FNMR", "log")),
    StackChart("s", "Stack", Axis("x"), Axis("y"), ()),
    StackChart("s", "Stack", Axis("x"), Axis("y"), (Line("a", (0.1,), (1.0,)), Line("b", (0.1,), (NAN,)))),
    PointChart("p", "Points", Axis("x"), Axis("y"), (), ()),
    PointChart("p", "Points", Axis("x"), Axis("y"), ("only",), (Line("m", (0.0,), (NAN,), (NAN,), (NAN,)),)),
    PointChart("p", "Outside its interval", Axis("x"), Axis("y"), ("a",), (Line("m", (0.0,), (5.0,), (6.0,), (7.0,)),)),
    HeatChart("h", "Heat", (), (), (), "Share"),
    HeatChart("h", "Heat", ("a",), ("b",), ((NAN,),), "Share"),
]


def parsed(xml: str | bytes) -> ET.Element:
    return ET.fromstring(xml)  # noqa: S314 - our own output


def pixels(png: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image = cv2.imdecode(np.frombuffer(png, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, dtype=np.uint8)


@pytest.mark.parametrize("chart", ALL, ids=lambda chart: chart.title)
def test_a_plot_is_a_light_picture_with_something_on_it(chart: Chart) -> None:
    image = pixels(render(chart, "png"))
    assert image.shape[1] > 800
    assert image[0, 0].tolist() == [255, 255, 255]
    assert (image.max(axis=2) < 250).mean() > 0.002
    assert parsed(render(chart, "svg")).tag.endswith("svg")


@pytest.mark.parametrize("chart", DAMAGED, ids=[f"{chart.title} {number}" for number, chart in enumerate(DAMAGED)])
def test_missing_values_and_single_points_never_break_a_plot(chart: Chart) -> None:
    assert pixels(render(chart, "png")).size
    parsed(heat_table(chart) if isinstance(chart, HeatChart) else figure(chart))
    assert to_csv(chart)


@pytest.mark.parametrize("chart", ALL, ids=lambda chart: chart.title)
def test_the_same_chart_gives_the_same_bytes(chart: Chart) -> None:
    assert render(chart, "svg") == render(chart, "svg")
    assert render(chart, "png") == render(chart, "png")


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_any_name_can_be_drawn(name: str) -> None:
    chart = PointChart(
        "k", name, Axis(name), Axis(name), (name, name), (Line(name, (0.0, 1.0), (1.0, 2.0)), Line("b", (0.0,), (1.0,)))
    )
    assert pixels(render(chart, "png")).size
    parsed(render(chart, "svg"))
    assert pixels(render(HeatChart("h", name, (name,), (name,), ((0.5,),), name), "png")).size


def test_labels_keep_their_units_and_lines_their_names() -> None:
    axes = draw(HEALTHY).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("Discarded [%]", "FNMR [%]", "Title")
    assert [text.get_text() for text in draw(HEALTHY).legends[0].get_texts()] == ["a", "ideal"]
    axes.figure.canvas.draw()
    assert "20" in [text.get_text() for text in axes.get_xticklabels()]


def test_a_single_point_has_a_marker() -> None:
    (line,) = draw(line_chart(Line("one", (0.2,), (0.3,)))).axes[0].get_lines()
    assert line.get_marker() == "o"


def test_drawing_leaves_pyplot_alone() -> None:
    program = (
        "import sys; from gate.lab.charts import *; from gate.lab.plots import render;"
        "render(LineChart('k', 't', Axis('x'), Axis('y'), (Line('a', (0., 1.), (0., 1.)),)), 'png');"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("colours", "ground"), [(LIGHT, "#ffffff"), (DARK, "#181c22")])
def test_every_colour_stands_out_from_its_ground(colours: tuple[str, ...], ground: str) -> None:
    assert {colour: round(contrast(colour, ground), 2) for colour in colours if contrast(colour, ground) < 3} == {}


def test_the_page_uses_the_palette() -> None:
    css = resources.files("gate.lab").joinpath("report.css").read_text(encoding="utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")[:2]
    for number, (day, night) in enumerate(zip(LIGHT, DARK, strict=True)):
        assert f"--s{number}: {day};" in light
        assert f"--s{number}: {night};" in dark


def test_no_two_of_sixteen_lines_look_alike() -> None:
    assert len({(number % len(LIGHT), dash_of(number)) for number in range(16)}) == 16


def test_an_axis_starts_at_zero_when_its_values_come_near() -> None:
    assert extent(line_chart(Line("a", (0.2, 0.9), (0.1, 1.0))), "y")[0] == 0.0
    assert extent(line_chart(Line("a", (0.2, 0.9), (0.9, 1.0))), "y")[0] > 0.8
    assert extent(line_chart(Line("a", (0.2, 0.9), (0.1, 1.0))), "x") == (0.2, 0.9)


@pytest.mark.parametrize(
    ("axis", "ends", "texts"),
    [
        (Axis("x"), (0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Axis("x"), (-3.0, 3.0), ["-2", "0", "2"]),
        (Axis("x", per_cent=True), (0.0, 0.03), ["0", "1", "2", "3"]),
        (Axis("x", "log", per_cent=True), (0.01, 1.0), ["1", "2", "5", "10", "20", "50", "100"]),
        (Axis("x", "log"), (1e-6, 1.0), ["1e-06", "0.0001", "0.01", "1"]),
    ],
)
def test_ticks_are_round_numbers(axis: Axis, ends: tuple[float, float], texts: list[str]) -> None:
    assert [text for _, text in ticks(axis, *ends)] == texts


def test_a_line_must_be_whole() -> None:
    with pytest.raises(GateError, match="equally long"):
        Line("a", (0.0, 1.0), (0.0,))


def test_the_csv_of_a_chart_holds_its_points() -> None:
    assert to_csv(HEALTHY).splitlines()[:2] == ["series,Discarded [%],FNMR [%],low,high", "a,0.0,0.3,0.2,0.4"]
    assert to_csv(POINTS).splitlines()[1] == "m,0,5.0,4.0,6.0"
    assert to_csv(HEAT).splitlines() == [",level 1,level 2", "jpeg,0.5,1.0", "noise,nan,0.0"]
