"""A real redis-server on a unix socket, a proxy that loses replies, and events to send."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.errors import PublishError
from gate.publish.connect import FAULTS, Client, open_client
from gate.publish.embedded import redis_binary
from gate.publish.event import FaceEvent, VisitEndEvent
from gate.publish.jpeg import encode_crop
from gate.publish.redis_sink import RedisSink
from tests.conftest import FakeClock

VISIT = "01JD0000000000000000000000"
JPEG = encode_crop(np.full((112, 112, 3), 128, np.uint8))
WORDS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class RedisServer:
    """One redis-server that the test starts, kills, freezes and starts again at the same address."""

    def __init__(self, folder: Path) -> None:
        self._binary = shutil.which("redis-server") or redis_binary()
        self.folder = folder
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        base = ["--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "60 1000000"]
        self.process = subprocess.Popen([self._binary, *base, *options], stdout=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            if self.socket.exists() and self._listens():
                return
            time.sleep(0.005)
        raise TimeoutError("redis-server did not start")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def kill(self) -> None:
        """As a power cut: no shutdown, no save."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.socket.unlink(missing_ok=True)

    def freeze(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def command(self, *args: Any, password: str | None = None) -> Any:
        client = open_client(self.url, password, 5.0)
        try:
            return client.execute_command(*args)
        finally:
            client.disconnect()

    def event_ids(self, stream: str = "facegate:faces") -> list[str]:
        return [fields[b"event_id"].decode() for _, fields in self.command("XRANGE", stream, "-", "+")]


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A running server; killed at the end."""
    # Not tmp_path: its name may be too long for a socket.
    folder = Path(tempfile.mkdtemp(prefix="gate-test-"))
    server = RedisServer(folder)
    try:
        server.start()
    except PublishError as error:
        pytest.skip(str(error))
    yield server
    server.kill()
    shutil.rmtree(folder)


Connect = Callable[..., RedisSink]


@pytest.fixture
def connect(redis_server: RedisServer, fake_clock: FakeClock) -> Iterator[Connect]:
    """Makes sinks, of `redis_server` unless told; closed at the end, and once more, which must not matter."""
    sinks: list[RedisSink] = []

    def make(url: str = redis_server.url, **options: Any) -> RedisSink:
        sinks.append(RedisSink(url, clock=fake_clock, **options))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
        sink.close()


class LossyProxy:
    """Forwards a unix socket; when told, it lets a request through, swallows the reply and cuts the connection."""

    def __init__(self, upstream: Path) -> None:
        self._upstream = upstream
        self.path = upstream.with_name("proxy.sock")
        self.url = f"unix://{self.path}"
        self._lose: bytes | None = None
        self._closing = False
        self.lost = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def lose_reply_to(self, command: bytes) -> None:
        self._lose = command

    def close(self) -> None:
        self._closing = True
        # Closing alone would not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self._upstream))
            client.settimeout(0.02)
            server.settimeout(0.02)
            while not self._closing:
                request = self._receive(client)
                if request == b"":
                    return
                server.sendall(request or b"")
                reply = self._receive(server)
                if reply == b"":
                    return
                if reply and self._lose is not None and request is not None and self._lose in request:
                    self._lose = None
                    self.lost += 1
                    return
                client.sendall(reply or b"")

    def _receive(self, source: socket.socket) -> bytes | None:
        """What came within the time-out: None for nothing, empty for the end."""
        try:
            data = source.recv(1 << 20)
        except TimeoutError:
            return None
        # A request of many kilobytes comes in pieces; the reply must not be lost to half of it.
        while data:
            try:
                more = source.recv(1 << 20)
            except TimeoutError:
                break
            if not more:
                break
            data += more
        return data


@pytest.fixture
def lossy_proxy(redis_server: RedisServer) -> Iterator[LossyProxy]:
    """A proxy in front of `redis_server`."""
    proxy = LossyProxy(redis_server.socket)
    yield proxy
    proxy.close()


def event_id(number: int) -> str:
    digits = "".join(WORDS[(number >> shift) & 31] for shift in (15, 10, 5, 0))
    return f"01JD000000000000000000{digits}"


@pytest.fixture(scope="session")
def make_face() -> Callable[..., FaceEvent]:
    """Makes the face event number `n`."""

    def make(number: int = 0, **changes: Any) -> FaceEvent:
        values: dict[str, Any] = {
            "event_id": event_id(number),
            "camera": "door",
            "visit": VISIT,
            "seq": number,
            "final": False,
            "captured_ms": 1_700_000_000_000 + number,
            "frame_pts_ms": 40.0 * number,
            "width": 1920,
            "height": 1080,
            "box": (10.5, 20.0, 100.25, 120.0),
            "landmarks": tuple(float(value) for value in range(10)),
            "det_score": 0.93,
            "quality": 71.5,
            "raw": -0.0123,
            "method": "grafiqs",
            "model": "facexzoo-mobilefacenet@0123abcd",
            "signals": {"inter_eye_px": 48.0, "yaw_deg": -3.5},
            "crop": JPEG,
        }
        return FaceEvent(**{**values, **changes})

    return make


@pytest.fixture(scope="session")
def make_visit_end() -> Callable[..., VisitEndEvent]:
    """Makes the visit end number `n`."""

    def make(number: int = 0, **changes: Any) -> VisitEndEvent:
        values: dict[str, Any] = {
            "event_id": event_id(number),
            "camera": "door",
            "visit": VISIT,
            "first_ms": 1_700_000_000_000,
            "last_ms": 1_700_000_004_000,
            "faces": 9,
            "accepted": 2,
            "published": 1,
            "reasons_counts": {"too_small": 5, "yaw": 2},
            "best_quality": 71.5,
        }
        return VisitEndEvent(**{**values, **changes})

    return make


@pytest.fixture
def raw_client(redis_server: RedisServer) -> Iterator[Client]:
    """A client of `redis_server` for looking behind the door."""
    client = open_client(redis_server.url)
    yield client
    with contextlib.suppress(*FAULTS):
        client.disconnect()
