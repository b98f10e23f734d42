"""What a dashboard is made of, without a word of Grafana.

The same panels are written as JSON, asked of a Prometheus by the tests and drawn for the documentation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

INSTANCE = 'instance=~"$instance"'
"""Selects the gates that the reader has chosen."""

CAMERA = f'{INSTANCE},camera=~"$camera"'
"""Selects the cameras that the reader has chosen."""

Kind = Literal["stat", "lines", "stacked", "bars", "heatmap", "states"]

GREEN, AMBER, RED, BLUE = "green", "orange", "red", "blue"


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression."""

    expr: str
    """May hold Grafana's variables `$instance`, `$camera`, `$__rate_interval` and `$__range`."""

    legend: str = ""
    """How a series is called; `{{label}}` is its value."""

    def resolved(self, values: Mapping[str, str]) -> str:
        """The expression as Prometheus takes it.

        >>> Query("rate(x{camera=~'$camera'}[$__rate_interval])").resolved({"camera": ".*", "__rate_interval": "1m"})
        "rate(x{camera=~'.*'}[1m])"
        """
        expr = self.expr
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        return expr


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on a panel has this colour."""

    colour: str
    from_value: float | None = None
    """None for the lowest."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of a dashboard."""

    title: str

    description: str
    """What it shows and what to do about it; Grafana shows it behind the `i`."""

    queries: tuple[Query, ...]

    kind: Kind = "lines"

    unit: str = "short"
    """Grafana's name of a unit: `s`, `bytes`, `percentunit`, `reqps`, `short`."""

    steps: tuple[Step, ...] = (Step(BLUE),)
    """Colours by value, ascending."""

    width: int = 8
    """Of 24 columns."""

    height: int = 8
    """In rows of 30 px."""

    most: float | None = None
    """Upper end of the axis, where it has one."""

    names: tuple[tuple[float, str, str], ...] = ()
    """Words for values, with their colours: (value, word, colour)."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one headline."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    uid: str
    """Name of its file, and of it in links between dashboards."""

    title: str
    description: str
    rows: tuple[Row, ...]

    one_camera: bool = False
    """The camera is chosen, one at a time; else all are shown until some are chosen."""

    since: str = "now-6h"
    """Beginning of the time that is shown first."""

    @property
    def panels(self) -> Iterator[Panel]:
        """All panels, in order."""
        for row in self.rows:
            yield from row.panels


def quantile(share: float, histogram: str, selector: str = INSTANCE, by: str = "") -> str:
    """PromQL: a quantile of a histogram over the panel's rate interval.

    >>> quantile(0.5, "facegate_publish_seconds", "a='b'")
    "histogram_quantile(0.5, sum by (le) (rate(facegate_publish_seconds_bucket{a='b'}[$__rate_interval])))"
    """
    labels = f"le, {by}" if by else "le"
    rates = f"rate({histogram}_bucket{{{selector}}}[$__rate_interval])"
    return f"histogram_quantile({share}, sum by ({labels}) ({rates}))"


def rate(counter: str, selector: str = INSTANCE, by: str = "") -> str:
    """PromQL: how much a counter grows a second, summed.

    >>> rate("facegate_frames_total", "a='b'", by="outcome")
    "sum by (outcome) (rate(facegate_frames_total{a='b'}[$__rate_interval]))"
    """
    total = f"sum by ({by})" if by else "sum"
    return f"{total} (rate({counter}{{{selector}}}[$__rate_interval]))"


def average(histogram: str, selector: str = INSTANCE, by: str = "") -> str:
    """PromQL: the mean of what a histogram observed over the panel's rate interval."""
    return f"{rate(f'{histogram}_sum', selector, by)} / {rate(f'{histogram}_count', selector, by)}"


def share(counter: str, part: str, selector: str = CAMERA, *, by: str = "", over: str = "rate") -> str:
    """PromQL: what share of a counter's growth falls on the label values `part`.

    Args:
        counter: name of the counter.
        part: further matchers that choose the part, such as `result="published"`.
        selector: matchers of the whole.
        by: label to group by.
        over: `rate` over the panel's rate interval, or `range` over all the time shown.
    """
    function, window = {"rate": ("rate", "$__rate_interval"), "range": ("increase", "$__range")}[over]
    total = f"sum by ({by})" if by else "sum"
    parts, whole = (
        f"{total} ({function}({counter}{{{matchers}}}[{window}]))" for matchers in (f"{selector},{part}", selector)
    )
    return f"{parts} / {whole}"
