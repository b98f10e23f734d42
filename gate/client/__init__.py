"""What a recognizer imports to consume the stream."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gate.client.received import ReceivedFace, ReceivedVisitEnd
    from gate.client.stream import FaceStream

__all__ = ["FaceStream", "ReceivedFace", "ReceivedVisitEnd"]


def __getattr__(name: str) -> Any:
    # redis-py and numpy take a quarter of a second; whoever only looks at the package does not pay for them.
    if name == "FaceStream":
        from gate.client.stream import FaceStream

        return FaceStream
    if name in {"ReceivedFace", "ReceivedVisitEnd"}:
        from gate.client import received

        return getattr(received, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
