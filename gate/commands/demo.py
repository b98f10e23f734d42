"""`gate demo`: the whole gate on one machine, with nothing to prepare.

A virtual camera renders people at a door, encodes them as H.264 and sends them over real RTSP; the gate finds,
follows, scores and publishes them into a Redis of its own. Nothing is simulated but the people.
"""

import argparse
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gate.commands.arguments import Subparsers, positive_seconds
from gate.errors import GateError

if TYPE_CHECKING:
    from gate.config import GateConfig
    from gate.daemon import Daemon

PAGE_PORT = 8080
WEIGHTS = ("yunet",)
READ_BACK_PAGE = 200


def add_arguments(commands: Subparsers) -> None:
    """Add `gate demo`."""
    parser = commands.add_parser("demo", help="everything on one machine: virtual camera, gate, Redis, page")
    parser.add_argument(
        "--seconds", type=positive_seconds, default=0.0, metavar="N", help="stop after N seconds (default: never)"
    )
    parser.add_argument("--seed", type=_seed, default=1, metavar="N", help="who comes to the door, and in which order")
    parser.add_argument("--fps", type=_fps, default=10.0, metavar="N", help="frames a second of the virtual camera")
    parser.add_argument("--port", type=int, default=None, metavar="N", help=f"page and metrics (default {PAGE_PORT})")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="write the final counts as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or for `--seconds`.

    Returns:
        0 when faces were both accepted and rejected and the accepted ones can be read back from the stream.
    """
    from gate.capture.push_process import VirtualCameraProcess
    from gate.daemon import Daemon
    from gate.observe.logging import configure
    from gate.publish.embedded import EmbeddedRedis

    configure("warning", "console")
    # Until here Ctrl-C ends the process at once, as it should during a long download.
    _fetch_weights()
    stop = threading.Event()
    _stop_on_signals(stop)
    camera_url = f"rtsp://127.0.0.1:{_free_port()}/door"
    with EmbeddedRedis(tcp_port=0) as redis:
        redis_url = redis.tcp_url or redis.url
        daemon = Daemon(_config(camera_url, redis_url, _page_port(args.port)), summary=args.summary)
        print("gate: starting …", flush=True)
        daemon.start()
        # The gate leaves before the camera does, so that a camera that goes on purpose is not reported as lost.
        with VirtualCameraProcess(camera_url, seed=args.seed, fps=args.fps) as camera:
            try:
                print(_addresses(daemon, redis_url), flush=True)
                _watch(daemon, stop, args.seconds)
            finally:
                daemon.shut_down()
        counts = daemon.observer.tally.summary()
        if not any(counts["frames"].values()) and camera.last_words:
            print(f"gate: no picture came from the virtual camera; it said: {camera.last_words}", file=sys.stderr)
        code = _conclude(counts, _read_back(redis_url))
        return 1 if daemon.failed else code


def _seed(text: str) -> int:
    """An argparse type: what seeds a scene."""
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"expected a whole number of zero or more, got {text!r}")
    return seed


def _fps(text: str) -> float:
    """An argparse type: a frame rate that the virtual camera can send."""
    try:
        fps = float(text)
    except ValueError:
        fps = 0.0
    if not 1 <= fps <= 120:
        raise argparse.ArgumentTypeError(f"expected 1 to 120 frames a second, got {text!r}")
    return fps


def _config(camera_url: str, redis_url: str, page_port: int) -> "GateConfig":
    from gate.config import build_config
    from gate.delivery import EMBEDDED_MAX_EVENTS

    data = {
        "cameras": [{"name": "door", "url": camera_url, "listen": True, "open_timeout_s": 30}],
        # By its address it is a server like any other, but it lives in the memory of this machine.
        "redis": {"url": redis_url, "max_events": EMBEDDED_MAX_EVENTS},
        "spool": {"enabled": False},
        "http": {"port": page_port},
    }
    return build_config(data, where="demo")


def _fetch_weights() -> None:
    """Fetch what is missing, where a person can watch it; the daemon would do it silently."""
    from gate.commands.models import fetch_missing

    fetch_missing(WEIGHTS)


def _watch(daemon: "Daemon", stop: threading.Event, seconds: float) -> None:
    """Show the live table until a signal, the time, or the gate's own end."""
    from rich.console import Console
    from rich.live import Live

    from gate.commands.demo_table import plain_line, table

    until_s = time.monotonic() + seconds if seconds else float("inf")

    def goes_on(pause_s: float) -> bool:
        left_s = until_s - time.monotonic()
        return left_s > 0 and not stop.wait(min(pause_s, left_s)) and not daemon.wait(0)

    console = Console()
    if not console.is_terminal:
        while goes_on(2.0):
            print(plain_line(daemon.observer.status()), flush=True)
        return
    with Live(table(daemon.observer.status()), console=console, auto_refresh=False) as live:
        while goes_on(0.5):
            live.update(table(daemon.observer.status()), refresh=True)


def _addresses(daemon: "Daemon", redis_url: str) -> str:
    page = daemon.http_address or ""
    lines = (
        f"  page     {page}",
        f"  metrics  {page}metrics",
        f"  stream   gate tail --redis {redis_url}",
        "  Ctrl-C ends it",
    )
    return "\n".join(lines)


def _read_back(redis_url: str) -> int:
    """How many published faces can be read from the stream and decoded into a crop."""
    import redis

    from gate.config import RedisConfig
    from gate.publish.event import FaceEvent, decode
    from gate.publish.jpeg import decode_crop

    # redis-py's own types know no difference between an entry and one that was deleted.
    client: Any = redis.Redis.from_url(redis_url)
    readable, after = 0, "-"
    try:
        while entries := client.xrange(RedisConfig().stream, after, count=READ_BACK_PAGE):
            events = [decode(fields) for _, fields in entries]
            faces = [event for event in events if isinstance(event, FaceEvent)]
            readable += sum(decode_crop(face.crop).shape == (112, 112, 3) for face in faces)
            after = f"({entries[-1][0].decode()}"
    finally:
        client.close()
    return readable


def _conclude(counts: dict[str, Any], readable: int) -> int:
    faces, visits = counts["faces"], counts["visits"]
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(faces["reasons"].items(), key=lambda r: -r[1]))
    print(
        f"gate: {faces['accepted']} faces accepted, {faces['rejected']} rejected ({reasons or 'none'}), "
        f"{faces['unscored']} not scored; "
        f"{visits['published']} visits published, {visits['unusable']} unusable; "
        f"{readable} faces read back from the stream"
    )
    if faces["accepted"] and faces["rejected"] and readable:
        return 0
    print("gate: the demo needs accepted and rejected faces; let it run for 30 seconds or more", file=sys.stderr)
    return 1


def _stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` at the first signal; the second does what it would have done without us."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, usual[signal.Signals(number)])

    usual = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}


def _page_port(wish: int | None) -> int:
    """The wished port; without a wish the usual one, or any that is free when somebody has it."""
    if wish is not None:
        return wish
    try:
        with socket.create_server(("127.0.0.1", PAGE_PORT)):
            return PAGE_PORT
    except OSError:
        return 0


def _free_port() -> int:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            return int(server.getsockname()[1])
    except OSError as error:
        raise GateError(f"demo: no free port on 127.0.0.1: {error.strerror}") from None
