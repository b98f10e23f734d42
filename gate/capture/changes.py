"""What changes in a stream while it runs: nothing to stop for, but worth a line in the log and a count."""

from enum import Enum

from gate.capture.source import Encoding, Picture


class Change(str, Enum):
    """What has become different; the value is what metrics and logs carry."""

    RESOLUTION = "resolution"
    CODEC = "codec"
    DECODER = "decoder"
    TIME_BACK = "time_back"

    @property
    def meaning(self) -> str:
        """What it means, as a sentence."""
        return _MEANINGS[self]


_MEANINGS = {
    Change.RESOLUTION: "Pictures have another size.",
    Change.CODEC: "The camera came back with another codec.",
    Change.DECODER: "Pictures are decoded elsewhere than before, or than was asked for.",
    Change.TIME_BACK: "A picture is stamped earlier than the one before. Live cameras go by the gate's own clock.",
}


class ChangeSpotter:
    """Compares every picture of one camera with the one before it, across reconnects."""

    def __init__(self) -> None:
        self._size: tuple[int, int] | None = None
        self._encoding: Encoding | None = None
        self._pts_ms: float | None = None

    def reopened(self) -> None:
        """A new connection counts its time stamps from wherever it likes."""
        self._pts_ms = None

    def see(self, picture: Picture) -> list[tuple[Change, str]]:
        """What this picture has changed, each with a few words about it."""
        width_px, height_px = picture.size_px
        found: list[tuple[Change, str]] = []
        if self._size is not None and self._size != (width_px, height_px):
            found.append((Change.RESOLUTION, f"{self._size[0]}x{self._size[1]} to {width_px}x{height_px}"))
        found += _encodings(self._encoding, picture.encoding)
        if picture.pts_ms is not None and self._pts_ms is not None and picture.pts_ms < self._pts_ms:
            found.append((Change.TIME_BACK, f"by {self._pts_ms - picture.pts_ms:.0f} ms"))
        self._size, self._encoding = (width_px, height_px), picture.encoding or self._encoding
        self._pts_ms = picture.pts_ms if picture.pts_ms is not None else self._pts_ms
        return found


def _encodings(before: Encoding | None, now: Encoding | None) -> list[tuple[Change, str]]:
    if now is None or now == before:
        return []
    found: list[tuple[Change, str]] = []
    if before is not None and before.codec != now.codec:
        found.append((Change.CODEC, f"{before.codec} to {now.codec}"))
    elsewhere = before is not None and before.device != now.device
    if elsewhere or (now.refused and (before is None or before.refused != now.refused)):
        found.append((Change.DECODER, f"decoded by {now.device}" + (f": {now.refused}" if now.refused else "")))
    return found
