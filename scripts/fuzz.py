"""Damaged inputs by the million: configurations, events, HTTP requests, weight files, pickles, RTSP conversations.

    python scripts/fuzz.py --seconds 600

Good inputs are cut, bits are flipped, pieces are repeated, dropped and exchanged. Each must be read, or refused with an
error of ours, within ten seconds; pickles carry code that would leave a file behind if it ever ran. RTSP conversations
are held over real sockets with what reads cameras, FFmpeg included; beside them, what is made of the failures that
FFmpeg may raise is tried for itself. Prints how many inputs there were of each kind; exit status 1 at the first that
does anything else. The input under way is always in a file, so that a crash of the whole process leaves it behind.
"""

import argparse
import faulthandler
import os
import pickle
import random
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

from gate.capture.causes import NETWORK_SCHEMES, classify, lost
from gate.capture.source import CorruptPictureError
from gate.capture.stream import StreamSource
from gate.clock import SystemClock
from gate.config import parse_config
from gate.errors import CaptureError, ConfigError, EventError, WeightsError
from gate.observe.request import BadRequestError, parse_head
from gate.publish.event import FaceEvent, VisitEndEvent, decode, encode
from gate.publish.jpeg import encode_crop
from gate.weights.checkpoint import load_state_dict
from gate.weights.unpickle import read_pickled

REPOSITORY = Path(__file__).resolve().parent.parent
LONGEST_S = 10
SECRET = "Geh3im"  # noqa: S105 - of nobody
BATCH = 20


class Planted:
    """Pickles as a call that would leave a file behind."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._target), "w")


@dataclass(frozen=True)
class Kind:
    """One kind of input: good ones, who reads them, and what it may refuse them with."""

    name: str
    good: list[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]


def damaged(data: bytes, dice: random.Random) -> bytes:
    """`data` after one to four accidents."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        if not out:
            break
        start = dice.randrange(len(out))
        end = min(len(out), start + dice.choice((1, 2, 8, 64)))
        accident = dice.randrange(6)
        if accident == 0:
            out[start] ^= 1 << dice.randrange(8)
        elif accident == 1:
            del out[start:]
        elif accident == 2:
            del out[start:end]
        elif accident == 3:
            out[start:start] = out[start:end] * dice.choice((1, 2, 50))
        elif accident == 4:
            out[start:end] = dice.randbytes(end - start)
        else:
            out[start:end] = dice.choice(
                (b"\x00", b"\xff" * 8, b"-1", b"1e999", b"[" * 200, b"\n", b"\xed\xa0\x80", b": &a")
            )
    return bytes(out)


def kinds(folder: Path, camera: "Camera") -> list[Kind]:
    """Everything that reads what somebody else wrote."""
    return [
        Kind(
            "configuration",
            [file.read_bytes() for file in sorted((REPOSITORY / "config").glob("*.yaml"))],
            _config,
            (ConfigError,),
        ),
        Kind("event", _events(), _event, (EventError,)),
        Kind("HTTP request", _requests(), parse_head, (BadRequestError,)),
        Kind("pickled weights", _pickles(folder), _weights(folder / "w.pkl", read_pickled), (WeightsError,)),
        Kind("safetensors", _tensors(folder), _weights(folder / "w.safetensors", load_state_dict), (WeightsError,)),
        Kind("RTSP conversation", [_conversation()], camera.watch, (CaptureError,)),
        Kind("FFmpeg's failures", _failures(), _failure, (CaptureError,)),
    ]


def _config(data: bytes) -> object:
    return parse_config(data.decode(errors="replace"))


def _event(data: bytes) -> object:
    parts = _unpacked(data)
    return decode(dict(zip(parts[::2], parts[1::2], strict=False)))


def _fields(entry: dict[str, bytes]) -> bytes:
    return _packed([part if isinstance(part, bytes) else str(part).encode() for pair in entry.items() for part in pair])


