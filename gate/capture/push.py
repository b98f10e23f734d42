"""Sends the virtual camera as H.264 over RTSP to somebody who listens, in a process of its own.

    python -m gate.capture.push --seed 1 --fps 15 rtsp://127.0.0.1:8554/door

It needs another process because FFmpeg's RTSP sender and listener wait for each other inside calls that do not
return. The receiver must be listening or come to listen within the connect time-out.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from gate.capture.scene import Scene
from gate.clock import Clock, SystemClock
from gate.errors import GateError
from gate.redact import safe_address
from gate.types import Image

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

EXIT_OK = 0
EXIT_NOBODY_LISTENS = 1
EXIT_USAGE = 2
EXIT_LOST = 3

_RETRY_S = 0.2
_PARENT_CHECK_S = 0.5


class Sender:
    """One RTSP connection: encodes pictures as they come and sends them at once.

    H.264 by libx264 without look-ahead, a key frame every second, RTP over the RTSP connection itself (TCP).

    Args:
        url: `rtsp://host:port/path` of the listener.
        width: columns of the pictures.
        height: rows of the pictures.
        fps: pictures a second; unit of the time stamps.
    """

    def __init__(self, url: str, *, width: int, height: int, fps: float) -> None:
        self._url = url
        self._size = (width, height)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def connect(self) -> None:
        """Announce the stream. Raises PyAV's `FFmpegError` when nobody listens."""
        import av

        container = av.open(self._url, "w", format="rtsp", options={"rtsp_transport": "tcp"})
        try:
            stream = container.add_stream("libx264", rate=self._rate)
            stream.width, stream.height = self._size
            stream.pix_fmt = "yuv420p"
            stream.gop_size = max(round(self._rate), 1)
            stream.options = {"preset": "veryfast", "tune": "zerolatency"}
            # One thread keeps up with 720p; more would take the cores from the gate beside it.
            stream.thread_count = 1
            container.start_encoding()
        except av.FFmpegError:
            with contextlib.suppress(av.FFmpegError):
                container.close()
            raise
        self._container, self._stream = container, stream

    def send(self, image: Image, index: int) -> None:
        """Encode and send picture `index`. Raises PyAV's `FFmpegError` when the listener is gone."""
        import av

        if self._container is None or self._stream is None:
            raise RuntimeError("Sender.send before connect")
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts, frame.time_base = index, 1 / self._rate
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """End the stream politely if the listener is still there."""
        import av

        container, self._container = self._container, None
        if container is None:
            return
        with contextlib.suppress(av.FFmpegError):
            container.close()


def connect(sender: Sender, stop: threading.Event, clock: Clock, timeout_s: float) -> bool:
    """Knock until somebody listens; False when nobody did within `timeout_s` or when stopped."""
    import av

    deadline_s = clock.monotonic_s() + timeout_s
    while not stop.is_set():
        with contextlib.suppress(av.FFmpegError):
            sender.connect()
            return True
        if clock.monotonic_s() >= deadline_s:
            return False
        stop.wait(_RETRY_S)
    return False


def due_frames(fps: float, seconds: float | None, clock: Clock, stop: threading.Event) -> Iterator[int]:
    """Indices of frames, each when its time has come; those that are late are left out."""
    started_s = clock.monotonic_s()
    index = 0
    while not stop.is_set() and (seconds is None or index < seconds * fps):
        ahead_s = started_s + index / fps - clock.monotonic_s()
        if ahead_s > 0 and stop.wait(ahead_s):
            return
        yield index
        index = max(index + 1, int((clock.monotonic_s() - started_s) * fps))


def push(arguments: argparse.Namespace, stop: threading.Event, clock: Clock) -> int:
    """Render, encode and send until stopped, until `seconds` are over, or until the listener goes.

    Returns:
        The process's exit status: 0 at the regular end, 1 when nobody listened, 3 when the listener went.
    """
    import av

    scene = Scene(arguments.seed, arguments.width, arguments.height, arguments.fps)
    scene.prepare()
    sender = Sender(arguments.url, width=arguments.width, height=arguments.height, fps=arguments.fps)
    if not connect(sender, stop, clock, arguments.connect_timeout_s):
        if stop.is_set():
            return EXIT_OK
        _complain(f"nobody listened at {safe_address(arguments.url)} for {arguments.connect_timeout_s:g} s")
        return EXIT_NOBODY_LISTENS
    try:
        for index in due_frames(arguments.fps, arguments.seconds, clock, stop):
            sender.send(scene.frame(index)[0], index)
    except av.FFmpegError:
        _complain(f"the listener at {safe_address(arguments.url)} went away")
        return EXIT_LOST
    finally:
        sender.close()
    return EXIT_OK


def _complain(text: str) -> None:
    sys.stderr.write(f"virtual camera: {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gate.capture.push", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="rtsp://host:port/path of the listener")
    parser.add_argument("--seed", type=int, default=0, help="who comes and what they do (default %(default)s)")
    parser.add_argument("--fps", type=float, default=15.0, help="frames a second (default %(default)s)")
    parser.add_argument("--width", type=int, default=1280, help="even number of columns (default %(default)s)")
    parser.add_argument("--height", type=int, default=720, help="even number of rows (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=None, help="stop after this long (default: never)")
    parser.add_argument("--connect-timeout-s", type=float, default=30.0, help="wait for the listener (%(default)s)")
    parser.add_argument("--parent", type=int, default=None, help="end when this process is no longer the parent")
    return parser


def _checked(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    arguments = parser.parse_args(argv)
    if not arguments.url.lower().startswith("rtsp://"):
        parser.error("the url must begin with rtsp://")
    if arguments.seed < 0 or not 1 <= arguments.fps <= 120:
        parser.error("seed must not be negative and fps must be from 1 to 120")
    # H.264 with halved colour planes has no odd sizes.
    if any(side % 2 or not 64 <= side <= 4096 for side in (arguments.width, arguments.height)):
        parser.error("width and height must be even and from 64 to 4096")
    return arguments


def _watch_parent(parent: int, stop: threading.Event) -> None:
    """Stop when the process that started this one has ended without saying so."""
    while not stop.wait(_PARENT_CHECK_S):
        if os.getppid() != parent:
            stop.set()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; SIGTERM and SIGINT end it cleanly."""
    arguments = _checked(_parser(), argv)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if arguments.parent is not None:
        threading.Thread(target=_watch_parent, args=(arguments.parent, stop), daemon=True).start()
    try:
        return push(arguments, stop, SystemClock())
    except GateError as error:
        _complain(str(error))
        return EXIT_NOBODY_LISTENS


if __name__ == "__main__":
    sys.exit(main())
