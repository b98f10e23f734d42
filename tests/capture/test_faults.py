"""Every way a camera can fail, provoked for real, and what metrics, health, status and log say about it."""

import io
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gate.assembly import build_camera_thread, build_observer
from gate.capture.board import SlotBoard
from gate.capture.camera import CameraThread
from gate.capture.causes import Cause
from gate.clock import SystemClock
from gate.config import build_config
from gate.observe.logging import configure
from gate.observe.observer import Observer
from tests.capture.rtsp_camera import Clip, Conduct, Ending, encode, grey_steps, serving
from tests.capture.sockets import free_port, keep_silent, tcp_server, web_server

SECRETS = ("adm1n", "Geh3im", "T0ken")
TAIL = "/T0ken/live?key=T0ken"

FAULTS: dict[str, list[str]] = {
    "auth": ["wrong password"],
    "not_found": ["no such path"],
    "refused": ["closed port"],
    "timeout": ["silent server"],
    "stalled": ["falls silent"],
    "tls": ["tls alert", "no tls there"],
    "codec": ["web page"],
    "protocol": ["another protocol"],
    "end_of_stream": ["hangs up", "resets"],
    "unreachable": ["unknown name"],
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode(grey_steps(10), fps=50)


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def written() -> io.StringIO:
    """The log of this process as JSON lines."""
    stream = io.StringIO()
    configure("info", "json", stream)
    return stream


def address(fault: str, clip: Clip, servers: ExitStack) -> str:
    """Start the server that fails so; the address with its user, password and tokens."""
    scheme = {"tls alert": "rtsps", "no tls there": "rtsps", "web page": "http"}.get(fault, "rtsp")
    host, port = "127.0.0.1", 0
    conducts = {
        "wrong password": Conduct(clip, account=("adm1n", "another")),
        "falls silent": Conduct(clip, pictures=10, ending=Ending.SILENCE),
        "hangs up": Conduct(clip, pictures=10),
        "resets": Conduct(clip, pictures=10, ending=Ending.RESET),
    }
    if fault in conducts:
        port = servers.enter_context(serving(conducts[fault])).port
    elif fault == "no such path":
        port = servers.enter_context(serving({"other": Conduct(clip)})).port
    elif fault == "tls alert":
        # A TLS server without a certificate can agree with nobody.
        without = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        port = servers.enter_context(serving(Conduct(clip), tls=without)).port
    elif fault == "no tls there":
        port = servers.enter_context(web_server(200))[0]
    elif fault == "silent server":
        over = threading.Event()
        port = servers.enter_context(tcp_server(keep_silent(over)))
        servers.callback(over.set)
    elif fault == "web page":
        port = servers.enter_context(web_server(200, b"<html>not a camera</html>" * 500))[0]
    elif fault == "another protocol":
        port = servers.enter_context(web_server(400))[0]
    elif fault == "unknown name":
        return f"rtsp://adm1n:Geh3im%40@no-such-host.invalid{TAIL}"
    else:
        port = free_port()
    return f"{scheme}://adm1n:Geh3im%40@{host}:{port}{TAIL}"


@dataclass
class Watched:
    observer: Observer
    thread: CameraThread
    board: SlotBoard

    def count(self, name: str, **labels: str) -> float:
        families = text_string_to_metric_families(self.observer.metrics.render()[0].decode())
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == f"facegate_{name}" and labels.items() <= sample.labels.items()
        )


def watch(servers: ExitStack, url: str, **options: Any) -> Watched:
    """A camera as the gate runs it, without the engine."""
    camera = {"name": "door", "url": url, "open_timeout_s": 1.5, "read_timeout_s": 0.5, **options}
    config = build_config({"cameras": [camera]})
    clock, board, stop = SystemClock(), SlotBoard(), threading.Event()
    observer = build_observer(config, clock)
    observer.add_camera("door")
    thread = build_camera_thread(config.cameras[0], board, clock, observer.capture, stop)
    thread.start()

    def leave() -> None:
        thread.stop()
        assert thread.join(20)

    servers.callback(leave)
    return Watched(observer, thread, board)


def until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


