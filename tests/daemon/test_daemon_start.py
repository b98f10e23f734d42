"""A gate that starts, and one that cannot."""

import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import gate.daemon
from gate.daemon import Daemon
from gate.errors import GateError
from tests.daemon.conftest import LONGEST_WAIT_S, config_of, run_to_the_end


def test_without_http_nothing_listens(nobody_clip: Path) -> None:
    daemon = Daemon(config_of(nobody_clip, http={"enabled": False}))
    daemon.start()
    try:
        assert daemon.http_address is None
        assert "http" not in {thread.name for thread in threading.enumerate()}
    finally:
        daemon.shut_down()


def test_an_address_in_use_ends_the_start(nobody_clip: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = Daemon(config_of(nobody_clip, http={"port": taken.getsockname()[1]}))
        with pytest.raises(GateError, match="in use"):
            daemon.start()
    assert daemon.wait(0)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"quality": {"method": "no-such-method"}}, "no-such-method"),
        ({"detector": {"weights": "no-such-weights"}}, "no-such-weights"),
        ({"redis": {"url": "http://127.0.0.1/"}}, "Redis address"),
        ({"cameras": [{"name": "door", "url": "rtmp://u:hunter2@door.lan/"}]}, "'door': the url is of no known kind"),
        ({"cameras": [{"name": "door", "url": "webcam:front"}]}, "webcam: wants a number"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_nothing_running(
    sections: dict[str, Any], message: str, nobody_clip: Path
) -> None:
    with pytest.raises(GateError, match=message) as failure:
        Daemon(config_of(nobody_clip, **sections)).start()
    assert "hunter2" not in str(failure.value)


def test_a_start_that_fails_late_stops_the_cameras_and_the_embedded_redis(
    nobody_clip: Path, processes: list["subprocess.Popen[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "camera-cam1":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    cameras = [{"name": name, "url": str(nobody_clip), "loop": True} for name in ("cam0", "cam1")]
    with pytest.raises(RuntimeError, match="new thread"):
        Daemon(config_of(cameras=cameras)).start()
    assert [process.poll() for process in processes] == [0]


def test_a_signal_during_the_start_ends_it_at_once_and_cleanly(
    nobody_clip: Path, processes: list["subprocess.Popen[Any]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LONGEST_WAIT_S)

    monkeypatch.setattr(gate.daemon, "load_scorer", load)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    started = time.monotonic()
    try:
        assert Daemon(config_of(nobody_clip)).run() == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert time.monotonic() - started < LONGEST_WAIT_S
    assert processes == []


def test_the_engine_may_take_as_long_as_its_method_needs(nobody_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate.daemon, "rhythm_of", lambda *_: (1, 99.0))
    daemon = run_to_the_end(config_of(nobody_clip))
    assert daemon.observer.health._allowed_s == {"engine": 99.0}
