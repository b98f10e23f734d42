"""A camera that answers nonsense: it is lost for a cause, in time, and never takes the process with it.

`GATE_FUZZ_EXAMPLES` says how many conversations are made up.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gate.capture.causes import Cause
from gate.capture.source import CorruptPictureError
from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.errors import CaptureError
from tests.capture.rtsp_camera import Clip, encode, grey_steps
from tests.capture.sockets import tcp_server

EXAMPLES = int(os.environ.get("GATE_FUZZ_EXAMPLES", "60"))

LONGEST_S = 30.0
"""An open and a read take 0.3 s each; on a busy machine, some more."""

SDP_LINES = (
    "v=0",
    "o=- 0 0 IN IP4 127.0.0.1",
    "s=door",
    "c=IN IP4 127.0.0.1",
    "t=0 0",
    "m=video 0 RTP/AVP 96",
    "a=rtpmap:96 H264/90000",
    "a=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQCgC3YC3AQEBpB4kRUA==,aM48gA==",
    "a=control:track0",
)
ODD_LINES = (
    "m=video 0 RTP/AVP 26",
    "m=audio 0 RTP/AVP 0",
    "m=video 99999999 RTP/AVP 96 97 98",
    "a=rtpmap:96 H265/90000",
    "a=rtpmap:96 MP4V-ES/0",
    "a=rtpmap:96 H264/-1",
    "a=fmtp:96 sprop-parameter-sets=,,,====",
    "a=fmtp:96 config=zz",
    "a=framerate:0",
    "a=range:npt=now-",
    "a=control:rtsp://[::1",
    "a=framesize:96 999999-999999",
    "c=IN IP4 999.0.0.1",
)


@dataclass(frozen=True)
class Script:
    """What a server says: an answer a request, then interleaved data, then it hangs up or falls silent."""

    answers: tuple[bytes, ...]
    data: bytes
    silent: bool


def status(code: str, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"RTSP/1.0 {code}", "CSeq: {cseq}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def described(lines: list[str], length: int | None) -> bytes:
    body = "\r\n".join([*lines, ""]).encode()
    told = len(body) if length is None else length
    return status("200 OK", "Content-Type: application/sdp", f"Content-Length: {told}", body=body)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Cut, doubled, flipped or overwritten somewhere."""
    place = draw(st.integers(0, max(0, len(sound) - 1)))
    piece = draw(st.binary(max_size=12))
    kind = draw(st.sampled_from(["cut", "insert", "overwrite", "repeat"]))
    if kind == "cut":
        return sound[:place]
    if kind == "insert":
        return sound[:place] + piece + sound[place:]
    if kind == "repeat":
        return sound[:place] * draw(st.integers(2, 30)) + sound[place:]
    return sound[:place] + piece + sound[place + len(piece) :]


GOOD = (
    status("200 OK", "Public: OPTIONS, DESCRIBE, SETUP, PLAY"),
    described(list(SDP_LINES), None),
    status("200 OK", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7"),
    status("200 OK", "Session: 7"),
)
DENIED = status("401 Unauthorized", 'WWW-Authenticate: Digest realm="x", nonce="y"')


@st.composite
def scripts(draw: st.DrawFn, packets: list[bytes]) -> Script:
    """A sound conversation with one to three things wrong with it."""
    answers = list(GOOD)
    if draw(st.booleans()):
        lines = [line for line in draw(st.permutations(SDP_LINES)) if draw(st.integers(0, 9))]
        lines += draw(st.lists(st.sampled_from(ODD_LINES), max_size=4))
        answers[1] = described(lines, draw(st.sampled_from([None, None, 0, 1, 2**31, -5])))
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, len(answers) - 1))
        answers[place] = draw(
            st.one_of(
                damaged(answers[place]),
                st.binary(max_size=200),
                st.just(DENIED),
                st.sampled_from(["302 Found", "454 Session Not Found", "999 ?", "-1", "", "100 Continue"]).map(status),
                st.integers(1, 40_000).map(lambda n: b"RTSP/1.0 200 OK\r\nX: " + b"x" * n),
            )
        )
    framed = [b"$\x00" + len(packet).to_bytes(2, "big") + packet for packet in packets]
    data = b"".join(draw(st.lists(st.sampled_from(framed), max_size=12)))
    for _ in range(draw(st.integers(0, 3))):
        data = draw(damaged(data)) if data else draw(st.binary(max_size=100))
    return Script(tuple(answers), data, draw(st.integers(0, 5)) == 0)


class Player:
    """Plays the current script to every client."""

    def __init__(self) -> None:
        self.script = Script((), b"", silent=False)
        self.over = threading.Event()

    def __call__(self, connection: socket.socket) -> None:
        script = self.script
        connection.settimeout(5)
        for answer in script.answers:
            request = connection.recv(65536)
            if not request:
                return
            number = next((line[5:].strip() for line in request.split(b"\r\n") if line.startswith(b"CSeq")), b"0")
            connection.sendall(answer.replace(b"{cseq}", number))
        connection.sendall(script.data)
        if script.silent:
            self.over.wait(5)


@pytest.fixture(scope="module")
def clip() -> Clip:
    return encode(grey_steps(3), fps=50)


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Player, int]]:
    player = Player()
    with ExitStack() as stack:
        port = stack.enter_context(tcp_server(player))
        stack.callback(player.over.set)
        yield player, port


def outcome(port: int) -> str:
    """The cause for which the camera was lost."""
    source = StreamSource(
        f"rtsp://adm1n:Geh3im@127.0.0.1:{port}/T0ken", clock=SystemClock(), open_timeout_s=0.3, read_timeout_s=0.3
    )

    def watch() -> None:
        source.open()
        while True:
            with suppress(CorruptPictureError):
                source.read()

    with closing(source), pytest.raises(CaptureError) as caught:
        watch()
    assert not [secret for secret in ("adm1n", "Geh3im", "T0ken") if secret in str(caught.value)]
    return caught.value.cause


def test_a_server_that_answers_nonsense_is_lost_for_a_cause_and_in_time(server: tuple[Player, int], clip: Clip) -> None:
    player, port = server
    packets = [packet for picture in clip.pictures for packet in picture]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(scripts(packets))
    def converse(script: Script) -> None:
        player.script = script
        player.over.clear()
        causes: list[str] = []
        reader = threading.Thread(target=lambda: causes.append(outcome(port)), daemon=True)
        reader.start()
        reader.join(LONGEST_S)
        player.over.set()
        assert not reader.is_alive(), "it hangs"
        assert len(causes) == 1, "something else than a CaptureError came out"
        assert causes[0] in {cause.value for cause in Cause}

    converse()


@pytest.mark.slow
@pytest.mark.parametrize("answered", range(len(GOOD)))
def test_an_answer_that_drips_byte_by_byte_ends_with_the_time_out(answered: int) -> None:
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        for answer in GOOD[:answered]:
            request = connection.recv(65536)
            number = next((line[5:].strip() for line in request.split(b"\r\n") if line.startswith(b"CSeq")), b"0")
            connection.sendall(answer.replace(b"{cseq}", number))
        connection.recv(65536)
        # Each byte comes well within any time-out; all of them never do.
        for byte in b"RTSP/1.0 200 OK\r\nX-Slow: " + b"x" * 10_000:
            connection.sendall(bytes([byte]))
            if over.wait(0.05):
                return

    with tcp_server(drip) as port:
        cause = outcome(port)
        over.set()

    assert cause == "timeout"
