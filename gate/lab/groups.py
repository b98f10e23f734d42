"""Groups of people out of one metadata column: categories as they are, numbers in bins with stated edges."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gate.errors import GateError
from gate.lab.attributes import ordered_levels

MOST_GROUPS = 12
"""More categories than this are too many to compare or to draw: the smallest go into one group."""

_MOST_NUMBERS = 12
"""A column of numbers with at most this many different ones is a code (race 0..4), not a quantity."""

_BINS = 5

OTHERS = "all others"


@dataclass(frozen=True, slots=True)
class Grouping:
    """Which group each image belongs to."""

    names: tuple[str, ...]
    """Groups, in order."""

    index: npt.NDArray[np.intp]
    """(N,) position in `names`, -1 where the image is in no group."""

    rule: str
    """How the groups were made, in words."""


def group_images(values: Sequence[str], *, edges: Sequence[float] | None = None) -> Grouping:
    """Put images into groups by their value.

    Args:
        values: N values; empty is unknown.
        edges: Ascending edges of the bins for a column of numbers, the outer ones included: [0, 18, 60, 120] makes
            three. Values outside are in no group. By default numbers with more than 12 different values are cut at
            their fifths and everything else is a category; of more than 12 categories the smallest become
            "all others".

    Raises:
        GateError: No image has a value, edges do not ascend, or edges were given for a column that is not numbers.
    """
    if not any(values):
        raise GateError("no image has a value in this metadata column; check its name and the image paths")
    numbers = _numbers(values)
    if edges is not None:
        if numbers is None:
            raise GateError("bin edges were given for a metadata column that is not numbers")
        return _binned(numbers, [float(edge) for edge in edges], "bins as given")
    if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > _MOST_NUMBERS:
        fifths = np.unique(np.nanquantile(numbers, np.linspace(0, 1, _BINS + 1), method="nearest"))
        return _binned(numbers, fifths.tolist(), "bins cut at the column's fifths")
    return _categories(values)


def _numbers(values: Sequence[str]) -> npt.NDArray[np.float64] | None:
    try:
        numbers = np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return None
    known = np.array([bool(value) for value in values])
    return numbers if np.all(np.isfinite(numbers[known])) else None


def _binned(numbers: npt.NDArray[np.float64], edges: list[float], how: str) -> Grouping:
    if len(edges) < 2 or any(high <= low for low, high in pairwise(edges)):
        raise GateError(f"bin edges must ascend and be at least two, got {edges}")
    last = len(edges) - 2
    names = [
        f"{low:g} to {high:g}" if number == last else f"{low:g} to <{high:g}"
        for number, (low, high) in enumerate(pairwise(edges))
    ]
    index = np.searchsorted(edges, numbers, side="right") - 1
    index[numbers == edges[-1]] = last
    index[np.isnan(numbers) | (numbers < edges[0]) | (numbers > edges[-1])] = -1
    written = ", ".join(f"{edge:g}" for edge in edges)
    return Grouping(tuple(names), index.astype(np.intp), f"{how}: edges {written}")


def _categories(values: Sequence[str]) -> Grouping:
    names = ordered_levels(values)
    rule = "one group for each value"
    if len(names) > MOST_GROUPS:
        largest = {name for name, _ in Counter(value for value in values if value).most_common(MOST_GROUPS - 1)}
        rule = f"the {MOST_GROUPS - 1} most frequent of {len(names)} values; the rest together"
        values = [value if value in largest or not value else OTHERS for value in values]
        names = [name for name in names if name in largest] + [OTHERS]
    place = {name: number for number, name in enumerate(names)}
    return Grouping(tuple(names), np.array([place.get(value, -1) for value in values], dtype=np.intp), rule)
