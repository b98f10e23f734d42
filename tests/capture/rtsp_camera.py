"""A camera for tests that speaks RTSP over real sockets and can be told how to fail.

    python tests/capture/rtsp_camera.py --cameras 64 --fps 5 --trouble 3

serves rtsp://127.0.0.1:PORT/0 … /63 and prints the port as its first line; with `--trouble`, every connection ends
after about that many seconds in one of the ways of `Ending`. FFmpeg encodes and packetises; the conversation is ours.
"""

import argparse
import asyncio
import contextlib
import hashlib
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from gate.types import Image

if TYPE_CHECKING:
    from av.video.stream import VideoStream

RTP_CLOCK = 90_000
NONCE = "b1f6e5a1c0"
REALM = "door"

ENCODERS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "h264": ("libx264", "yuv420p", "H264", {"tune": "zerolatency", "preset": "ultrafast", "g": "5"}),
    "h265": (
        "libx265",
        "yuv420p",
        "H265",
        {"tune": "zerolatency", "preset": "ultrafast", "x265-params": "keyint=5:log-level=none:pools=1"},
    ),
    "mjpeg": ("mjpeg", "yuvj420p", "JPEG", {"huffman": "default"}),
}
"""Codec → FFmpeg's encoder, its pixel format, the name in SDP, options."""


class Ending(str, Enum):
    """How a camera leaves."""

    CLOSE = "close"
    RESET = "reset"
    SILENCE = "silence"


@dataclass(frozen=True)
class Clip:
    """Encoded pictures as RTP packets, one list a picture."""

    codec: str
    fps: float
    pictures: tuple[tuple[bytes, ...], ...]

    def __add__(self, other: "Clip") -> "Clip":
        """One after the other in one session: the same codec, maybe another size."""
        return Clip(self.codec, self.fps, self.pictures + other.pictures)


def encode(images: Sequence[Image], codec: str = "h264", fps: int = 25) -> Clip:
    """Encode RGB pictures and cut them into RTP packets, by FFmpeg."""
    encoder, pix_fmt, _, options = ENCODERS[codec]
    received: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        address = f"rtp://127.0.0.1:{receiver.getsockname()[1]}?pkt_size=1400"
        with av.open(address, "w", format="rtp", options={"payload_type": "96"}) as container:
            stream = cast("VideoStream", container.add_stream(encoder, rate=fps, options=options))
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt, stream.thread_count = pix_fmt, 1
            for number, image in enumerate(images):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                for packet in stream.encode(frame):
                    container.mux(packet)
                    received += _arrived(receiver)
            for packet in stream.encode(None):
                container.mux(packet)
                received += _arrived(receiver)
        received += _arrived(receiver)
    return Clip(codec, fps, tuple(_pictures(received)))


