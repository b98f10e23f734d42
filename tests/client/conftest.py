"""An embedded Redis, events in its stream, and consumers of both kinds."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from gate.client import AsyncFaceStream, FaceStream
from gate.client.lag import GroupLag
from gate.client.outcomes import Counts
from gate.client.received import Received, ReceivedFace
from gate.publish.connect import Client, open_client
from gate.publish.embedded import EmbeddedRedis
from gate.publish.event import Event, FaceEvent, VisitEndEvent, encode
from gate.publish.jpeg import encode_crop
from gate.publish.retry import RetryDelays

collect_ignore = ["slow_consumer.py"]
"""A program of its own."""

STREAM = "facegate:faces"
VISIT = "01JD0000000000000000000000"


class Server:
    """An embedded server that the test can take away and bring back, empty, at the same address."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._redis = EmbeddedRedis(folder, options=options)
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


class OnLoop:
    """An `AsyncFaceStream` with the face of a `FaceStream`, so that the same tests hold for both."""

    def __init__(self, url: str, *, connect: Callable[..., Client] | None = None, **options: Any) -> None:
        if connect is not None:
            options["connect"] = lambda *args: Awaited(connect(*args))
        self.stream = AsyncFaceStream(url, **options)
        self._loop = asyncio.new_event_loop()

    @property
    def counts(self) -> Counts:
        return self.stream.counts

    def __iter__(self) -> Iterator[ReceivedFace]:
        return (received for received in self.events() if isinstance(received, ReceivedFace))

    def events(self) -> Iterator[Received]:
        events = self.stream.events()
        while (received := self._loop.run_until_complete(anext(events, None))) is not None:
            yield received

    def check(self) -> None:
        self._loop.run_until_complete(self.stream.check())

    def lag(self) -> list[GroupLag]:
        return self._loop.run_until_complete(self.stream.lag())

    def stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.stream.stop)

    def close(self) -> None:
        if not self._loop.is_closed():
            self._loop.run_until_complete(self.stream.close())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.run_until_complete(self.stream.__aexit__(kind, error, trace))


class Awaited:
    """A blocking client whose replies are awaited."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        return self._client.execute_command(*args, **options)

    async def disconnect(self) -> None:
        self._client.disconnect()


@pytest.fixture
def cluster() -> Iterator[Server]:
    """A cluster of one node, which refuses commands across slots as any cluster does."""
    with tempfile.TemporaryDirectory(prefix="gate-test-") as folder:
        config = str(Path(folder) / "nodes.conf")
        running = Server(Path(folder), "--cluster-enabled", "yes", "--cluster-config-file", config)
        running.command("CLUSTER", "ADDSLOTS", *range(16384))
        wait_until(lambda: b"cluster_state:ok" in running.command("CLUSTER", "INFO"))
        yield running
        running.stop()


def wait_until(found: Callable[[], bool]) -> None:
    """Poll; a failed test after a while."""
    deadline_s = time.monotonic() + 60
    while not found():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


@pytest.fixture(params=["threads", "asyncio"])
def open_at(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens consumers that start at the beginning, wait briefly, and end by themselves after a while."""
    opened: list[Any] = []
    watchdogs: list[threading.Timer] = []

    def make(url: str, **options: Any) -> Any:
        defaults: dict[str, Any] = {
            "group": "recognizers",
            "consumer": "r1",
            "from_start": True,
            "block_s": 0.02,
            "timeout_s": 1.0,
            "retry": RetryDelays(first_s=0.005, longest_s=0.02),
        }
        kind: Any = FaceStream if request.param == "threads" else OnLoop
        stream = kind(url, **{**defaults, **options})
        opened.append(stream)
        # A loop that never gets what it waits for ends, and its test fails.
        watchdogs.append(threading.Timer(10.0, stream.stop))
        watchdogs[-1].start()
        return stream

    yield make
    for watchdog in watchdogs:
        watchdog.cancel()
        watchdog.join()
    for stream in opened:
        stream.close()


@pytest.fixture
def open_stream(server: Server, open_at: Callable[..., Any]) -> Callable[..., Any]:
    """`open_at` the running server."""
    return partial(open_at, server.url)
