"""Network cameras against real sockets: what they send, and every way they can fail."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from gate.capture.source import Picture
from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.errors import CaptureError
from gate.types import Image
from tests.capture.sockets import free_port, keep_silent, send_stream, tcp_server, web_server, whole_story

HOSTILE = "p@ss:w/o%rd?#ü&+=[]{}|\\ 41%41"


def source_for(url: str, **options: Any) -> StreamSource:
    return StreamSource(url, clock=SystemClock(), **{"open_timeout_s": 5.0, "read_timeout_s": 5.0, **options})


def read_to_the_end(source: StreamSource) -> None:
    while True:
        source.read()


def failure_of(call: Callable[[], object]) -> CaptureError:
    with pytest.raises(CaptureError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_closed_port_is_refused(scheme: str) -> None:
    assert failure_of(source_for(f"{scheme}://127.0.0.1:{free_port()}/live").open).cause == "refused"


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_server_that_says_nothing_runs_into_the_time_out(scheme: str) -> None:
    silent = threading.Event()
    with tcp_server(keep_silent(silent)) as port:
        failure = failure_of(source_for(f"{scheme}://127.0.0.1:{port}/live", open_timeout_s=0.3).open)
        silent.set()

    assert failure.cause == "timeout"


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (401, "auth"),
        (403, "auth"),
        (404, "not_found"),
        (429, "refused"),
        (500, "refused"),
        (503, "refused"),
        (400, "protocol"),
    ],
)
def test_an_http_status_has_its_cause(status: int, cause: str) -> None:
    with web_server(status) as (port, _):
        assert failure_of(source_for(f"http://127.0.0.1:{port}/live").open).cause == cause


@pytest.mark.parametrize(
    ("status", "cause"),
    [("401 Unauthorized", "auth"), ("403 Forbidden", "auth"), ("404 Not Found", "not_found"),
     ("503 Service Unavailable", "refused"), ("461 Unsupported Transport", "protocol")],
)  # fmt: skip
def test_an_rtsp_status_has_its_cause(status: str, cause: str) -> None:
    def answer(connection: socket.socket) -> None:
        while request := connection.recv(4096).decode():
            number = next(line for line in request.splitlines() if line.startswith("CSeq"))
            challenge = 'WWW-Authenticate: Digest realm="door", nonce="1"\r\n'
            connection.sendall(f"RTSP/1.0 {status}\r\n{number}\r\n{challenge}\r\n".encode())

    with tcp_server(answer) as port:
        assert failure_of(source_for(f"rtsp://admin:pw@127.0.0.1:{port}/live").open).cause == cause


def test_tls_towards_a_server_without_it_is_a_tls_fault() -> None:
    with web_server(200, b"hello") as (port, _):
        assert failure_of(source_for(f"https://127.0.0.1:{port}/live").open).cause == "tls"


@pytest.mark.parametrize("scheme", ["rtsp", "https"])
def test_a_name_nobody_knows_is_unreachable(scheme: str) -> None:
    assert failure_of(source_for(f"{scheme}://no-such-host.invalid/live").open).cause == "unreachable"


def test_a_web_page_is_not_video() -> None:
    with web_server(200, b"<html>not a camera</html>" * 500) as (port, _):
        assert failure_of(source_for(f"http://127.0.0.1:{port}/live").open).cause == "codec"


def test_a_web_server_behind_an_rtsp_address_is_a_protocol_fault() -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with tcp_server(answer) as port:
        assert failure_of(source_for(f"rtsp://127.0.0.1:{port}/live").open).cause == "protocol"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory, make_clip: Callable[..., Path]) -> bytes:
    options = {"g": "10", "bf": "0"}
    return make_clip(tmp_path_factory.mktemp("stream") / "live.ts", 40, options=options).read_bytes()


def test_a_live_stream_that_ends_is_lost_not_over(stream: bytes, read_number: Callable[[Image], int]) -> None:
    with tcp_server(send_stream(stream)) as port, closing(source_for(f"http://127.0.0.1:{port}/live")) as source:
        source.open()
        numbers: list[int] = []

        def read() -> None:
            while True:
                numbers.append(read_number(source.read().image))

        failure = failure_of(read)

    assert failure.cause == "end_of_stream"
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 38


def test_a_camera_that_falls_silent_is_stalled_in_time(stream: bytes) -> None:
    silent = threading.Event()
    answer = send_stream(stream, keep_silent(silent))
    with tcp_server(answer) as port:
        source = source_for(f"http://127.0.0.1:{port}/live", read_timeout_s=0.4)
        source.open()
        failure = failure_of(lambda: read_to_the_end(source))
        source.close()
        silent.set()

    assert failure.cause == "stalled"


@pytest.fixture(scope="module")
def falls_dark(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A stream with ten pictures and eight seconds of sound."""
    path = tmp_path_factory.mktemp("dark") / "dark.ts"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"g": "5", "bf": "0", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        sound = container.add_stream("mp2", rate=44100, layout="mono")
        for n in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((128, 160, 3), 20 * n, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            container.mux(video.encode(frame))
        for n in range(306):
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16", layout="mono")
            tone.rate, tone.pts = 44100, n * 1152
            container.mux(sound.encode(tone))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path.read_bytes()


class Leaping:
    """A clock that stands still, or leaps a second at every look."""

    leaps = False
    now_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += self.leaps
        return self.now_s

    def unix_ms(self) -> int:
        return 0


def test_a_camera_that_goes_on_sending_but_shows_nothing_is_stalled(falls_dark: bytes) -> None:
    clock = Leaping()
    pictures: list[Picture] = []
    with tcp_server(send_stream(falls_dark)) as port:
        # The call itself never takes the whole read time-out by this clock; the watchdog on pictures must speak.
        source = StreamSource(f"http://127.0.0.1:{port}/live", clock=clock, open_timeout_s=20, read_timeout_s=20)
        source.open()

        def read() -> None:
            while True:
                pictures.append(source.read())
                clock.leaps = len(pictures) >= 8

        failure = failure_of(read)
        source.close()

    assert failure.cause == "stalled"
    assert "no pictures come out" in str(failure)
    assert len(pictures) >= 8


def test_closing_ends_a_reader_in_another_thread(stream: bytes) -> None:
    silent = threading.Event()
    with tcp_server(send_stream(stream, keep_silent(silent))) as port:
        source = source_for(f"http://127.0.0.1:{port}/live", read_timeout_s=1.0)
        source.open()
        causes: list[str] = []

        def read() -> None:
            try:
                while True:
                    source.read()
            except CaptureError as error:
                causes.append(error.cause)

        reader = threading.Thread(target=read)
        reader.start()
        source.close()
        source.close()
        reader.join(20)
        silent.set()

    assert causes in (["end_of_stream"], ["stalled"])


def test_a_hostile_password_reaches_the_camera_whole(stream: bytes) -> None:
    user = "ad:min@door"
    with web_server(200, stream, wanted=f"{user}:{HOSTILE}") as (port, credentials):
        source = source_for(f"http://127.0.0.1:{port}/live", username=user, password=HOSTILE)
        source.open()
        picture = source.read()
        source.close()

    assert credentials[0] == f"{user}:{HOSTILE}"
    assert picture.image.shape == (128, 160, 3)
    assert picture.image.dtype == np.uint8


@pytest.mark.parametrize("status", [401, 404, 500, 200, None])
@pytest.mark.parametrize("scheme", ["http", "https", "rtsp", "rtsps"])
@pytest.mark.parametrize("configured", [True, False])
def test_no_secret_is_in_any_part_of_any_exception(scheme: str, status: int | None, configured: bool) -> None:
    secrets = ["Geh3im", "T0ken"]
    with web_server(status or 200, b"no video" * 100) as (port, _):
        target = f"127.0.0.1:{port if status else free_port()}"
        if configured:
            url, options = (
                f"{scheme}://{target}/T0ken/live?key=T0ken",
                {"username": "adm1n", "password": f"Geh3im{HOSTILE}"},
            )
        else:
            url, options = f"{scheme}://adm1n:Geh3im%40%2F@{target}/T0ken/live?key=T0ken", {}
        failure = failure_of(source_for(url, open_timeout_s=1.0, **options).open)

    story = whole_story(failure)
    assert f"{scheme}://127.0.0.1:" in str(failure)
    assert failure.__cause__ is None
    assert failure.__context__ is None
    assert not [secret for secret in (*secrets, "adm1n") if secret in story]


PUSHER = """
import sys, time
from fractions import Fraction
import av, numpy as np

def push():
    with av.open(sys.argv[1], "w", format="rtsp", options={"rtsp_transport": "tcp"}) as out:
        stream = out.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
        stream.width, stream.height, stream.pix_fmt = 160, 128, "yuv420p"
        started = time.monotonic()
        for n in range(500):
            frame = av.VideoFrame.from_ndarray(np.full((128, 160, 3), n % 200, np.uint8), format="rgb24")
            frame.pts, frame.time_base = n, Fraction(1, 25)
            out.mux(stream.encode(frame))
            time.sleep(max(0, started + n / 25 - time.monotonic()))

for attempt in range(100):
    try:
        push()
    except av.error.ConnectionRefusedError:
        time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("end", "cause"), [(signal.SIGKILL, "end_of_stream"), (signal.SIGSTOP, "stalled")])
def test_rtsp_pushed_by_another_process_is_read_until_that_dies_or_freezes(end: signal.Signals, cause: str) -> None:
    url = f"rtsp://127.0.0.1:{free_port()}/push"
    source = source_for(url, listen=True, open_timeout_s=20.0, read_timeout_s=1.0)
    # The sender needs longer to start than the listener to bind; it tries again should that ever not be so.
    sender = subprocess.Popen([sys.executable, "-c", PUSHER, url], stderr=subprocess.PIPE)
    try:
        source.open()
        pictures = [source.read() for _ in range(20)]
        sender.send_signal(end)
        failure = failure_of(lambda: read_to_the_end(source))
    finally:
        sender.kill()
        sender.communicate(timeout=10)
        source.close()

    assert {picture.image.shape for picture in pictures} == {(128, 160, 3)}
    assert pictures[-1].image.mean() > pictures[0].image.mean()
    assert failure.cause == cause