def _packed(parts: list[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _unpacked(data: bytes) -> list[bytes]:
    parts, place = [], 0
    while place + 2 <= len(data):
        length = int.from_bytes(data[place : place + 2], "big")
        parts.append(data[place + 2 : place + 2 + length])
        place += 2 + length
    return parts


def _events() -> list[bytes]:
    crop = encode_crop(np.full((112, 112, 3), 128, np.uint8))
    ulid = "01JD0000000000000000000000"
    face = FaceEvent(
        event_id=ulid, camera="door", visit=ulid, seq=1, final=True, captured_ms=1_700_000_000_000, frame_pts_ms=40.0,
        width=1920, height=1080, box=(10.5, 20.0, 100.25, 120.0), landmarks=tuple(float(n) for n in range(10)),
        det_score=0.93, quality=71.5, raw=-0.01, method="grafiqs", model="m@0123abcd", signals={"yaw_deg": -3.5},
        crop=crop,
    )  # fmt: skip
    end = VisitEndEvent(
        event_id=ulid, camera="door", visit=ulid, first_ms=1, last_ms=2, faces=9, accepted=2, published=1,
        reasons_counts={"too_small": 5}, best_quality=71.5,
    )  # fmt: skip
    return [_fields(encode(face)), _fields(encode(end))]


def _requests() -> list[bytes]:
    return [
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n",
        b"HEAD /status?x=%20 HTTP/1.0\r\nHost: door\r\nAccept: */*\r\nContent-Length: 4\r\n\r\n",
    ]


def _pickles(folder: Path) -> list[bytes]:
    block = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3))
    found = []
    for as_zip in (False, True):
        for content in (
            block,
            block.state_dict(),
            {"state_dict": block.state_dict(), "x": Planted(folder / "planted")},
        ):
            torch.save(content, folder / "good", _use_new_zipfile_serialization=as_zip)
            found.append((folder / "good").read_bytes())
    return [*found, pickle.dumps(Planted(folder / "planted"), 2), pickle.dumps([Planted(folder / "planted")], 4)]


def _tensors(folder: Path) -> list[bytes]:
    from safetensors.torch import save_file

    save_file({"a.weight": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}, folder / "good")
    return [(folder / "good").read_bytes()]


class Camera:
    """Says what it is told to whoever dials it: an answer a request, then pictures, then it hangs up."""

    def __init__(self) -> None:
        self._script: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        port = self._listener.getsockname()[1]
        self._url = f"rtsp://adm1n:{SECRET}@127.0.0.1:{port}/door?key={SECRET}"
        threading.Thread(target=self._serve, daemon=True).start()

    def watch(self, conversation: bytes) -> object:
        """Read the camera as the gate does, until it is lost."""
        self._script = _unpacked(conversation)
        source = StreamSource(self._url, clock=SystemClock(), open_timeout_s=0.5, read_timeout_s=0.5)
        with closing(source):
            try:
                source.open()
                while True:
                    with suppress(CorruptPictureError):
                        source.read()
            except CaptureError as error:
                _keeps_the_secret(str(error))
                raise

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with suppress(OSError), closing(connection):
                # Who understood an answer in another way asks no more; hanging up then saves waiting for time-outs.
                connection.settimeout(0.05)
                *answers, data = self._script or [b""]
                for answer in answers:
                    request = connection.recv(65536)
                    if not request:
                        break
                    number = request.partition(b"CSeq: ")[2].partition(b"\r")[0]
                    connection.sendall(answer.replace(b"{cseq}", number))
                else:
                    connection.sendall(data)


def _conversation() -> bytes:
    sdp = (
        "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=door\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
        "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;sprop-parameter-sets=Z0IAKeKQCgC3YC3AQEBpB4kRUA==,"
        "aM48gA==\r\na=framerate:25\r\na=range:npt=0-\r\na=control:track0\r\n"
    )
    ok = "RTSP/1.0 200 OK\r\nCSeq: {cseq}\r\n"
    answers = [
        f"{ok}Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n",
        f"{ok}Content-Type: application/sdp\r\nContent-Length: {len(sdp)}\r\n\r\n{sdp}",
        f"{ok}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 7;timeout=60\r\n\r\n",
        f"{ok}Session: 7\r\nRTP-Info: url=track0;seq=0;rtptime=0\r\n\r\n",
    ]
    return _packed([*(answer.encode() for answer in answers), _pictures()])


