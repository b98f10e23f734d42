"""What a recognizer imports to consume the stream."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gate.client.async_stream import AsyncFaceStream
    from gate.client.lag import GroupLag
    from gate.client.metrics import ConsumerMetrics
    from gate.client.outcomes import Outcome
    from gate.client.received import ReceivedFace, ReceivedVisitEnd
    from gate.client.stream import FaceStream

__all__ = [
    "AsyncFaceStream",
    "ConsumerMetrics",
    "FaceStream",
    "GroupLag",
    "Outcome",
    "ReceivedFace",
    "ReceivedVisitEnd",
]

_HOMES = {
    "AsyncFaceStream": "async_stream",
    "ConsumerMetrics": "metrics",
    "FaceStream": "stream",
    "GroupLag": "lag",
    "Outcome": "outcomes",
    "ReceivedFace": "received",
    "ReceivedVisitEnd": "received",
}


def __getattr__(name: str) -> Any:
    # redis-py and numpy take a quarter of a second; whoever only looks at the package does not pay for them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"gate.client.{_HOMES[name]}"), name)