@pytest.mark.parametrize(("cause", "fault"), [(cause, fault) for cause, faults in FAULTS.items() for fault in faults])
def test_each_fault_is_told_everywhere_by_its_cause_and_nowhere_with_a_secret(
    cause: str,
    fault: str,
    *,
    clip: Clip,
    servers: ExitStack,
    written: io.StringIO,
    capfd: pytest.CaptureFixture[str],
) -> None:
    watched = watch(servers, address(fault, clip, servers))

    until(lambda: f"camera door: {cause}" in watched.observer.health.ready()[1], "readiness names the cause")
    until(lambda: watched.count("reconnects_total", camera="door", cause=cause) >= 1, "it is counted")
    watched.thread.stop()
    assert watched.thread.join(20)

    assert watched.count("reconnects_total", camera="door") == watched.count("reconnects_total", cause=cause)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert {line["cause"] for line in lines if line["event"] == "camera_lost"} == {cause}
    ready, status = watched.observer.health.ready(), json.dumps(watched.observer.status())
    assert json.loads(status)["cameras"]["door"]["cause"] in {cause, None}
    told = [written.getvalue(), status, str(ready), watched.observer.metrics.render()[0].decode(), *capfd.readouterr()]
    assert not [secret for secret in SECRETS for text in told if secret in text]


def test_no_cause_is_left_untried() -> None:
    assert set(FAULTS) == {cause.value for cause in Cause} - {"other"}


def test_a_wrong_password_is_sent_once_an_attempt_and_then_rests(clip: Clip, servers: ExitStack) -> None:
    camera = servers.enter_context(serving(Conduct(clip, account=("adm1n", "right"))))
    url = f"rtsp://127.0.0.1:{camera.port}/live"
    watched = watch(servers, url, username="adm1n", password="wrong")
    until(lambda: watched.count("reconnects_total", cause="auth"), "access is denied")

    assert camera.seen.wrong_passwords == 1
    assert camera.seen.connections == 1


def test_a_password_file_that_is_repaired_is_tried_at_once(
    clip: Clip, servers: ExitStack, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.capture.camera.PASSWORD_POLL_S", 0.02)
    file = tmp_path / "password"
    file.write_text("wrong\n")
    right = "r@i:g/h%t ü"
    camera = servers.enter_context(serving(Conduct(clip, account=("adm1n", right))))
    watched = watch(servers, f"rtsp://127.0.0.1:{camera.port}/live", username="adm1n", password_file=str(file))
    until(lambda: watched.count("reconnects_total", cause="auth"), "access is denied")
    file.write_text(f"{right}\n")

    # The rest after a wrong password is half a minute at least.
    until(lambda: watched.count("camera_up", camera="door"), "the camera is up")
    assert camera.seen.wrong_passwords == 1


def test_cameras_that_hang_do_not_slow_another(clip: Clip, servers: ExitStack) -> None:
    over = threading.Event()
    servers.callback(over.set)
    hanging = [
        watch(
            servers,
            f"rtsp://127.0.0.1:{servers.enter_context(tcp_server(keep_silent(over)))}/live",
            open_timeout_s=60,
        )
        for _ in range(4)
    ]
    camera = servers.enter_context(serving(Conduct(clip)))
    healthy = watch(servers, f"rtsp://127.0.0.1:{camera.port}/live")
    taken: list[int] = []
    deadline = time.monotonic() + 30
    while len(taken) < 50:
        assert time.monotonic() < deadline
        taken += [frame.seq for frame in healthy.board.take(1.0)]

    # All the while, the others sat in their first attempt.
    assert all(other.count("reconnects_total") == 0 and other.thread.is_alive for other in hanging)
    assert healthy.count("reconnects_total") == 0
    # Nothing was lost on the way but what nobody took in time: 50 a second, each looked at once.
    assert taken == sorted(set(taken))
    over.set()


def test_a_change_in_the_stream_is_counted_and_logged(clip: Clip, servers: ExitStack, written: io.StringIO) -> None:
    large = encode(grey_steps(10, (320, 256)), fps=50)
    camera = servers.enter_context(serving(Conduct(clip + large)))
    watched = watch(servers, f"rtsp://127.0.0.1:{camera.port}/live", decode="auto")
    until(lambda: watched.count("stream_changes_total", camera="door", change="resolution") >= 2, "it is counted")

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    changes = {line["change"]: line["detail"] for line in lines if line["event"] == "camera_changed"}
    assert changes["resolution"] in {"160x128 to 320x256", "320x256 to 160x128"}
    if watched.count("stream_changes_total", change="decoder"):
        assert "decoded by cpu: " in changes["decoder"]
