"""Where the reports of the other rooms go."""

from dataclasses import dataclass
from typing import Any, Protocol

from gate.observe.changes import Changes
from gate.observe.drift import Drift
from gate.observe.feed import Feed
from gate.observe.health import Health
from gate.observe.hour import LastHour
from gate.observe.metrics import Metrics
from gate.observe.tally import Tally


class Log(Protocol):
    """The part of a structlog logger that is used here."""

    def info(self, event: str, **values: Any) -> Any:
        """Write an entry of level info."""
        ...

    def warning(self, event: str, **values: Any) -> Any:
        """Write an entry of level warning."""
        ...


@dataclass(frozen=True, slots=True)
class Sinks:
    """Where reports go."""

    metrics: Metrics
    tally: Tally
    health: Health
    log: Log
    changes: Changes
    drift: Drift
    hour: LastHour
    feed: Feed
