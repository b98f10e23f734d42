"""A quality bar that is not a number: a rate of this camera's visits, or an outcome of an evaluation.

`gate.thresholds` makes numbers of them when a gate is assembled.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Field, Tag

from gate.config_section import Section


class AcceptRate(Section):
    """The highest bar that accepts a share of the visits that `gate tune` has seen at this camera."""

    accept_rate: float = Field(gt=0, lt=1)
    """Share of visits, such as 0.9."""

    baseline: Path | None = None
    """`baseline.json` of `gate tune`; default is `decide.baseline`."""


class FnmrTarget(Section):
    """An operating point, and the errors that are allowed at it."""

    fmr: float = Field(gt=0, lt=1)
    """False match rate of the operating point; one that the evaluation was asked for."""

    target: float = Field(gt=0, lt=1)
    """Highest false non-match rate among faces that pass the bar."""


class FnmrAt(Section):
    """The lowest bar at which a recognizer's false non-matches are few enough."""

    fnmr_at: FnmrTarget
    """What is to be reached."""

    evaluation: Path
    """`results.json` of `gate evaluate`, of the same method and weights."""


def _form(value: Any) -> str:
    """Which form is meant, by its keys alone, so that a message speaks of that form only."""
    if not isinstance(value, (Mapping, Section)):
        return "(number)"
    keys = value if isinstance(value, Mapping) else type(value).model_fields
    return "(outcome)" if "fnmr_at" in keys or "evaluation" in keys else "(rate)"


Wish: TypeAlias = AcceptRate | FnmrAt

QualityBar: TypeAlias = Annotated[
    Annotated[float, Field(ge=0, le=100), Tag("(number)")]
    | Annotated[AcceptRate, Tag("(rate)")]
    | Annotated[FnmrAt, Tag("(outcome)")],
    Discriminator(_form),
]
"""A number, or a `Wish`. The tags stand in brackets because they are no keys: messages leave them out."""
