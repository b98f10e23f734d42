"""Where an axis carries numbers, and how they are written."""

import math

from gate.lab.charts import Axis


def ticks(axis: Axis, low: float, high: float) -> list[tuple[float, str]]:
    """(position, text) of an axis' numbers between its ends.

    Round steps on a linear axis; on a log axis decades, with their 2 and 5 where there are few.

    >>> ticks(Axis("share [%]", per_cent=True), 0.0, 0.5)
    [(0.0, '0'), (0.1, '10'), (0.2, '20'), (0.3, '30'), (0.4, '40'), (0.5, '50')]
    >>> ticks(Axis("FMR", "log"), 0.0002, 1.0)
    [(0.001, '0.001'), (0.01, '0.01'), (0.1, '0.1'), (1.0, '1')]
    """
    positions = _decades(low, high) if axis.scale == "log" else _steps(low, high)
    factor = 100 if axis.per_cent else 1
    return [(position, f"{factor * position:.4g}") for position in positions]


def _steps(low: float, high: float) -> list[float]:
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(factor for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Rounding takes away what 3 * 0.1 has too much; + 0.0 makes of minus zero a zero.
    return [round(number * step, 12) + 0.0 for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 3:
        return [10.0**power for power in range(first, last + 1, (last - first) // 6 + 1)]
    found = [factor * 10.0**power for power in range(first - 1, last + 1) for factor in (1, 2, 5)]
    return [value for value in found if low * 0.999 <= value <= high * 1.001] or [low, high]
