"""What a service manager is told, over a real socket."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gate.daemon import Daemon
from gate.supervisor import Supervisor
from tests.conftest import FakeClock
from tests.daemon.conftest import LONGEST_WAIT_S, config_of, wait_for

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no unix sockets on this system")


class Manager:
    """The receiving end: every line it was sent, in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        with suppress(BlockingIOError):
            while True:
                self._lines += self._socket.recv(4096).decode().split("\n")
        return self._lines

    def count(self, line: str) -> int:
        return self.lines().count(line)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    found = Manager(str(tmp_path / "notify"))
    yield found
    found.close()


class State:
    progresses = True
    words = "serving"

    def __call__(self) -> tuple[bool, str]:
        return self.progresses, self.words


def without_status(lines: list[str]) -> list[str]:
    return [line for line in lines if not line.startswith(("STATUS=", "MONOTONIC_USEC="))]


def test_the_watchdog_is_fed_only_while_frames_progress(manager: Manager) -> None:
    state = State()
    supervisor = Supervisor(manager.address, 0.03, state)
    supervisor.start()
    wait_for(lambda: manager.count("WATCHDOG=1") > 3)
    state.progresses, state.words = False, "not serving;\nengine: no sign of life"
    wait_for(lambda: manager.count("STATUS=not serving; engine: no sign of life"))
    fed = manager.count("WATCHDOG=1")
    state.words = "still stuck"
    wait_for(lambda: manager.count("STATUS=still stuck"))
    assert manager.count("WATCHDOG=1") == fed
    state.progresses = True
    wait_for(lambda: manager.count("WATCHDOG=1") > fed)
    supervisor.close()
    assert manager.count("STATUS=serving") == 1


def test_a_state_that_stays_is_told_once_and_without_a_watchdog_nothing_is_fed(manager: Manager) -> None:
    supervisor = Supervisor(manager.address, None, State())
    supervisor._tell()
    supervisor._tell()
    assert manager.lines() == ["STATUS=serving"]


def test_a_reload_is_answered_with_its_time_and_never_after_the_end_began(manager: Manager) -> None:
    supervisor = Supervisor(manager.address, None, State())
    with supervisor.reloading():
        pass
    assert manager.lines() == []
    supervisor.ready()
    with pytest.raises(ValueError, match="bad file"), supervisor.reloading():
        raise ValueError("bad file")
    assert without_status(manager.lines()) == ["READY=1", "RELOADING=1", "READY=1"]
    (at_us,) = [line for line in manager.lines() if line.startswith("MONOTONIC_USEC=")]
    assert int(at_us.partition("=")[2]) > 0
    with supervisor.reloading():
        supervisor.stopping()
        supervisor.stopping()
    assert without_status(manager.lines())[3:] == ["RELOADING=1", "STOPPING=1"]


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are of Linux alone")
def test_an_abstract_socket_is_reached() -> None:
    manager = Manager(f"@facegate-test-{os.getpid()}")
    Supervisor.from_environment(State(), {"NOTIFY_SOCKET": manager.address}).ready()
    assert manager.lines() == ["READY=1"]
    manager.close()


@pytest.mark.parametrize(
    ("owner", "interval", "period_s"),
    [
        (None, "300000", 0.1),
        ("self", "300000", 0.1),
        ("other", "300000", 5.0),
        (None, "", 5.0),
        (None, "0", 5.0),
        (None, "soon", 5.0),
        (None, "3600000000", 5.0),
    ],
)
def test_a_watchdog_is_fed_three_times_in_its_time_and_only_our_own(
    manager: Manager, owner: str | None, interval: str, period_s: float
) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": interval}
    if owner is not None:
        environment["WATCHDOG_PID"] = str(os.getpid() if owner == "self" else os.getpid() + 1)
    supervisor = Supervisor.from_environment(State(), environment)
    assert supervisor._period_s == pytest.approx(period_s)
    supervisor._tell()
    assert manager.count("WATCHDOG=1") == (period_s < 5 or interval == "3600000000")


def test_where_nobody_listens_the_gate_goes_on(tmp_path: Path) -> None:
    gone = Supervisor(str(tmp_path / "gone"), 60, State())
    gone.ready()
    gone._tell()
    assert gone._unheard
    for environment in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}):
        nobody = Supervisor.from_environment(State(), environment)
        nobody.start()
        nobody.ready()
        nobody.stopping()
        nobody.close()
        assert not nobody._thread.is_alive()


def test_a_gate_inside_another_program_leaves_that_programs_manager_alone(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, nobody_clip: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    daemon = Daemon(config_of(nobody_clip))
    daemon.start()
    daemon.shut_down()
    assert manager.lines() == []


def run_supervised(manager: Manager, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "gate", "run", *arguments]
    given = {**os.environ, "NOTIFY_SOCKET": manager.address, **environment}
    return subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_the_program_tells_its_whole_life(manager: Manager, tmp_path: Path, visitor_clip: Path) -> None:
    file = tmp_path / "gate.yaml"
    camera = {"name": "door", "url": str(visitor_clip), "loop": True}
    quality = {"method": "embedding-norm", "threads": 1}
    config = {"cameras": [camera], "quality": quality, "redis": {"url": "embedded:"}, "http": {"enabled": False}}
    file.write_text(json.dumps(config))
    with run_supervised(manager, "-c", str(file), WATCHDOG_USEC="600000") as process:

        def wait_until(told: Callable[[], object]) -> None:
            wait_for(lambda: process.poll() is not None or told())

        try:
            wait_until(lambda: manager.count("READY=1"))
            wait_until(lambda: manager.count("STATUS=serving"))
            fed = manager.count("WATCHDOG=1")
            wait_until(lambda: manager.count("WATCHDOG=1") > fed + 2)
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: manager.count("READY=1") == 2)
            process.terminate()
            _, written = process.communicate(timeout=LONGEST_WAIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, written
    life = [line for line in without_status(manager.lines()) if line != "WATCHDOG=1"]
    assert life == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_an_engine_that_hangs_starves_the_watchdog(manager: Manager, fake_clock: FakeClock, nobody_clip: Path) -> None:
    daemon = Daemon(config_of(nobody_clip), clock=fake_clock)
    supervisor = Supervisor(manager.address, 60, daemon._state)
    daemon.observer.pipeline.turned()
    supervisor._tell()
    assert manager.count("WATCHDOG=1") == 1
    fake_clock.advance(31)
    supervisor._tell()
    assert manager.count("WATCHDOG=1") == 1
    assert "engine: no sign of life for 31 s" in manager.lines()[-1]