def _pictures() -> bytes:
    """Three pictures of H.264 as RTP, a packet a NAL unit, in the frames that RTSP puts around them."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 64, "yuv420p", Fraction(1, 25)
    sent = b""
    for number in range(3):
        grey = np.full((64, 64, 3), 60 * number, np.uint8)
        for packet in encoder.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")):
            for unit in bytes(packet).replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")[1:]:
                head = struct.pack(">BBHII", 0x80, 0xE0, number, 3600 * number, 7)
                sent += b"$\0" + (len(head) + len(unit)).to_bytes(2, "big") + head + unit
    return sent


def _failures() -> list[bytes]:
    """Its number, the scheme, whether while opening and in time, and the address it quotes."""
    address = f"rtsp://adm1n:{SECRET}@door.lan/live?key={SECRET}".encode()
    codes = (1, 5, 11, 32, 104, 110, 111, 113, 541478725, 1094995529, 1381258232, 825242872, 875574520)
    return [code.to_bytes(4, "big") + bytes([n % 8, n % 4]) + address for n, code in enumerate(codes)]


def _failure(data: bytes) -> object:
    code, (scheme, how), address = int.from_bytes(data[:4], "big") & 0x7FFFFFFF, data[4:6].ljust(2, b"\0"), data[6:]
    names = [*sorted(NETWORK_SCHEMES), "", "file"]
    url = address.decode(errors="replace")
    try:
        av.error.err_check(-max(code, 1), url)
    except Exception as error:  # noqa: BLE001 - as where PyAV is called
        cause = classify(error, scheme=names[scheme % len(names)], opening=bool(how & 1), timed_out=bool(how & 2))
        failure = lost("rtsp://door.lan", cause)
    _keeps_the_secret(str(failure))
    raise failure


def _keeps_the_secret(text: str) -> None:
    if SECRET in text:
        raise RuntimeError("a password is told")


def _weights(file: Path, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def from_file(data: bytes) -> object:
        file.write_bytes(data)
        return read(file)

    return from_file


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raise `TimeoutError` in what takes longer."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"it took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tried(kind: Kind, data: bytes, under_way: int) -> Exception | None:
    """What went wrong with an input; None for one that was read or refused as it should.

    `under_way` is the descriptor of the file that holds the input meanwhile.
    """
    os.pwrite(under_way, data, 0)
    os.ftruncate(under_way, len(data))
    try:
        with at_most(LONGEST_S):
            kind.read(data)
    except kind.refusals:
        return None
    except Exception as error:  # noqa: BLE001 - anything else is what is looked for
        return error
    return None


def main() -> int:
    """Fuzz for a while; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", default="", metavar="WORDS", help="the kinds whose name has these words in it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--failure", type=Path, default=Path("fuzz-failure"), help="holds the input under way, and stays when it failed"
    )
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="gate-") as name:
        folder = Path(name)
        everything = [kind for kind in kinds(folder, Camera()) if arguments.only in kind.name]
        if not everything:
            parser.error(f"no kind has {arguments.only!r} in its name")
        under_way = os.open(arguments.failure, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
        counts, spent_s = (
            dict.fromkeys((kind.name for kind in everything), 0),
            dict.fromkeys((k.name for k in everything), 0.0),
        )
        end_s = time.monotonic() + arguments.seconds
        while time.monotonic() < end_s:
            # The kind that has had the least time is next: a quick reader gets through more.
            kind = min(everything, key=lambda each: spent_s[each.name])
            began_s = time.monotonic()
            # What hangs in code that is not Python's notices no alarm.
            faulthandler.dump_traceback_later(BATCH * LONGEST_S, exit=True)
            for _ in range(BATCH):
                data = damaged(dice.choice(kind.good), dice)
                error = tried(kind, data, under_way)
                if error is None and (folder / "planted").exists():
                    error = RuntimeError("code of the pickle ran")
                if error is not None:
                    print(f"{kind.name}: {type(error).__name__}: {error}; the input is in {arguments.failure}")
                    return 1
                counts[kind.name] += 1
            spent_s[kind.name] += time.monotonic() - began_s
    arguments.failure.unlink()
    for name, count in counts.items():
        print(f"{name}: {count:,} inputs, each read or refused in words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
