"""What an earlier run has already written."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gate.errors import GateError
from gate.scoring.formats import Row
from gate.scoring.sheet import REMEDY, Sheet

_SAME = 1e-4
"""Relative difference up to which two numbers are one: what the methods promise for a crop in any batch. A kill and a
restart on one machine give equal bits; another seed, method, network or option differs by more somewhere in a batch."""


@dataclass(frozen=True, slots=True)
class Known:
    """An image that an earlier run has scored."""

    rows: tuple[Row, ...]
    """Its row in each sheet."""

    ends: tuple[int, ...]
    """Offset behind it in each sheet."""


class ExistingRows:
    """The rows that all sheets have, in order, handed out as the inputs ask for them."""

    def __init__(self, sheets: Sequence[Sheet]) -> None:
        self.taken = 0
        self._names = ", ".join(sheet.name for sheet in sheets)
        self._rows = self._joined(sheets)
        self._next = next(self._rows, None)

    @property
    def is_exhausted(self) -> bool:
        """Whether every row has been taken."""
        return self._next is None

    def take(self, path: str) -> Known | None:
        """The next row, if it is that of `path`."""
        known = self._next
        if known is None or known.rows[0].path != path:
            return None
        self._next = next(self._rows, None)
        self.taken += 1
        return known

    def check_exhausted(self) -> None:
        """Raises `GateError` when a row is left that no input asked for."""
        if self._next is not None:
            raise GateError(
                f"{self._names} has a row for {self._next.rows[0].path}, which is not among the inputs, or not at "
                f"that place. {REMEDY}"
            )

    def _joined(self, sheets: Sequence[Sheet]) -> Iterator[Known]:
        # A kill between two sheets leaves some a batch ahead of the others: only what all have counts.
        for pairs in zip(*(sheet.existing() for sheet in sheets), strict=False):
            rows = tuple(row for row, _ in pairs)
            if len({row.path for row in rows}) > 1:
                raise GateError(f"{self._names} do not belong together. {REMEDY}")
            yield Known(rows, tuple(end for _, end in pairs))


def check_same(sheet: Sheet, known: Row, scored: Row) -> None:
    """Raises `GateError` when an earlier run's row does not say what this run computes."""
    for old, new in zip(known.numbers, scored.numbers, strict=True):
        if not math.isclose(old, new, rel_tol=_SAME, abs_tol=1e-6):
            raise GateError(
                f"{sheet.name} was made with another method, network, device or option: for {known.path} it says "
                f"{old:.7g}, this run computes {new:.7g}. {REMEDY}"
            )
