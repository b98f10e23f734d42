"""An embedded Redis, and events in its stream."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.publish.connect import open_client
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import Event, FaceEvent, VisitEndEvent, encode
from gate.publish.jpeg import encode_crop

STREAM = "facegate:faces"
VISIT = "01JD0000000000000000000000"


class Server:
    """An embedded server that the test can take away and bring back, empty, at the same address."""

    def __init__(self, folder: Path) -> None:
        self._redis = EmbeddedRedis(folder)
        self.start()
        self.url = self._redis.url

    def start(self) -> None:
        self._redis.start()

    def stop(self) -> None:
        self._redis.close()

    def command(self, *args: Any) -> Any:
        client = open_client(self.url)
        try:
            return client.execute_command(*args)
        finally:
            client.disconnect()

    def add(self, *events: Event, stream: str = STREAM) -> None:
        for event in events:
            self.add_entry(encode(event), stream)

    def add_entry(self, entry: dict[str, bytes], stream: str = STREAM) -> None:
        self.command("XADD", stream, "*", *[part for pair in entry.items() for part in pair])

    def pending(self, group: str = "recognizers", stream: str = STREAM) -> int:
        """How many entries were given to a consumer and not acknowledged."""
        return int(self.command("XPENDING", stream, group)["pending"])


@pytest.fixture
def server() -> Iterator[Server]:
    """A running server with an empty stream."""
    with tempfile.TemporaryDirectory(prefix="gate-test-") as folder:
        running = Server(Path(folder))
        yield running
        running.stop()


@pytest.fixture(scope="session")
def make_face() -> Callable[..., FaceEvent]:
    """Makes the face event number `n`; the crop's red channel says which one it is."""

    def make(number: int = 0, **changes: Any) -> FaceEvent:
        crop = np.zeros((112, 112, 3), np.uint8)
        crop[:, :, 0] = number
        values: dict[str, Any] = {
            "event_id": f"01JD00000000000000000{number:05d}",
            "camera": "door",
            "visit": VISIT,
            "seq": number,
            "final": False,
            "captured_ms": 1_700_000_000_000 + number,
            "width": 1920,
            "height": 1080,
            "box": (10.0, 20.0, 100.0, 120.0),
            "landmarks": (1.0,) * 10,
            "det_score": 0.9,
            "quality": 71.5,
            "raw": 0.5,
            "method": "grafiqs",
            "model": "facexzoo-mobilefacenet@0123abcd",
            "signals": {"inter_eye_px": 48.4, "yaw_deg": 3.0},
            "crop": encode_crop(crop),
        }
        return FaceEvent(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def make_visit_end() -> Callable[..., VisitEndEvent]:
    """Makes the visit end number `n`."""

    def make(number: int = 0, **changes: Any) -> VisitEndEvent:
        values: dict[str, Any] = {
            "event_id": f"01JD00000000000000000{number:05d}",
            "camera": "door",
            "visit": VISIT,
            "first_ms": 1_700_000_000_000,
            "last_ms": 1_700_000_004_500,
            "faces": 9,
            "accepted": 0,
            "published": 0,
            "reasons_counts": {"too_small": 7, "yaw": 2},
        }
        return VisitEndEvent(**{**values, **changes})

    return make