def _arrived(receiver: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            packet = receiver.recv(65536)
        except BlockingIOError:
            return
        # RTCP reports come to the same port.
        if not 72 <= packet[1] & 0x7F <= 76:
            yield packet


def _pictures(packets: Sequence[bytes]) -> Iterator[tuple[bytes, ...]]:
    picture: list[bytes] = []
    for packet in packets:
        picture.append(packet)
        if packet[1] & 0x80:
            yield tuple(picture)
            picture = []


@dataclass
class Conduct:
    """What a camera does."""

    clip: Clip
    account: tuple[str, str] | None = None
    """(user, password) asked for by digest."""

    pictures: int | None = None
    """How many pictures a connection gets before `ending`; None loops for ever."""

    ending: Ending = Ending.CLOSE
    pace: bool = True
    """Send at the clip's rate, else as fast as they are taken."""

    stamp: Callable[[int], int] | None = None
    """RTP time of picture N, when it is not to go on evenly."""

    garble: Callable[[int, bytes], bytes | None] | None = None
    """(number of the picture, packet) → the packet to send in its place; None loses it."""

    sdp_extra: str = ""
    """More lines of the session description."""


@dataclass
class Seen:
    """What the camera saw of its clients."""

    connections: int = 0
    described: int = 0
    authorizations: list[str] = field(default_factory=list)
    wrong_passwords: int = 0


class RtspCamera:
    """An RTSP server; the interleaved (TCP) transport alone.

    Args:
        conduct: what happens behind each path; the last component of the path, or any path where it is a `Conduct`.
        tls: speak RTSPS with this context.
    """

    def __init__(self, conduct: "Conduct | dict[str, Conduct]", *, tls: ssl.SSLContext | None = None) -> None:
        self._conduct = conduct
        self._tls = tls
        self.seen = Seen()
        self.port = 0

    async def start(self) -> asyncio.Server:
        """Listen on a free port."""
        server = await asyncio.start_server(self._client, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.seen.connections += 1
        playing: asyncio.Task[None] | None = None
        try:
            while (request := await _request(reader)) is not None:
                method, path, headers = request
                conduct = self._of(path)
                writer.write(self._answer(method, path, headers, conduct))
                await writer.drain()
                if method == "PLAY" and conduct is not None and playing is None:
                    playing = asyncio.create_task(_play(conduct, writer))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            if playing is not None:
                playing.cancel()
            writer.close()

    def _of(self, path: str) -> Conduct | None:
        if isinstance(self._conduct, Conduct):
            return self._conduct
        return self._conduct.get(path.strip("/").partition("/")[0])

    def _answer(self, method: str, path: str, headers: dict[str, str], conduct: Conduct | None) -> bytes:
        if conduct is None:
            return _reply("404 Not Found", headers)
        if conduct.account is not None and method != "OPTIONS" and not self._known(method, headers, conduct.account):
            challenge = f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}"'
            return _reply("401 Unauthorized", headers, challenge)
        if method == "OPTIONS":
            return _reply("200 OK", headers, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER")
        if method == "DESCRIBE":
            self.seen.described += 1
            return _reply("200 OK", headers, "Content-Type: application/sdp", body=_sdp(conduct))
        if method == "SETUP":
            return _reply("200 OK", headers, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 7;timeout=60")
        return _reply("200 OK", headers, "Session: 7")

    def _known(self, method: str, headers: dict[str, str], account: tuple[str, str]) -> bool:
        sent = headers.get("authorization", "")
        if not sent:
            return False
        self.seen.authorizations.append(sent)
        fields = dict(part.strip().split("=", 1) for part in sent.removeprefix("Digest ").split(",") if "=" in part)
        user, password = account
        secret = _md5(f"{user}:{REALM}:{password}")
        wanted = _md5(f"{secret}:{NONCE}:{_md5(method + ':' + fields.get('uri', '').strip(chr(34)))}")
        known = fields.get("response", "").strip('"') == wanted and fields.get("username", "").strip('"') == user
        self.seen.wrong_passwords += not known
        return known


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()  # noqa: S324 - what RFC 2617 asks for


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, dict[str, str]] | None:
    """The next request, past the interleaved reports of the client; None at the end."""
    first = await reader.read(1)
    while first == b"$":
        _, length = struct.unpack(">BH", await reader.readexactly(3))
        await reader.readexactly(length)
        first = await reader.read(1)
    if not first:
        return None
    lines = (first + await reader.readuntil(b"\r\n\r\n")).decode(errors="replace").split("\r\n")
    method, url, _ = lines[0].split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    return method, url.split("://", 1)[-1].partition("/")[2], headers


def _reply(status: str, headers: dict[str, str], *more: str, body: str = "") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [f"RTSP/1.0 {status}", f"CSeq: {headers.get('cseq', '0')}", *more, *length, "", body]
    return "\r\n".join(lines).encode()


def _sdp(conduct: Conduct) -> str:
    name = ENCODERS[conduct.clip.codec][2]
    lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=door", "c=IN IP4 127.0.0.1", "t=0 0", conduct.sdp_extra]
    lines += ["m=video 0 RTP/AVP 96", f"a=rtpmap:96 {name}/{RTP_CLOCK}", "a=control:track0", ""]
    return "\r\n".join(line for line in lines if line or line is lines[-1])


async def _play(conduct: Conduct, writer: asyncio.StreamWriter) -> None:
    sequence = number = 0
    clip = conduct.clip
    step = round(RTP_CLOCK / clip.fps)
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    with contextlib.suppress(ConnectionError):
        while conduct.pictures is None or number < conduct.pictures:
            time = (conduct.stamp(number) if conduct.stamp is not None else number * step) % 2**32
            for packet in clip.pictures[number % len(clip.pictures)]:
                sent = struct.pack(">BBHI", packet[0], packet[1], sequence % 2**16, time) + packet[8:]
                sequence += 1
                if conduct.garble is None or (sent := conduct.garble(number, sent) or b""):
                    writer.write(struct.pack(">BBH", 0x24, 0, len(sent)) + sent)
            await writer.drain()
            number += 1
            await asyncio.sleep(started_s + number / clip.fps - loop.time() if conduct.pace else 0)
        if conduct.ending is Ending.SILENCE:
            return
        if conduct.ending is Ending.RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        writer.close()


@contextmanager
def serving(conduct: "Conduct | dict[str, Conduct]", *, tls: ssl.SSLContext | None = None) -> Iterator[RtspCamera]:
    """A camera in a thread of this process."""
    camera = RtspCamera(conduct, tls=tls)
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await camera.start()
        ready.set()
        await over.wait()
        server.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, name="rtsp-camera")
    thread.start()
    if not ready.wait(10):
        raise RuntimeError("the test camera does not listen")
    try:
        yield camera
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)


def grey_steps(count: int, size: tuple[int, int] = (160, 128)) -> list[Image]:
    """Pictures whose brightness grows."""
    width, height = size
    return [np.full((height, width, 3), 20 + 200 * n // count, np.uint8) for n in range(count)]


def _troubled(clip: Clip, seconds: float, seed: int) -> Conduct:
    dice = random.Random(seed)
    return Conduct(
        clip, pictures=max(2, round(seconds * clip.fps * dice.uniform(0.3, 1.7))), ending=list(Ending)[seed % 3]
    )


async def _serve_many(arguments: argparse.Namespace) -> None:
    clip = encode(grey_steps(arguments.fps * 2), fps=arguments.fps)
    trouble = arguments.trouble
    camera = RtspCamera(
        {str(n): _troubled(clip, trouble, n) if trouble else Conduct(clip) for n in range(arguments.cameras)}
    )
    await camera.start()
    print(camera.port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--fps", type=int, default=5)
    parser.add_argument("--trouble", type=float, default=0.0, help="seconds until a connection ends, about")
    asyncio.run(_serve_many(parser.parse_args()))


if __name__ == "__main__":
    main()
