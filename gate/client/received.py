"""What a consumer gets: an event, and the stream entry it came in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gate.publish.event import FaceEvent, VisitEndEvent
from gate.publish.jpeg import decode_crop
from gate.types import Image


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream, as Redis gave it."""

    stream: str
    entry_id: str
    """`milliseconds-number`, the milliseconds by the server's clock."""

    fields: Mapping[bytes, bytes]

    deliveries: int = 1
    """How often the group was given it, this time included; more than once after a failure."""

    @property
    def stored_ms(self) -> int:
        """When the server stored it, Unix milliseconds by the server's clock."""
        return int(self.entry_id.partition("-")[0])


@dataclass(frozen=True, slots=True)
class ReceivedVisitEnd:
    """The end of a visit."""

    event: VisitEndEvent
    entry: Entry = field(repr=False)

    @property
    def event_id(self) -> str:
        """The key for idempotence: the same id is the same event."""
        return self.event.event_id

    @property
    def camera(self) -> str:
        """Name of the camera."""
        return self.event.camera


class ReceivedFace:
    """One accepted face. `event` holds every field; the common ones are here as well."""

    __slots__ = ("_crop", "entry", "event")

    def __init__(self, event: FaceEvent, entry: Entry) -> None:
        self.event = event
        self.entry = entry
        self._crop: Image | None = None

    @property
    def crop(self) -> Image:
        """(112, 112, 3) uint8 RGB, aligned to the ArcFace template; decoded when first asked for.

        Raises:
            gate.errors.EventError: the JPEG is broken.
        """
        if self._crop is None:
            self._crop = decode_crop(self.event.crop)
        return self._crop

    @property
    def context(self) -> Image | None:
        """(H, W, 3) uint8 RGB, the face with a margin, or None where the gate does not publish it. Raises as `crop`."""
        return None if self.event.context is None else decode_crop(self.event.context)

    @property
    def event_id(self) -> str:
        """The key for idempotence: the same id is the same event."""
        return self.event.event_id

    @property
    def camera(self) -> str:
        """Name of the camera."""
        return self.event.camera

    @property
    def visit(self) -> str:
        """The same for every face of one person's stay in front of one camera."""
        return self.event.visit

    @property
    def supersedes(self) -> str | None:
        """`event_id` of the earlier face of this visit that this one improves on; None for its first."""
        return self.event.supersedes

    @property
    def final(self) -> bool:
        """True for the best face of a visit that is over."""
        return self.event.final

    @property
    def captured_ms(self) -> int:
        """When the frame was decoded, Unix milliseconds by the gate's clock."""
        return self.event.captured_ms

    @property
    def quality(self) -> float:
        """Calibrated quality, 0..100, higher is better."""
        return self.event.quality

    def __repr__(self) -> str:
        return f"ReceivedFace({self.event!r}, entry={self.entry.entry_id})"


Received: TypeAlias = ReceivedFace | ReceivedVisitEnd
