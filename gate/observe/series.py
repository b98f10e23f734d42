"""The numbers behind the metrics, and their text.

A thousand cameras are 90,000 lines. prometheus_client made an object and a label string of each at every scrape, one
second of a core in which the engine waited for its turn; here all but the number is written when a series begins.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import accumulate

from gate.observe.table import MetricSpec


class Number:
    """A counter or a gauge."""

    __slots__ = ("_head", "value")

    def __init__(self, name: str, labels: Iterable[tuple[str, str]]) -> None:
        self._head = f"{name}{_written(labels)} "
        self.value = 0.0

    def text(self) -> str:
        """Its line."""
        return f"{self._head}{self.value!r}\n"


class Distribution:
    """A histogram."""

    __slots__ = ("_bounds", "_counts", "_form", "_sum")

    def __init__(self, name: str, labels: Iterable[tuple[str, str]], bounds: tuple[float, ...]) -> None:
        labels = tuple(labels)
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        limits = (*(repr(float(bound)) for bound in bounds), "+Inf")
        buckets = [f"{name}_bucket{_written((*labels, ('le', limit)))}" for limit in limits]
        heads = [*buckets, f"{name}_count{_written(labels)}", f"{name}_sum{_written(labels)}"]
        self._form = "".join(f"{head.replace('%', '%%')} %r\n" for head in heads)

    def observe(self, value: float) -> None:
        """Count a value; a bound belongs to what lies below it."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def text(self) -> str:
        """Its lines: each bucket with all below it, count, sum."""
        below = list(accumulate(self._counts.copy()))
        return self._form % (*below, below[-1], self._sum)


Series = Number | Distribution


class Family:
    """The series of one metric, by the values of its labels. The caller sees to it that threads take turns."""

    def __init__(self, spec: MetricSpec) -> None:
        self.spec = spec
        self._series: dict[tuple[str, ...], Series] = {}
        if not spec.labels:
            self.series(())

    def series(self, values: tuple[str, ...]) -> Series:
        """The series of these label values; one that is new begins at 0."""
        known = self._series.get(values)
        if known is None:
            labels = zip(self.spec.labels, values, strict=True)
            if self.spec.kind == "histogram":
                known = Distribution(self.spec.name, labels, self.spec.buckets)
            else:
                known = Number(self.spec.name, labels)
            self._series[values] = known
        return known

    def forget(self, values: tuple[str, ...]) -> None:
        """Know a series no longer; an unknown one is no error."""
        self._series.pop(values, None)

    def all(self) -> list[Series]:
        """The series that are known now."""
        return list(self._series.values())

    def heading(self, *, openmetrics: bool) -> str:
        """What a scrape says of the metric before its series."""
        name = self.spec.name.removesuffix("_total") if openmetrics else self.spec.name
        return f"# HELP {name} {_escaped(self.spec.help)}\n# TYPE {name} {self.spec.kind}\n"


def scrape(families: Iterable[tuple[Family, Iterable[Series]]], *, openmetrics: bool) -> Iterator[str]:
    """The text of families with their series, in pieces; without the `# EOF` of OpenMetrics."""
    for family, series in families:
        yield family.heading(openmetrics=openmetrics)
        for one in series:
            yield one.text()


def _written(labels: Iterable[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
