"""Colours that people with any colour vision tell apart, with a dash for each so that colour is never alone."""

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#1b93cb", "#6a3d9a", "#333333")
"""On a light ground: Okabe and Ito's set, its yellow and orange darkened to 3:1 contrast on white."""

DARK = ("#56b4e9", "#ff8c42", "#2fd0a5", "#f0a6d0", "#f0e442", "#8fd3ff", "#b79cff", "#dddddd")
"""The same order on a dark ground."""

DASHES = ((), (6, 2), (2, 2), (8, 2, 2, 2))
"""Pixels of line and gap; the pattern changes each time the colours have been through, and alternates before."""


def dash_of(number: int) -> tuple[int, ...]:
    """The dash of the line at this place in a chart."""
    return DASHES[(number + number // len(LIGHT)) % len(DASHES)]
