"""A name server that does not answer holds nobody for longer than the time-out that was asked for."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.errors import CaptureError
from gate.names import Names
from gate.publish.connect import FAULTS, fault, open_client
from gate.publish.embedded import EmbeddedRedis
from gate.publish.publisher import Publisher
from gate.publish.redis_sink import RedisSink
from gate.publish.sink import FaultCause

SOON_S = 0.05


class HangingServer:
    """A lookup that does not come back until it is let go."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo

    def __call__(self, host: str, *rest: Any, **options: Any) -> Any:
        if not host.endswith(".lan"):
            return self._real(host, *rest, **options)
        self.asked.append(host)
        self.over.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "the name server is away")


@pytest.fixture
def hanging() -> Iterator[HangingServer]:
    server = HangingServer()
    yield server
    server.over.set()
    for thread in threading.enumerate():
        if thread.name == "name-lookup":
            thread.join(10)


def test_a_lookup_that_hangs_ends_with_the_time_out_and_is_not_started_again(hanging: HangingServer) -> None:
    names = Names(hanging)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            names.check("door.lan", SOON_S)
    with pytest.raises(TimeoutError):
        names.check("lobby.lan", SOON_S)
    assert sorted(hanging.asked) == ["door.lan", "lobby.lan"]

    hanging.over.set()
    with pytest.raises(socket.gaierror):
        names.check("door.lan", 10)


def test_an_address_is_not_looked_up(hanging: HangingServer) -> None:
    for host in ("127.0.0.1", "::1", "fe80::1%eth0", ""):
        Names(hanging).check(host, SOON_S)
    assert not hanging.asked


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("label too long")])
def test_a_name_without_an_address_is_told_as_such_and_asked_for_again(error: Exception) -> None:
    answers: list[Exception | None] = [error, None]

    def lookup(_host: str, _port: None) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    names = Names(lookup)
    with pytest.raises(socket.gaierror):
        names.check("door.lan", 10)
    names.check("door.lan", 10)


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_camera_whose_name_nobody_looks_up_is_lost_in_time_and_says_why(scheme: str, hanging: HangingServer) -> None:
    url = f"{scheme}://adm1n:Geh3im@door.lan:554/T0ken"
    source = StreamSource(url, clock=SystemClock(), open_timeout_s=SOON_S, names=Names(hanging))
    with pytest.raises(CaptureError, match="which address the name has") as caught:
        source.open()
    source.close()
    assert caught.value.cause == "unreachable"
    assert "name servers" in str(caught.value)
    assert not [secret for secret in ("adm1n", "Geh3im", "T0ken") if secret in str(caught.value)]
    assert hanging.asked == ["door.lan"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://redis.lan:6379/0",
        "rediss://redis.lan:6379/0",
        "redis+sentinel://redis.lan:26379/doors",
        "rediss+sentinel://redis.lan:26379/doors",
        "redis+cluster://redis.lan:6379",
    ],
)
def test_redis_whose_name_nobody_looks_up_is_away_in_time(
    url: str, hanging: HangingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    client = open_client(url, "Geh3im", SOON_S)
    for _ in range(2):
        with pytest.raises(FAULTS) as caught:
            client.execute_command("PING")
        assert fault(caught.value, url).cause in {FaultCause.TIMEOUT, FaultCause.NO_MASTER}
    client.disconnect()
    assert hanging.asked == ["redis.lan"]


def test_a_publisher_ends_although_the_name_of_its_redis_is_never_looked_up(
    hanging: HangingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    told = Told()
    sink = RedisSink("redis://redis.lan:6379/0", clock=SystemClock(), timeout_s=SOON_S)
    publisher = Publisher(sink, clock=SystemClock(), observer=told)
    publisher.start()
    assert told.failure.wait(10)
    publisher.close(timeout_s=10)

    assert not [thread for thread in threading.enumerate() if thread.name == "publisher"]
    assert "timeout" in told.causes


class Told:
    """Waits for the first failure."""

    def __init__(self) -> None:
        self.failure = threading.Event()
        self.causes: list[str] = []

    def failed(self, cause: str, message: str) -> None:
        self.causes.append(cause)
        self.failure.set()

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name not in {"published", "dropped", "depth", "connected"}:
            raise AttributeError(name)
        return lambda *_args, **_options: None


@pytest.mark.slow
def test_a_server_with_a_name_is_reached() -> None:
    with EmbeddedRedis(tcp_port=0) as server:
        port = (server.tcp_url or "").rpartition(":")[2]
        client = open_client(f"redis://localhost:{port}", None, 3.0)
        assert client.execute_command("PING")
        client.disconnect()
